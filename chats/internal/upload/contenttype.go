package upload

import (
	"path"
	"strings"
)

// contentTypes are the types of the files that customers and shops send, as subtype:extension.
// The tables of package mime depend on the machine; in an empty container image they have only a
// dozen types.
var contentTypes = map[string]string{
	"image":       "jpeg:jpg jpeg:jpeg jpeg:jfif png:png gif:gif webp:webp heic:heic heif:heif avif:avif bmp:bmp tiff:tif tiff:tiff svg+xml:svg jxl:jxl vnd.djvu:djvu vnd.adobe.photoshop:psd",
	"video":       "mp4:mp4 mp4:m4v quicktime:mov webm:webm x-msvideo:avi x-matroska:mkv 3gpp:3gp mpeg:mpg mpeg:mpeg x-ms-wmv:wmv x-flv:flv ogg:ogv 3gpp2:3g2",
	"audio":       "mpeg:mp3 mp4:m4a ogg:ogg ogg:oga ogg:opus wav:wav aac:aac amr:amr flac:flac x-ms-wma:wma aiff:aiff midi:mid",
	"text":        "plain:txt plain:log csv:csv html:html html:htm markdown:md calendar:ics vcard:vcf",
	"application": "pdf:pdf rtf:rtf json:json xml:xml zip:zip vnd.rar:rar x-7z-compressed:7z gzip:gz gzip:tgz x-tar:tar x-bzip2:bz2 x-xz:xz epub+zip:epub " + office,
	"message":     "rfc822:eml",
}

const office = "msword:doc vnd.ms-excel:xls vnd.ms-powerpoint:ppt vnd.ms-outlook:msg " +
	"vnd.ms-word.document.macroEnabled.12:docm vnd.ms-excel.sheet.macroEnabled.12:xlsm " +
	"vnd.openxmlformats-officedocument.presentationml.slideshow:ppsx " +
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
