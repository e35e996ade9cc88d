// SPDX-License-Identifier: Apache-2.0
// The page as a whole: its settings, who is signed in, which conversation is open, and the box that one writes in.
import { AgentChat } from './agentchat.js';
import { Announcer } from './announcer.js';
import { Conversation } from './conversation.js';
import { $, el, sentence } from './dom.js';
import { ThreadList } from './threads.js';

const KEY = 'agentchat.key', THEME = 'agentchat.theme';
const TOAST_MS = 10_000, START_MS = 3000;
const narrow = matchMedia('(max-width: 760px)');
const touch = matchMedia('(pointer: coarse)');

class Page {
  constructor(settings) {
    this.settings = settings;
    this.agents = [];
    this.client = new AgentChat({
      url: new URL(settings.api ?? '../api', document.baseURI).href, key: sessionStorage.getItem(KEY), retries: Infinity,
      onretry: ({ error }) => this.#lost(error),
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
    $('agent').replaceChildren(...this.agents.map(({ id, name }) => el('option', { value: id, text: name || id })));
    $('agent').parentElement.hidden = this.agents.length < 2;
    $('sign-out').hidden = !sessionStorage.getItem(KEY);
    this.threads.more();
    this.#route();
  }

  #wire() {
    const { settings } = this;
    if (settings.title) document.title = $('brand').textContent = settings.title;
    addEventListener('hashchange', () => this.#route());
    addEventListener('online', () => this.#banner(''));
    addEventListener('offline', () => this.#banner('You are offline. The answer goes on at the server.'));
    document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && this.#lookAgain());
    this.channel.onmessage = ({ data }) => this.#told(data);
    $('new').addEventListener('click', () => this.#go(null));
    $('menu').addEventListener('click', () => this.#drawer(true));
    $('shade').addEventListener('click', () => this.#drawer(false));
    $('close-menu').addEventListener('click', () => this.#drawer(false));
    narrow.addEventListener('change', () => this.#drawer(false));
    this.#drawer(false);
    $('theme').addEventListener('click', () => this.#theme());
    $('sign-out').addEventListener('click', () => this.#signOut());
    $('sign-in-form').addEventListener('submit', event => this.#signIn(event));
    // Without a key there is nothing behind it. A browser closes it all the same when Esc is pressed twice.
    $('sign-in').addEventListener('cancel', event => event.preventDefault());
    $('sign-in').addEventListener('close', () => { if (!sessionStorage.getItem(KEY)) $('sign-in').showModal(); });
    $('toast-close').addEventListener('click', () => this.toast(''));
    this.#wireComposer();
    document.addEventListener('keydown', event => {
      if (event.key === 'Escape' && document.body.classList.contains('drawer')) this.#drawer(false);
      else if (event.key === 'Escape' && this.conversation.busy && !$('sign-in').open) this.conversation.stop();
    });
  }

  // ---- which conversation ----
  get agentId() { return $('agent').value || this.agents[0]?.id; }

  agentName(id) { return this.agents.find(agent => agent.id === id)?.name ?? id ?? 'Assistant'; }

  #route() {
    const id = location.hash.replace(/^#\/?/, '') || null;
    if (id === this.conversation.threadId && (id || this.conversation.busy)) return;
    this.threads.mark(id);
    this.#title(id ? this.threads.titleOf(id) : '');
    this.conversation.open(id);
    this.#drawer(false);
    if (!touch.matches && !$('sign-in').open) $('text').focus();
  }

  #go(id) {
    if (location.hash === (id ? `#/${id}` : '')) { this.conversation.open(id); this.#drawer(false); $('text').focus(); }
    else if (id) location.hash = `/${id}`;
    else { history.pushState(null, '', location.pathname + location.search); this.#route(); }
  }

  #title(title) {
    $('title').textContent = title || 'New conversation';
    document.title = title ? `${title} – ${this.settings.title ?? 'Chat'}` : this.settings.title ?? 'Chat';
  }

  /** What stands on an empty page. */
  welcome() {
    const agent = this.agents.find(one => one.id === this.agentId);
    const examples = this.settings.examples ?? [];
    return el('div.welcome', {},
      el('h2', { text: this.settings.welcome ?? (agent ? agent.name || agent.id : 'Nobody is here') }),
      el('p', { text: agent ? agent.description || 'Ask something.' : 'The server has no agent yet.' }),
      examples.length ? el('ul.examples', {}, ...examples.map(text => el('li', {},
        el('button', { type: 'button', text, onclick: () => this.#send(text) })))) : null);
  }

  // ---- what the conversation and the list tell ----
  /** A run has begun or ended here. */
  async runChanged(threadId, runId, ended, fresh = false) {
    if (fresh) {
      history.replaceState(null, '', `#/${threadId}`);
      this.threads.mark(threadId);
    }
    this.channel.postMessage({ kind: 'run', threadId, ended });
    if (!fresh && !ended) return;
    try {
      this.threadChanged(await this.client.thread(threadId), false);
    } catch { /* it is in the list at the next look */ }
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

  /** Another tab of this page says something. */
  #told({ kind, threadId, ended }) {
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

  /** What is waited for: the server, or what it says itself. */
  waits(error) {
    if (navigator.onLine) this.#banner(`${error?.status ? sentence(error.message) : 'The connection is lost.'} Trying again…`);
  }

  connected() { if (!$('banner').hidden && navigator.onLine) this.#banner(''); }

  changed() {
    const { busy, stopping } = this.conversation;
    $('send').hidden = busy;
    $('stop').hidden = !busy;
    $('stop').disabled = stopping;
    this.#fits();
  }

  failed(error) {
    if (error.code === 'unauthenticated') this.#askKey();
    else if (error.status === 404 && this.conversation.threadId) {
      this.toast('This conversation is not there any more.');
      this.#go(null);
    } else this.toast(sentence(error.message));
  }

  // ---- words to the user ----
  #banner(text) {
    $('banner').textContent = text;
    $('banner').hidden = !text;
  }

  /** @param {HTMLElement} [next] where the focus goes from here; with it the action has the focus now */
  toast(text, action = '', onaction = null, next = null) {
    clearTimeout(this.toastTimer);
    const box = $('toast'), old = $('toast-action'), button = old.cloneNode();
    if (!text && box.contains(document.activeElement)) (this.toastNext?.isConnected ? this.toastNext : $('text')).focus();
    this.toastNext = next;
    $('toast-text').textContent = text;
    button.textContent = action;
    button.hidden = !action;
    button.addEventListener('click', () => { this.toast(''); onaction(); });
    old.replaceWith(button);
    box.classList.toggle('shown', Boolean(text));
    box.inert = !text;
    if (next) button.focus();
    // It stays for those who are about to use it.
    const end = () => {
      if (box.matches(':hover, :has(:focus-visible)')) this.toastTimer = setTimeout(end, 1000);
      else this.toast('');
    };
    if (text) this.toastTimer = setTimeout(end, TOAST_MS);
  }

  // ---- signing in ----
  #askKey() {
    if ($('sign-in').open) return;
    $('sign-in-word').textContent = sessionStorage.getItem(KEY) ? 'This key is not accepted.' : '';
    $('sign-in-word').hidden = !$('sign-in-word').textContent;
    sessionStorage.removeItem(KEY);
    $('sign-in').showModal();
  }

  #signIn(event) {
    event.preventDefault();
    const key = $('key').value.trim();
    if (!key) return;
    sessionStorage.setItem(KEY, key);
    this.client.key = key;
    $('key').value = '';
    $('sign-in').close();
    this.conversation.threadId = undefined;     // so that it is opened again
    this.threads.clear();
    this.start();
  }

  #signOut() {
    sessionStorage.removeItem(KEY);
    this.client.key = null;
    this.threads.clear();
    history.replaceState(null, '', location.pathname + location.search);
    this.conversation.open(null);
    this.start();
  }

  // ---- look ----
  #theme() {
    const root = document.documentElement.dataset;
    const dark = root.theme ? root.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    root.theme = dark ? 'light' : 'dark';
    localStorage.setItem(THEME, root.theme);
  }

  #drawer(open) {
    document.body.classList.toggle('drawer', open);
    $('sidebar').inert = narrow.matches && !open;
    $('main').inert = narrow.matches && open;
    $('shade').hidden = !open;
    $('menu').setAttribute('aria-expanded', String(open));
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
    text.addEventListener('input', () => this.#fits());
    text.addEventListener('keydown', event => {
      // With a keyboard of glass Enter is a new line: there is no other key for it.
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing && !touch.matches) {
        event.preventDefault();
        this.#send(text.value.trim());
      }
    });
    addEventListener('resize', () => this.#fits());
  }

  #send(text) {
    if (!text || this.conversation.busy || !this.agents.length) return;
    $('text').value = '';
    this.#fits();
    this.conversation.send(text, this.agentId);
  }

  /** Puts words into the box, to be changed and sent. */
  compose(words) {
    $('text').value = words;
    this.#fits();
    $('text').focus();
    $('text').setSelectionRange(words.length, words.length);
  }

  /** Words that could not be sent, above what was written since. */
  putBack(words) {
    const since = $('text').value;
    this.compose(since.trim() ? `${words}\n\n${since}` : words);
  }

  /** The box is as high as what is in it. */
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
