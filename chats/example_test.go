package chats_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/gen"
)

// Reply to every chat that waits for the shop. The examples run against a Market in
// memory; with chats.New instead, the same program works against the real one.
func Example() {
	market := chatstest.NewMarket()
	chatID := market.AddChat(chats.Chat{Subject: chats.AboutOrder(48211093)})
	market.CustomerSays(chatID, "Здравствуйте! Когда приедет заказ?")
	client := market.Client() // chats.New(business, chats.APIKey(key))
	ctx := context.Background()

	waiting := chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}
	var list []chats.Chat // collect the list first: an answered chat leaves it
	for chat, err := range client.Chats(ctx, waiting) {
		if err != nil {
			fmt.Println(err)
			return
		}
		list = append(list, chat)
	}
	for _, chat := range list {
		for message, err := range client.History(ctx, chat.ID, 0) {
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Printf("order %d, %s: %s\n", chat.Subject.Order, message.Sender, message.Text)
		}
		posted, err := client.SendTextConfirmed(ctx, chat.ID, "Здравствуйте! Курьер приедет завтра.")
		fmt.Println("posted:", posted.Text, err)
	}
	// Output:
	// order 48211093, CUSTOMER: Здравствуйте! Когда приедет заказ?
	// posted: Здравствуйте! Курьер приедет завтра. <nil>
}

func ExampleNew() {
	client, err := chats.New(1234567, chats.APIKey("ACMA:the-key-as-the-cabinet-shows-it:0"),
		chats.WithIntegration("my-crm", "1.4.0"), // names the program in the cabinet's request log
		chats.WithRetry(chats.RetryPolicy{MaxAttempts: 3}),
	)
	fmt.Println(client, err)

	_, err = chats.New(1234567, chats.APIKey("Bearer ACMA:the-key:0"))
	fmt.Println(err)
	// Output:
	// chats.Client(business 1234567) <nil>
	// chats: credential: the credential contains a space or a character that is not printable ASCII: pass the bare key, without a prefix
}

// Use a key that rotates: the source is called before every attempt.
func ExampleAPIKeySource() {
	market := chatstest.NewMarket()
	key := func(context.Context) (string, error) {
		return market.Key(), nil // from a file or a secret manager, for example
	}
	client, err := chats.New(market.Business(), chats.APIKeySource(key),
		chats.WithHTTPClient(&http.Client{Transport: market.Transport()}))
	if err != nil {
		fmt.Println(err)
		return
	}
	chat := market.AddChat(chats.Chat{})

	market.SetKey("ACMA:another-key:1") // the old key is refused from now on
	_, err = client.Chat(context.Background(), chat)
	fmt.Println(err)
	// Output: <nil>
}

// List the chats that wait for the shop's answer.
func ExampleClient_Chats() {
	market := chatstest.NewMarket()
	for _, name := range []string{"Анна", "Дмитрий", "Ольга"} {
		id := market.AddChat(chats.Chat{Customer: chats.Customer{Name: name}})
		market.CustomerSays(id, "Здравствуйте!")
	}
	answered := market.AddChat(chats.Chat{Customer: chats.Customer{Name: "Марина"}})
	market.AddMessage(answered, chats.SenderPartner, "Заказ уже в пути.")
	client := market.Client()

	waiting := chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}
	for chat, err := range client.Chats(context.Background(), waiting) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(chat.Customer.Name, chat.Subject.Kind, chat.Status)
	}
	// Unordered output:
	// Анна ORDER WAITING_FOR_PARTNER
	// Дмитрий ORDER WAITING_FOR_PARTNER
	// Ольга ORDER WAITING_FOR_PARTNER
}

// Find the chat about an order without opening one.
func ExampleClient_Chats_aboutOrder() {
	market := chatstest.NewMarket()
	market.AddChat(chats.Chat{ID: 7001, Subject: chats.AboutOrder(48211093)})
	client := market.Client()

	for _, order := range []chats.OrderID{48211093, 48215560} {
		filter := chats.Filter{Subjects: []chats.Subject{chats.AboutOrder(order)}}
		found := chats.ChatID(0)
		for chat, err := range client.Chats(context.Background(), filter) {
			if err != nil {
				fmt.Println(err)
				return
			}
			found = chat.ID
		}
		fmt.Printf("order %d: chat %d\n", order, found)
	}
	// Output:
	// order 48211093: chat 7001
	// order 48215560: chat 0
}

// Read page by page, for a program that stores the page token itself.
func ExampleClient_ChatsPage() {
	market := chatstest.NewMarket()
	for range 25 {
		market.AddChat(chats.Chat{})
	}
	client := market.Client()

	var request chats.PageRequest
	for {
		page, err := client.ChatsPage(context.Background(), chats.Filter{}, request)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(len(page.Items), "chats, last page:", page.Next == "")
		if page.Next == "" {
			return
		}
		request.Token = page.Next
	}
	// Output:
	// 20 chats, last page: false
	// 5 chats, last page: true
}

// Read only what is new. The ID of the last message is all that has to be stored.
func ExampleClient_History() {
	market := chatstest.NewMarket(chatstest.WithOrder(chatstest.NewestFirst)) // History is ascending whatever order the server uses
	chat := market.AddChat(chats.Chat{})
	market.CustomerSays(chat, "Здравствуйте!")
	market.CustomerSays(chat, "Есть ли доставка в субботу?")
	client := market.Client()

	var last chats.MessageID // stored between polls, in a database for example
	poll := func() {
		for message, err := range client.History(context.Background(), chat, last) {
			if err != nil {
				fmt.Println(err) // the next poll resumes from Error.ResumeAfter if it is set, otherwise from last
				return
			}
			fmt.Println(message.Sender, message.Text)
			last = message.ID
		}
	}
	poll()
	fmt.Println("later:")
	market.CustomerSays(chat, "И сколько она стоит?")
	poll()
	// Output:
	// CUSTOMER Здравствуйте!
	// CUSTOMER Есть ли доставка в субботу?
	// later:
	// CUSTOMER И сколько она стоит?
}

// A message has text, files, both or, if it is a sticker, neither.
func ExampleMessage() {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{})
	market.CustomerSays(chat, "Пришло вот так", chats.File{Name: "коробка.jpg", URL: "https://files.example/1", Size: 48213})
	market.CustomerSays(chat, "")

	for message, err := range market.Client().History(context.Background(), chat, 0) {
		switch {
		case err != nil:
			fmt.Println(err)
		case message.Text == "" && len(message.Files) == 0:
			fmt.Println("a sticker")
		default:
			fmt.Println(message.Text, len(message.Files))
		}
	}
	// Output:
	// Пришло вот так 1
	// a sticker
}

// Send a text and get the message as it was posted.
func ExampleClient_SendTextConfirmed() {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{})
	question := market.CustomerSays(chat, "Когда приедет заказ?")
	client := market.Client()

	// The message is stored, but the connection breaks before the response arrives.
	market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter())

	message, err := client.SendTextConfirmed(context.Background(), chat, "Завтра до 18 часов.",
		chats.ConfirmAfter(question)) // avoids reading the chat from its beginning
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(message.Sender, message.Text, message.ID > question)
	fmt.Println("messages in the chat:", len(market.Messages(chat)))
	// Output:
	// PARTNER Завтра до 18 часов. true
	// messages in the chat: 2
}

// Send a text with one request. It is never posted twice; if it is unknown whether it
// was posted, the error is ErrOutcomeUnknown.
func ExampleClient_SendText() {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{})
	client := market.Client()

	err := client.SendText(context.Background(), chat, "Здравствуйте! Заказ собран.")
	fmt.Println(err, market.Messages(chat)[0].Text)

	err = client.SendText(context.Background(), chat, strings.Repeat("я", chats.MaxTextLength+1))
	fmt.Println(err)
	// Output:
	// <nil> Здравствуйте! Заказ собран.
	// chats: text: 4097 characters, at most 4096 allowed
}

// Send a photo. A file is streamed, not read into memory.
func ExampleClient_SendFile() {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{})
	client := market.Client()

	photo := bytes.NewReader([]byte("\xff\xd8\xff a photo")) // or os.Open
	if err := client.SendFile(context.Background(), chat, "вид сбоку.jpg", photo); err != nil {
		fmt.Println(err)
		return
	}
	posted := market.Uploads(chat)[0]
	fmt.Println(posted.Name, posted.ContentType, len(posted.Data))
	// Output: вид сбоку.jpg image/jpeg 11
}

// Open a chat about an order. If there is one already, OpenChat returns its ID.
func ExampleClient_OpenChat() {
	market := chatstest.NewMarket()
	client := market.Client()
	ctx := context.Background()

	chat, err := client.OpenChat(ctx, chats.AboutOrder(48215560))
	if err != nil {
		fmt.Println(err)
		return
	}
	again, err := client.OpenChat(ctx, chats.AboutOrder(48215560))
	fmt.Println(again == chat, err)

	fmt.Println(client.SendText(ctx, chat, "Синего пледа не осталось. Отправить серый?"))
	// Output:
	// true <nil>
	// <nil>
}

// Open a test chat: make a test order on the debugging page of the seller's cabinet
// and open the chat about it. There are no test returns, and no customer replies.
func ExampleClient_OpenChat_testChat() {
	const testOrder = 10001 // as the debugging page shows it
	market := chatstest.NewMarket(chatstest.WithSubjects(chats.AboutOrder(testOrder)))
	client := market.Client()
	ctx := context.Background()

	chat, err := client.OpenChat(ctx, chats.AboutOrder(testOrder))
	if err != nil {
		fmt.Println(err)
		return
	}
	message, err := client.SendTextConfirmed(ctx, chat, "Проверка связи")
	fmt.Println(message.Text, err)
	// Output: Проверка связи <nil>
}

// Read one chat by its ID: its subject and its status.
func ExampleClient_Chat() {
	market := chatstest.NewMarket()
	id := market.AddChat(chats.Chat{
		Subject:  chats.Subject{Kind: chats.SubjectReturn, Order: 48190417, Return: 7301288},
		Customer: chats.Customer{Name: "Дмитрий"},
	})
	client := market.Client()

	chat, err := client.Chat(context.Background(), id)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(chat.Customer.Name, chat.Subject.Kind, chat.Subject.Return, chat.Status, chat.Status.Known())
	// Output: Дмитрий RETURN 7301288 NEW true
}

// Read one message by its ID. For more than one prefer History: its hourly quota is
// ten times larger, and a page has a hundred messages.
func ExampleClient_Message() {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{})
	id := market.CustomerSays(chat, "Можно поменять адрес?")
	client := market.Client()

	message, err := client.Message(context.Background(), chat, id)
	fmt.Println(message.Text, err)
	// Output: Можно поменять адрес? <nil>
}

// Save an attachment of a customer.
func ExampleClient_Download() {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{})
	id := market.CustomerSays(chat, "Вот чек", market.AddFile("чек.txt", []byte("Итого: 1990 ₽")))
	client := market.Client()
	ctx := context.Background()

	message, err := client.Message(ctx, chat, id)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, file := range message.Files {
		content, err := client.Download(ctx, file)
		if err != nil {
			fmt.Println(err)
			return
		}
		_, err = io.Copy(os.Stdout, io.LimitReader(content, chats.MaxFileSize)) // or into a file
		fmt.Println("", file.Name, err, content.Close())
	}
	// Output: Итого: 1990 ₽ чек.txt <nil> <nil>
}

// Authenticate downloads from another host, which never gets the client's credential.
func ExampleWithAttachmentAuth() {
	market := chatstest.NewMarket(chatstest.WithFileBase("https://files.messenger.yandex.net"))
	file := market.AddFile("фото.jpg", []byte("a photo"))
	ctx := context.Background()

	_, err := market.Client().Download(ctx, file)
	fmt.Println(errors.Is(err, chats.ErrForbidden))

	token := func(context.Context) (string, error) { return market.Token(), nil } // asked for at every download
	client := market.Client(chats.WithAttachmentAuth(chats.AttachmentOAuth(token)))
	content, err := client.Download(ctx, file)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(content.Close())
	// Output:
	// true
	// <nil>
}

// Handle a failed call. An error may match several of these: check the most urgent one
// first.
func ExampleError() {
	advice := func(err error) string {
		switch {
		case err == nil:
			return "done"
		case errors.Is(err, chats.ErrOutcomeUnknown):
			return "confirm it with ConfirmAfter and ConfirmResume instead of sending it again"
		case errors.Is(err, chats.ErrUnconfirmed):
			return "the server accepted it: do not send it again"
		case errors.Is(err, chats.ErrInvalidArgument):
			return "fix the call: nothing was sent"
		case errors.Is(err, chats.ErrUnauthorized), errors.Is(err, chats.ErrForbidden):
			return "check the key"
		case errors.Is(err, chats.ErrNotFound):
			return "no such chat, message or order: do not retry"
		case errors.Is(err, chats.ErrRateLimited):
			return "retry after the limit resets"
		case errors.Is(err, chats.ErrServer), errors.Is(err, chats.ErrProtocol):
			return "retry later, and report it to Market's support"
		default:
			return "network failure, end of the context, or another status"
		}
	}
	market := chatstest.NewMarket()
	client := market.Client(chats.WithRetry(chats.RetryPolicy{MaxAttempts: 1}))
	chat := market.AddChat(chats.Chat{})
	ctx := context.Background()

	fmt.Println(advice(client.SendText(ctx, chat, "")))
	fmt.Println(advice(client.SendText(ctx, 404, "Здравствуйте!")))
	market.Fail(chats.OpSendMessageToChat, chatstest.HTML(http.StatusBadGateway))
	fmt.Println(advice(client.SendText(ctx, chat, "Здравствуйте!")))
	fmt.Println(advice(client.SendText(ctx, chat, "Здравствуйте!")))
	// Output:
	// fix the call: nothing was sent
	// no such chat, message or order: do not retry
	// confirm it with ConfirmAfter and ConfirmResume instead of sending it again
	// done
}

// An invalid argument is refused before anything is sent. A 400 of the server does not
// match ErrInvalidArgument: see its StatusCode and Details.
func ExampleArgumentError() {
	client := chatstest.NewMarket().Client()

	_, err := client.OpenChat(context.Background(), chats.Subject{Kind: chats.SubjectDirect})
	var argument *chats.ArgumentError
	if errors.As(err, &argument) && errors.Is(err, chats.ErrInvalidArgument) {
		fmt.Println(argument.Field)
		fmt.Println(argument.Reason)
	}
	// Output:
	// about
	// a DIRECT chat is started by the customer and has no order or return: use AboutOrder or AboutReturn
}

// Recognize a 400 by its status and details: this chat is closed.
func ExampleError_badRequest() {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{ID: 7001})
	market.FinishChat(chat)

	err := market.Client().SendText(context.Background(), chat, "Здравствуйте!")
	var failed *chats.Error
	if errors.As(err, &failed) {
		fmt.Println(failed.StatusCode, failed.Details)
	}
	// Output: 400 [BAD_REQUEST: Chat is closed: '7001']
}

// ErrUnauthorized: the key is missing, malformed, unknown or revoked.
func ExampleError_unauthorized() {
	market := chatstest.NewMarket()
	client := market.Client()
	market.SetKey("ACMA:another-key:1") // revokes the key of the client

	_, err := client.OpenChat(context.Background(), chats.AboutOrder(48215560))
	fmt.Println(errors.Is(err, chats.ErrUnauthorized))
	fmt.Println(err)
	// Output:
	// true
	// chats: createChat: 401: the credential is missing, malformed or revoked: create a new key in the seller's cabinet; UNAUTHORIZED: Api-Key is unknown
}

// ErrForbidden: the key is valid, but has no access to this business or lacks a scope.
func ExampleError_forbidden() {
	market := chatstest.NewMarket()
	client, err := chats.New(765, chats.APIKey(market.Key()),
		chats.WithHTTPClient(&http.Client{Transport: market.Transport()}))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = client.OpenChat(context.Background(), chats.AboutOrder(48215560))
	fmt.Println(errors.Is(err, chats.ErrForbidden))
	fmt.Println(err)
	// Output:
	// true
	// chats: createChat: 403: the credential lacks access: check its scopes and its business, and whether the token has expired; FORBIDDEN: No access to business: 765
}

// ErrNotFound: there is no such chat, message, order or return.
func ExampleError_notFound() {
	market := chatstest.NewMarket(chatstest.WithSubjects(chats.AboutOrder(48215560)))

	_, err := market.Client().OpenChat(context.Background(), chats.AboutOrder(1))
	fmt.Println(errors.Is(err, chats.ErrNotFound))
	fmt.Println(err)
	// Output:
	// true
	// chats: createChat: 404: NOT_FOUND: Order not found: '1'
}

// ErrRateLimited: the hourly quota is exhausted. Until it resets, calls to the same
// operation are refused without a request; other operations are not affected.
func ExampleError_rateLimited() {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{})
	client := market.Client()
	ctx := context.Background()
	market.Fail(chats.OpGetChat, chatstest.RateLimitedHourly(time.Now().Add(50*time.Minute)))

	_, err := client.Chat(ctx, chat)
	var failed *chats.Error
	if errors.Is(err, chats.ErrRateLimited) && errors.As(err, &failed) {
		fmt.Println(failed.Limit.Kind, failed.Limit.Max, time.Until(failed.Limit.Until) > 40*time.Minute)
	}
	_, err = client.Chat(ctx, chat)
	fmt.Println(errors.Is(err, chats.ErrRateLimited), "requests:", market.Calls(chats.OpGetChat))
	// Output:
	// hourly 1000 true
	// true requests: 1
}

// ErrServer: a 5xx that remained after the retries of reads and OpenChat.
func ExampleError_server() {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{})
	client := market.Client(chats.WithRetry(chats.RetryPolicy{MaxAttempts: 2, BaseDelay: time.Millisecond}))
	market.Fail(chats.OpGetChat, chatstest.HTML(http.StatusBadGateway), chatstest.Status(http.StatusInternalServerError,
		`{"status":"ERROR","errors":[{"code":"INTERNAL_ERROR"}]}`))

	_, err := client.Chat(context.Background(), chat)
	var failed *chats.Error
	if errors.Is(err, chats.ErrServer) && errors.As(err, &failed) {
		fmt.Println(failed.StatusCode, failed.Attempts, failed.Details)
		fmt.Println("for the vendor's support:", failed.TraceParent != "")
	}
	// Output:
	// 500 2 [INTERNAL_ERROR]
	// for the vendor's support: true
}

// ErrProtocol: a response that breaks the contract, from a gateway for example.
func ExampleError_protocol() {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{})
	market.Fail(chats.OpGetChat, chatstest.Malformed(`{"status":"OK"}`))

	_, err := market.Client().Chat(context.Background(), chat)
	fmt.Println(errors.Is(err, chats.ErrProtocol))
	fmt.Println(err)
	// Output:
	// true
	// chats: getChat: 200: response has no result
}

// ErrOutcomeUnknown: a message was sent, but it is unknown whether it was posted. A
// confirmed send settles it and posts nothing twice.
func ExampleError_outcomeUnknown() {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{})
	last := market.CustomerSays(chat, "Когда приедет заказ?")
	client := market.Client()
	ctx := context.Background()
	market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter()) // stored, but the response is lost

	err := client.SendText(ctx, chat, "Завтра.")
	var failed *chats.Error
	if errors.As(err, &failed) && errors.Is(err, chats.ErrOutcomeUnknown) {
		_, err = client.SendTextConfirmed(ctx, chat, "Завтра.", chats.ConfirmAfter(last), chats.ConfirmResume(failed.SentAt))
	}
	fmt.Println(err)
	fmt.Println("messages in the chat:", len(market.Messages(chat)))
	// Output:
	// <nil>
	// messages in the chat: 2
}

// Collect metrics: the hook is called once per attempt, retries included.
func ExampleWithHook() {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{})
	market.Fail(chats.OpGetChat, chatstest.HTML(http.StatusServiceUnavailable))

	client := market.Client(
		chats.WithRetry(chats.RetryPolicy{BaseDelay: time.Millisecond}),
		chats.WithHook(func(_ context.Context, attempt chats.Attempt) {
			// A counter by operation and status, a histogram of attempt.Duration,
			// a gauge of attempt.Limit.Remaining.
			fmt.Println(attempt.Operation, attempt.Number, attempt.StatusCode, errors.Is(attempt.Err, chats.ErrServer), attempt.Limit.Max)
		}),
	)
	_, err := client.Chat(context.Background(), chat)
	fmt.Println(err)
	// Output:
	// getChat 1 503 true 0
	// getChat 2 200 false 1000
	// <nil>
}

// Log every attempt. Records never have a message or a key in them.
func ExampleWithLogger() {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{})
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, attr slog.Attr) slog.Attr {
			switch attr.Key {
			case slog.TimeKey, "duration", "traceparent": // these differ from run to run
				return slog.Attr{}
			}
			return attr
		},
	}))

	_ = market.Client(chats.WithLogger(logger)).SendText(context.Background(), chat, "Здравствуйте!")
	// Output: level=DEBUG msg="chats: attempt" business=1234567 operation=sendMessageToChat attempt=1 status=200 remaining=999
}

// Read the hourly quota as last reported by the server. Other programs use it, too.
func ExampleClient_Limit() {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{})
	client := market.Client()

	if err := client.SendText(context.Background(), chat, "Здравствуйте!"); err != nil {
		fmt.Println(err)
		return
	}
	limit, reported := client.Limit(chats.OpSendMessageToChat)
	fmt.Println(limit.Remaining, "of", limit.Max, reported)
	// Output: 999 of 1000 true
}

// Use the generated client for a field that the model does not have. Its requests use
// the same credential, limits and retries.
func ExampleClient_API() {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{Campaign: 2100345})
	client := market.Client()

	response, err := client.API().GetChatWithResponse(context.Background(), int64(client.Business()),
		&gen.GetChatParams{ChatID: int64(chat)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.StatusCode(), response.JSON200.Result.Context.CampaignID)
	// Output: 200 2100345
}
