package sqlstore

import (
	"cmp"
	"database/sql"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

// fakeRow is a row of a result.
type fakeRow []any

func (r fakeRow) Scan(dest ...any) error {
	if len(dest) != len(r) {
		return errors.New("another number of columns")
	}
	for n := range dest {
		if scanner, ok := dest[n].(sql.Scanner); ok {
			micros, _ := r[n].(*int64)
			if micros == nil {
				_ = scanner.Scan(nil)
			} else if err := scanner.Scan(*micros); err != nil {
				return err
			}
			continue
		}
		reflect.ValueOf(dest[n]).Elem().Set(reflect.ValueOf(r[n]))
	}
	return nil
}

// fillFields sets every field to a value other than zero.
func fillFields(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 11, 25, 12, 0, 0, 123456000, time.UTC)))
			return
		}
		for n := range v.NumField() {
			fillFields(v.Field(n))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fillFields(v.Index(0))
		fillFields(v.Index(1))
	case reflect.Array:
		fillFields(v.Index(0))
	case reflect.Uint64:
		v.SetUint(1<<64 - 1)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fillFields(key)
		fillFields(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	default:
		v.SetInt(1<<53 + 1)
	}
}

// A field that is added to the state must not be forgotten here.
func TestChatValues_KeepEveryField(t *testing.T) {
	t.Parallel()
	var want inbox.ChatState
	fillFields(reflect.ValueOf(&want).Elem())
	for _, want := range []inbox.ChatState{want, {}} {
		values, err := chatValues(want)
		require.NoError(t, err)
		got, err := scanChat(fakeRow(values))
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
}

// The times of a document are as exact as those in columns, and in UTC.
func TestChatValues_TimesAreInUTC(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 25, 15, 0, 0, 123456789, time.FixedZone("MSK", 3*60*60))
	values, err := chatValues(inbox.ChatState{SeenAt: at, RefusedSince: at})
	require.NoError(t, err)
	got, err := scanChat(fakeRow(values))
	require.NoError(t, err)
	want := time.Date(2026, 11, 25, 12, 0, 0, 123456000, time.UTC)
	assert.Equal(t, []time.Time{want, want}, []time.Time{got.SeenAt, got.RefusedSince})
}

func TestBusinessValues_KeepEveryField(t *testing.T) {
	t.Parallel()
	var want inbox.BusinessState
	fillFields(reflect.ValueOf(&want).Elem())
	want.Version = 7
	values, err := businessValues(want)
	require.NoError(t, err)
	assert.NotContains(t, values[4], `"LastError":"text"`, "it has a column")
	got, err := scanBusiness(fakeRow(append(values, micros(want.DueAt))))
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// Each value has the column's name and type.
func TestValues_AreInTheOrderOfTheColumns(t *testing.T) {
	t.Parallel()
	at := func(n int64) time.Time { return time.UnixMicro(n).UTC() }
	values, err := chatValues(inbox.ChatState{
		Version: 1, Chat: 2, Wakes: 3, SeenWakes: 4, Open: true, Checkpoint: 5, UpdatedAt: at(6), DueAt: at(7),
		Head: 8, Attempts: 9, FailingSince: at(10), Failure: "failure",
	})
	require.NoError(t, err)
	checkValues(t, chatColumns, values, `{"version":1,"chat":2,"wakes":3,"seen_wakes":4,"open":true,"checkpoint":5,"updated_at":6,
		"due_at":7,"head":8,"attempts":9,"failing_since":10,"failure":"failure","state":"{}"}`)
	values, err = businessValues(inbox.BusinessState{Version: 1, StartTime: at(2), LastError: "error", LastErrorAt: at(3)})
	require.NoError(t, err)
	values[4] = "{}"
	checkValues(t, businessColumns, values, `{"version":1,"start_time":2,"last_error":"error","last_error_at":3,"state":"{}"}`)
}

func checkValues(t *testing.T, columns []column, values []any, want string) {
	t.Helper()
	require.Len(t, values, len(columns))
	byName := map[string]any{}
	for n, c := range columns {
		byName[c.name] = values[n]
		text, err := json.Marshal(values[n])
		require.NoError(t, err)
		kind := map[byte]string{'"': "TEXT", 't': "BOOLEAN"}[text[0]]
		assert.Equal(t, cmp.Or(kind, "BIGINT"), c.kind, c.name)
	}
	text, err := json.Marshal(byName)
	require.NoError(t, err)
	assert.JSONEq(t, want, string(text))
}

func TestScan_DamagedState(t *testing.T) {
	t.Parallel()
	values, err := chatValues(inbox.ChatState{})
	require.NoError(t, err)
	_, err = scanChat(fakeRow(append(values[:12:12], "{")))
	require.Error(t, err)
	values, err = businessValues(inbox.BusinessState{})
	require.NoError(t, err)
	_, err = scanBusiness(fakeRow(append(values[:4:4], "{")))
	require.Error(t, err)
	_, err = scanChat(fakeRow{})
	require.Error(t, err)
	_, err = scanBusiness(fakeRow{})
	require.Error(t, err)
	require.Error(t, new(storedTime).Scan("yesterday"))
}

func TestStorable_RemovesWhatPostgreSQLRefuses(t *testing.T) {
	t.Parallel()
	values, err := chatValues(inbox.ChatState{Failure: "a\x00b\xffc", Snapshot: chats.Chat{Customer: chats.Customer{Name: "\x00"}}})
	require.NoError(t, err)
	assert.Equal(t, "ab\uFFFDc", values[11])
	assert.NotContains(t, values[12], "\x00")
	values, err = businessValues(inbox.BusinessState{LastError: "\x00"})
	require.NoError(t, err)
	assert.Empty(t, values[2])
}

// A NotAfter that is meant as never must not become one that has passed.
func TestMicros_OfATimeFarAhead(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Time{time.Date(300_000, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(1<<60, 0)} {
		assert.Equal(t, 9999, time.UnixMicro(*micros(at)).UTC().Year(), at)
	}
	assert.Nil(t, micros(time.Time{}))
}

// Nor the other way round.
func TestMicros_OfATimeLongAgo(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Time{time.Date(-300_000, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(-1<<60, 0), time.Time{}.Add(1)} {
		var stored storedTime
		require.NoError(t, stored.Scan(*micros(at)))
		assert.False(t, time.Time(stored).IsZero(), at)
		assert.Equal(t, 1, time.Time(stored).Year(), at)
	}
}
