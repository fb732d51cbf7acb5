import { words, names, goods } from './words.js';

const $ = (id) => document.getElementById(id);
const page = 50;
const state = {
  language: localStorage.language || (navigator.language.startsWith('ru') ? 'ru' : 'en'),
  settings: null, chats: new Map(), total: 0, open: null, messages: [], more: false, files: [], deliveries: new Map(), exchanges: [],
};
const word = (key) => words[state.language][key] ?? key;
const locale = () => (state.language === 'ru' ? 'ru-RU' : 'en-GB');

// h creates an element. Texts are never parsed as HTML.
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

async function call(path, body) {
  const options = body === undefined ? {} : body instanceof FormData
    ? { method: 'POST', body }
    : { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
  const response = await fetch('/sandbox/' + path, options);
  const value = await response.json();
  if (!response.ok) throw new Error(value.error);
  return value;
}

let toastTimer;
function toast(text) {
  $('toast').textContent = text;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $('toast').textContent = ''; }, 4000);
}

// attempt shows the error of an action.
const attempt = (action) => async (...values) => {
  try { return await action(...values); } catch (error) { toast(error.message); }
};

// ---- language and theme

function translate(root = document) {
  document.documentElement.lang = state.language;
  document.title = word('title');
  for (const e of root.querySelectorAll('[data-word]')) e.textContent = word(e.dataset.word);
  for (const e of root.querySelectorAll('[data-placeholder]')) e.placeholder = word(e.dataset.placeholder);
  for (const e of root.querySelectorAll('[data-label]')) { e.setAttribute('aria-label', word(e.dataset.label)); if (e.matches('button, summary')) e.title = word(e.dataset.label); }
  $('language').textContent = state.language === 'ru' ? 'EN' : 'RU';
  $('language').setAttribute('aria-label', state.language === 'ru' ? 'English' : 'Русский');
  $('language').lang = state.language === 'ru' ? 'en' : 'ru';
}

function setTheme(theme) {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  $('theme').value = theme;
  localStorage.theme = theme;
}

const clock = (at) => new Date(at).toLocaleTimeString(locale(), { hour: '2-digit', minute: '2-digit' });
const exactClock = (at) => new Date(at).toLocaleTimeString(locale());
const sameDay = (a, b) => new Date(a).toDateString() === new Date(b).toDateString();
function dayOf(at) {
  if (sameDay(at, Date.now())) return word('today');
  if (sameDay(at, Date.now() - 864e5)) return word('yesterday');
  return new Date(at).toLocaleDateString(locale(), { day: 'numeric', month: 'long' });
}
function shortTime(at) {
  if (sameDay(at, Date.now())) return clock(at);
  if (sameDay(at, Date.now() - 864e5)) return word('yesterday').toLowerCase();
  return new Date(at).toLocaleDateString(locale(), { day: 'numeric', month: 'short' });
}
function size(bytes) {
  const [value, unit] = bytes < 1e6 ? [bytes / 1e3, 'kilobyte'] : [bytes / 1e6, 'megabyte'];
  return new Intl.NumberFormat(locale(), { style: 'unit', unit, maximumFractionDigits: 1 }).format(value);
}

// ---- the list of chats

const statusColour = { NEW: 'green', WAITING_FOR_PARTNER: 'amber', WAITING_FOR_CUSTOMER: 'blue', WAITING_FOR_ARBITER: 'violet', WAITING_FOR_MARKET: 'violet', FINISHED: '' };
const pill = (text, colour) => h('span', { class: 'pill ' + (colour ?? '') }, text);
const nameOf = (chat) => chat.customer || word('CUSTOMER');
function about(chat) {
  if (chat.kind === 'DIRECT') return word('DIRECT');
  const number = chat.kind === 'RETURN' ? chat.return : chat.order;
  return `${word(chat.kind)} ${number}` + (chat.title ? ` · ${chat.title}` : '');
}
function avatar(element, chat) {
  const initials = nameOf(chat).split(/\s+/).map((part) => [...part][0]).filter(Boolean).slice(0, 2).join('');
  element.textContent = initials;
  element.className = 'avatar c' + [...nameOf(chat)].reduce((sum, letter) => sum + letter.codePointAt(0), 0) % 5;
  return element;
}
function preview(message) {
  if (!message) return word('noMessages');
  const text = message.text || (message.files.length ? '📎 ' + message.files.map((file) => file.name).join(', ') : word('stickerText'));
  return message.sender === 'CUSTOMER' ? text : `${word(message.sender)}: ${text}`;
}

function chatItem(chat) {
  const button = h('button', { type: 'button', class: 'chat', 'aria-current': chat.id === state.open?.id ? 'true' : null, onclick: () => openChat(chat.id) },
    avatar(h('span', { 'aria-hidden': 'true' }), chat),
    h('span', { class: 'line' }, h('strong', {}, nameOf(chat)), h('time', { datetime: chat.updated }, shortTime(chat.updated))),
    h('span', { class: 'about' }, about(chat)),
    h('span', { class: 'text' }, preview(chat.last)),
    h('span', { class: 'status-line' }, pill(word(chat.status), statusColour[chat.status]), chat.type === 'ARBITRAGE' ? ' ' : null, chat.type === 'ARBITRAGE' ? pill(word('ARBITRAGE'), 'red') : null));
  return h('li', { 'data-chat': chat.id }, button);
}

function drawChats() {
  const focused = document.activeElement?.closest?.('[data-chat]')?.dataset.chat;
  $('chats').replaceChildren(...[...state.chats.values()].map(chatItem));
  if (focused) $('chats').querySelector(`[data-chat="${focused}"] button`)?.focus({ preventScroll: true });
  $('total').textContent = state.total;
  $('no-chats').hidden = state.chats.size > 0;
  $('more-chats').hidden = state.chats.size >= state.total;
}

let listing = 0;
async function loadChats(offset = 0) {
  const current = ++listing;
  const query = new URLSearchParams({ offset, limit: offset ? page : Math.min(Math.max(page, state.chats.size), 100), status: $('filter').value, search: $('search').value });
  const list = await call('chats?' + query);
  if (current !== listing) return;
  if (!offset) state.chats.clear();
  for (const chat of list.chats) state.chats.set(chat.id, chat);
  state.total = list.total;
  drawChats();
}

// countChats reads the number of chats: one that is not in the list may be new, or further down.
let counting;
function countChats() {
  counting ??= setTimeout(attempt(async () => {
    counting = undefined;
    const current = listing;
    const { total } = await call('chats?' + new URLSearchParams({ limit: 0, status: $('filter').value, search: $('search').value }));
    if (current !== listing) return;
    state.total = total;
    drawChats();
  }), 150);
}

// chatChanged moves a chat to the top of the list, or reloads the list if it is filtered.
let pendingList;
function chatChanged(chat) {
  const filtered = $('filter').value || $('search').value.trim();
  if (filtered) {
    clearTimeout(pendingList);
    pendingList = setTimeout(attempt(() => loadChats()), 150);
  } else {
    if (!state.chats.has(chat.id)) countChats();
    const others = [...state.chats.values()].filter((each) => each.id !== chat.id);
    const sorted = [chat, ...others].sort((a, b) => Date.parse(b.updated) - Date.parse(a.updated)); // times may be whole seconds
    state.chats = new Map(sorted.map((each) => [each.id, each]));
    scheduleDraw();
  }
  if (chat.id === state.open?.id) {
    state.open = chat;
    drawHead();
    loadNew();
  }
}
let drawing;
function scheduleDraw() {
  drawing ??= requestAnimationFrame(() => { drawing = undefined; drawChats(); });
}

// ---- the conversation

function drawHead() {
  const chat = state.open;
  $('talk-title').textContent = nameOf(chat);
  avatar($('talk-avatar'), chat);
  $('talk-subject').textContent = about(chat);
  $('talk-status').textContent = word(chat.status);
  $('talk-status').className = 'pill ' + (statusColour[chat.status] ?? '');
  const acts = [];
  const act = (name) => acts.push(h('button', { type: 'button', onclick: attempt(async () => { closeMenu(); await call(`chats/${chat.id}/act`, { act: name }); }) }, word(name)));
  if (chat.status === 'FINISHED') act('reopen');
  else {
    act(chat.type === 'ARBITRAGE' ? 'finishDispute' : 'startDispute');
    if (chat.type !== 'ARBITRAGE') act('finish');
  }
  acts.push(h('a', { href: `/sandbox/chats/${chat.id}/test`, download: `chat_${chat.id}_test.go`, onclick: () => closeMenu() }, word('exportTest')));
  $('menu-items').replaceChildren(...acts);
}
function closeMenu() {
  const inside = $('menu').contains(document.activeElement);
  $('menu').open = false;
  if (inside) $('menu').querySelector('summary').focus();
}

function sticker() {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  for (const [name, value] of Object.entries({ viewBox: '0 0 96 96', width: 96, height: 96, role: 'img', 'aria-label': word('stickerText') })) svg.setAttribute(name, value);
  const add = (tag, attributes) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    svg.append(element);
  };
  add('circle', { cx: 48, cy: 48, r: 42, fill: '#ffcf4a', stroke: '#fff', 'stroke-width': 5 });
  add('ellipse', { cx: 34, cy: 40, rx: 5, ry: 7, fill: '#5b3b00' });
  add('ellipse', { cx: 62, cy: 40, rx: 5, ry: 7, fill: '#5b3b00' });
  add('path', { d: 'M28 56c8 18 32 18 40 0z', fill: '#5b3b00' });
  add('path', { d: 'M38 68c6 4 14 4 20 0-3-5-17-5-20 0z', fill: '#ff7d7d' });
  add('circle', { cx: 24, cy: 53, r: 5, fill: '#ff9c6b' });
  add('circle', { cx: 72, cy: 53, r: 5, fill: '#ff9c6b' });
  return svg;
}

function fileView(file) {
  const link = { href: file.url, target: '_blank', rel: 'noopener' };
  if (file.image) return h('a', link, h('img', { src: file.url, alt: file.name, onload: () => keepBottom() }));
  return h('a', { ...link, class: 'file', download: file.name }, h('span', { 'aria-hidden': 'true' }, '📄'), file.name, h('small', {}, size(file.size)));
}

function messageItem(message, previous, isNew) {
  const items = [];
  if (!previous || !sameDay(previous.at, message.at)) items.push(h('li', { class: 'day' }, dayOf(message.at)));
  const first = !previous || previous.sender !== message.sender || items.length > 0;
  const isSticker = !message.text && !message.files.length;
  items.push(h('li', { class: `message ${message.sender}${first ? ' first' : ''}${isNew ? ' new' : ''}${isSticker ? ' sticker' : ''}`, 'data-message': message.id },
    h('span', { class: first && message.sender !== 'CUSTOMER' ? 'from' : 'hidden' }, message.sender === 'CUSTOMER' ? word('you') : word(message.sender)),
    ...message.files.map(fileView),
    isSticker ? sticker() : h('span', { class: 'body' }, message.text),
    h('time', { datetime: message.at }, clock(message.at))));
  return items;
}

function drawMessages(known = new Set()) {
  const items = state.messages.flatMap((message, i) => messageItem(message, state.messages[i - 1], known.size > 0 && !known.has(message.id)));
  $('messages').replaceChildren(...items);
  $('earlier').hidden = !state.more;
}

let stick = true;
function keepBottom() { if (stick) $('log').scrollTop = $('log').scrollHeight; }

async function openChat(id) {
  const [chat, list] = await Promise.all([call(`chats/${id}`), call(`chats/${id}/messages?limit=${page}`)]);
  state.open = chat;
  Object.assign(state, { messages: list.messages, more: list.more });
  $('placeholder').hidden = true;
  $('opened').hidden = false;
  history.replaceState(null, '', '#' + id);
  drawHead();
  drawMessages();
  drawChats();
  show('talk');
  stick = true;
  keepBottom();
  $('text').focus({ preventScroll: true });
}

// loadNew reads what is new in the open chat. It keeps the displayed messages, so that a screen
// reader reads out only the new ones.
let loading = Promise.resolve();
function loadNew() {
  loading = loading.then(attempt(async () => {
    const id = state.open?.id;
    if (!id) return;
    const list = await call(`chats/${id}/messages?limit=${page}`);
    if (state.open?.id === id) merge(list);
  }));
  return loading;
}
function merge(list) {
  const known = new Set(state.messages.map((message) => message.id));
  const added = list.messages.filter((message) => !known.has(message.id));
  const newest = state.messages.at(-1);
  if (!added.length) return;
  const follows = !newest || added.every((message) => +message.id > +newest.id);
  if (follows && added.length < list.messages.length || !newest && !list.more) {
    for (const message of added) {
      $('messages').append(...messageItem(message, state.messages.at(-1), true));
      state.messages.push(message);
    }
  } else { // messages are missing in between
    Object.assign(state, { messages: list.messages, more: list.more });
    drawMessages(known);
  }
  keepBottom();
}

const loadEarlier = attempt(async () => {
  const { id } = state.open;
  const first = state.messages[0];
  if (!first || !state.more) return;
  const list = await call(`chats/${id}/messages?limit=${page}&before=${first.id}`);
  if (state.open?.id !== id || state.messages[0] !== first) return;
  const log = $('log');
  const below = log.scrollHeight - log.scrollTop;
  state.messages.unshift(...list.messages);
  state.more = list.more;
  log.setAttribute('aria-live', 'off');
  drawMessages();
  log.scrollTop = log.scrollHeight - below;
  setTimeout(() => log.setAttribute('aria-live', 'polite'), 500);
});

// ---- writing

function attach(files) {
  for (const file of files) {
    if (file.size > 5 * 1024 * 1024) toast(word('tooLarge'));
    else if (state.files.length >= 4) toast(word('tooMany'));
    else state.files.push(file);
  }
  drawAttached();
}
function drawAttached() {
  $('attached').hidden = !state.files.length;
  $('attached').replaceChildren(...state.files.map((file, i) => {
    const image = file.type.startsWith('image/') ? h('img', { src: URL.createObjectURL(file), alt: '' }) : null;
    return h('li', {}, image, h('span', {}, file.name), h('button', { type: 'button', class: 'plain', 'aria-label': `${word('remove')}: ${file.name}`, onclick: () => { state.files.splice(i, 1); drawAttached(); $('text').focus(); } }, '✕'));
  }));
}

const post = attempt(async (asSticker) => {
  const text = $('text').value;
  if (!state.open || !asSticker && !text.trim() && !state.files.length) return;
  const form = new FormData();
  form.set('sender', $('composer').elements.sender.value);
  if (asSticker) form.set('sticker', '1');
  else {
    form.set('text', text);
    for (const file of state.files) form.append('file', file, file.name || 'image.png');
  }
  stick = true;
  $('send').disabled = true;
  try {
    await call(`chats/${state.open.id}/messages`, form);
    if (!asSticker) {
      $('text').value = '';
      state.files = [];
      drawAttached();
      grow();
    }
    await loadNew();
  } finally {
    $('send').disabled = false;
  }
});
function grow() {
  const text = $('text');
  text.style.height = 'auto';
  text.style.height = Math.min(text.scrollHeight + 2, 160) + 'px';
}

// ---- program and orders

function drawProgram() {
  const { baseURL, business, key, kept } = state.settings;
  $('business').textContent = `${word('businessID')} ${business}`;
  const facts = [[word('baseURL'), baseURL], [word('businessID'), business], [word('apiKey'), key]];
  $('facts').replaceChildren(...facts.flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, String(value)),
    h('dd', {}, h('button', { type: 'button', 'aria-label': `${word('copy')}: ${name}`, onclick: () => copy(String(value)) }, word('copy')))]));
  $('code-env').textContent = `export YANDEX_MARKET_BASE_URL=${baseURL}\nexport YANDEX_MARKET_BUSINESS_ID=${business}\nexport YANDEX_MARKET_API_KEY=${key}`;
  $('code-curl').textContent = `curl -H 'Api-Key: ${key}' \\\n  -H 'Content-Type: application/json' -d '{}' \\\n  ${baseURL}/v2/businesses/${business}/chats`;
  $('code-go').textContent = `client, err := chats.New(${business},\n\tchats.APIKey(os.Getenv("YANDEX_MARKET_API_KEY")),\n\tchats.WithBaseURL("${baseURL}"))`;
  $('kept').textContent = word(kept ? 'kept' : 'notKept');
  for (const button of document.querySelectorAll('[data-copy]')) {
    button.textContent = word('copy');
    button.setAttribute('aria-label', `${word('copy')}: ${button.previousElementSibling.textContent}`);
    button.onclick = () => copy($(button.dataset.copy).textContent);
  }
}
const copy = attempt(async (text) => { await navigator.clipboard.writeText(text); toast(word('copied')); });

async function loadOrders() {
  const { orders } = await call('orders');
  $('orders').replaceChildren(...orders.map((order) => h('li', {}, h('code', {}, String(order.id)), h('span', {}, `${order.title} · ${order.customer}`))));
  $('chat-order').replaceChildren(...orders.map((order) => h('option', { value: order.id }, `${order.id} · ${order.title} · ${order.customer}`)));
  if (!orders.length) $('chat-order').replaceChildren(h('option', { value: '' }, word('noOrder')));
}

// ---- faults

const processedFaults = new Set(['after500', 'dropAfter', 'processLate', 'slowHeaders', 'hang', 'slowBody', 'truncate', 'truncateSilently', 'malformed', 'badStatusLine', 'endless']);
const operationName = (name) => name === 'download' ? word('download') : name || word('everyOperation');
function options(select, values, label) {
  const { value } = select;
  select.replaceChildren(...values.map((each) => h('option', { value: each }, label(each))));
  if (values.includes(value)) select.value = value;
}
function drawFaults() {
  const { faultKinds, operations, faults, aspects, chosen } = state.settings;
  options($('fault'), faultKinds, word);
  options($('operation'), ['', ...operations], operationName);
  drawFaultHint();
  $('rules').replaceChildren(...faults.map((rule) => h('li', { 'data-rule': rule.id },
    h('span', {}, `${word(rule.fault)} · ${operationName(rule.operation)} · ${rule.left < 0 ? word('always').toLowerCase() : `${word('left')} ${rule.left}`}`),
    h('button', { type: 'button', 'aria-label': `${word('remove')}: ${word(rule.fault)}`, onclick: attempt(async () => { await call('faults/remove', { id: rule.id }); $('fault').focus(); }) }, '✕'))));
  $('clear-faults').hidden = faults.length < 2;
  badge('faults-badge', faults.length + Object.keys(chosen).filter((name) => chosen[name] !== aspects.find((a) => a.name === name).choices[0]).length);
  if (!$('aspects').childElementCount || $('aspects').dataset.language !== state.language) {
    $('aspects').dataset.language = state.language;
    $('aspects').replaceChildren(...aspects.map((aspect) => {
      const select = h('select', { 'data-aspect': aspect.name, onchange: attempt(async () => { await call('behaviour', { aspect: aspect.name, choice: select.value }); }) });
      options(select, aspect.choices, (name) => word(name === 'open' ? 'openChoice' : name));
      return h('label', { class: 'aspect' }, h('span', {}, word('aspect_' + aspect.name)), select);
    }));
  }
  for (const select of $('aspects').querySelectorAll('select')) {
    const { choices } = aspects.find((a) => a.name === select.dataset.aspect);
    select.value = chosen[select.dataset.aspect] ?? choices[0];
    select.parentElement.classList.toggle('changed', select.value !== choices[0]);
  }
}
function drawFaultHint() { $('fault-hint').textContent = word(processedFaults.has($('fault').value) ? 'processed' : 'notProcessed'); }
function badge(id, n) {
  $(id).textContent = n;
  $(id).hidden = !n;
}

// ---- push

function drawPush() {
  const { push } = state.settings;
  if (document.activeElement !== $('push-url')) $('push-url').value = push.url;
  $('push-speed').value = [1, 60, 600].includes(push.speed) ? push.speed : 1;
  $('push-own').checked = push.own;
  $('push-off').hidden = !push.off;
  for (const radio of $('fates').querySelectorAll('input')) radio.checked = radio.value === push.next;
  drawTarget();
}
function drawTarget() {
  const url = $('push-url').value.trim().replace(/\/$/, '');
  $('push-target').textContent = url ? `${word('pushTarget')} ${url}/notification` : '';
}
const savePush = (changes) => call('push', { ...state.settings.push, ...changes });

const deliveryColour = { delivered: 'green', retrying: 'red', malformed: 'red', lost: 'amber', dropped: '', waiting: 'blue', sending: 'blue' };
const stateName = (delivery) => word(delivery.state === 'malformed' ? 'malformedState' : delivery.state);
function deliveryItem(delivery, wasOpen) {
  const last = delivery.attempts.at(-1);
  const waits = delivery.state === 'waiting' || delivery.state === 'retrying';
  const act = (name) => attempt(() => call(`push/deliveries/${delivery.n}/${name}`, {}));
  const tries = delivery.attempts.map((each) => h('li', {}, `${exactClock(each.at)} · ${each.status || word('noResponse')} · ${each.ms} ms${each.wrong ? ' · ' + each.wrong : ''}`, each.text ? h('pre', { tabindex: 0 }, pretty(each.text)) : null));
  return h('li', { class: 'delivery', 'data-delivery': delivery.n, 'data-state': delivery.state },
    h('div', { class: 'head' }, h('b', {}, delivery.type), pill(stateName(delivery), deliveryColour[delivery.state]),
      last ? h('span', { class: 'when' }, `${exactClock(last.at)} · ${last.status || word('noResponse')}`) : null,
      delivery.next ? h('span', { class: 'when', 'data-next': delivery.next }, '') : null),
    h('details', { open: wasOpen }, h('summary', {}, `${word('attempts')}: ${delivery.tries}`), h('pre', { tabindex: 0 }, pretty(delivery.body)), h('ol', { class: 'tries' }, ...tries)),
    waits ? h('p', { class: 'buttons' }, h('button', { type: 'button', onclick: act('retry'), 'data-act': 'retry' }, word('retryNow')), h('button', { type: 'button', onclick: act('drop'), 'data-act': 'drop' }, word('drop'))) : null);
}
function drawDelivery(delivery) {
  state.deliveries.set(delivery.n, delivery);
  const old = $('deliveries').querySelector(`[data-delivery="${delivery.n}"]`);
  const focused = old?.contains(document.activeElement) ? document.activeElement.dataset.act : null;
  const item = deliveryItem(delivery, old?.querySelector('details').open);
  if (old) old.replaceWith(item);
  else $('deliveries').prepend(item);
  if (focused) (item.querySelector(`[data-act="${focused}"]`) ?? item.querySelector('summary')).focus();
  while ($('deliveries').childElementCount > 100) {
    state.deliveries.delete(+$('deliveries').lastElementChild.dataset.delivery);
    $('deliveries').lastElementChild.remove();
  }
  deliveriesChanged();
}
function deliveriesChanged() {
  badge('push-badge', [...state.deliveries.values()].filter((delivery) => delivery.state === 'retrying').length);
  $('no-deliveries').hidden = state.deliveries.size > 0;
  countDown();
}
function countDown() {
  for (const e of document.querySelectorAll('[data-next]')) {
    const seconds = Math.max(0, Math.round((new Date(e.dataset.next) - Date.now()) / 1000));
    e.textContent = `${word('nextTry')}: ${exactClock(e.dataset.next)} (${seconds} s)`;
  }
}
async function loadDeliveries() {
  const { deliveries } = await call('push');
  state.deliveries.clear();
  $('deliveries').replaceChildren();
  for (const delivery of deliveries.reverse()) drawDelivery(delivery);
  deliveriesChanged();
}

// ---- the exchange log

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text.replace(/([\[:,]\s*)(\d{16,})(?=\s*[,\]}])/g, '$1"$2"')), null, 2); } catch { return text; }
}
const isBad = (exchange) => exchange.broken?.length || exchange.fault || exchange.status >= 400 || !exchange.status;
function exchangeColour(exchange) {
  if (!exchange.status || exchange.status >= 500) return 'red';
  return exchange.status >= 400 ? 'amber' : 'green';
}
function exchangeItem(exchange) {
  const detail = h('div', { class: 'detail' }, word('loading'));
  const details = h('details', { class: 'call', 'data-exchange': exchange.n, 'data-operation': exchange.operation, ontoggle: attempt(async () => {
    if (!details.open || detail.childElementCount) return;
    const full = await call('exchanges/' + exchange.n);
    detail.replaceChildren(h('strong', {}, word('request')), h('pre', { tabindex: 0 }, [`${full.method} ${full.target}`, ...(full.requestHeader ?? [])].join('\n') + '\n\n' + pretty(full.requestBody ?? '')),
      h('strong', {}, word('response')), h('pre', { tabindex: 0 }, [full.status || word('closed'), ...(full.responseHeader ?? [])].join('\n') + '\n\n' + pretty(full.responseBody ?? '')));
  }) },
  h('summary', {}, pill(exchange.status || word('closed'), exchangeColour(exchange)), h('span', { class: 'op' }, operationName(exchange.operation || word('unknownOperation'))), h('span', { class: 'when' }, exactClock(exchange.at)),
    h('span', { class: 'sub' }, h('span', {}, `${exchange.ms} ms`), exchange.max ? h('span', {}, `${word('remaining')} ${exchange.remaining}/${exchange.max}`) : null, exchange.fault ? h('span', {}, '⚡ ' + word(exchange.fault)) : null),
    ...(exchange.broken ?? []).map((rule) => h('span', { class: 'broken' }, '✗ ' + rule))),
  detail);
  return h('li', {}, details);
}
function drawExchanges() {
  const shown = state.exchanges.filter((exchange) => !$('only-bad').checked || isBad(exchange));
  $('exchanges').replaceChildren(...shown.map(exchangeItem));
  exchangesChanged();
}
function exchangesChanged() {
  badge('calls-badge', state.exchanges.filter((exchange) => exchange.broken?.length).length);
  $('no-calls').hidden = $('exchanges').childElementCount > 0;
}
function addExchange(exchange) {
  if (state.exchanges.some((each) => each.n === exchange.n)) return;
  state.exchanges.unshift(exchange);
  state.exchanges.length = Math.min(state.exchanges.length, 100);
  if (!$('only-bad').checked || isBad(exchange)) $('exchanges').prepend(exchangeItem(exchange));
  while ($('exchanges').childElementCount > 100) $('exchanges').lastElementChild.remove();
  exchangesChanged();
}
async function loadExchanges() {
  state.exchanges = (await call('exchanges')).exchanges;
  drawExchanges();
}

// ---- views

function show(view) {
  document.body.dataset.view = view;
  for (const button of document.querySelectorAll('.bottom button')) {
    if (button.dataset.goto === view) button.setAttribute('aria-current', 'page');
    else button.removeAttribute('aria-current');
  }
}
function showTools(open) {
  document.body.classList.toggle('tools', open);
  $('tools-toggle').setAttribute('aria-expanded', open);
}
function selectTab(tab) {
  for (const each of $('tabs').children) {
    const selected = each === tab;
    each.setAttribute('aria-selected', selected);
    each.tabIndex = selected ? 0 : -1;
    $(each.getAttribute('aria-controls')).hidden = !selected;
  }
}

function drawSettings(settings) {
  state.settings = settings;
  drawProgram();
  drawFaults();
  drawPush();
}

function drawAll() {
  translate();
  const { value } = $('filter');
  $('filter').replaceChildren(h('option', { value: '' }, word('allStatuses')), ...Object.keys(statusColour).map((status) => h('option', { value: status }, word(status))));
  $('filter').value = value;
  drawSettings(state.settings);
  drawChats();
  drawExchanges();
  for (const delivery of [...state.deliveries.values()]) drawDelivery(delivery);
  if (state.open) {
    drawHead();
    drawMessages();
  }
}

const loadAll = attempt(async () => {
  state.settings = await call('settings');
  drawAll();
  await Promise.all([loadChats(), loadOrders(), loadDeliveries(), loadExchanges()]);
  if (state.open) await loadNew();
});

const closeChat = () => {
  state.open = null;
  $('opened').hidden = true;
  $('placeholder').hidden = false;
  history.replaceState(null, '', location.pathname);
  show('list');
};

function listen() {
  const events = new EventSource('/sandbox/events');
  // Events that arrive while everything is being read are applied afterwards.
  let loaded = Promise.resolve();
  const on = (name, action) => events.addEventListener(name, (event) => { loaded = loaded.then(() => action(JSON.parse(event.data))).catch((error) => toast(error.message)); });
  events.onerror = () => { $('offline').hidden = false; };
  on('hello', async () => {
    $('offline').hidden = true;
    await loadAll();
    document.body.dataset.ready = 'true';
  });
  on('chat', chatChanged);
  on('exchange', addExchange);
  on('exchanges', loadExchanges);
  on('delivery', drawDelivery);
  on('settings', (settings) => drawSettings(settings));
  on('push', (push) => { state.settings.push = push; drawPush(); });
  on('orders', loadOrders);
  on('trouble', toast);
  on('reset', () => { closeChat(); return loadAll(); });
}

function confirmed(text, yes) {
  return new Promise((resolve) => {
    $('confirm-text').textContent = text;
    $('confirm-yes').textContent = yes;
    const dialog = $('confirm-dialog');
    dialog.returnValue = 'no';
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
    dialog.showModal();
  });
}
const reset = (empty) => attempt(async () => {
  if (await confirmed(word('resetAsk'), word('resetYes'))) await call('reset', { empty });
});
const pick = (list) => list[Math.floor(Math.random() * list.length)];

function bind() {
  $('language').onclick = () => { state.language = state.language === 'ru' ? 'en' : 'ru'; localStorage.language = state.language; drawAll(); loadOrders(); };
  $('theme').onchange = () => setTheme($('theme').value);
  $('filter').onchange = attempt(() => loadChats());
  $('search').oninput = () => { clearTimeout(pendingList); pendingList = setTimeout(attempt(() => loadChats()), 200); };
  $('more-chats').onclick = attempt(() => loadChats(state.chats.size));
  $('back').onclick = () => { show('list'); $('chats').querySelector(`[data-chat="${state.open?.id}"] button`)?.focus(); };
  for (const button of document.querySelectorAll('.bottom button')) button.onclick = () => show(button.dataset.goto);
  $('tools-toggle').onclick = () => showTools(!document.body.classList.contains('tools'));
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || document.querySelector('dialog[open]')) return;
    if ($('menu').open) closeMenu();
    else if (document.body.classList.contains('tools')) { showTools(false); $('tools-toggle').focus(); }
  });
  document.addEventListener('click', (event) => { if ($('menu').open && !$('menu').contains(event.target)) $('menu').open = false; });
  $('tabs').addEventListener('click', (event) => { const tab = event.target.closest('[role=tab]'); if (tab) selectTab(tab); });
  $('tabs').addEventListener('keydown', (event) => {
    const tabs = [...$('tabs').children];
    const to = { ArrowRight: 1, ArrowLeft: -1, Home: -tabs.length, End: tabs.length }[event.key];
    if (!to) return;
    event.preventDefault();
    const at = tabs.indexOf(document.activeElement);
    const next = Math.abs(to) > 1 ? tabs.at(to < 0 ? 0 : -1) : tabs[(at + to + tabs.length) % tabs.length];
    next.focus();
    selectTab(next);
  });

  $('log').onscroll = () => {
    const log = $('log');
    stick = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    if (log.scrollTop < 80 && state.more) loadEarlier();
  };
  $('earlier').onclick = loadEarlier;
  $('composer').onsubmit = (event) => { event.preventDefault(); post(false); };
  $('text').oninput = grow;
  $('text').onkeydown = (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    post(false);
  };
  $('sticker').onclick = () => post(true);
  $('file').onchange = () => { attach($('file').files); $('file').value = ''; $('text').focus(); };
  $('text').onpaste = (event) => { if (event.clipboardData.files.length) { event.preventDefault(); attach(event.clipboardData.files); } };
  $('opened').ondragover = (event) => event.preventDefault();
  $('opened').ondrop = (event) => { event.preventDefault(); attach(event.dataTransfer.files); };

  $('fault').onchange = drawFaultHint;
  $('fault-form').onsubmit = attempt(async (event) => {
    event.preventDefault();
    await call('faults', { fault: $('fault').value, operation: $('operation').value, left: +$('fault-form').elements.left.value });
  });
  $('clear-faults').onclick = attempt(async () => { await call('faults/remove', { id: 0 }); });
  $('reset-behaviour').onclick = attempt(async () => { await call('behaviour', {}); });

  $('push-url').oninput = drawTarget;
  $('push-form').onsubmit = attempt(async (event) => {
    event.preventDefault();
    await savePush({ url: $('push-url').value, speed: +$('push-speed').value, own: $('push-own').checked });
    toast(word('saved'));
  });
  $('push-on').onclick = attempt(() => savePush({ off: false }));
  $('fates').onchange = attempt((event) => savePush({ next: event.target.value }));
  $('ping').onclick = attempt(() => call('push/ping', {}));

  $('only-bad').onchange = drawExchanges;
  $('clear-calls').onclick = attempt(() => call('exchanges/clear', {}));
  $('reset').onclick = reset(false);
  $('reset-empty').onclick = reset(true);

  const byKind = () => {
    const direct = $('chat-form').elements.kind.value === 'DIRECT';
    $('for-order').hidden = direct;
    $('for-customer').hidden = !direct;
  };
  $('new-chat').onclick = attempt(async () => {
    await loadOrders();
    $('chat-customer').value = pick(names);
    byKind();
    $('chat-dialog').showModal();
  });
  $('chat-form').onchange = byKind;
  $('chat-form').onsubmit = attempt(async () => {
    const chat = await call('chats', { kind: $('chat-form').elements.kind.value, order: +$('chat-order').value, customer: $('chat-customer').value });
    await openChat(chat.id);
  });
  $('place-order').onclick = () => {
    $('order-customer').value = pick(names);
    $('order-title').value = pick(goods);
    $('order-dialog').showModal();
  };
  $('order-form').onsubmit = attempt(async () => {
    await call('orders', { customer: $('order-customer').value, title: $('order-title').value });
    await loadOrders();
    toast(word('placed'));
  });
  for (const button of document.querySelectorAll('[data-close]')) button.onclick = () => button.closest('dialog').close();
}

setTheme(localStorage.theme ?? 'auto');
translate();
bind();
setInterval(countDown, 1000);
const asked = location.hash.slice(1);
listen();
if (/^\d+$/.test(asked)) attempt(openChat)(asked);
