package main

import (
	"io"
	"strconv"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// scene is a conversation of the showcase.
type scene struct {
	name, latin string
	subject     chats.Subject
	kind        chats.ChatType
	lines       []line
	replies     [][]line // from the customer, to each message from the shop
	later       []line   // from the customer, while the desk is running
}

// line is a scripted message. Without text and pictures it is a sticker.
type line struct {
	ago           time.Duration // before the desk starts; zero in replies
	sender        chats.Sender
	text, english string
	pictures      []picture
}

var scenes = []scene{
	{
		name: "Анна", latin: "Anna", subject: chats.AboutOrder(48211093), kind: chats.ChatTypeChat,
		lines: []line{
			{
				ago: 26*time.Hour + 12*time.Minute, sender: chats.SenderCustomer,
				text:    "Здравствуйте! Заказ обещали вчера, а в приложении до сих пор «В пути». Когда его ждать?",
				english: "Hello! The order was due yesterday, and the app still says \"On its way\". When will it come?",
			},
			{
				ago: 25*time.Hour + 47*time.Minute, sender: chats.SenderPartner,
				text:    "Здравствуйте, Анна! Уже спрашиваем службу доставки.",
				english: "Hello Anna! We are asking the delivery service.",
			},
			{
				ago: 3*time.Hour + 9*time.Minute, sender: chats.SenderCustomer,
				text:    "Спасибо. В выходные я уезжаю, хотелось бы успеть.",
				english: "Thank you. I am leaving at the weekend and would like to have it by then.",
			},
			{ago: 3*time.Hour + 8*time.Minute, sender: chats.SenderCustomer},
		},
		replies: [][]line{{
			{text: "Завтра до 18 часов я дома. Спасибо, что разобрались!", english: "Tomorrow I am at home until 6 p.m. Thank you for sorting it out!"},
			{},
		}},
	},
	{
		name: "Дмитрий", latin: "Dmitry", kind: chats.ChatTypeChat,
		subject: chats.Subject{Kind: chats.SubjectReturn, Order: 48190417, Return: 7301288},
		lines: []line{
			{
				ago: 49*time.Hour + 31*time.Minute, sender: chats.SenderCustomer,
				text:     "Оформил возврат: у чайника не закрывается крышка. Фото прикладываю.",
				english:  "I have requested a return: the lid of the kettle does not close. Photos attached.",
				pictures: []picture{{"IMG_2041.png", 320, 240, 3}, {"IMG_2042.png", 400, 300, 7}},
			},
			{
				ago: 49*time.Hour + 30*time.Minute, sender: chats.SenderMarket,
				text:    "Возврат № 7301288 принят. Магазин пришлёт ярлык для посылки.",
				english: "Return no. 7301288 is accepted. The shop will send a label for the parcel.",
			},
			{
				ago: time.Hour + 44*time.Minute, sender: chats.SenderCustomer,
				text: "Подскажите, где взять ярлык?", english: "Where do I get the label?",
			},
		},
		replies: [][]line{{
			{text: "Ярлык получил, сегодня отнесу чайник в пункт выдачи.", english: "I have the label and will bring the kettle to the pickup point today."},
		}},
	},
	{
		name: "Сергей", latin: "Sergey", subject: chats.AboutOrder(48173302), kind: chats.ChatTypeArbitrage,
		lines: []line{
			{
				ago: 75 * time.Hour, sender: chats.SenderCustomer,
				text:    "Заказывал наушники с шумоподавлением, а пришла обычная версия. Магазин молчит третий день.",
				english: "I ordered headphones with noise cancelling and got the plain ones. The shop has been silent for three days.",
			},
			{
				ago: 2*time.Hour + 20*time.Minute, sender: chats.SenderSupport,
				text: "Здравствуйте! Подключаемся к разбору. Магазин, напишите, пожалуйста, " +
					"какой артикул был в отправлении, и приложите фотографию упаковки.",
				english: "Hello! We are joining the dispute. Shop, please write which item was in the parcel, and attach a photo of the packaging.",
			},
			{ago: 52 * time.Minute, sender: chats.SenderCustomer, pictures: []picture{{"IMG_0388.png", 480, 320, 5}}},
		},
		replies: [][]line{{{text: "Хорошо, жду ваш ответ.", english: "All right, I am waiting for your answer."}}},
	},
	{ // waits for the customer, so the desk does not list it
		name: "Марина", latin: "Marina", subject: chats.AboutOrder(48166241), kind: chats.ChatTypeChat,
		lines: []line{
			{
				ago: 25 * time.Hour, sender: chats.SenderCustomer,
				text: "Можно забрать заказ по доверенности?", english: "Can somebody else collect the order for me?",
			},
			{
				ago: 24*time.Hour + 40*time.Minute, sender: chats.SenderPartner,
				text:    "Здравствуйте! Да, получателя можно сменить в приложении до выдачи.",
				english: "Hello! Yes, you can change the recipient in the app before the pickup.",
			},
		},
	},
	{
		name: "Ольга", latin: "Olga", subject: chats.Subject{Kind: chats.SubjectDirect}, kind: chats.ChatTypeChat,
		lines: []line{{
			ago: 14 * time.Minute, sender: chats.SenderCustomer,
			text:    "Добрый день! Чехол подойдёт к планшету на 11 дюймов 2024 года? Вырез под камеру другой.",
			english: "Good afternoon! Does the case fit the 11-inch tablet of 2024? Its camera cutout is different.",
		}},
		replies: [][]line{{{text: "Поняла, спасибо! Тогда беру.", english: "I see, thank you! Then I will take it."}}},
		later:   []line{{text: "И ещё: чёрный цвет в наличии есть?", english: "And is it available in black?"}},
	},
}

// orderWithoutChat is the order about which the operator opens a chat.
const orderWithoutChat chats.OrderID = 48215560

// newChatReplies are the customer's replies in the chat that the shop opens.
var newChatReplies = [][]line{{
	{text: "Здравствуйте! Да, серый тоже подойдёт. Спасибо, что спросили.", english: "Hello! Yes, grey is fine, too. Thank you for asking."},
}}

// label is the file that the operator of the demo sends. It is not on disk.
var label = picture{"ярлык-возврата.png", 600, 240, 11}

// What the operator of the demo writes.
var (
	replyToAnna = line{
		text:    "Анна, посылка уже в вашем городе. Курьер привезёт её завтра с 12 до 18. Приносим извинения за задержку.",
		english: "Anna, the parcel is in your city. The courier will bring it tomorrow between 12 and 6 p.m. We apologise for the delay.",
	}
	newChatText = line{
		text:    "Здравствуйте! Синий плед из вашего заказа закончился. Отправить серый или вернуть деньги?",
		english: "Hello! The blue blanket from your order is sold out. Shall we send a grey one or refund you?",
	}
)

// operator returns the input of the demo's operator.
func (s *showcase) operator() io.Reader {
	return &typist{lines: []string{
		"1", replyToAnna.text, "y",
		"2", label.name, "y",
		strconv.FormatInt(int64(orderWithoutChat), 10), "y", newChatText.text, "y",
		"y", "n",
	}}
}

// typist returns one line per read, after the time it takes to type.
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

// english returns the translations of the script's texts and names.
func english() map[string]string {
	translations := map[string]string{label.name: "return-label.png"}
	add := func(lines ...line) {
		for _, l := range lines {
			translations[l.text] = l.english
		}
	}
	add(replyToAnna, newChatText)
	for _, replies := range newChatReplies {
		add(replies...)
	}
	for _, s := range scenes {
		translations[s.name] = s.latin
		add(s.lines...)
		add(s.later...)
		for _, replies := range s.replies {
			add(replies...)
		}
	}
	return translations
}
