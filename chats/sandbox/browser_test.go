//go:build browser

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/notify"
)

// patience is how long a page may take to do anything: the machine may be busy.
const patience = 2 * time.Minute

// tab is a page of the sandbox in a browser.
type tab struct {
	*testing.T
	ctx context.Context //nolint:containedctx // the browser's
}

// viewport is the size and colour scheme of a screen.
type viewport struct {
	width, height int64
	dark          bool
}

var desktop = viewport{width: 1440, height: 900}

// launch starts a browser that ends with the test. Chromium sometimes ends before its first
// page, so launch tries five times.
func launch(t *testing.T) context.Context {
	t.Helper()
	for attempt := 1; ; attempt++ {
		options := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.NoSandbox, chromedp.Flag("accept-lang", "ru-RU"), chromedp.UserDataDir(t.TempDir()),
			chromedp.WSURLReadTimeout(patience))
		if path := os.Getenv("CHROMIUM"); path != "" {
			options = append(options, chromedp.ExecPath(path))
		}
		ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, cancel := chromedp.NewContext(ctx)
		err := chromedp.Do(ctx) // the browser lives as long as the context of its first action
		if err == nil {
			t.Cleanup(func() {
				require.NoError(t, chromedp.Cancel(ctx))
				cancel()
				stop()
			})
			return ctx
		}
		cancel()
		stop()
		t.Logf("attempt %d to start the browser: %v", attempt, err)
		require.Less(t, attempt, 5, "the browser does not start")
		time.Sleep(time.Second)
	}
}

// browse opens the page. A script error fails the test.
func browse(t *testing.T, s *sandbox, v viewport) *tab {
	t.Helper()
	ctx := launch(t)
	b := &tab{t, ctx}
	scheme := "light"
	if v.dark {
		scheme = "dark"
	}
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		if e, thrown := event.(*runtime.EventExceptionThrown); thrown {
			t.Errorf("the page: %s: %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception)
		}
	}))
	b.run("open the page", v.emulate(scheme), chromedp.Navigate(s.config.baseURL+"/"))
	b.wait("the page to be ready", `document.body.dataset.ready === 'true'`)
	return b
}

// emulate sets the screen, the colour scheme, the language and the time zone.
func (v viewport) emulate(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		_, err2 := cdp.Call(ctx, t, emulation.SetLocaleOverride, emulation.SetLocaleOverrideParams{Locale: "ru-RU"})
		_, err3 := cdp.Call(ctx, t, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Europe/Moscow"})
		_, err4 := chromedp.EmulateViewport(v.width, v.height)(ctx, t)
		return errors.Join(err, err2, err3, err4)
	})
}

func (b *tab) run(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	require.NoError(b, chromedp.Do(ctx, actions...), what)
}

// wait waits until an expression is true.
func (b *tab) wait(what, expression string) {
	b.Helper()
	ticker := time.NewTicker(30 * time.Millisecond)
	defer ticker.Stop()
	for began := time.Now(); !read[bool](b, "Boolean("+expression+")"); <-ticker.C {
		require.Less(b, time.Since(began), patience, what)
	}
}

// read returns the value of an expression.
func read[T any](b *tab, expression string) T {
	b.Helper()
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(b, err, expression)
	return value
}

func (b *tab) click(selector string) {
	b.Helper()
	b.run("click "+selector, chromedp.Click(selector, chromedp.NodeVisible))
}

func (b *tab) write(selector, text string) {
	b.Helper()
	b.run("write to "+selector, chromedp.SendKeys(selector, text, chromedp.NodeVisible))
}

// choose selects an option as a user does.
func (b *tab) choose(selector, value string) {
	b.Helper()
	set := fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.value = %q; e.dispatchEvent(new Event('input', {bubbles: true})); e.dispatchEvent(new Event('change', {bubbles: true})); return e.value })()`, selector, value)
	require.Equal(b, value, read[string](b, set), selector)
}

func (b *tab) openChat(id any) {
	b.Helper()
	selector := fmt.Sprintf(`[data-chat="%v"] button`, id)
	b.click(selector)
	b.wait("the chat to be open", fmt.Sprintf(`location.hash === '#%v' && document.activeElement.id === 'text'`, id))
}

func (b *tab) screenshot() []byte {
	b.Helper()
	data, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	require.NoError(b, err)
	return data
}

// listed waits until the conversation ends with a text.
func (b *tab) listed(text string) {
	b.Helper()
	b.wait(text, fmt.Sprintf(`[...document.querySelectorAll('#messages .message')].at(-1)?.querySelector('.body')?.textContent === %q`, text))
}

// program is an inbox that replies to every text of a customer and sends back every file.
func program(t *testing.T, s *sandbox) {
	t.Helper()
	client := s.client(t, chats.WithRetry(chats.RetryPolicy{MaxAttempts: 10, BaseDelay: 10 * time.Millisecond, MaxDelay: 100 * time.Millisecond}))
	in, err := inbox.New(client, inbox.NewMemoryStore(), inbox.WithPollInterval(100*time.Millisecond), inbox.WithSenders(chats.SenderCustomer))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- in.Run(ctx, func(ctx context.Context, d inbox.Delivery) error {
			for _, file := range d.Message.Files {
				attachment, err := client.Download(ctx, file)
				if err != nil {
					return err
				}
				data, err := io.ReadAll(attachment)
				if err := errors.Join(err, attachment.Close()); err != nil {
					return err
				}
				if _, err := client.SendFileConfirmed(ctx, d.Chat.ID, "back-"+file.Name, bytes.NewReader(data)); err != nil {
					return err
				}
			}
			if d.Message.Text == "" {
				return nil
			}
			_, err := client.SendTextConfirmed(ctx, d.Chat.ID, "Вы написали: "+d.Message.Text)
			return err
		})
	}()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	// On its first start an inbox delivers only what is written after it has started.
	began := s.current().market.Calls(chats.OpGetChats)
	eventually(t, "the program serves the business", func() bool { return s.current().market.Calls(chats.OpGetChats) > began+2 })
}

func TestBrowser_ReplyAppearsWithoutReload(t *testing.T) {
	s := start(t)
	program(t, s)
	id := s.current().market.Chats()[0].ID
	b := browse(t, s, desktop)
	b.openChat(id)
	b.run("mark the page", chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := chromedp.Evaluate[bool](`window.unreloaded = true`)(ctx, tab)
		return err
	}))
	b.write("#text", "Когда привезут <b>замену</b>?"+kb.Enter)
	b.listed("Вы написали: Когда привезут <b>замену</b>?")
	require.True(t, read[bool](b, `window.unreloaded`))
	require.Equal(t, 0, read[int](b, `document.querySelectorAll('#messages b').length`), "texts are escaped")
	require.Equal(t, "Ждёт покупателя", read[string](b, `document.querySelector('#talk-status').textContent`))
	require.Equal(t, fmt.Sprint(id), read[string](b, `document.querySelector('#chats li').dataset.chat`), "it is the first of the list")

	b.click("#sticker")
	b.wait("the sticker", `document.querySelector('.message.sticker:last-child')`)
	b.click(`[name=sender][value=SUPPORT] + span`)
	b.write("#text", "Поддержка на связи"+kb.Enter)
	b.listed("Поддержка на связи")
	require.Equal(t, chats.SenderSupport, s.current().market.LastMessages(id, 0, 1)[0].Sender)
}

func TestBrowser_PictureBothWays(t *testing.T) {
	s := start(t)
	program(t, s)
	b := browse(t, s, desktop)
	id := s.current().market.Chats()[0].ID
	b.openChat(id)
	file := filepath.Join(t.TempDir(), "photo.png")
	require.NoError(t, os.WriteFile(file, mugPicture(), 0o600))
	b.run("choose a file", chromedp.SetUploadFiles("#file", []string{file}, chromedp.NodeReady))
	b.wait("the attachment", `document.querySelector('#attached img')?.naturalWidth > 0`)
	b.click("#send")
	b.wait("the picture to come back", `[...document.querySelectorAll('.message.PARTNER img')].some((e) => e.alt === 'back-photo.png' && e.naturalWidth === 480)`)
	require.True(t, read[bool](b, `[...document.querySelectorAll('.message.CUSTOMER img')].some((e) => e.alt === 'photo.png' && e.naturalWidth === 480)`))
	uploads := s.current().market.Uploads(id)
	require.Len(t, uploads, 1)
	require.Equal(t, mugPicture(), uploads[0].Data)
}

func TestBrowser_FaultAtAClick(t *testing.T) {
	s := start(t)
	b := browse(t, s, desktop)
	b.click("#tab-faults")
	b.choose("#fault", "after500")
	b.choose("#operation", string(chats.OpSendMessageToChat))
	b.click("#add-fault")
	b.wait("the fault to be listed", `document.querySelector('#rules li')?.textContent.includes('осталось 1')`)
	id := s.current().market.Chats()[0].ID
	before := len(s.current().market.Messages(id))
	client := s.client(t)
	err := client.SendText(t.Context(), id, "один раз")
	require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
	b.wait("the fault to be used up", `!document.querySelector('#rules li')`)
	require.Len(t, s.current().market.Messages(id), before+1)
	require.NoError(t, client.SendText(t.Context(), id, "второй раз"))

	b.choose(`[data-aspect=texts]`, "masked")
	b.wait("the change to be shown", `document.querySelector('[data-aspect=texts]').parentElement.classList.contains('changed')`)
	require.NoError(t, client.SendText(t.Context(), id, "позвоните 89161234567"))
	require.Equal(t, "позвоните ***", s.current().market.LastMessages(id, 0, 1)[0].Text)

	_, _ = client.HistoryPage(t.Context(), id, 0, chats.PageRequest{Token: "unknown"})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.config.baseURL+"/v2/businesses/1234567/chats?limit=500", strings.NewReader(`{"statuses":[]}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	http.DefaultClient.CloseIdleConnections()
	b.click("#tab-calls")
	b.wait("the violations", `document.querySelector('#exchanges li').textContent.includes('number must be at most 20')`)
	text := read[string](b, `document.querySelector('#exchanges').textContent`)
	require.Contains(t, text, "minimum number of items is 1")
	require.Contains(t, text, "no credential")
	require.Contains(t, text, "500, но запрос выполнен")
	require.Contains(t, text, "квота 997/1000")
	b.click("#exchanges li summary")
	b.wait("the details", `document.querySelector('#exchanges .detail pre')?.textContent.includes('limit=500')`)
}

func TestBrowser_PushIsDeliveredFailsAndIsRetried(t *testing.T) {
	s := start(t)
	var broken atomic.Bool
	received := make(chan notify.Event, 10)
	handler, err := notify.NewHandler("shop", "1.0", func(_ context.Context, event notify.Event) error {
		if broken.Load() {
			return errors.New("the shop is broken")
		}
		received <- event
		return nil
	})
	require.NoError(t, err)
	shop := httptest.NewServer(handler.Mount(http.NewServeMux(), "/market"))
	t.Cleanup(shop.Close)

	b := browse(t, s, desktop)
	b.click("#tab-push")
	b.write("#push-url", shop.URL+"/market")
	require.Contains(t, read[string](b, `document.querySelector('#push-target').textContent`), shop.URL+"/market/notification")
	b.choose("#push-speed", "60")
	b.click("#save-push")
	b.wait("the URL to be saved", `document.querySelector('#toast').textContent === 'Сохранено'`)
	b.click("#ping")
	b.wait("the PING", `document.querySelector('[data-delivery="1"][data-state=delivered]')?.textContent.includes('PING')`)

	id := s.current().market.Chats()[0].ID
	b.openChat(id)
	b.write("#text", "первое"+kb.Enter)
	b.wait("the delivery", `document.querySelector('[data-delivery="2"][data-state=delivered]')?.textContent.includes('CHAT_MESSAGE_SENT')`)
	require.Equal(t, id, (<-received).(notify.MessageSent).Chat)

	broken.Store(true)
	b.write("#text", "второе"+kb.Enter)
	b.wait("the failure", `document.querySelector('[data-delivery="3"][data-state=retrying]')?.textContent.includes('500')`)
	b.wait("the time of the next attempt", `document.querySelector('[data-delivery="3"] [data-next]')?.textContent`)
	broken.Store(false)
	b.wait("the retry", `document.querySelector('[data-delivery="3"][data-state=delivered]')`)
	require.Equal(t, s.current().market.LastMessages(id, 0, 1)[0].ID, (<-received).(notify.MessageSent).Message)

	b.click(`[name=fate][value=lost] + span`)
	b.wait("the fate to be set", `document.querySelector('[name=fate][value=lost]').checked`)
	eventually(t, "the fate is known", func() bool { return s.push.current().Next == stateLost })
	b.write("#text", "третье"+kb.Enter)
	b.wait("the loss", `document.querySelector('[data-delivery="4"][data-state=lost]')`)
	require.Empty(t, received)
}

// focused is the element that has the focus, for the messages of a failing test.
const focused = `document.activeElement.id || document.activeElement.textContent.slice(0, 40) || document.activeElement.tagName`

func TestBrowser_KeyboardOnly(t *testing.T) {
	s := start(t)
	b := browse(t, s, desktop)
	press := func(keys string) { b.run("press "+keys, chromedp.KeyEvent(keys)) }
	tabTo := func(what, expression string) {
		t.Helper()
		for range 60 {
			press(kb.Tab)
			if read[bool](b, "Boolean("+expression+")") {
				require.True(t, read[bool](b, `document.activeElement.matches(':focus-visible')`), "%s: the focus is visible", what)
				return
			}
		}
		require.Fail(t, "not reached by Tab", "%s; the focus is on %s", what, read[string](b, focused))
	}
	press(kb.Tab)
	require.True(t, read[bool](b, `document.activeElement.className === 'skip'`))
	tabTo("the button for a new chat", `document.activeElement.id === 'new-chat'`)
	press(kb.Enter)
	b.wait("the dialog", `document.querySelector('#chat-dialog').open`)
	tabTo("the subject", `document.activeElement.name === 'kind'`)
	press(kb.ArrowRight + kb.ArrowRight)
	b.wait("a direct chat to be chosen", `document.activeElement.value === 'DIRECT' && !document.querySelector('#for-customer').hidden`)
	tabTo("the button", `document.activeElement.type === 'submit' && document.activeElement.closest('#chat-dialog')`)
	press(kb.Enter)
	b.wait("the chat", `document.activeElement.id === 'text' && document.querySelector('#talk-subject').textContent === 'Вопрос без заказа'`)
	require.Len(t, s.current().market.Chats(), len(scenes)+1)
	press("Здравствуйте!" + kb.Enter)
	b.listed("Здравствуйте!")

	tabTo("the tabs", `document.activeElement.id === 'tab-program'`)
	press(kb.ArrowRight)
	b.wait("the faults", `document.activeElement.id === 'tab-faults' && !document.querySelector('#panel-faults').hidden`)
	press(kb.End)
	b.wait("the calls", `document.activeElement.id === 'tab-calls' && !document.querySelector('#panel-calls').hidden`)

	b.run("back to the menu", chromedp.Focus("#menu summary"))
	press(kb.Enter)
	b.wait("the menu", `document.querySelector('#menu').open`)
	tabTo("finish", `document.activeElement.textContent === 'Завершить чат'`)
	press(kb.Enter)
	b.wait("the end", `document.querySelector('#talk-status').textContent === 'Завершён' && document.activeElement.tagName === 'SUMMARY'`)
	press(kb.Enter)
	press(kb.Escape)
	b.wait("the menu to close", `!document.querySelector('#menu').open`)

	unnamed := `[...document.querySelectorAll('button, input, select, textarea, summary, a, [role=log], dialog')].filter((e) => e.type !== 'radio' && e.checkVisibility() &&
		!(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length && [...e.labels].every((l) => l.textContent.trim()))).map((e) => e.outerHTML)`
	require.Empty(t, read[[]string](b, unnamed), "elements without a name")
}

func TestBrowser_375PixelsWide(t *testing.T) {
	s := start(t)
	id := s.current().market.Chats()[0].ID
	s.current().market.AddMessage(id, chats.SenderCustomer, strings.Repeat("Оченьдлинноеслово", 20))
	b := browse(t, s, viewport{width: 375, height: 740})
	fits := func(where string) {
		t.Helper()
		require.LessOrEqual(t, read[int](b, `document.documentElement.scrollWidth`), 375, where)
		outside := `[...document.querySelectorAll('button, input, select, textarea, .message, .pill')].filter((e) => e.checkVisibility() && !e.closest('.hidden, .attach, .as, .chats')).filter((e) => { const r = e.getBoundingClientRect(); return r.left < -1 || r.right > 376 }).map((e) => e.outerHTML)`
		require.Empty(t, read[[]string](b, outside), where)
	}
	fits("the list")
	b.openChat(id)
	fits("the conversation")
	b.write("#text", "С телефона"+kb.Enter)
	b.listed("С телефона")
	b.click("#back")
	b.wait("the list", `document.querySelector('.list').checkVisibility() && !document.querySelector('.talk').checkVisibility()`)
	b.click("[data-goto=side]")
	for _, name := range []string{"program", "faults", "push", "calls"} {
		b.click("#tab-" + name)
		b.wait(name, fmt.Sprintf(`document.querySelector('#panel-%s').checkVisibility()`, name))
		fits(name)
	}
}

func TestBrowser_DarkAndLanguage(t *testing.T) {
	s := start(t)
	b := browse(t, s, viewport{width: 1440, height: 900, dark: true})
	brightness := func() int {
		return read[int](b, `Number(getComputedStyle(document.body).backgroundColor.match(/\d+/)[0])`)
	}
	require.Less(t, brightness(), 60, "as the system says")
	b.openChat(s.current().market.Chats()[3].ID)
	// Contrast as WCAG 2 defines it, of each visible text against the colours behind it.
	weak := `(() => {
		const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
		const rgb = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return canvas.getImageData(0, 0, 1, 1).data };
		const light = (c) => [0, 1, 2].map((i) => c[i] / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
		const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c } };
		return [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && !e.closest('svg, .hidden, .skip, option') && [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())).map((e) => {
			const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))];
			return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.outerHTML.slice(0, 120)];
		}).filter(([contrast]) => contrast < 4.5).map(String);
	})()`
	require.Empty(t, read[[]string](b, weak), "contrast in the dark")
	b.choose("#theme", "light")
	b.wait("light", `Number(getComputedStyle(document.body).backgroundColor.match(/\d+/)[0]) > 200`)
	require.Empty(t, read[[]string](b, weak), "contrast in the light")

	require.Equal(t, "Чаты", read[string](b, `document.querySelector('[data-goto=list]').textContent`))
	b.click("#language")
	b.wait("English", `document.documentElement.lang === 'en' && document.querySelector('#list-title span').textContent === 'Chats' && document.querySelector('#talk-status').textContent.includes('Arbiter')`)
}

func TestBrowser_DisputeOrderAndReset(t *testing.T) {
	s := start(t)
	b := browse(t, s, desktop)
	b.click("#place-order")
	b.wait("the dialog", `document.querySelector('#order-dialog').open`)
	b.run("the goods", chromedp.SetValue("#order-title", "Самовар"))
	b.click("#order-form button[type=submit]")
	b.wait("the order", `document.querySelector('#orders').textContent.includes('Самовар')`)
	orders := s.current().allOrders()
	id, err := s.client(t).OpenChat(t.Context(), chats.AboutOrder(orders[len(orders)-1].ID))
	require.NoError(t, err, "the shop may open a chat about it")
	b.wait("the new chat", fmt.Sprintf(`document.querySelector('[data-chat="%d"]')?.textContent.includes('Самовар')`, id))
	b.openChat(id)
	act := func(name string) {
		b.click("#menu summary")
		b.run(name, chromedp.Click(`//div[@id="menu-items"]/button[text()="`+name+`"]`))
	}
	act("Открыть спор")
	b.wait("the dispute", `document.querySelector('#talk-status').textContent === 'Ждёт арбитра'`)
	require.Equal(t, chats.ChatTypeArbitrage, s.current().market.Chat(id).Type)
	act("Завершить спор")
	b.wait("its end", `document.querySelector('#talk-status').textContent === 'Завершён'`)
	require.ErrorContains(t, s.client(t).SendText(t.Context(), id, "поздно"), "closed")

	b.click("#reset")
	b.wait("the question", `document.querySelector('#confirm-dialog').open`)
	b.click("#confirm-yes")
	b.wait("the first conversations", fmt.Sprintf(`document.querySelectorAll('#chats li').length === %d && document.querySelector('#opened').hidden`, len(scenes)))
}

// A page that opens while a program is at work misses nothing and shows nothing twice.
func TestBrowser_OpensWhileThingsHappen(t *testing.T) {
	s := start(t)
	ctx, stop := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	defer busy.Wait()
	defer stop()
	busy.Go(func() {
		for n := 1; ctx.Err() == nil; n++ {
			s.hub.publish("push", s.push.current())
			s.hub.publish("settings", s.settings())
			if n%50 == 0 {
				s.call(t, http.MethodGet, "/chat?chatId=1", "") //nolint:contextcheck // it has the test's
			}
			<-time.After(time.Millisecond)
		}
	})
	b := browse(t, s, desktop)
	stop()
	busy.Wait()
	last := len(s.exchanges.summaries(100))
	b.wait("every call once", fmt.Sprintf(`(() => { const shown = [...document.querySelectorAll('[data-exchange]')].map((e) => e.dataset.exchange); return shown.length === %d && new Set(shown).size === shown.length })()`, last))
}

func TestBrowser_LargeSandboxStaysUsable(t *testing.T) {
	s := start(t, "-empty")
	fill(s.current(), time.Now())
	b := browse(t, s, desktop)
	require.Equal(t, "1000", read[string](b, `document.querySelector('#total').textContent`))
	require.Equal(t, 50, read[int](b, `document.querySelectorAll('#chats li').length`), "the list is read in parts")
	below := s.current().market.Chats()[900].ID
	s.current().market.CustomerSays(below, "снизу")
	b.wait("a chat from below", fmt.Sprintf(`document.querySelector('#chats li').dataset.chat === '%d'`, below))
	s.current().market.AddChat(chats.Chat{})
	b.wait("only the new chat to be counted", `document.querySelectorAll('#chats li').length === 52 && document.querySelector('#total').textContent === '1001'`)
	b.click("#more-chats")
	b.wait("more", `document.querySelectorAll('#chats li').length === 102`)
	s.current().market.AddChat(chats.Chat{})
	s.current().market.CustomerSays(below, "ещё") // in the same second
	b.wait("the chat from below to be the first again", fmt.Sprintf(`document.querySelectorAll('#chats li').length === 103 && document.querySelector('#chats li').dataset.chat === '%d'`, below))
	id := s.current().market.Chats()[60].ID
	b.openChat(id)
	require.Equal(t, 50, read[int](b, `document.querySelectorAll('.message').length`), "and so is a conversation")
	b.run("scroll up", chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := chromedp.Evaluate[int](`document.querySelector('#log').scrollTop = 0`)(ctx, tab)
		return err
	}))
	b.wait("earlier messages", `document.querySelectorAll('.message').length >= 100 && document.querySelector('#log').scrollTop > 0`)
	s.current().market.CustomerSays(id, "новое")
	b.listed("новое")
	b.wait("the chat to be the first", fmt.Sprintf(`document.querySelector('#chats li').dataset.chat === '%d'`, id))
	b.run("load it again", chromedp.Reload())
	b.wait("the page", `document.body.dataset.ready === 'true' && document.querySelectorAll('.message').length === 50`)
	t.Logf("the page is there after %.0f ms", read[float64](b, `performance.getEntriesByType('resource').filter((e) => !e.name.includes('events')).reduce((last, e) => Math.max(last, e.responseEnd), 0)`))
}

// TestBrowser_Screenshots takes the screenshots of the documentation, and writes them to the
// directory SCREENSHOTS if that is set.
func TestBrowser_Screenshots(t *testing.T) {
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	for file, language := range map[string]string{"sandbox.png": "en", "sandbox.ru.png": "ru"} {
		s := start(t)
		play(t, s)
		b := browse(t, s, viewport{width: 1280, height: 760})
		b.openChat(s.current().market.Chats()[0].ID)
		if language == "en" {
			b.click("#language")
		}
		b.click("#tab-calls")
		b.wait("the pictures", `[...document.querySelectorAll('.message img')].every((e) => e.complete)`)
		b.run("leave the field", chromedp.Blur("#text"))
		b.wait("the animation to end", `document.getAnimations().length === 0`)
		data := smaller(t, b.screenshot())
		require.Less(t, len(data), 200_000, file)
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), data, 0o600))
	}
}

// smaller rounds the colours of a PNG, which is not visible.
func smaller(t *testing.T, data []byte) []byte {
	t.Helper()
	shot, err := png.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	rounded := image.NewRGBA(shot.Bounds())
	draw.Draw(rounded, rounded.Bounds(), shot, image.Point{}, draw.Src)
	for i, v := range rounded.Pix {
		rounded.Pix[i] = v | 7
	}
	var out bytes.Buffer
	require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, rounded))
	return out.Bytes()
}

// play produces what the screenshots show: a program replies, meeting a fault and making a
// mistake.
func play(t *testing.T, s *sandbox) {
	t.Helper()
	client := s.client(t)
	id := s.current().market.Chats()[0].ID
	_, err := client.ChatsPage(t.Context(), chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}, chats.PageRequest{})
	require.NoError(t, err)
	require.NoError(t, s.faults.add(rule{Fault: "html502", Operation: chats.OpGetChatHistory, Left: 1}))
	_, err = client.HistoryPage(t.Context(), id, 0, chats.PageRequest{})
	require.NoError(t, err)
	status := s.call(t, http.MethodPost, "/chats/message?chatId="+fmt.Sprint(id), `{"text":"Здравствуйте!"}`)
	require.Equal(t, http.StatusBadRequest, status)
	_, err = client.SendTextConfirmed(t.Context(), id, "Анна, здравствуйте! Очень жаль. Отправим новую кружку завтра, эту возвращать не нужно.")
	require.NoError(t, err)
	s.current().market.CustomerSays(id, "Ого, спасибо большое!")
	s.current().market.CustomerSays(id, "")
}
