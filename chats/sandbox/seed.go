package main

import (
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// line is a message of an example conversation.
type line struct {
	ago     time.Duration
	sender  chats.Sender
	text    string // empty without a picture: a sticker
	picture string
}

// scene is an example conversation.
type scene struct {
	customer string
	goods    string // of its order; empty: no order
	kind     chats.SubjectKind
	chatType chats.ChatType
	status   chats.Status // empty: as the last message leaves it
	lines    []line
}

const (
	customer = chats.SenderCustomer
	shop     = chats.SenderPartner
	arbiter  = chats.SenderSupport
	market   = chats.SenderMarket
	day      = 24 * time.Hour
)

var scenes = []scene{
	{"Анна Смирнова", "Кружка «Северное море», 350 мл", chats.SubjectOrder, "", "", []line{
		{6 * time.Minute, customer, "Здравствуйте! Заказ пришёл сегодня, но у кружки отбита ручка 😔", ""},
		{5 * time.Minute, customer, "", "кружка.png"},
		{4 * time.Minute, customer, "Можно заменить или вернуть деньги?", ""},
	}},
	{"Михаил Петров", "Рюкзак городской, 25 л", chats.SubjectOrder, "", "", []line{
		{95 * time.Minute, customer, "Добрый день. Можно перенести доставку на субботу после 14:00?", ""},
		{80 * time.Minute, shop, "Добрый день, Михаил! Передали пожелание службе доставки, курьер приедет в субботу с 14 до 18.", ""},
		{74 * time.Minute, customer, "Отлично, спасибо!", ""},
		{73 * time.Minute, customer, "", ""},
		{21 * time.Minute, customer, "И ещё вопрос: ноутбук 15,6 дюйма в него поместится?", ""},
	}},
	{"Елена Кузнецова", "", chats.SubjectDirect, "", "", []line{
		{42 * time.Minute, customer, "Здравствуйте! А жёлтые дождевики на рост 128 ещё появятся?", ""},
	}},
	{"Дмитрий Волков", "Чайник электрический, 1,7 л", chats.SubjectReturn, chats.ChatTypeArbitrage, chats.StatusWaitingForArbiter, []line{
		{3 * day, customer, "Чайник перестал включаться на второй день. Оформил возврат.", ""},
		{3*day - 2*time.Hour, shop, "Дмитрий, здравствуйте! Уточните, пожалуйста, пробовали ли вы другую розетку?", ""},
		{2*day + 5*time.Hour, customer, "Пробовал три. Не включается. Прошу вернуть деньги.", ""},
		{26 * time.Hour, shop, "По фото на корпусе видны следы воды, это не гарантийный случай.", ""},
		{25 * time.Hour, market, "Покупатель открыл спор. К чату подключился арбитр.", ""},
		{4 * time.Hour, arbiter, "Здравствуйте! Изучаю обращение. Пришлите, пожалуйста, заключение сервисного центра.", ""},
	}},
	{"Ольга Морозова", "Дождевик детский, жёлтый, 122", chats.SubjectOrder, "", "", []line{
		{7 * time.Hour, shop, "Ольга, здравствуйте! Оранжевого дождевика не осталось. Заменить на жёлтый, как на фото?", ""},
		{7*time.Hour - time.Minute, shop, "", "дождевик.png"},
		{6 * time.Hour, customer, "Да, жёлтый даже лучше!", ""},
		{5*time.Hour + 50*time.Minute, shop, "Договорились, отправим сегодня вечером.", ""},
	}},
	{"Иван Соколов", "Набор отвёрток, 32 предмета", chats.SubjectOrder, "", chats.StatusFinished, []line{
		{9 * day, customer, "Здравствуйте, в наборе нет биты PH0.", ""},
		{9*day - 30*time.Minute, shop, "Иван, приносим извинения! Вышлем биту отдельно, бесплатно.", ""},
		{8 * day, customer, "Получил, спасибо за оперативность.", ""},
		{8*day - time.Hour, shop, "Хорошего дня! Будем рады видеть вас снова.", ""},
	}},
	{"Татьяна Лебедева", "Плед вязаный, 130×170", chats.SubjectOrder, "", chats.StatusNew, nil},
}

// ordersWithoutChat has orders that the shop can open a chat about.
var ordersWithoutChat = []order{
	{Customer: "Сергей Николаев", Title: "Настольная лампа, дуб"},
	{Customer: "Мария Захарова", Title: "Конструктор «Маяк», 412 деталей"},
}

// seed creates the example conversations. They are in the past, so none is announced.
func seed(w *world) {
	now := time.Now()
	files := map[string]chats.File{}
	for name, data := range map[string][]byte{"кружка.png": mugPicture(), "дождевик.png": jacketPicture()} {
		files[name], _ = w.addFile(name, data) // there is room for them
	}
	for _, s := range scenes {
		c := chats.Chat{Type: s.chatType, Status: s.status, Customer: chats.Customer{Name: s.customer}}
		c.Subject.Kind = s.kind
		if s.goods != "" {
			o, _ := w.addOrder(order{Customer: s.customer, Title: s.goods}) // as above
			c.Subject.Order = o.ID
		}
		if s.kind == chats.SubjectReturn {
			c.Subject.Return = 3_102_477
		}
		if len(s.lines) == 0 {
			c.CreatedAt = now.Add(-28 * time.Hour)
		}
		w.market.AddConversation(c, s.messages(now, files)...)
	}
	for _, o := range ordersWithoutChat {
		_, _ = w.addOrder(o) // as above
	}
}

func (s scene) messages(now time.Time, files map[string]chats.File) []chats.Message {
	all := make([]chats.Message, len(s.lines))
	for i, l := range s.lines {
		all[i] = chats.Message{Sender: l.sender, Text: l.text, CreatedAt: now.Add(-l.ago)}
		if l.picture != "" {
			all[i].Files = []chats.File{files[l.picture]}
		}
	}
	return all
}
