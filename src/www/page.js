// SPDX-License-Identifier: Apache-2.0
// The page: settings, signed-in user, open conversation, and the input box.
import { AgentChat } from './agentchat.js';
import { Announcer } from './announcer.js';
import { Conversation } from './conversation.js';
import { $, composing, el, iconButton, sentence, visible } from './dom.js';
import { ThreadList } from './threads.js';
import { whenOf, wordsOf } from './words.js';

const KEY = 'agentchat.key', THEME = 'agentchat.theme', FOLDED = 'agentchat.folded', DRAFT = 'agentchat.draft.';
const TOAST_MS = 10_000, START_MS = 3000;
const CONTROL = /Mac|iP(hone|ad)/.test(navigator.platform) ? '⌘' : 'Ctrl';
const narrow = matchMedia('(max-width: 760px)');
const touch = matchMedia('(pointer: coarse)');

class Page {
  constructor(settings) {
    this.settings = settings;
    this.agents = [];
    this.waiting = null;                // why the page polls the server
    this.client = new AgentChat({
      url: new URL(settings.api ?? '../api', document.baseURI).href, key: sessionStorage.getItem(KEY), retries: Infinity,
      redirect: 'manual', onretry: ({ error }) => this.#lost(error),
    });
    this.announcer = new Announcer($('announcer'));
    this.channel = new BroadcastChannel('agentchat');
    this.conversation = new Conversation(this);
    this.threads = new ThreadList(this);
    this.#wire();
  }

  // ---- start ----
  async start() {
    try {
      this.agents = (await this.client.agents()).filter(agent => agent.status === 'active');
    } catch (error) {
      if (!error.transient) { this.failed(error); return; }
      this.waits(error);
      setTimeout(() => this.start(), error.retryAfter ?? START_MS);
      return;
    }
    this.connected();
    $('agent').replaceChildren(...this.agents.map(({ id, name }) => el('option', { value: id, text: visible(name || id) })));
    $('agent').parentElement.hidden = this.agents.length < 2;
    $('sign-out').hidden = !sessionStorage.getItem(KEY) && !this.settings.sign_out;
    this.threads.more();
    this.#route();
  }

  #wire() {
    const { settings } = this;
    if (settings.title) document.title = $('brand').textContent = settings.title;
    addEventListener('hashchange', () => this.#route());
    addEventListener('online', () => this.connected());
    addEventListener('offline', () => this.#connection());
    addEventListener('pagehide', () => this.conversation.keepUnsent());
    document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && this.#lookAgain());
    this.channel.onmessage = ({ data }) => this.#onOtherTab(data);
    $('new').addEventListener('click', () => this.#go(null));
    $('menu').addEventListener('click', () => this.#list(true));
    $('shade').addEventListener('click', () => this.#list(false));
    $('close-menu').addEventListener('click', () => this.#list(false));
    narrow.addEventListener('change', () => this.#drawer(false));
    document.body.classList.toggle('folded', Boolean(localStorage.getItem(FOLDED)));
    this.#drawer(false);
    $('theme').addEventListener('click', () => this.#theme());
    $('sign-out').addEventListener('click', () => this.#signOut());
    $('sign-in-form').addEventListener('submit', event => this.#signIn(event));
    // Without a sign-in the page has no content. A browser closes the dialog all the same when Esc is pressed twice.
    $('sign-in').addEventListener('cancel', event => event.preventDefault());
    $('sign-in').addEventListener('close', () => $('sign-in').showModal());
    $('sign-in-again').addEventListener('click', () => location.reload());
    this.#wireComposer();
    this.#wireKeys();
  }

  // ---- by keyboard ----
  #wireKeys() {
    const keys = [
      ['O', true, 'New conversation', () => this.#go(null)],
      ['K', false, 'Search the conversations', () => { this.#list(true); $('search').focus(); }],
      ['S', true, 'Show or hide the list', () => this.#list(!this.#listed)],
      ['/', false, 'These shortcuts', () => $('keys').showModal()],
    ];
    const row = (names, does) => el('div', {}, el('dt', {}, ...names.map(name => el('kbd', { text: name }))), el('dd', { text: does }));
    $('keys-list').append(...keys.map(([key, shift, does]) => row([CONTROL, ...(shift ? ['Shift'] : []), key], does)),
      row(['Shift', 'Esc'], 'To the message'), row(['Esc'], 'Stop the answer'), row(['Shift', 'Enter'], 'A new line'));
    $('keys-open').addEventListener('click', () => $('keys').showModal());
    $('skip-list').addEventListener('click', () => $('text').focus());
    $('skip-back').addEventListener('click', () => { this.#list(true); $('new').focus(); });
    document.addEventListener('keydown', event => {
      if (composing(event) || event.defaultPrevented || document.querySelector('dialog[open]')) return;
      if (event.key === 'Escape') { this.#escape(event); return; }
      if (event.ctrlKey === event.metaKey || event.altKey) return;
      const found = keys.find(([key, shift]) => key === event.key.toUpperCase() && (shift === event.shiftKey || key === '/'));
      if (!found) return;
      event.preventDefault();
      found[3]();
    });
  }

  #escape(event) {
    if (event.shiftKey) $('text').focus();
    else if (document.body.classList.contains('drawer')) this.#drawer(false);
    // In the list and in a field with choices Esc has a meaning of its own.
    else if (this.conversation.busy && !event.target.closest('#sidebar, select')) this.conversation.stop();
  }

  // ---- which conversation ----
  get agentId() { return $('agent').value || this.agents[0]?.id; }

  agentName(id) { return visible(this.agents.find(agent => agent.id === id)?.name ?? id ?? 'Assistant'); }

  #route() {
    const id = location.hash.replace(/^#\/?/, '') || null;
    if (id === this.conversation.threadId && (id || this.conversation.busy)) return;
    this.threads.mark(id);
    this.#title(id ? this.threads.titleOf(id) : '');
    this.conversation.open(id);
    this.#drawer(false);
    this.notice('');
    this.#write(sessionStorage.getItem(DRAFT + (id ?? '')) ?? '');
    if (!touch.matches && !$('sign-in').open) $('text').focus();
  }

  #go(id) {
    if (location.hash === (id ? `#/${id}` : '')) { this.conversation.open(id); this.#drawer(false); $('text').focus(); }
    else if (id) location.hash = `/${id}`;
    else { history.pushState(null, '', location.pathname + location.search); this.#route(); }
  }

  #title(title) {
    const shown = visible(title), name = this.settings.title ?? 'Chat';
    $('title').textContent = shown || 'New conversation';
    document.title = shown ? `${shown} – ${name}` : name;
  }

  /** Shows the text of an empty page. */
  welcome() {
    const agent = this.agents.find(one => one.id === this.agentId);
    const examples = this.settings.examples ?? [];
    return el('div.welcome', {},
      el('h2', { text: this.settings.welcome ?? (agent ? visible(agent.name || agent.id) : 'No agent') }),
      el('p', { text: agent ? agent.description || 'Ask something.' : 'The server has no agent yet.' }),
      examples.length ? el('ul.examples', {}, ...examples.map(text => el('li', {},
        el('button', { type: 'button', text, onclick: () => this.#send(text) })))) : null);
  }

  // ---- reports of the conversation and the list ----
  /** A run has begun or ended here. */
  async runChanged(threadId, runId, ended, fresh = false) {
    if (fresh) {
      history.replaceState(null, '', `#/${threadId}`);
      this.threads.mark(threadId);
      this.#keepDraft(null, '');
      this.#keepDraft(threadId, $('text').value);
    }
    this.channel.postMessage({ kind: 'run', threadId, ended });
    if (!fresh && !ended) return;
    try {
      this.threadChanged(await this.client.thread(threadId), false);
    } catch { /* the list has it after the next refresh */ }
  }

  threadChanged(thread, tell = true) {
    this.threads.put(thread);
    if (thread.id === this.conversation.threadId) {
      this.#title(thread.title);
      const there = this.agents.some(agent => agent.id === thread.agent_id);
      if (!this.conversation.busy && there) $('agent').value = thread.agent_id;
    }
    if (tell) this.channel.postMessage({ kind: 'list' });
  }

  threadGone(id) {
    this.channel.postMessage({ kind: 'gone', threadId: id });
    if (id === this.conversation.threadId) this.#go(null);
  }

  threadBack(id) {
    this.channel.postMessage({ kind: 'list' });
    this.#go(id);
  }

  /** A message from another tab of this page. */
  #onOtherTab({ kind, threadId, ended }) {
    if (kind === 'gone') {
      this.threads.remove(threadId);
      if (threadId === this.conversation.threadId) this.#go(null);
      return;
    }
    this.threads.refresh();
    if (kind === 'run' && !ended && threadId === this.conversation.threadId) this.conversation.refresh();
  }

  #lookAgain() {
    if (!this.agents.length) return;
    this.threads.refresh();
    this.conversation.refresh();
  }

  #lost(error) {
    this.waits(error);
    this.conversation.lost();
  }

  /** Shows what the page waits for: the server, or a limit that the server reports. */
  waits(error) {
    this.waiting = error;
    this.#connection();
  }

  connected() {
    this.waiting = null;
    this.#connection();
  }

  changed() {
    const { busy, stopping } = this.conversation;
    $('send').hidden = busy;
    $('stop').hidden = !busy;
    $('stop').disabled = stopping;
    this.#fits();
    this.#connection();
  }

  failed(error) {
    if (error.wantsSignIn) this.#askToSignIn(error);
    else if (error.status === 404 && this.conversation.threadId) {
      this.toast('This conversation no longer exists.');
      this.#go(null);
    } else this.toast(wordsOf(error));
  }

  /** The server did not accept a message; its text is in the box again. */
  refused(error) {
    if (error.wantsSignIn) this.#askToSignIn(error);
    else this.notice(wordsOf(error) + (error.retryAfter ? ` You can send your message at ${whenOf(error.retryAfter)}.` : ''));
  }

  // ---- notices ----
  /** Shows the state of the connection and its effect on the open request. */
  #connection() {
    const { busy, begun } = this.conversation, { status, message } = this.waiting ?? {};
    let text = '';
    if (!navigator.onLine) {
      text = `You are offline.${begun ? ' The answer continues on the server.' : busy ? ' Your message is sent when you are online again.' : ''}`;
    } else if (this.waiting) {
      text = `${status === 429 ? sentence(message) : status ? 'The server is busy.' : 'The connection is lost.'} Trying again…`;
    }
    if ($('banner').textContent !== text) $('banner').textContent = text;
    $('banner').hidden = !text;
  }

  /** Shows a notice above the box until the next message. */
  notice(text) {
    $('notice').textContent = text;
    $('notice').hidden = !text;
  }

  /** @param {HTMLElement} [next] where the focus goes from here; with it the action has the focus now */
  toast(text, action = '', onaction = null, next = null) {
    const box = $('toast');
    let timer;
    const end = () => {
      clearTimeout(timer);
      if (one.contains(document.activeElement)) (next?.isConnected ? next : $('text')).focus();
      one.remove();
    };
    const button = action ? el('button.toast-action', { type: 'button', text: action, onclick: () => { end(); onaction(); } }) : null;
    const one = el('div.toast', {}, el('span', { text }), button, iconButton('close', 'Close', end));
    // It stays while its button has the focus or the pointer.
    const later = () => { timer = setTimeout(() => (one.matches(':hover, :has(:focus-visible)') ? later() : end()), TOAST_MS); };
    // A notice with an undo button stays beside later ones; of plain notices only the last are kept.
    box.querySelectorAll('.toast:not(:has(.toast-action))').forEach(old => old.remove());
    box.append(one);
    later();
    if (next) button.focus();
  }

  // ---- signing in ----
  /** By the address that config.json names; by a key, where the API itself asks for one; else by loading the page again. */
  #askToSignIn({ code, scheme }) {
    if ($('sign-in').open) return;
    const { sign_in: address } = this.settings, byKey = !address && code === 'unauthenticated' && scheme === 'bearer';
    $('sign-in-word').textContent = byKey && sessionStorage.getItem(KEY) ? 'This key is not accepted.' : '';
    $('sign-in-word').hidden = !$('sign-in-word').textContent;
    sessionStorage.removeItem(KEY);
    $('sign-in-form').hidden = !byKey;
    $('sign-in-else').hidden = byKey;
    $('sign-in-link').hidden = !address;
    $('sign-in-again').hidden = Boolean(address);
    if (address) $('sign-in-link').href = this.#address(address);
    $('sign-in').showModal();
  }

  /** An address of config.json; `{here}` in it is where to come back to. */
  #address(text) { return new URL(text.replaceAll('{here}', encodeURIComponent(location.href)), document.baseURI).href; }

  #signIn(event) {
    event.preventDefault();
    const key = $('key').value.trim();
    if (!key) return;
    sessionStorage.setItem(KEY, key);
    location.reload();
  }

  /** Reloads the page, so that no data of this user is left on it. */
  #signOut() {
    const address = sessionStorage.getItem(KEY) ? null : this.settings.sign_out;
    for (const name of Object.keys(sessionStorage)) if (name === KEY || name.startsWith(DRAFT)) sessionStorage.removeItem(name);
    $('text').value = '';
    history.replaceState(null, '', location.pathname + location.search);
    if (address) location.assign(this.#address(address));
    else location.reload();
  }

  // ---- look ----
  #theme() {
    const root = document.documentElement.dataset;
    const dark = root.theme ? root.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    root.theme = dark ? 'light' : 'dark';
    localStorage.setItem(THEME, root.theme);
  }

  /** Whether the list is visible. */
  get #listed() { return narrow.matches ? document.body.classList.contains('drawer') : !document.body.classList.contains('folded'); }

  /** Shows or hides the list: above the conversation on a narrow screen, else beside it. */
  #list(show) {
    if (show === this.#listed) return;
    if (narrow.matches) { this.#drawer(show); return; }
    document.body.classList.toggle('folded', !show);
    if (show) localStorage.removeItem(FOLDED);
    else localStorage.setItem(FOLDED, '1');
    $('menu').setAttribute('aria-expanded', String(show));
    $(show ? 'close-menu' : 'menu').focus();
  }

  #drawer(open) {
    document.body.classList.toggle('drawer', open);
    $('sidebar').inert = narrow.matches && !open;
    $('main').inert = narrow.matches && open;
    $('shade').hidden = !open;
    $('menu').setAttribute('aria-expanded', String(this.#listed));
    if (open) $('close-menu').focus();
    else if ($('sidebar').contains(document.activeElement) && narrow.matches) $('menu').focus();
  }

  // ---- writing ----
  #wireComposer() {
    const text = $('text');
    $('composer').addEventListener('submit', event => {
      event.preventDefault();
      this.#send(text.value.trim());
    });
    $('stop').addEventListener('click', () => { this.conversation.stop(); text.focus(); });
    $('agent').addEventListener('change', () => {
      if (!this.conversation.threadId && !this.conversation.busy) this.conversation.open(null);
    });
    text.addEventListener('input', () => this.#write(text.value));
    text.addEventListener('keydown', event => {
      // On a touch keyboard Enter makes a new line: it has no other key for that.
      if (event.key === 'Enter' && !event.shiftKey && !composing(event) && !touch.matches) {
        event.preventDefault();
        this.#send(text.value.trim());
      }
    });
    addEventListener('resize', () => this.#fits());
  }

  #send(text) {
    if (!text || this.conversation.busy || !this.agents.length) return;
    this.notice('');
    this.#write('');
    this.conversation.send(text, this.agentId);
  }

  /** The text of the box: a draft that stays with its conversation until it is sent. */
  #write(words) {
    if ($('text').value !== words) $('text').value = words;
    this.#fits();
    this.#keepDraft(this.conversation.threadId, words);
  }

  #keepDraft(threadId, words) {
    const name = DRAFT + (threadId ?? '');
    try {
      if (words) sessionStorage.setItem(name, words);
      else sessionStorage.removeItem(name);
    } catch { /* there is no more room; it is still in the box */ }
  }

  /** Puts a text that was not sent, or shall be sent again, above the current draft. */
  putBack(words) {
    const since = $('text').value;
    this.#write(since.trim() ? `${words}\n\n${since}` : words);
    $('text').focus();
    $('text').setSelectionRange(words.length, words.length);
  }

  /** The same for a conversation that is no longer open. */
  keep(threadId, words) {
    const since = sessionStorage.getItem(DRAFT + (threadId ?? '')) ?? '';
    this.#keepDraft(threadId, since.trim() ? `${words}\n\n${since}` : words);
  }

  /** Makes the box as high as its text. */
  #fits() {
    const text = $('text');
    text.style.height = 'auto';
    text.style.height = `${text.scrollHeight}px`;
    $('send').disabled = !text.value.trim();
  }
}

const theme = localStorage.getItem(THEME);
if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;

async function settings() {
  try {
    const response = await fetch('config.json', { cache: 'no-cache' });
    return response.ok ? await response.json() : {};
  } catch {
    return {};
  }
}

new Page(await settings()).start();
