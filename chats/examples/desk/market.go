package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"sync"
	"testing/fstest"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// The orders of the showcase that the operator writes about.
const (
	orderLate    chats.OrderID = 48211093
	orderUnasked chats.OrderID = 48215560 // has no chat yet
)

const label = "ярлык-возврата.png"

// showcase is a Market in memory with conversations in it, and buyers who answer.
type showcase struct {
	market *chatstest.Market

	mu      sync.Mutex
	answers map[chats.ChatID][][]string // to each thing the shop sends; "" is a sticker
}

func newShowcase() *showcase {
	s := &showcase{
		market:  chatstest.NewMarket(chatstest.WithSubjects(chats.AboutOrder(orderUnasked))),
		answers: map[chats.ChatID][][]string{},
	}
	s.addDelivery()
	s.addReturn()
	s.addDispute()
	s.addAnswered()
	question := s.addQuestion()
	// She goes on writing while the desk is at work.
	time.AfterFunc(buyerTypes, func() {
		s.market.CustomerSays(question, "И ещё: чёрный цвет в наличии есть?")
	})
	return s
}

// How long a line takes. The buyers are quicker, so that their answers are there when
// the operator looks for them.
const (
	buyerTypes    = 120 * time.Millisecond
	operatorTypes = 150 * time.Millisecond
)

func (s *showcase) client(wrap func(http.RoundTripper) http.RoundTripper) *chats.Client {
	var transport http.RoundTripper = s
	if wrap != nil {
		transport = wrap(transport)
	}
	return s.market.Client(chats.WithHTTPClient(&http.Client{Transport: transport}))
}

// RoundTrip is the Market's, and lets the buyer hear what the shop has sent.
func (s *showcase) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.market.Transport().RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	switch op, _ := chats.OperationFromContext(req.Context()); op {
	case chats.OpSendMessageToChat, chats.OpSendFileToChat:
		if id, err := strconv.ParseInt(req.URL.Query().Get("chatId"), 10, 64); err == nil {
			s.hear(chats.ChatID(id))
		}
	}
	return resp, nil
}

// hear lets the buyer of a chat answer, after the time that the typing takes.
func (s *showcase) hear(id chats.ChatID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left, known := s.answers[id]
	if !known { // the shop has opened this chat
		left = [][]string{{"Здравствуйте! Да, серый тоже подойдёт. Спасибо, что спросили."}}
	}
	if len(left) == 0 {
		return
	}
	s.answers[id] = left[1:]
	for i, line := range left[0] {
		time.AfterFunc(time.Duration(i+1)*buyerTypes, func() { s.market.CustomerSays(id, line) })
	}
}

func (s *showcase) addDelivery() {
	id := s.add("Анна", chats.AboutOrder(orderLate), chats.ChatTypeChat, 26*time.Hour)
	s.market.CustomerSays(id, "Здравствуйте! Заказ обещали вчера, а в приложении до сих пор «В пути». Когда его ждать?")
	s.market.AddMessage(id, chats.SenderPartner, "Здравствуйте, Анна! Уже спрашиваем службу доставки.")
	s.market.CustomerSays(id, "Спасибо. В четверг я уезжаю, хотелось бы успеть.")
	s.market.CustomerSays(id, "")
	s.answers[id] = [][]string{{"Завтра до 18 часов я дома. Спасибо, что разобрались!", ""}}
}

func (s *showcase) addReturn() {
	about := chats.Subject{Kind: chats.SubjectReturn, Order: 48190417, Return: 7301288}
	id := s.add("Дмитрий", about, chats.ChatTypeChat, 50*time.Hour)
	s.market.CustomerSays(id, "Оформил возврат: у чайника не закрывается крышка. Фото прикладываю.",
		s.market.AddFile("крышка-1.png", picture(320, 240, 3)),
		s.market.AddFile("крышка-2.png", picture(400, 300, 7)))
	s.market.AddMessage(id, chats.SenderMarket, "Возврат № 7301288 принят. Магазин пришлёт ярлык для посылки.")
	s.market.CustomerSays(id, "Подскажите, где взять ярлык?")
	s.answers[id] = [][]string{{"Ярлык получил, сегодня отнесу чайник в пункт выдачи."}}
}

func (s *showcase) addDispute() {
	id := s.add("Сергей", chats.AboutOrder(48173302), chats.ChatTypeArbitrage, 97*time.Hour)
	s.market.CustomerSays(id, "Заказывал наушники с шумоподавлением, а пришла обычная версия. Магазин молчит третий день.")
	s.market.AddMessage(id, chats.SenderSupport, "Здравствуйте! Подключаемся к разбору. Магазин, напишите, пожалуйста, "+
		"какой артикул был в отправлении, и приложите фотографию упаковки.")
	s.market.CustomerSays(id, "", s.market.AddFile("коробка.png", picture(480, 320, 5)))
	s.answers[id] = [][]string{{"Хорошо, жду ваш ответ."}}
}

func (s *showcase) addQuestion() chats.ChatID {
	about := chats.Subject{Kind: chats.SubjectDirect}
	id := s.add("Ольга", about, chats.ChatTypeChat, time.Hour)
	s.market.CustomerSays(id, "Добрый день! Чехол подойдёт к планшету на 11 дюймов 2024 года? Вырез под камеру другой.")
	s.answers[id] = [][]string{{"Поняла, спасибо! Тогда беру."}}
	return id
}

// addAnswered adds a chat that waits for the buyer, so that the desk leaves it out.
func (s *showcase) addAnswered() {
	id := s.add("Марина", chats.AboutOrder(48166241), chats.ChatTypeChat, 30*time.Hour)
	s.market.CustomerSays(id, "Можно забрать заказ по доверенности?")
	s.market.AddMessage(id, chats.SenderPartner, "Здравствуйте! Да, получателя можно сменить в приложении до выдачи.")
	s.answers[id] = nil
}

func (s *showcase) add(name string, about chats.Subject, kind chats.ChatType, age time.Duration) chats.ChatID {
	return s.market.AddChat(chats.Chat{
		Type: kind, Subject: about, Customer: chats.Customer{Name: name}, CreatedAt: time.Now().Add(-age),
	})
}

// open serves the files of the demo, which are nowhere on the disk.
func (s *showcase) open(path string) (fs.File, error) {
	return fstest.MapFS{label: {Data: picture(600, 240, 11)}}.Open(path)
}

// operator is who works at the desk in the demo.
func (s *showcase) operator() io.Reader {
	return &typist{lines: []string{
		"1", // Anna, who has waited longest
		"Анна, посылка уже в вашем городе. Курьер привезёт её завтра с 12 до 18. Приносим извинения за задержку.",
		"y",
		"2", label, "y", // for Dmitry's return
		strconv.FormatInt(int64(orderUnasked), 10), "y",
		"Здравствуйте! Синий плед из вашего заказа закончился. Отправить серый или вернуть деньги?", "y",
		"y", "n",
	}}
}

// typist gives one line to a read and takes its time for it.
type typist struct{ lines []string }

func (t *typist) Read(p []byte) (int, error) {
	if len(t.lines) == 0 {
		return 0, io.EOF
	}
	<-time.After(operatorTypes)
	n := copy(p, t.lines[0]+"\n")
	t.lines = t.lines[1:]
	return n, nil
}

// picture draws something that is a picture to whoever opens it.
func picture(width, height, step int) []byte {
	img := image.NewGray(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetGray(x, y, color.Gray{Y: uint8(x * y * step / 97)}) //nolint:gosec // it is meant to wrap
		}
	}
	var file bytes.Buffer
	_ = png.Encode(&file, img) // a buffer takes everything
	return file.Bytes()
}
