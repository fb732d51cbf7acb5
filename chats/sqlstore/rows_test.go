package sqlstore

import (
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

// fakeRow is a row of a result, whose columns are fields in order.
type fakeRow []any

func (r fakeRow) Scan(dest ...any) error {
	if len(dest) != len(r) {
		return errors.New("another number of columns")
	}
	for n := range dest {
		reflect.ValueOf(dest[n]).Elem().Set(reflect.ValueOf(r[n]))
	}
	return nil
}

// columnsOf returns the values of a row's fields.
func columnsOf(row any) fakeRow {
	v := reflect.ValueOf(row)
	columns := make(fakeRow, v.NumField())
	for n := range columns {
		columns[n] = v.Field(n).Interface()
	}
	return columns
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
func TestChatRow_KeepsEveryField(t *testing.T) {
	t.Parallel()
	var want inbox.ChatState
	fillFields(reflect.ValueOf(&want).Elem())
	row, err := newChatRow(want)
	require.NoError(t, err)
	got, err := scanChat(columnsOf(row))
	require.NoError(t, err)
	assert.Equal(t, want, got)

	row, err = newChatRow(inbox.ChatState{})
	require.NoError(t, err)
	got, err = scanChat(columnsOf(row))
	require.NoError(t, err)
	assert.Zero(t, got)
}

func TestBusinessRow_KeepsEveryField(t *testing.T) {
	t.Parallel()
	var want inbox.BusinessState
	fillFields(reflect.ValueOf(&want).Elem())
	row, err := newBusinessRow(want)
	require.NoError(t, err)
	assert.NotContains(t, row.State, `"LastError":"text"`, "it has a column")
	got, err := scanBusiness(columnsOf(row))
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// The names in what is sent are the columns'.
func TestRows_HaveTheColumns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		row     any
		columns []column
	}{{chatRow{}, chatColumns}, {businessRow{}, businessColumns}} {
		text, err := json.Marshal(c.row)
		require.NoError(t, err)
		var sent map[string]any
		require.NoError(t, json.Unmarshal(text, &sent))
		require.Len(t, sent, len(c.columns)+1)
		assert.Contains(t, sent, "version")
		for _, column := range c.columns {
			assert.Contains(t, sent, column.name)
		}
	}
}

func TestScan_DamagedState(t *testing.T) {
	t.Parallel()
	_, err := scanChat(columnsOf(chatRow{State: "{"}))
	require.Error(t, err)
	_, err = scanBusiness(columnsOf(businessRow{State: "{"}))
	require.Error(t, err)
	_, err = scanChat(fakeRow{})
	require.Error(t, err)
	_, err = scanBusiness(fakeRow{})
	require.Error(t, err)
}

func TestStorable_RemovesWhatPostgreSQLRefuses(t *testing.T) {
	t.Parallel()
	row, err := newChatRow(inbox.ChatState{Failure: "a\x00b\xffc", Snapshot: chats.Chat{Customer: chats.Customer{Name: "\x00"}}})
	require.NoError(t, err)
	assert.Equal(t, "ab\uFFFDc", row.Failure)
	assert.NotContains(t, row.State, "\x00")
	business, err := newBusinessRow(inbox.BusinessState{LastError: "\x00"})
	require.NoError(t, err)
	assert.Empty(t, business.LastError)
}
