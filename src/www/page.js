// SPDX-License-Identifier: Apache-2.0
// The page: the signed-in user, which conversation is open, and what the parts of the page tell each other.
import { AgentChat } from './agentchat.js';
import { Announcer } from './announcer.js';
import { Composer, DRAFT, touch } from './composer.js';
import { Conversation } from './conversation.js';
import { $, el, visible } from './dom.js';
import { use, wireLate } from './late.js';
import { notice, showConnection, toast } from './notices.js';
import { apiAddress, frame, keyOf, settings, wanted } from './settings.js';
import { wireShortcuts } from './shortcuts.js';
import { local } from './storage.js';
import { t } from './strings.js';
import { wireTheme } from './theme.js';
import { ThreadList } from './threads.js';
import { whenOf, wordsOf } from './words.js';

const FOLDED = 'agentchat.folded', START_MS = 3000;
const narrow = matchMedia('(max-width: 760px)');
const signIn = error => use('sign-in', ({ askToSignIn }) => askToSignIn(error));

class Page {
  constructor() {
    this.agents = [];
    this.waiting = null;                // why the page polls the server
    this.client = new AgentChat({
      url: apiAddress(), key: keyOf(), retries: Infinity,
      redirect: 'manual', onretry: ({ error }) => this.#lost(error),
    });
    this.announcer = new Announcer($('announcer'));
    this.channel = new BroadcastChannel('agentchat');
    this.conversation = new Conversation(this);
    this.composer = new Composer(() => this.conversation.threadId, text => this.#send(text));
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
    const agent = this.agents.find(({ id }) => id === wanted.get('agent'));
    if (agent) $('agent').value = agent.id;
    $('agent').parentElement.hidden = this.agents.length < 2 || Boolean(agent);
    $('sign-out').hidden = Boolean(frame?.key) || (!keyOf() && !settings.sign_out);
    this.threads.more();
    this.#route();
    this.#extend();
  }

  /** Loads the parts of the page for what this server offers besides answers. */
  async #extend() {
    if (this.extended) return;
    this.extended = true;
    try {
      const { files, titles } = await this.client.me();
      if (titles) this.titles = new (await import('./titles.js')).Titles(this);
      if (files) await (await import('./attach.js')).wire(this, files);
    } catch {
      this.extended = false;            // when the page is looked at again
    }
  }

  #wire() {
    document.title = $('brand').textContent = settings.title ?? t('chat');
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
    $('stop').addEventListener('click', () => { this.conversation.stop(); this.composer.focus(); });
    $('agent').addEventListener('change', () => {
      if (!this.conversation.threadId && !this.conversation.busy) this.conversation.open(null);
    });
    $('sign-out').addEventListener('click', () => { $('text').value = ''; use('sign-in', ({ signOut }) => signOut(DRAFT)); });
    const search = () => use('search', ({ open }) => open(this));
    $('search').addEventListener('click', search);
    $('account').addEventListener('click', () => use('account', ({ open }) => open(this)));
    $('skip-list').addEventListener('click', () => this.composer.focus());
    $('skip-back').addEventListener('click', () => { this.#list(true); $('new').focus(); });
    narrow.addEventListener('change', () => this.#drawer(false));
    document.body.classList.toggle('folded', Boolean(local.get(FOLDED)));
    this.#drawer(false);
    wireTheme();
    wireLate();
    wireShortcuts([
      { key: 'O', shift: true, label: 'newConversation', does: () => this.#go(null) },
      { key: 'K', label: 'keys.search', does: search },
      { key: 'S', shift: true, label: 'keys.list', does: () => this.#list(!this.#listed) },
    ], event => this.#escape(event));
  }

  #escape(event) {
    if (event.shiftKey) this.composer.focus();
    else if (document.body.classList.contains('drawer')) this.#drawer(false);
    // In the list and in a field with choices Esc has a meaning of its own.
    else if (event.target.closest('#sidebar, select')) return;
    else if (this.conversation.busy) this.conversation.stop();
    else frame?.tell('close');
  }

  // ---- which conversation ----
  get agentId() { return $('agent').value || this.agents[0]?.id; }

  agentName(id) { return visible(this.agents.find(agent => agent.id === id)?.name ?? id ?? t('assistant')); }

  #route() {
    const id = location.hash.replace(/^#\/?/, '') || null;
    if (id === this.conversation.threadId && (id || this.conversation.busy)) return;
    this.threads.mark(id);
    this.#title(id ? this.threads.titleOf(id) : '');
    this.conversation.open(id);
    this.#drawer(false);
    notice('');
    this.composer.open(id);
    if (!touch.matches && !document.querySelector('dialog[open]')) this.composer.focus();
  }

  #go(id) {
    if (location.hash === (id ? `#/${id}` : '')) { this.conversation.open(id); this.#drawer(false); this.composer.focus(); }
    else if (id) location.hash = `/${id}`;
    else { history.pushState(null, '', location.pathname + location.search); this.#route(); }
  }

  #title(title) {
    const shown = visible(title), name = settings.title ?? t('chat');
    $('title').textContent = shown || t('newConversation');
    document.title = shown ? `${shown} – ${name}` : name;
  }

  /** Shows the text of an empty page. */
  welcome() {
    const agent = this.agents.find(one => one.id === this.agentId);
    const examples = settings.examples ?? [];
    return el('div.welcome', {},
      el('h2', { text: settings.welcome ?? (agent ? visible(agent.name || agent.id) : t('noAgent')), dir: 'auto' }),
      el('p', { text: agent ? agent.description || t('askSomething') : t('noAgentYet'), dir: 'auto' }),
      examples.length ? el('ul.examples', {}, ...examples.map(text => el('li', {},
        el('button', { type: 'button', text, dir: 'auto', onclick: () => this.#send(text) })))) : null);
  }

  /** Shows a message of the conversation that is opened next, or is open. @param {?string} id */
  find(match) {
    this.#drawer(false);
    this.conversation.find(match);
  }

  // ---- reports of the conversation and the list ----
  /** A run has begun or ended here. */
  async runChanged(threadId, runId, ended, fresh = false) {
    if (fresh) {
      history.replaceState(null, '', `#/${threadId}`);
      this.threads.mark(threadId);
      this.composer.keepDraft(null, '');
      this.composer.keepDraft(threadId, this.composer.text);
      this.composer.attach?.move(threadId);
    }
    this.channel.postMessage({ kind: 'run', threadId, ended });
    if (!fresh && !ended) return;
    try {
      const thread = await this.client.thread(threadId);
      this.threadChanged(thread, false);
      if (ended) this.titles?.expect(thread);
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
    this.#extend();
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
    this.composer.fits();
    this.#connection();
  }

  failed(error) {
    if (error.wantsSignIn) signIn(error);
    else if (error.status === 404 && this.conversation.threadId) {
      toast(t('conversationGone'));
      this.#go(null);
    } else toast(wordsOf(error));
  }

  /** The server did not accept a message; its text is in the box again. */
  refused(error) {
    if (error.wantsSignIn) signIn(error);
    else {
      const reason = this.composer.attach?.reasonOf(error) ?? wordsOf(error);
      notice(error.retryAfter ? t('sendAt', { reason, time: whenOf(error.retryAfter) }) : reason);
    }
  }

  #connection() { showConnection(this.waiting, this.conversation); }

  // ---- look ----
  /** Whether the list is visible. */
  get #listed() { return narrow.matches ? document.body.classList.contains('drawer') : !document.body.classList.contains('folded'); }

  /** Shows or hides the list: above the conversation on a narrow screen, else beside it. */
  #list(show) {
    if (show === this.#listed) return;
    if (narrow.matches) { this.#drawer(show); return; }
    document.body.classList.toggle('folded', !show);
    if (show) local.remove(FOLDED);
    else local.set(FOLDED, '1');
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
  #send(text) {
    const { attach } = this.composer;
    if (this.conversation.busy || !this.agents.length || attach?.ready === false) return;
    notice('');
    const files = attach?.take();
    this.composer.write('');
    this.conversation.send(text, this.agentId, { files });
  }
}

new Page().start();
