package upload

import (
	"mime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestContentType_DoesNotDependOnTheMachine(t *testing.T) {
	require.NoError(t, mime.AddExtensionType(".jpg", "text/x-of-the-machine"))
	require.NoError(t, mime.AddExtensionType(".zzz", "text/x-of-the-machine"))
	for name, want := range map[string]string{
		"a.jpg": "image/jpeg", "фото.JPEG": "image/jpeg", "IMG_1.HEIC": "image/heic", "a.webp": "image/webp", "a.avif": "image/avif",
		"a.mov": "video/quicktime", "a.mp4": "video/mp4", "voice.ogg": "audio/ogg", "a.m4a": "audio/mp4",
		"a.pdf": "application/pdf", "a.docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
		"a.xls": "application/vnd.ms-excel", "a.odt": "application/vnd.oasis.opendocument.text",
		"a.rar": "application/vnd.rar", "a.7z": "application/x-7z-compressed", "a.tar.gz": "application/gzip", "a.zip": "application/zip",
		"a.txt": "text/plain", "a.csv": "text/csv", "a.ics": "text/calendar", "a.eml": "message/rfc822", "a.epub": "application/epub+zip",
		"a.xlsm": "application/vnd.ms-excel.sheet.macroEnabled.12", "a.wmv": "video/x-ms-wmv", "a.wma": "audio/x-ms-wma", "a.psd": "image/vnd.adobe.photoshop",
		"a.zzz": "application/octet-stream", "a": "application/octet-stream", "a.": "application/octet-stream", ".jpg": "image/jpeg", "": "application/octet-stream",
	} {
		assert.Equal(t, want, contentTypeOf(name), name)
	}
}
