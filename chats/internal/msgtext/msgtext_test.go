package msgtext

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

const longest = 4096

func TestSplit_PrefersTheBestBreak(t *testing.T) {
	t.Parallel()
	word := strings.Repeat("ж", 1000)
	tests := []struct {
		name, text string
		want       []string
	}{
		{"empty", "", nil},
		{"blank", " \n\t\u00a0", nil},
		{"short", " Да.\n\nНет. ", []string{" Да.\n\nНет. "}},
		{"just short enough", strings.Repeat("ж", longest), []string{strings.Repeat("ж", longest)}},
		{
			"paragraphs", word + ". А\n\n" + word + "!\r\n \r\n\n" + word + ". Б " + word + "\n\n" + word,
			[]string{word + ". А\n\n" + word + "!\r\n \r\n\n" + word + ". Б " + word, word},
		},
		{
			"the last paragraph that fits", word + "\n\n" + word + "\n\n" + word + " " + word + " " + word,
			[]string{word + "\n\n" + word, word + " " + word + " " + word},
		},
		{
			"sentences", word + ". " + word + "?» " + word + " " + word + " " + word,
			[]string{word + ". " + word + "?»", word + " " + word + " " + word},
		},
		{"sentences in Arabic", word + "؟ " + word + " " + word + " " + word + " " + word, []string{word + "؟", word + " " + word + " " + word + " " + word}},
		{"sentences in Chinese", word + "。" + word + "！」" + word + word + word, []string{word + "。" + word + "！」", word + word + word}},
		{"lines", word + "\n" + word + "\r\n" + word + " " + word + " " + word, []string{word + "\n" + word, word + " " + word + " " + word}},
		{"words", strings.Repeat(word+" ", 9) + word, []string{
			word + " " + word + " " + word + " " + word, word + " " + word + " " + word + " " + word, word + " " + word,
		}},
		{"a word that ends at the maximum", strings.Repeat("a", longest) + "  b", []string{strings.Repeat("a", longest), "b"}},
		{"no space", strings.Repeat("ж", longest) + "ж", []string{strings.Repeat("ж", longest), "ж"}},
		{"a full stop in a number", strings.Repeat("1.", longest), []string{strings.Repeat("1.", longest/2), strings.Repeat("1.", longest/2)}},
		{"more whitespace than fits", "a" + strings.Repeat(" ", 3*longest) + "b", []string{"a", "b"}},
		{"whitespace first", strings.Repeat(" ", longest+1) + "b", []string{"b"}},
		{"combining marks", strings.Repeat("a", longest-1) + "и\u0306\u0301b", []string{strings.Repeat("a", longest-1), "и\u0306\u0301b"}},
		{"an emoji sequence", strings.Repeat("a", longest-3) + "👩\u200d👩\u200d👧b", []string{strings.Repeat("a", longest-3), "👩\u200d👩\u200d👧b"}},
		{"a variation selector", strings.Repeat("a", longest-1) + "❤\ufe0fb", []string{strings.Repeat("a", longest-1), "❤\ufe0fb"}},
		{"a skin tone", strings.Repeat("a", longest-1) + "👍🏽b", []string{strings.Repeat("a", longest-1), "👍🏽b"}},
		{"a flag", strings.Repeat("a", longest-1) + "🇷🇺b", []string{strings.Repeat("a", longest-1), "🇷🇺b"}},
		{"a decomposed Korean syllable", strings.Repeat("a", longest-2) + "\u1112\u1161\u11abb", []string{strings.Repeat("a", longest-2), "\u1112\u1161\u11abb"}},
		{"a Korean syllable and its end", strings.Repeat("a", longest-1) + "\ud558\u11abb", []string{strings.Repeat("a", longest-1), "\ud558\u11abb"}},
		{"a syllable of old Korean", strings.Repeat("a", longest-3) + "\u1107\ua972\u1161\ud7cbb", []string{strings.Repeat("a", longest-3), "\u1107\ua972\u1161\ud7cbb"}},
		{"Korean letters that are not joined", strings.Repeat("a", longest-1) + "\u1107\u3131", []string{strings.Repeat("a", longest-1) + "\u1107", "\u3131"}},
		{"Thai am", strings.Repeat("a", longest-1) + "\u0e01\u0e33b", []string{strings.Repeat("a", longest-1), "\u0e01\u0e33b"}},
		{"a conjunct of Hindi", strings.Repeat("a", longest-2) + "\u0915\u094d\u0937", []string{strings.Repeat("a", longest-2), "\u0915\u094d\u0937"}},
		{"conjuncts of Khmer", strings.Repeat("a", longest-4) + "\u179f\u17d2\u179a\u17d2\u178f\u17b8", []string{strings.Repeat("a", longest-4), "\u179f\u17d2\u179a\u17d2\u178f\u17b8"}},
		{"a stacked letter of Burmese", strings.Repeat("a", longest-2) + "\u1000\u1039\u1000", []string{strings.Repeat("a", longest-2), "\u1000\u1039\u1000"}},
		{"an Arabic sign around its number", strings.Repeat("a", longest-1) + "\u0600\u0661b", []string{strings.Repeat("a", longest-2), "a\u0600\u0661b"}}, // the sign is a Cf
		{"a virama before a stop", strings.Repeat("a", longest-2) + "\u0915\u094d.", []string{strings.Repeat("a", longest-2) + "\u0915\u094d", "."}},
		{"nothing but marks", strings.Repeat("\u0301", longest+1), []string{strings.Repeat("\u0301", longest), "\u0301"}},
		{"invalid UTF-8", strings.Repeat("\xff", longest+1), []string{strings.Repeat("\xff", longest), "\xff"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, Split(tt.text, longest))
		})
	}
}

// The time grows with the length of a text, not with its square.
func TestSplit_LongTextsTakeNoTime(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"a &lt; b  ", "line\r\n", "a", "\u200b"} {
		split := func(length int) time.Duration {
			text := strings.Repeat(part, length/len(part))
			least := time.Hour
			for range 3 {
				began := time.Now()
				Split(text, 16)
				least = min(least, time.Since(began))
			}
			return least
		}
		assert.Less(t, int64(split(1<<14)/split(1<<8)), int64(1<<9), "%q", part)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("Раз. Два!\n\nТри", 2000)
	f.Add("e\u0301 👩\u200d👧 \xff", 900)
	f.Add(" \n", 3000)
	f.Fuzz(func(t *testing.T, text string, times int) {
		text = strings.Repeat(text, max(min(times, 50_000/max(len(text), 1)), 1))
		parts := Split(text, longest)
		for _, part := range parts {
			assert.LessOrEqual(t, utf8.RuneCountInString(part), longest)
			assert.NotEmpty(t, strings.TrimSpace(part))
		}
		withoutSpace := func(text string) string {
			return strings.Join(strings.FieldsFunc(text, unicode.IsSpace), "")
		}
		assert.Equal(t, withoutSpace(text), withoutSpace(strings.Join(parts, " ")), "nothing but whitespace is lost")
	})
}

func TestNormalize_DropsWhatServersChange(t *testing.T) {
	t.Parallel()
	const same = `Tom & "Jerry" are <here>`
	for _, text := range []string{
		same, "  Tom & \"Jerry\"\r\nare\u00a0 \t<here>\n", "Tom &amp; &quot;Jerry&quot; are &lt;here&gt;",
		"Tom &amp;amp;amp; &#34;Jerry&#x22; are &amp;lt;here>", "\ufeffTom\u200b &\x00 \"Jerry\"\u00ad are <here>",
	} {
		assert.Equal(t, same, Normalize(text), "%q", text)
	}
	assert.Equal(t, "&amp;amp;", Normalize("&amp;amp;amp;amp;amp;amp;"), "a text may be about escapes")
	assert.Empty(t, Normalize(" \u200b\n"))
	assert.NotEqual(t, Normalize("Да"), Normalize("да"))
}
