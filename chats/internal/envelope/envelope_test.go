package envelope

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// marker redacts the text "key", and shows what was sanitized.
type marker struct{}

func (marker) Redact(text string) string { return strings.ReplaceAll(text, "key", "***") }

func (m marker) Sanitize(text string) string { return m.Redact(strings.TrimSpace(text)) }

func of(text string) Body { return Body{Text: []byte(text), Redactor: marker{}} }

type item struct {
	ID   int64     `json:"messageId"`
	Text string    `json:"message"`
	At   time.Time `json:"createdAt"`
	List []struct {
		Name string
		Size int64
	} `json:"payload"`
	Next string `json:"nextPageToken"`
}

func TestDecode_ReturnsResultOrReason(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]struct {
		result bool
		err    error
	}{
		`{"status":"OK","result":{"messageId":7}}`:          {true, nil},
		`{"STATUS":"OK","Result":{"messageId":7},"more":1}`: {true, nil},
		`{"status":"OK"}`:                             {false, nil},
		`{"status":"OK"} `:                            {false, nil},
		`{"status":"OK","result":null,"errors":{}}`:   {false, nil},
		`{"status":"OK","errors":null}`:               {false, nil},
		`{"status":"OK","errors":[ ]}`:                {false, nil},
		`{"status":"OK","errors":""}`:                 {false, nil},
		`{"status":"OK","errors":false}`:              {false, nil},
		`{"status":"OK","errors":0}`:                  {false, nil},
		`{"status":"OK","errors":0,}`:                 {false, nil},
		`{"status":"OK","errors":1}`:                  {false, ErrErrors},
		`{"status":"OK","errors":[{"code":"A"}]}`:     {false, ErrErrors},
		`{"status":"OK","errors":{"code":"A"}}`:       {false, ErrErrors},
		`{"status":"OK","errors":"A","result":{},}`:   {true, ErrErrors},
		`{"errors":[null],"status":"OK","result":{}}`: {true, ErrErrors},
		`{"status":"ERROR","result":{"messageId":7}}`: {false, ErrNoReason},
		`{"status":"ERROR","result":"none"}`:          {false, ErrNoReason},
		`{"status":"ERROR","errors":[null,{}],"a":1}`: {false, ErrNoReason},
		`{"status":"ERROR","errors":[{"code":0}]}`:    {false, ErrNoReason},
		`{"status":"ERROR","message":" "}`:            {false, ErrNoReason},
		`{"status":"ERROR","message":"A"}`:            {false, ErrStatus},
		`{"status":"ERROR","errors":["A"]}`:           {false, ErrStatus},
		`{"status":"ERROR","errors":[{"code":7}]}`:    {false, ErrStatus},
		`{"status":"ERROR","errors":{"code":"A"},}`:   {false, ErrStatus},
		`{"result":{"messageId":7}}`:                  {true, ErrNoStatus},
		`{"status":5,"result":{"messageId":7}}`:       {true, ErrNoStatus},
		`{}`:                                          {false, ErrNoStatus},
		`{"status":"DONE","result":{"messageId":7}}`:  {true, ErrUnknownStatus},
	} {
		got, err := Decode[item](of(body), nil)
		assert.Equal(t, want.err, err, body)
		assert.Equal(t, want.result, got != nil, body)
	}
	for _, body := range []string{bareOK, bareOK + " "} { // without and with the decoder
		got, err := Decode(of(body), &item{Next: "kept"})
		require.NoError(t, err)
		assert.Equal(t, &item{Next: "kept"}, got, body)
	}
	prepared := &item{Next: "kept"}
	got, err := Decode(of(`{"status":"OK","result":{"messageId":7}}`), prepared)
	require.NoError(t, err)
	assert.Same(t, prepared, got)
	got, err = Decode(of(`{"status":"OK","result":{"messageId":"7"}}`), prepared)
	require.NoError(t, err)
	assert.Equal(t, &item{ID: 7}, got, "what the first attempt has written is gone")
}

// encoding/json ignores the case of names, so it would decode one list into the other.
func TestDecode_ListsThatDifferInCaseAreNotMixed(t *testing.T) {
	t.Parallel()
	type messages struct {
		List []item `json:"messages"`
	}
	for _, name := range []string{"Messages", "MESSAGES"} {
		for _, lists := range []string{
			`"messages":[{"messageId":1,"message":"a"},{"messageId":2}],"` + name + `":[{"messageId":3}]`,
			`"` + name + `":[{"messageId":3,"message":"b"}],"messages":[{"messageId":1,"message":"a"},{"messageId":2}]`,
		} {
			got, err := Decode[messages](of(`{"status":"OK","result":{`+lists+`}}`), nil)
			require.NoError(t, err)
			assert.Equal(t, &messages{List: []item{{ID: 1, Text: "a"}, {ID: 2}}}, got, lists)
		}
	}
}

func TestDecode_RepeatedListIsReadOnce(t *testing.T) {
	t.Parallel()
	type page struct {
		Messages []item `json:"messages"`
	}
	for _, result := range []string{
		`"messages":[{"messageId":1,"message":"a","payload":[{"name":"b","size":2}]}],"messages":[{"messageId":3}]`,
		`"messages":[{"messageId":1,"message":"a"}],"messages":[{"messageId":3},]`,
		`"messages":[{"messageId":"1","message":"a"}],"messages":[{"messageId":3}]`,
	} {
		got, err := Decode[page](of(`{"status":"OK","result":{`+result+`}}`), nil)
		require.NoError(t, err)
		assert.Equal(t, &page{[]item{{ID: 3}}}, got, "nothing of the first list is in the second")
	}
	type messages struct {
		Messages []item `json:"messages"`
	}
	for _, more := range []string{``, `,{"messageId":2},{"messageId":3,"message":"payload"}`, `,{"payload":null,"messageId":2}`} {
		got, err := Decode[messages](of(`{"status":"OK","result":{"messages":[{"messageId":1,"payload":[{"name":"b","size":2}],"payload":[{"name":"c"}]}`+more+`]}}`), nil)
		require.NoError(t, err)
		require.Len(t, got.Messages[0].List, 1)
		assert.Equal(t, "c", got.Messages[0].List[0].Name)
		assert.Zero(t, got.Messages[0].List[0].Size, more)
	}
	got, err := Decode[item](of(`{"status":"OK","result":{"messageId":1,"payload":[{"name":"b","size":2}],"payload":[{"name":"c"}]}}`), nil)
	require.NoError(t, err)
	require.Len(t, got.List, 1)
	assert.Equal(t, "c", got.List[0].Name)
	assert.Zero(t, got.List[0].Size)
}

func TestDecode_ErrorsAreOneCleanText(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"status":"OK",key}`:            "invalid JSON response: invalid character 'k' looking for beginning of object key string",
		`{"status":"OK","result":"key"}`: "invalid JSON response: unexpected string in result",
		`[]`:                             "invalid JSON response: unexpected array in the body",
		`"key" and more`:                 "invalid JSON response: invalid character 'a' after top-level value",
		"<html>":                         "invalid JSON response: invalid character '<' looking for beginning of value",
	} {
		_, err := Decode[item](of(body), nil)
		require.Error(t, err, body)
		assert.NotErrorIs(t, err, io.ErrUnexpectedEOF)
		assert.Equal(t, strings.ReplaceAll(want, "key", "***"), err.Error(), body)
	}
	for _, body := range []string{"", " \n", `{"status":"OK","result":{"mess`} {
		b := of(body)
		_, err := Decode[item](b, nil)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, body)
		b.Whole = true
		_, err = Decode[item](b, nil)
		require.Error(t, err)
		assert.NotErrorIs(t, err, io.ErrUnexpectedEOF, "the server has sent it so")
	}
}

func TestDecode_MalformedFieldAffectsNothingElse(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 2, 8, 40, 0, 0, time.UTC)
	for fields, want := range map[string]item{
		`"messageId":" 7 ","message":"a"`:         {ID: 7, Text: "a"},
		`"messageId":7.0`:                         {ID: 7},
		`"messageId":"7.5","message":"a"`:         {Text: "a"},
		`"messageId":"9007199254740994.0"`:        {}, // not exact
		`"messageId":"1795650627397630"`:          {ID: 1795650627397630},
		`"messageId":{},"message":[1]`:            {},
		`"createdAt":"2026-03-02 11:40:00 +0300"`: {At: at},
		`"createdAt":"2026-03-02 11:40:00+03"`:    {At: at},
		`"createdAt":"2026-03-02t08:40"`:          {At: at},
		`"createdAt":"yesterday"`:                 {},
		`"createdAt":"2026-03-02"`:                {},
		`"createdAt":"0"`:                         {},
		`"createdAt":"9999-12-31 23:59:59-10:00"`: {},
		`"createdAt":1772440800`:                  {At: at},
		`"createdAt":"1772440800000"`:             {At: at},
		`"createdAt":1772440800.25`:               {At: at.Add(250 * time.Millisecond)},
		`"createdAt":"1772440800.250000000"`:      {At: at.Add(250 * time.Millisecond)},
		`"createdAt":1772440800000000`:            {At: at},
		`"createdAt":1772440800000000000`:         {At: at},
		`"nextPageToken":12,"message":"a"`:        {Next: "12", Text: "a"},
		`"nextPageToken":0,"message":"a"`:         {Text: "a"},
		`"payload":"none","message":"a"`:          {Text: "a"},
		`"messageId":"7","payload":[{"size":"5"},5,{"name":[]}]`: {ID: 7, List: []struct {
			Name string
			Size int64
		}{{Size: 5}, {}, {}}},
	} {
		got, err := Decode[item](of(`{"status":"OK","result":{`+fields+`}}`), nil)
		if assert.NoError(t, err, fields) {
			got.At = got.At.UTC()
			assert.Equal(t, want, *got, fields)
		}
	}
	// Nor are values that are not JSON.
	for fields, want := range map[string]item{
		`"message":"he said "yes" and left","messageId":7`:     {ID: 7, Text: `he said "yes" and left`},
		`"message":"he said "no": [so] he left","messageId":7`: {ID: 7, Text: `he said "no": [so] he left`},
		`"message":"a "quoted"","messageId":7`:                 {ID: 7, Text: `a "quoted"`},
		`"message" : ""quoted" \"too\" " , "messageId" : 7`:    {ID: 7, Text: `"quoted" "too" `},
		`"message":"a 55" screen","messageId":7`:               {ID: 7, Text: `a 55" screen`},
		`"message":"a 55", and "more", too","messageId":7`:     {ID: 7, Text: `a 55", and "more", too`},
		`"more":["a",1,"b",null,"c",{},"d"],"message":" " "`:   {Text: ` " `},
		`"createdAt":2026-03-02 11:40:00,"messageId":7`:        {ID: 7},
		`"createdAt":new Date(5),"messageId": 7 `:              {ID: 7},
		`"payload":[{"name":"a "1".pdf","size":5 KB}],"messageId":7`: {ID: 7, List: []struct {
			Name string
			Size int64
		}{{Name: `a "1".pdf`}}},
	} {
		got, err := Decode[item](of(`{"status":"OK","result":{`+fields+`}}`), nil)
		if assert.NoError(t, err, fields) {
			assert.Equal(t, want, *got, fields)
		}
	}
	// The structure of a page is not repaired.
	for _, field := range []string{`"messages":{}`, `"messages":5`, `"paging":["a"]`, `"paging":{"nextPageToken":{"a":1}}`} {
		_, err := Decode[struct {
			Messages []item
			Paging   struct{ NextPageToken string }
		}](of(`{"status":"OK","result":{`+field+`}}`), nil)
		assert.ErrorContains(t, err, "invalid JSON response: unexpected ", field)
	}
	// A text that closes its page, if its quotes are not escaped, must not make the page look like the last one.
	_, err := Decode[map[string]any](of(`{"status":"OK","result":{"messages":[{"message":""}]},"},{"messageId":8}],"paging":{"nextPageToken":"a"}}}`), nil)
	assert.ErrorContains(t, err, "invalid JSON response")
}

// encoding/json refuses a whole body because of one value that is nested too deeply.
func TestDecode_DeeplyNestedValueAffectsNothingElse(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`[{"a":`, 6000) + `"]}\"[{"` + strings.Repeat("}]", 6000)
	got, err := Decode[item](of(`{"status":"OK","result":{"messageId":"7","more":`+deep+`,"message":"[[{","payload":[{"size":5}]}}`), nil)
	require.NoError(t, err)
	assert.Equal(t, int64(7), got.ID)
	assert.Equal(t, "[[{", got.Text)
	assert.Len(t, got.List, 1)
	assert.True(t, of(`{"status":"ERROR","more":`+deep+`}`).IsAPI())
	assert.Equal(t, []Detail{{"A", "why"}}, of(`{"errors":[{"code":"A","message":"why","more":`+deep+`}]}`).Details())

	for _, end := range []string{`[{"`, strings.Repeat("}]", 6000), strings.Repeat("]}", 6000) + "}}"} {
		_, err = Decode[item](of(`{"status":"OK","result":{"more":`+strings.Repeat(`[{"a":`, 6000)+end), nil)
		require.ErrorContains(t, err, "invalid JSON response", "what is broken stays so")
	}
	_, err = Decode[item](of(`{"status":"OK","result":`+strings.Repeat(`[`, 12000)), nil)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// Every value is looked at once, however deeply it is nested.
func TestDecode_NestedPagingTakesNoTime(t *testing.T) {
	t.Parallel()
	decode := func(depth int) time.Duration {
		body := of(`{"status":"OK","result":{"messageId":"7","paging":` + strings.Repeat(`{"paging":`, depth) +
			`"` + strings.Repeat("long ", 1<<14) + `"` + strings.Repeat("}", depth) + `}}`)
		return fastest(func() {
			got, err := Decode[item](body, nil)
			require.NoError(t, err)
			assert.EqualValues(t, 7, got.ID)
		})
	}
	assert.Less(t, int64(decode(1000)/decode(2)), int64(20))
}

// fastest returns the shortest of the times that f takes, because the machine may be busy.
func fastest(f func()) time.Duration {
	best := time.Duration(math.MaxInt64)
	for range 3 {
		began := time.Now()
		f()
		best = min(best, time.Since(began))
	}
	return best
}

// The time grows with the length of a text, not with its square.
func TestRepairSyntax_QuotesTakeNoTime(t *testing.T) {
	t.Parallel()
	for _, part := range []string{`"x`, `"`, `" `, `\"`, `\\"`, `":`, `",`, `",x`, "\"\n\n\n\n", `["x`, `x"`} {
		for _, begin := range []string{`{"a":`, `{"a":[`} {
			repair := func(length int) time.Duration {
				text := []byte(begin + strings.Repeat(part, length/len(part)))
				return fastest(func() { repairSyntax(text) })
			}
			assert.Less(t, int64(repair(1<<14)/repair(1<<8)), int64(1<<9), "%s %q", begin, part)
		}
	}
}

// Escaping every character would make a body six times as long.
func TestRepairSyntax_IsBounded(t *testing.T) {
	t.Parallel()
	for length, isRepaired := range map[int]bool{maxGrowth / 5: true, maxGrowth/5 + 1: false} {
		text := []byte(`{"a":"` + strings.Repeat("\x01", length) + `"}`)
		assert.Equal(t, isRepaired, json.Valid(repairSyntax(text)), length)
	}
}

func TestIsAPI_DistinguishesGateways(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		`{"status":"ERROR"}`: true, `{"status":"OK"}`: true, `{"errors":[{"code":"NOT_FOUND"}]}`: true, `{"status":404,"errors":[5,{"code":"A"}]}`: true,
		"": false, "null": false, "<html>": false, `{"status":404}`: false, `{"status":"down"}`: false, `{"errors":[{"code":""},{"code":5}]}`: false,
	} {
		assert.Equal(t, want, of(body).IsAPI(), body)
	}
}

func TestDetails_AnyBodyHasAText(t *testing.T) {
	t.Parallel()
	text := func(s string) []Detail { return []Detail{{Message: s}} }
	for body, want := range map[string][]Detail{
		`{"errors":[{"code":"A","message":"why"},{"code":"B"},{},{"message":" key "}]}`: {{"A", "why"}, {"B", ""}, {"", "***"}},
		`{"errors":[5,{"code":7,"message":"why"}]}`:                                     text("why"),
		`{"errors":"all","message":"why"}`:                                              text("why"),
		`{"message":{"text":"why"},"status":"ERROR","errors":[],"result":{}}`:           text(`{"message":{"text":"why"}}`),
		`{"status":"ERROR","errors":null,"message":""}`:                                 nil,
		"null":                              nil,
		"":                                  nil,
		`"why"`:                             text(`"why"`),
		`["\u006bey"]`:                      text(`["***"]`),
		"<style>p</style><b>Bad</b> <i>key": text("Bad   ***"),
		strings.Repeat("a", maxText+1):      text(strings.Repeat("a", maxText)),
		`{"message":"` + strings.Repeat("a", maxBody):                                  text((`{"message":"` + strings.Repeat("a", maxText))[:maxText]),
		`{"errors":[` + strings.Repeat(`{"code":"A"},`, maxDetails) + `{"code":"B"}]}`: {{"A", ""}, {"A", ""}, {"A", ""}, {"A", ""}, {"A", ""}, {"A", ""}, {"A", ""}, {"A", ""}, {"A", ""}, {"A", ""}},
	} {
		assert.Equal(t, want, of(body).Details(), "%.100s", body)
	}
}

// A gateway may add to a body. Of two bodies, nothing says which one counts.
func TestDecode_WhatFollowsTheBodyIsIgnored(t *testing.T) {
	t.Parallel()
	const body = `{"status":"OK","result":{"messageId":7,"message":"}"}}`
	for _, behind := range []string{"}", "]}", ",", ";", "\x00\x00", "<!-- -->", " and more", `"`, "\ufeff", ":{}"} {
		got, err := Decode[item](of(body+behind), nil)
		if assert.NoError(t, err, "%q", behind) {
			assert.Equal(t, &item{ID: 7, Text: "}"}, got, "%q", behind)
		}
		assert.True(t, of(`{"status":"ERROR"}`+behind).IsAPI(), "%q", behind)
		assert.Equal(t, []Detail{{"A", "why"}}, of(`{"errors":[{"code":"A","message":"why"}]}`+behind).Details(), "%q", behind)
	}
	for _, behind := range []string{body, "\n" + body, `{"status":"ERROR"}`, "[]", "{"} {
		_, err := Decode[item](of(body+behind), nil)
		assert.ErrorContains(t, err, "invalid JSON response", "%q", behind)
	}
}

// FuzzRepairSyntax checks that what is valid stays as it is.
func FuzzRepairSyntax(f *testing.F) {
	f.Add([]byte(`{"a":[1, "x\n\u12ab\\\"", {"b":null,"c":true}], "d":-1.5e3, "":""}`))
	f.Add([]byte(`{"a":[NaN, "\x` + "\x01" + `"], "b":{01:02}}`))
	f.Add([]byte(`{"a":"b "c" d", "e":["f "g", h"], "i"j":5 KB, "k":"}`))
	f.Add([]byte(`{"""\`))
	f.Add([]byte(`{"":0:}0`))
	f.Add([]byte(`{""0"\:""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		repaired := repairSyntax(text)
		if json.Valid(text) && bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) <= maxDepth {
			assert.Equal(t, string(text), string(repaired))
		}
		assert.Equal(t, string(repaired), string(repairSyntax(repaired)))
	})
}
