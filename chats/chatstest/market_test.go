package chatstest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/chats/notify"
)

func TestAddChat_FillsZeroFields(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := chatstest.NewMarket()
		plain := m.Chat(m.AddChat(chats.Chat{}))
		assert.NotZero(t, plain.ID)
		assert.NotZero(t, plain.Subject.Order)
		assert.Equal(t, chats.SubjectOrder, plain.Subject.Kind)
		assert.Equal(t, chats.ChatTypeChat, plain.Type)
		assert.Equal(t, chats.StatusNew, plain.Status)
		assert.True(t, plain.CreatedAt.Equal(time.Now()))
		assert.Equal(t, plain.CreatedAt, plain.UpdatedAt)

		yesterday := time.Now().Add(-24 * time.Hour)
		given := chats.Chat{
			ID: 70_000_003, Type: chats.ChatTypeArbitrage, Status: chats.StatusFinished,
			Subject: chats.Subject{Return: 7}, Customer: chats.Customer{Name: "Анна", PublicID: "a1"}, Campaign: 9,
			CreatedAt: yesterday,
		}
		assert.Equal(t, given.ID, m.AddChat(given))
		got := m.Chat(given.ID)
		assert.Equal(t, chats.SubjectReturn, got.Subject.Kind)
		assert.NotZero(t, got.Subject.Order)
		assert.True(t, got.UpdatedAt.Equal(yesterday))
		read, err := client(t, m).Chat(t.Context(), given.ID)
		require.NoError(t, err)
		assert.Equal(t, got, read)

		direct := m.Chat(m.AddChat(chats.Chat{Subject: chats.Subject{Kind: chats.SubjectDirect}}))
		assert.Equal(t, chats.Subject{Kind: chats.SubjectDirect}, direct.Subject)
		assert.Len(t, m.Chats(), 3, "the id is not used again")
	})
}

func TestMarket_PanicsOnMisuse(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	m.AddChat(chats.Chat{ID: 5})
	assert.PanicsWithValue(t, "chatstest: chat 5 already exists", func() { m.AddChat(chats.Chat{ID: 5}) })
	assert.PanicsWithValue(t, "chatstest: there is no chat 6", func() { m.CustomerSays(6, "a") })
	assert.PanicsWithValue(t, "chatstest: an option is nil", func() { chatstest.NewMarket(nil) })
	assert.PanicsWithValue(t, "chatstest: an option is nil", func() { m.SetOptions(nil) })
	for _, event := range []notify.Event{nil, &notify.MessageSent{Chat: 5, Message: 1}, (*notify.Ping)(nil)} {
		assert.PanicsWithValue(t, fmt.Sprintf("chatstest: Notify: the event is a %T; pass a value of one of notify's types", event), func() {
			m.Notify(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }), event) //nolint:bodyclose // it is in memory
		})
	}
	assert.Panics(t, func() { m.Client(chats.WithBaseURL("ftp://market")) })
	assert.Panics(t, func() {
		m.AddChat(chats.Chat{ID: 7, CreatedAt: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)})
		m.Chat(7)
	})
}

// Messages added in the same second have the same time but different IDs.
func TestAddMessage_IDsGrowWithinAChat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := chatstest.NewMarket()
		one, other := m.AddChat(chats.Chat{}), m.AddChat(chats.Chat{})
		first := m.CustomerSays(one, "раз")
		assert.Equal(t, chats.MessageID(time.Now().UnixMicro()), first)
		assert.Equal(t, first+1, m.CustomerSays(one, "два"))
		assert.Equal(t, first, m.CustomerSays(other, "two chats may share an id"))
		time.Sleep(999 * time.Millisecond)
		m.CustomerSays(one, "три")

		said := m.Messages(one)
		assert.Equal(t, said[0].CreatedAt, said[2].CreatedAt)
		assert.Equal(t, said[0].CreatedAt, m.Chat(one).UpdatedAt)
		assert.Equal(t, said, collect(t, client(t, m).History(t.Context(), one, 0)))

		precise := chatstest.NewMarket(chatstest.WithPreciseTimes())
		id := precise.AddChat(chats.Chat{})
		precise.CustomerSays(id, "когда")
		assert.True(t, time.Now().Equal(precise.Messages(id)[0].CreatedAt))
		assert.Equal(t, precise.Messages(id), collect(t, client(t, precise).History(t.Context(), id, 0)))
	})
}

func TestAddMessage_SenderDecidesTheStatus(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	id := m.AddChat(chats.Chat{})
	for _, c := range []struct {
		sender chats.Sender
		want   chats.Status
	}{
		{chats.SenderMarket, chats.StatusNew},
		{chats.SenderCustomer, chats.StatusWaitingForPartner},
		{chats.SenderSupport, chats.StatusWaitingForPartner},
		{chats.SenderPartner, chats.StatusWaitingForCustomer},
	} {
		m.AddMessage(id, c.sender, "текст")
		assert.Equal(t, c.want, m.Chat(id).Status, c.sender)
	}
	m.SetStatus(id, chats.StatusWaitingForArbiter)
	sticker := m.CustomerSays(id, "")
	message, err := client(t, m).Message(t.Context(), id, sticker)
	require.NoError(t, err)
	assert.Empty(t, message.Text)
	assert.Empty(t, message.Files)
}

func TestMessages_ReturnsCopies(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	id := m.AddChat(chats.Chat{})
	files := []chats.File{{Name: "a", URL: "https://files.messenger.yandex.net/a", Size: 1}}
	m.CustomerSays(id, "", files...)
	files[0].Name = "b"
	m.Messages(id)[0].Files[0].Name = "c"
	assert.Equal(t, "a", m.Messages(id)[0].Files[0].Name)
}

func TestAddFile_KeepsACopy(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	data := []byte("a receipt")
	file := m.AddFile("receipt.txt", data)
	clear(data)
	assert.Equal(t, "a receipt", download(t, client(t, m), file))
}

func TestWithStoredText_ChangesWhatIsSent(t *testing.T) {
	t.Parallel()
	const sent = " да \n"
	for want, options := range map[string][]chatstest.Option{
		sent:        nil,
		"да":        {chatstest.WithTrimmedTexts()},
		"**" + sent: {chatstest.WithStoredText(func(text string) string { return "**" + text })},
	} {
		m := chatstest.NewMarket(options...)
		id := m.AddChat(chats.Chat{})
		require.NoError(t, client(t, m).SendText(t.Context(), id, sent))
		m.CustomerSays(id, sent)
		assert.Equal(t, want, m.Messages(id)[0].Text)
		assert.Equal(t, sent, m.Messages(id)[1].Text)
	}
}

func TestWithStoredFile_ChangesWhatMessagesShow(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket(chatstest.WithStoredFile(func(file chats.File) chats.File {
		file.Name, file.Size = "file", 0
		return file
	}))
	id := m.AddChat(chats.Chat{})
	c := client(t, m)
	require.NoError(t, c.SendFile(t.Context(), id, "чек.txt", strings.NewReader("итого 100")))
	file := m.Messages(id)[0].Files[0]
	assert.Equal(t, "file", file.Name)
	assert.Zero(t, file.Size)
	assert.Equal(t, "чек.txt", m.Uploads(id)[0].Name)
	assert.Equal(t, "итого 100", download(t, c, file))
	assert.Equal(t, "a.txt", m.AddFile("a.txt", nil).Name)
}

func TestDownload_NeedsACredential(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	file := m.AddFile("a b.txt", []byte("content"))
	assert.Equal(t, int64(7), file.Size)
	assert.Equal(t, "content", download(t, client(t, m), file))

	plain := request(t.Context(), t, http.MethodGet, file.URL, "")
	plain.Header.Del("Api-Key")
	assert.Equal(t, http.StatusForbidden, exchange(t, m.Transport(), plain).status)
	unknown := request(t.Context(), t, http.MethodGet, file.URL+"x", "")
	assert.Equal(t, http.StatusNotFound, exchange(t, m.Transport(), unknown).status)
	assert.Equal(t, 3, m.Calls(chatstest.OpDownload))
	// The scheme that AttachmentOAuth sends is accepted only for files.
	plain.Header.Set("Authorization", "OAuth "+m.Token())
	assert.Equal(t, http.StatusOK, exchange(t, m.Transport(), plain).status)
	plain.Header.Set("Authorization", "OAuth "+m.Token()+"x")
	assert.Equal(t, http.StatusForbidden, exchange(t, m.Transport(), plain).status)
	call := request(contract.Skip(t.Context()), t, http.MethodGet, business+"/chat?chatId=5", "")
	call.Header.Del("Api-Key")
	call.Header.Set("Authorization", "OAuth "+m.Token())
	assert.Equal(t, http.StatusUnauthorized, exchange(t, m.Transport(), call).status)

	m.Fail(chatstest.OpDownload, chatstest.Status(http.StatusGone, "gone"))
	_, err := client(t, m).Download(t.Context(), file)
	require.Error(t, err)

	open := chatstest.NewMarket(chatstest.WithOpenFiles(), chatstest.WithFileBase("https://files.messenger.yandex.net/"))
	file = open.AddFile("a.txt", []byte("content"))
	assert.True(t, strings.HasPrefix(file.URL, "https://files.messenger.yandex.net/files/"), file.URL)
	assert.Equal(t, "content", download(t, client(t, open), file))
}

func download(t *testing.T, c *chats.Client, file chats.File) string {
	t.Helper()
	content, err := c.Download(t.Context(), file)
	require.NoError(t, err)
	data, err := io.ReadAll(content)
	require.NoError(t, err)
	require.NoError(t, content.Close())
	return string(data)
}
