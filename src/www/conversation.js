// SPDX-License-Identifier: Apache-2.0
// The open conversation: its stored turns, sending a message, showing its answer, and following a run again after a loss.
import { AgentChatError } from './agentchat.js';
import { $, el } from './dom.js';
import { t } from './strings.js';
import { AnswerTurn, UserTurn } from './turn.js';
import { wordsOf } from './words.js';

const PAGE = 30, MOST = 100, AGAIN_MS = 3000;
const NEAR = 64;                        // pixels from the end that still count as the end
const EARLY = 400;                      // distance in pixels from the start at which earlier turns are loaded
const ENDED = new Set(['completed', 'failed', 'cancelled', 'interrupted']);
const turnOf = new WeakMap();            // of its element
const LEFT = new DOMException('the conversation was left', 'AbortError');

/** The message after an answer has the results of the calls that a client carried out. */
const withResults = (message, next) => message.tool_calls?.some(call => call.client) && next?.tool_calls
  ? { ...message, tool_calls: message.tool_calls.map(call => next.tool_calls.find(one => call.client && one.id === call.id) ?? call) }
  : message;

export class Conversation {
  #app; #box; #turns; #top; #known = new Map(); #lastSeq = 0; #firstSeq = 0; #sticks = true; #scrolledTo = 0; #active = null; #load = null; #observer; #wanted = null;

  /** @param {Object} app the page: client, announcer, and the methods that it wants called (page.js) */
  constructor(app) {
    this.#app = app;
    this.#box = $('transcript');
    this.#turns = $('turns');
    this.#load = new AbortController();
    this.#top = el('div.sentinel', { 'aria-hidden': 'true' });
    this.threadId = null;
    this.#box.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    $('latest').addEventListener('click', () => { this.#sticks = true; this.#toEnd(); });
    this.#observer = new IntersectionObserver(entries => entries.some(entry => entry.isIntersecting) && this.#older(),
      { root: this.#box, rootMargin: `${EARLY}px` });
    new ResizeObserver(() => this.#toEnd()).observe(this.#box);
  }

  /** Whether the server has accepted the message that is being answered. */
  get begun() { return Boolean(this.#active?.runId); }
  get busy() { return this.#active !== null; }
  get stopping() { return this.#active?.stopping ?? false; }

  /** Shows this message, when its conversation is there. @param {?{thread_id: string, message_id: string, seq: number}} match */
  find(match) {
    this.#wanted = match;
    if (match?.thread_id === this.threadId && !this.#load.refreshing) this.#show();
  }

  /** Loads earlier turns until the message is there; if it is on another branch, this one is shown. */
  async #show() {
    const wanted = this.#wanted, load = this.#load;
    this.#wanted = null;
    if (wanted?.thread_id !== this.threadId) return;
    for (let first = 0; !this.#known.has(wanted.message_id) && this.#firstSeq > wanted.seq && first !== this.#firstSeq;) {
      first = this.#firstSeq;
      await this.#older(MOST);
      if (load !== this.#load) return;
    }
    const { node } = this.#known.get(wanted.message_id) ?? {};
    if (!node) {
      if (this.busy || wanted.isChosen) return;
      await this.#choose(wanted.message_id);
      if (wanted.thread_id === this.threadId) this.find({ ...wanted, isChosen: true });
      return;
    }
    this.#sticks = false;
    node.scrollIntoView({ block: 'start' });
    node.classList.add('found');
    setTimeout(() => node.classList.remove('found'), 2000);
  }

  // ---- scrolling ----
  #atEnd() { return this.#box.scrollHeight - this.#box.scrollTop - this.#box.clientHeight < NEAR; }

  /** The view stays at the end, also when content grows or is laid out late, until the user scrolls back. */
  #scrolled() {
    const { scrollTop } = this.#box, back = scrollTop < this.#scrolledTo;
    this.#scrolledTo = scrollTop;
    if (scrollTop < EARLY) this.#older();
    this.#sticks = this.#atEnd() || (this.#sticks && !back);
    $('latest').hidden = this.#sticks;
  }

  #toEnd() {
    if (this.#sticks) this.#box.scrollTop = this.#box.scrollHeight;
    $('latest').hidden = this.#sticks || this.#atEnd();
  }

  // ---- turns ----
  #answer(agentId) {
    const answer = new AnswerTurn(this.#app.agentName(agentId), {
      retry: () => this.#again(answer, agentId),
      choose: id => this.#choose(id),
      decide: (callId, approve, content) => this.#app.client.approve(this.#active?.runId, callId, approve, undefined, { content }),
      grown: () => this.#toEnd(),
      client: this.#app.client,
    });
    turnOf.set(answer.node, answer);
    return answer;
  }

  #user(text, timestamp, files) {
    const user = new UserTurn(text, {
      edit: (words, kept) => this.#edit(user, words, kept), choose: id => this.#choose(id), grown: () => this.#toEnd(), client: this.#app.client,
    }, timestamp, files);
    turnOf.set(user.node, user);
    return user;
  }

  /** Shows stored messages as turns, without those that are shown already. */
  #turnsOf(messages, runs) {
    const found = [], answers = [...messages.filter(one => one.role === 'assistant'), ...this.#answers()];
    const answered = new Set(answers.map(one => one.run_id ?? one.runId));
    for (const [i, message] of messages.entries()) {
      this.#lastSeq = Math.max(this.#lastSeq, message.seq);
      if (this.#isShown(message)) continue;
      const run = runs.find(one => one.id === message.run_id);
      let turn;
      if (message.role === 'user') {
        turn = this.#user(message.content, message.timestamp, message.attachments);
      } else {
        turn = this.#answer(run?.agent_id ?? this.#app.agentId);
        turn.runId = message.run_id;
        turn.show(withResults(message, messages[i + 1]), run);
      }
      turn.runId = message.run_id;
      turn.place(message);
      this.#known.set(message.id, turn);
      found.push(turn);
      if (message.role === 'user' && run && ENDED.has(run.status) && run.status !== 'completed' && !answered.has(run.id) &&
          messages[i + 1]?.role !== 'assistant') {
        found.push(this.#unanswered(run));
      }
    }
    return found;
  }

  /** Or has nothing to show. An answer that failed on this page is known by its run, not by the id of the stored message. */
  #isShown({ id, role, run_id, deleted }) {
    return deleted || this.#known.has(id) || !['user', 'assistant'].includes(role) ||
      (role === 'assistant' && this.#answers().some(turn => turn.runId === run_id));
  }

  #answers() { return [...this.#known.values()].filter(turn => turn instanceof AnswerTurn); }

  /** Shows why a run has no answer. */
  #unanswered(run) {
    const answer = this.#answer(run.agent_id);
    answer.runId = run.id;
    this.#known.set(run.id, answer);
    if (run.status === 'failed') answer.fail(run.error ?? {});
    else answer.end(run);
    return answer;
  }

  // ---- branches ----
  /** The last stored message before this element. */
  #before(node) {
    for (let one = node.previousElementSibling; one; one = one.previousElementSibling) {
      const turn = turnOf.get(one);
      if (turn?.message) return turn;
    }
    return null;
  }

  /** Removes the turns from this element on: the conversation continues in another way. */
  #cut(node) {
    for (let next; node; node = next) {
      next = node.nextElementSibling;
      node.remove();
    }
    for (const [id, turn] of this.#known) if (!turn.node.isConnected) this.#known.delete(id);
  }

  /** Whether an answer is still being written; if so, the page says it. */
  #waits() {
    if (this.busy) this.#app.failed({ code: 'run_in_progress' });
    return this.busy;
  }

  /** Sends a question in other words, beside the one that was sent. @returns {boolean} false: not now */
  #edit(user, text, files) {
    if (this.#waits()) return false;
    const { parent_id: parent = this.#before(user.node)?.message.id ?? null } = user.message ?? {};
    if (user.message) {
      this.#cut(user.node);
      this.send(text, this.#app.agentId, { parent, files });
    } else this.#app.composer.putBack(text, files);
    return true;
  }

  /** Asks for another answer to the same question. */
  #again(answer, agentId) {
    const asked = answer.message ?? this.#before(answer.node)?.message;
    if (!asked || this.#waits()) return;
    this.#cut(answer.node);
    const next = this.#answer(agentId);
    this.#turns.append(next.node);
    this.#sticks = true;
    this.#toEnd();
    this.#watch(next, signal => this.#app.client.regenerate(this.threadId, asked.id, { agent_id: agentId, signal }),
      null, { branched: true });
  }

  /** Shows the branch with this message. */
  async #choose(id) {
    if (this.#waits()) return;
    const { threadId } = this;
    try {
      this.#app.threadChanged(await this.#app.client.updateThread(threadId, { leaf: id }));
      await this.open(threadId, id);
    } catch (error) {
      this.#app.failed(error);
    }
  }

  /** Shows the places of the messages among their siblings, after an answer. */
  async #places() {
    const load = this.#load, { signal } = load;
    try {
      const { data } = await this.#app.client.messages(this.threadId, { order: 'desc', limit: PAGE }, { signal });
      for (const message of data) this.#known.get(message.id)?.place(message);
      // Another tab asked for this answer: it takes the place of the one that is shown here.
      const ids = new Set(data.map(({ id }) => id)), first = data.at(-1)?.seq;
      if (!this.busy && [...this.#known.values()].some(({ message }) => message?.seq >= first && !ids.has(message.id))) {
        this.open(this.threadId, data[0].id);
      }
    } catch { /* at the next refresh */ }
  }

  // ---- opening ----
  /**
   * Shows a thread, or with null an empty page for a new one.
   * @param {string} [id] of the message with which another branch begins: it stays in view
   */
  async open(threadId, id = null) {
    const at = this.#box.scrollTop;
    this.#leave();
    const load = this.#load = new AbortController(), { client } = this.#app, { signal } = load;
    this.threadId = threadId;
    this.#sticks = true;
    $('latest').hidden = true;
    this.#app.announcer.clear();
    if (!id) this.#turns.replaceChildren();
    this.#app.changed();
    if (threadId === null) {
      this.#turns.append(this.#app.welcome());
      return;
    }
    load.refreshing = true;
    if (!id) this.#turns.append(el('p.loading', { text: t('loading') }));
    try {
      const [page, runs, thread] = await Promise.all([client.messages(threadId, { order: 'desc', limit: PAGE }, { signal }),
        client.runs(threadId, { limit: PAGE }, { signal }), client.thread(threadId, { signal })]);
      this.#app.connected();
      this.#app.threadChanged(thread, false);
      const messages = page.data.reverse();
      this.#firstSeq = messages[0]?.seq ?? 0;
      this.#turns.replaceChildren(this.#top, ...this.#turnsOf(messages, runs.data).map(turn => turn.node));
      if (page.has_more) this.#observer.observe(this.#top);
      if (id) this.#stay(id, at);
      else this.#toEnd();
      this.#goOn(runs.data[0]);
      load.refreshing = false;
      this.#show();
      this.#catchUp();
    } catch (error) {
      if (signal.aborted) return;
      if (error.transient) {
        this.#app.waits(error);
        setTimeout(() => { if (this.#load === load) this.open(threadId); }, error.retryAfter ?? AGAIN_MS);
        return;
      }
      this.#turns.replaceChildren();
      this.#app.failed(error);
    }
  }

  /** Leaves the view where it was; the focus returns to the switch. */
  #stay(id, at) {
    const { node } = this.#known.get(id) ?? {};
    this.#sticks = false;
    this.#box.scrollTop = at;
    node?.scrollIntoView({ block: 'nearest' });
    node?.querySelector('.branches button:enabled')?.focus();
  }

  /** Keeps a message that did not reach the server as the draft of its conversation. */
  keepUnsent() {
    const { lost, runId, user } = this.#active ?? {};
    if (lost && !runId && user) this.#app.composer.keep(this.threadId, user.text, user.files);
  }

  #leave() {
    this.keepUnsent();
    this.#load.abort(LEFT);
    this.#active?.abort.abort(LEFT);
    this.#active = null;
    this.#observer.unobserve(this.#top);
    this.#known.clear();
    this.#lastSeq = this.#firstSeq = 0;
  }

  /** Loads earlier turns, once at a time. */
  async #older(limit = PAGE) {
    if (this.#firstSeq > 1) await (this.#load.older ??= this.#page(this.#load, limit));
  }

  async #page(load, limit) {
    const { signal } = load, before = this.#firstSeq, last = this.#lastSeq;
    try {
      const [page, runs] = await Promise.all([this.#app.client.messages(this.threadId, { order: 'desc', limit, before }, { signal }),
        this.#app.client.runs(this.threadId, { limit: MOST }, { signal })]);
      const messages = page.data.reverse(), anchor = this.#top.nextElementSibling, at = anchor.getBoundingClientRect().top;
      this.#firstSeq = messages[0]?.seq ?? 0;
      this.#top.after(...this.#turnsOf(messages, runs.data).map(turn => turn.node));
      this.#lastSeq = last;
      this.#box.scrollTop += anchor.getBoundingClientRect().top - at;
      if (!page.has_more) this.#observer.unobserve(this.#top);
      load.older = null;
      // The observer reports changes only: nothing, if the start of the list is still in view.
      if (page.has_more && this.#box.scrollTop < EARLY) this.#older();
    } catch (error) {
      load.older = null;
      if (!signal.aborted) this.#app.failed(error);
    }
  }

  /** Shows what another tab or machine has added or chosen: now, or after the answer of this tab. */
  async refresh() {
    const load = this.#load, { signal } = load, { client } = this.#app;
    if (!this.threadId) return;
    load.stale = this.busy || Boolean(load.refreshing);
    if (load.stale) return;
    load.refreshing = true;
    try {
      const [page, runs, thread] = await Promise.all([client.messages(this.threadId, { after: this.#lastSeq, limit: 100 }, { signal }),
        client.runs(this.threadId, { limit: PAGE }, { signal }), client.thread(this.threadId, { signal })]);
      load.stale ||= this.busy || page.has_more;
      if (this.busy) return;
      if (this.#isElsewhere(thread.leaf, page.data)) { this.open(this.threadId, thread.leaf); return; }
      this.#turns.append(...this.#turnsOf(page.data, runs.data).map(turn => turn.node));
      this.#toEnd();
      this.#goOn(runs.data[0]);
    } catch (error) {
      if (!signal.aborted && error.status === 404) this.#app.failed(error);
    } finally {
      load.refreshing = false;
      if (load === this.#load) this.#catchUp();
    }
  }

  /** Whether another branch than the one on this page is the current one. */
  #isElsewhere(leaf, added) {
    const last = this.#before({ previousElementSibling: this.#turns.lastElementChild })?.message.id;
    return Boolean(leaf) && leaf !== last && !(added.at(-1)?.id === leaf && added.some(one => one.parent_id === undefined || one.parent_id === last));
  }

  #catchUp() { if (this.#load.stale && !this.busy) this.refresh(); }

  /** Follows the newest run if it is active. */
  #goOn(run) {
    if (!run || ENDED.has(run.status) || this.#answers().some(turn => turn.runId === run.id)) return;
    const answer = this.#answer(run.agent_id);
    this.#turns.append(answer.node);
    this.#watch(answer, signal => this.#app.client.follow(run.id, '', { signal }), run.id);
    this.#toEnd();
  }

  // ---- sending ----
  /**
   * Sends a message and shows its answer.
   * @param {{parent?: ?string, files?: {file_id: string, name: string, type: string, size: number}[]}} [more]
   *        parent: the message that it continues, in another branch; else the last one
   */
  async send(text, agentId, { parent, files = [] } = {}) {
    if (this.busy || !(text || files.length)) return;
    if (!this.threadId) this.#turns.replaceChildren(this.#top);
    const user = this.#user(text, null, files), content = files.length ? [...(text ? [{ type: 'text', text }] : []),
      ...files.map(one => ({ type: one.type.startsWith('image/') ? 'image' : 'file', file_id: one.file_id }))] : text, answer = this.#answer(agentId);
    user.node.classList.add('sending');
    this.#turns.append(user.node, answer.node);
    this.#sticks = true;
    this.#toEnd();
    await this.#watch(answer, signal => this.#app.client.send(this.threadId, content, { agent_id: agentId, parent_id: parent, signal }),
      null, { user, branched: parent !== undefined });
  }

  /** Stops the run, as soon as its id is known. */
  async stop() {
    const active = this.#active;
    if (!active) return;
    active.stopping = true;
    this.#app.changed();
    if (active.lost && !active.runId) this.#takeBack(active);
    if (!active.runId) return;
    try {
      await this.#app.client.cancel(active.runId);
    } catch (error) {
      if (error.code === 'run_ended') return;
      active.stopping = false;
      this.#app.changed();
      this.#app.failed(error);
    }
  }

  /** The server cannot be reached. */
  lost() {
    const active = this.#active;
    if (!active) return;
    active.lost = true;
    if (active.stopping && !active.runId) this.#takeBack(active);
  }

  /** A message that may not have been sent at all goes back into the box. */
  #takeBack({ abort, user, answer, branched }) {
    abort.abort(LEFT);
    this.#unsent(user, answer);
    if (branched) this.open(this.threadId);
  }

  #unsent(user, answer) {
    user?.node.remove();
    answer.node.remove();
    if (!this.threadId) this.#turns.replaceChildren(this.#app.welcome());
    if (user) this.#app.composer.putBack(user.text, user.files);
  }

  async #watch(answer, begin, runId, { user = null, branched = false } = {}) {
    const active = this.#active = { abort: new AbortController(), runId, user, answer, branched, stopping: false, lost: false };
    answer.begin();
    this.#app.changed();
    try {
      for await (const event of begin(active.abort.signal)) {
        active.lost = false;
        this.#take(event, active, answer, user);
      }
    } catch (error) {
      if (active.abort.signal.aborted) return;
      this.#broke(error, active, answer, user);
    } finally {
      if (this.#active === active) this.#active = null;
      if (active.lost) this.#app.connected();        // no further attempt is made
      this.#app.changed();
      this.#catchUp();
    }
  }

  #take(event, active, answer, user) {
    const { announcer } = this.#app;
    this.#app.connected();
    switch (event.type) {
      case 'run': this.#begun(event, active, answer, user); break;
      case 'reasoning': answer.reason(event.content); break;
      case 'sources': answer.rests(event.sources); break;
      case 'token': answer.token(event.content); announcer.take(event.content); break;
      case 'trace_start': announcer.say(t('said.uses', { tool: event.tool })); answer.call(event); this.#toEnd(); break;
      case 'trace_update': if (event.approval_required) announcer.say(t('said.approval')); // and as below
      case 'trace_end': // eslint-disable-line no-fallthrough
        answer.call(event);
        if (event.hands_over_to && event.type === 'trace_end' && !event.error) answer.handedTo(this.#app.agentName(event.hands_over_to));
        this.#toEnd();
        break;
      case 'done':
        answer.end(event);
        this.#known.set(event.message_id ?? event.run_id, answer);
        if (event.message_id) answer.place({ id: event.message_id });
        this.#places();
        announcer.end(t(event.status === 'cancelled' ? 'said.stopped' : 'said.complete'));
        this.#app.runChanged(this.threadId, active.runId, true);
        this.#figures(event.run_id, answer);
        break;
      case 'error':
        answer.fail(event);
        this.#known.set(event.run_id ?? active.runId, answer);
        announcer.end(t('said.failed', { reason: wordsOf(event) }));
        this.#app.runChanged(this.threadId, active.runId, true);
        break;
      default: // an event of a newer server
    }
  }

  #begun(event, active, answer, user) {
    active.runId = answer.runId = event.run_id;
    if (user) {
      user.runId = event.run_id;
      user.node.classList.remove('sending');
      this.#known.set(event.message_id, user);
      user.place({ id: event.message_id });
    }
    const fresh = this.threadId !== event.thread_id;
    this.threadId = event.thread_id;
    if (user || active.branched) this.#app.runChanged(event.thread_id, event.run_id, false, fresh);
    if (active.stopping) this.stop();
    this.#app.changed();
  }

  /** Loads the run: only it has the duration. */
  async #figures(runId, answer) {
    try {
      answer.end(await this.#app.client.run(runId));
    } catch { /* the figures of `done` are there */ }
  }

  #broke(error, active, answer, user) {
    if (!active.runId && error instanceof AgentChatError) {
      this.#unsent(user, answer);
      this.#app.refused(error);
      this.#active = null;
      if (active.branched) this.open(this.threadId);
      else this.refresh();              // either shows a run of another client
      return;
    }
    if (error.code === 'events_gone' && this.#active === active) {
      this.#active = null;              // it has ended meanwhile, and is stored
      this.open(this.threadId);
      return;
    }
    if (error.wantsSignIn) this.#app.failed(error);
    answer.fail(error);
    this.#app.announcer.end(t('said.failed', { reason: wordsOf(error) }));
  }
}
