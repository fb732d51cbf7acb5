package upload

import (
	"path"
	"strings"
)

// contentTypes are the types of the files that customers and shops send, as subtype:extension.
// The tables of package mime depend on the machine; in an empty container image they have only a
// dozen types.
var contentTypes = map[string]string{
	"image":       "jpeg:jpg jpeg:jpeg jpeg:jfif png:png gif:gif webp:webp heic:heic heif:heif avif:avif bmp:bmp tiff:tif tiff:tiff svg+xml:svg",
	"video":       "mp4:mp4 mp4:m4v quicktime:mov webm:webm x-msvideo:avi x-matroska:mkv 3gpp:3gp mpeg:mpg mpeg:mpeg",
	"audio":       "mpeg:mp3 mp4:m4a ogg:ogg ogg:oga ogg:opus wav:wav aac:aac amr:amr flac:flac",
	"text":        "plain:txt plain:log csv:csv html:html html:htm markdown:md",
	"application": "pdf:pdf rtf:rtf json:json xml:xml zip:zip vnd.rar:rar x-7z-compressed:7z gzip:gz gzip:tgz x-tar:tar " + office,
}

const office = "msword:doc vnd.ms-excel:xls vnd.ms-powerpoint:ppt " +
	"vnd.openxmlformats-officedocument.wordprocessingml.document:docx " +
	"vnd.openxmlformats-officedocument.spreadsheetml.sheet:xlsx " +
	"vnd.openxmlformats-officedocument.presentationml.presentation:pptx " +
	"vnd.oasis.opendocument.text:odt vnd.oasis.opendocument.spreadsheet:ods vnd.oasis.opendocument.presentation:odp"

// contentTypeOf returns the content type of a file according to its name.
func contentTypeOf(name string) string {
	extension := strings.TrimPrefix(strings.ToLower(path.Ext(name)), ".")
	for kind, list := range contentTypes {
		for entry := range strings.FieldsSeq(list) {
			if subtype, of, _ := strings.Cut(entry, ":"); of == extension {
				return kind + "/" + subtype
			}
		}
	}
	return "application/octet-stream"
}
