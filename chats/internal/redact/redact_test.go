package redact

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const redactKey = "ACMA:Ab3dEf6hIj9lMn2pQr5tUv8xYz1bCd4fGh7jKl0n:1a2b3c4d"

func quoted(text string) string {
	encoded, _ := json.Marshal(text)
	return string(encoded)
}

// each writes every character of a text in a form.
func each(text, form string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		_, _ = fmt.Fprintf(&b, form, c)
	}
	return b.String()
}

// echoForms are the ways in which a server or proxy may write a secret.
var echoForms = map[string]func(string) string{
	"as it is":              func(s string) string { return s },
	"lower case":            strings.ToLower,
	"upper case":            strings.ToUpper,
	"URL":                   url.QueryEscape,
	"URL, lower case":       func(s string) string { return strings.ToLower(url.QueryEscape(s)) },
	"URL, twice":            func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
	"URL, every character":  func(s string) string { return each(s, "%%%02X") },
	"HTML":                  html.EscapeString,
	"HTML, every character": func(s string) string { return each(s, "&#%d;") },
	"HTML, hexadecimal":     func(s string) string { return each(s, "&#x%04x;") },
	"HTML, twice":           func(s string) string { return html.EscapeString(each(s, "&#x%02X;")) },
	"HTML, by name": func(s string) string {
		return strings.NewReplacer(":", "&colon;", "/", "&sol;", "+", "&plus;").Replace(s)
	},
	"JSON, every character":   func(s string) string { return each(s, `\u%04x`) },
	"JSON in JSON":            func(s string) string { return quoted(quoted(s)) },
	"JSON in JSON in JSON":    func(s string) string { return quoted(quoted(quoted(s))) },
	"JSON in JSON, escaped":   func(s string) string { return quoted(quoted(each(s, `\u%04X`))) },
	"JSON with escaped slash": func(s string) string { return strings.ReplaceAll(s, "/", `\/`) },
	"JSON of a URL":           func(s string) string { return quoted(url.QueryEscape(s)) },
	"HTML of JSON":            func(s string) string { return html.EscapeString(quoted(s)) },
	"quoted by Go":            func(s string) string { return fmt.Sprintf("%q", s) },
	"hexadecimal escapes":     func(s string) string { return each(s, `\x%02x`) },
	"octal escapes":           func(s string) string { return each(s, `\%03o`) },
	"octal escapes in JSON":   func(s string) string { return quoted(each(s, `\%03o`)) },
	"long Unicode escapes":    func(s string) string { return each(s, `\U%08x`) },
	"braces":                  func(s string) string { return each(s, `\u{%x}`) },
	"padded braces":           func(s string) string { return each(s, `\x{%06X}`) },
	"URL of JavaScript":       func(s string) string { return each(s, "%%u%04X") },
	"quoted printable":        func(s string) string { return each(s, "=%02X") },
	"HTML without semicolons": func(s string) string { return each(s, "&#%d") },
	"HTML, hexadecimal, open": func(s string) string { return each(s, "&#x%02X") },
	"HTML, padded":            func(s string) string { return each(s, "&#x%012x;") },
	"HTML, by name, open":     func(s string) string { return strings.NewReplacer("&", "&amp", "<", "&lt", ">", "&gt").Replace(s) },
	"without the first part":  func(s string) string { return s[len(s)/3:] },
	"without the last part":   func(s string) string { return s[:len(s)*2/3] },
	"from the middle":         func(s string) string { return s[11:20] },
	"cut after a few":         func(s string) string { return s[:12] + "..." },
	"both ends":               func(s string) string { return s[:12] + "..." + s[len(s)-9:] },
	"part, escaped, lower":    func(s string) string { return strings.ToLower(url.QueryEscape(s[8:30])) },
	"in a word":               func(s string) string { return "key=" + s + "suffix" },
	"twice":                   func(s string) string { return s + s },
	"spaces":                  func(s string) string { return each(s, "%c ") },
	"line ends":               func(s string) string { return each(s, "%c\r\n") },
	"a line end":              func(s string) string { return s[:7] + "\n" + s[7:14] + "\r\n\t" + s[14:20] + "<br/>" + s[20:] },
	"soft line ends":          func(s string) string { return each(s, "%c=\r\n") },
	"zero-width spaces":       func(s string) string { return each(s, "%c\u200b") },
	"base32":                  func(s string) string { return base32.StdEncoding.EncodeToString([]byte(s)) },
	"base32 of a header":      func(s string) string { return base32.StdEncoding.EncodeToString([]byte("Api-Key: " + s)) },
	"base64, upper case":      func(s string) string { return base64.StdEncoding.EncodeToString([]byte(strings.ToUpper(s))) },
	"colours":                 func(s string) string { return each(s, "\x1b[31m%c") },
	"colours, escaped":        func(s string) string { return each(s, `\u001b[1;31m%c`) },
	"long tags":               func(s string) string { return each(s, `%c</span><span class="token punctuation">`) },
	"soft hyphens, in JSON":   func(s string) string { return quoted(each(s, "%c\u00ad")) },
	"UTF-16":                  func(s string) string { return each(s, "%c\x00") },
	"UTF-16, escaped":         func(s string) string { return each(s, `%c\u0000`) },
	"line ends, JSON in JSON": func(s string) string { return quoted(quoted(each(s, "%c\n"))) },
	"zero-width, escaped":     func(s string) string { return each(s, `%c\u200b`) },
	"zero-width, URL":         func(s string) string { return url.QueryEscape(each(s, "%c\u200b")) },
	"zero-width, HTML":        func(s string) string { return each(s, "%c&#8203;") },
	"not UTF-8, quoted by Go": func(s string) string { return fmt.Sprintf("%q", each(s, "%c\xff")) },
	"not UTF-8":               func(s string) string { return each(s, "%c\xff") },
	"word breaks":             func(s string) string { return each(s, "%c<wbr>") },
	"spaces, URL":             func(s string) string { return url.QueryEscape(each(s, "%c ")) },
	"base64":                  func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64, after one":       func(s string) string { return base64.URLEncoding.EncodeToString([]byte(":" + s)) },
	"base64, after two":       func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte("u:" + s)) },
	"base64 of a part":        func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)[5:30]) },
	"base64, lines": func(s string) string {
		return base64.StdEncoding.EncodeToString([]byte(s))[:9] + "\n" + base64.StdEncoding.EncodeToString([]byte(s))[9:]
	},
	"hexadecimal":            func(s string) string { return hex.EncodeToString([]byte(s)) },
	"hexadecimal, separated": func(s string) string { return each(s, "%02X:") },
	"hexadecimal, a dump":    func(s string) string { return fmt.Sprintf("% #x", s) },
	"decimal bytes":          func(s string) string { return fmt.Sprintf("%d", []byte(s)) },
	"quoted-printable lines": func(s string) string { return each(strings.Join(strings.Split(s, ""), "\n"), "=%02X") },
	"fullwidth":              fullwidth,
	"fullwidth, escaped":     func(s string) string { return strings.Trim(strconv.QuoteToASCII(fullwidth(s)), `"`) },
	"fullwidth, code points": func(s string) string { return strings.Trim(fmt.Sprintf("%U", []rune(fullwidth(s))), "[]") },
	"fullwidth, in a URL":    func(s string) string { return url.PathEscape(fullwidth(s)) },
	"bytes of Go":            func(s string) string { return fmt.Sprintf("%#v", []byte(s)) },
	"code points":            func(s string) string { return fmt.Sprintf("%U", []rune(s)) },
}

func fullwidth(s string) string {
	return strings.Map(func(r rune) rune { return r + 0xFEE0 }, s)
}

func TestRedact_HidesASecretHoweverItIsEchoed(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{redactKey, "y0_AgAAAAA+b/c=d~e'f&g<h>i%zj_k-l.mn", `it"has\backslashes\and"quotes<and>more`} {
		for name, form := range echoForms {
			text := Secrets{"", secret}.Redact("before: " + form(secret) + " after")
			assertNoPart(t, secret, text, name)
			assert.Contains(t, text, Placeholder, name)
			assert.True(t, strings.HasPrefix(text, "before: "), "%s: %s", name, text)
			assert.True(t, strings.HasSuffix(text, " after"), "%s: %s", name, text)
		}
	}
}

// assertNoPart asserts that no 8 characters of secret can be read in text, by a simpler
// way of decoding than that of the library.
func assertNoPart(t *testing.T, secret, text, name string) {
	t.Helper()
	decoded := []string{text}
	for range 4 {
		last := decoded[len(decoded)-1]
		if plain, err := url.PathUnescape(last); err == nil {
			last = plain
		}
		last = html.UnescapeString(last)
		var inner string
		if json.Unmarshal([]byte(`"`+last+`"`), &inner) == nil {
			last = inner
		}
		decoded = append(decoded, strings.ReplaceAll(last, `\`, ""))
	}
	for _, text := range decoded {
		text = strings.ToLower(strings.Join(strings.Fields(text), ""))
		for i := range len(secret) - minPart + 1 {
			require.NotContains(t, text, strings.ToLower(secret[i:i+minPart]), name)
		}
	}
}

func TestRedact_LeavesOtherTextAlone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "ACMA: unknown key", "no such key ACMA:Ab", "100 % of 50%, \\o/ C:\\temp & more &amp; &nosuch; \\u00zz %zz \\", "Ключ не найден",
		strings.Repeat("a", 1000), "1a2b3c4", "\xff\xfe",
	} {
		assert.Equal(t, text, Secrets{redactKey}.Redact(text))
		assert.Equal(t, text, Secrets(nil).Redact(text))
	}
	assert.Equal(t, Placeholder+Placeholder, Secrets{redactKey}.Redact(redactKey+redactKey))
	assert.Equal(t, "a "+Placeholder+" b", Secrets{"tok"}.Redact("a TOK b"), "a short secret is redacted whole")
	assert.Equal(t, "a to b", Secrets{"tok"}.Redact("a to b"))
	assert.Equal(t, Placeholder+"/"+Placeholder, Secrets{"first-secret", "second-secret"}.Redact("FIRST-secret/cond-secret"))
}

// What looks like an escape may be the secret itself.
func TestRedact_SecretThatLooksEscaped(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"41bcdefg", "x41bcdefg", "u0041bcdefg", "#65abcdefg", "a=41%41&#65;"} {
		for _, before := range []string{"token=", "token%3D", `\`, "%", "&", "="} {
			text := Secrets{secret}.Redact(before + secret + " after")
			assert.Contains(t, text, Placeholder+" after", before+secret)
			assert.NotContains(t, text, secret[2:], before+secret)
		}
	}
}

// Comparing every position of the text with every position of the secret would take hours.
func TestRedact_LongSecretInALongText(t *testing.T) {
	t.Parallel()
	secret, text := "session="+strings.Repeat("x1", 1<<18), strings.Repeat("x1x1x1y", 1<<16)
	assert.Equal(t, text+Placeholder, Secrets{secret}.Redact(text+strings.Repeat("x1", 2000)))
}

// A hostile body must not keep the program busy.
func TestRedact_IsBounded(t *testing.T) {
	t.Parallel()
	hidden := Secrets{redactKey, strings.Repeat("a", 200)}
	for _, text := range []string{
		strings.Repeat("%25", 1<<20/3), "%" + strings.Repeat("25", 1<<19), strings.Repeat(`\`, 1<<20), strings.Repeat("&amp;", 1<<20/5),
		strings.Repeat("a", 1<<20), strings.Repeat(redactKey[:7], 1<<20),
	} {
		assert.LessOrEqual(t, len([]rune(hidden.Sanitize(text))), maxText)
	}
}

func TestOfRequest_AreWhatTheCallerAdded(t *testing.T) {
	t.Parallel()
	const link = "https://files.example/f?id=attachment-1234567&sig=from-the-link"
	req, err := http.NewRequest(http.MethodGet, link, nil)
	require.NoError(t, err)
	assert.Equal(t, Secrets{""}, OfRequest(req, link))
	query := req.URL.Query()
	query.Set("access_token", "added-to-the-query")
	query.Add("id", "s3cret")
	req.URL.RawQuery = query.Encode()
	req.Header = http.Header{"Authorization": {"OAuth a-token-of-the-user"}, "X-Token": {"a-token-of-the-caller", "short"}, "User-Agent": {"desk/1.2.3.4"}, "Accept-Encoding": {"identity"}}
	assert.ElementsMatch(t, []string{"a-token-of-the-user", "a-token-of-the-caller", "added-to-the-query", "s3cret", ""}, OfRequest(req, link))

	req.URL.RawQuery = "id=attachment-1234567&a-token-without-a-name"
	assert.Contains(t, OfRequest(req, link), "a-token-without-a-name")
	assert.NotContains(t, OfRequest(req, link+"&a-token-without-a-name"), "a-token-without-a-name")

	req.Header = http.Header{}
	req.SetBasicAuth("user", "password-1")
	assert.Contains(t, OfRequest(req, link), "password-1")

	req.Header, req.URL.User = http.Header{}, url.User("a-token-as-the-name")
	assert.Contains(t, OfRequest(req, link), "a-token-as-the-name")
	assert.NotContains(t, OfRequest(req, "https://a-token-as-the-name@files.example/f"), "a-token-as-the-name")
}

func TestSanitize_MakesAnyTextFitForAnError(t *testing.T) {
	t.Parallel()
	hidden := Secrets{"", "key"}
	for in, want := range map[string]string{
		"": "", " \t\r\n": "", "a\n\nb": "a b", "a\x00\x1b[2Jb": "a [2Jb", "\u202eab\u2028c\u00a0d": "ab c d", "\xff\xfea": "?a",
		"my key.": "my " + Placeholder + ".", "keykey": Placeholder + Placeholder, strings.Repeat("ж", maxText+1): strings.Repeat("ж", maxText),
	} {
		assert.Equal(t, want, hidden.Sanitize(in), "%q", in)
	}
}

// An error whose text contains a secret is not unwrapped, because printing the cause would
// print the secret.
func TestSanitizeError_HidesTheCauseThatHasASecret(t *testing.T) {
	t.Parallel()
	hidden := Secrets{"ACMA:secret"}
	plain, torn, telling := errors.New("no route"), errors.New("bad line\x1b[2J"), errors.New("bad header ACMA:secret")
	assert.Same(t, plain, hidden.SanitizeError(plain))
	assert.EqualError(t, hidden.SanitizeError(torn), "bad line [2J")
	assert.ErrorIs(t, hidden.SanitizeError(torn), torn)
	assert.EqualError(t, hidden.SanitizeError(telling), "bad header "+Placeholder)
	assert.NotErrorIs(t, hidden.SanitizeError(telling), telling)
	assert.NoError(t, hidden.SanitizeError(nil))
}

func TestRedactBody(t *testing.T) {
	t.Parallel()
	secrets := Secrets{redactKey, "key", ""}
	for _, echo := range []string{
		redactKey, redactKey[1:], strings.ToLower(redactKey), strings.ToUpper(redactKey), url.QueryEscape(redactKey),
		strings.ReplaceAll(redactKey, ":", `\u003a`), strings.ReplaceAll(redactKey, ":", "&colon;"),
	} {
		assert.Equal(t, "x [redacted]!", string(secrets.RedactBody([]byte("x "+echo+"!"), false)))
	}
	part := "a " + redactKey[8:30] + "!"
	for _, text := range []string{"", `{"key":1}`, part} {
		assert.Equal(t, text, string(secrets.RedactBody([]byte(text), false)))
	}
	assert.Equal(t, "a [redacted]!", string(secrets.RedactBody([]byte(part), true)))
	long := strings.Repeat(" ", maxError) + part
	assert.Equal(t, long, string(secrets.RedactBody([]byte(long), true)))
	assert.Equal(t, "[redacted]", string(Secrets{"a:b-c+d:e"}.RedactBody([]byte("a:b-c+d:e"), false)))
}

func TestRedactHeader(t *testing.T) {
	t.Parallel()
	header := http.Header{"A": {"1", "Api-Key: " + redactKey}, "B": {redactKey[8:30], "short", url.QueryEscape(redactKey)}, "C": nil}
	kept := header.Clone()
	got := Secrets{redactKey, "short", ""}.RedactHeader(header)
	assert.Equal(t, http.Header{"A": {"1", "Api-Key: " + Placeholder}, "B": {redactKey[8:30], "short", Placeholder}, "C": nil}, got)
	assert.Equal(t, kept, header)
}

func TestRedact_RemembersAFewSecretsOnly(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	for n := range 4 * maxCached {
		secret := fmt.Sprintf("secret-number-%d", n)
		all.Go(func() {
			for range 2 {
				assert.Equal(t, "the key "+Placeholder+" is wrong", Secrets{secret}.Redact("the key "+secret+" is wrong"))
			}
		})
	}
	all.Wait()
	cacheLock.Lock()
	defer cacheLock.Unlock()
	assert.LessOrEqual(t, len(cache), maxCached)
}

func BenchmarkRedact(b *testing.B) {
	secrets := Secrets{"ACMA:NotARealKeyNotARealKeyNotARealKeyNotARea:00c0ffee"}
	for b.Loop() {
		secrets.Redact("Post \"/v2/businesses/1234567/chats/message\": context deadline exceeded while awaiting headers")
	}
}
