// SPDX-License-Identifier: Apache-2.0
// One message of a conversation on the page: the user's, or an answer that grows.
import { Branches } from './branches.js';
import { $, copyText, el, icon, iconButton, visible } from './dom.js';
import { use } from './late.js';
import { namesToCome } from './markdown.js';
import { Rendered } from './render.js';
import { has, locale, number, t } from './strings.js';
import { Trace, callList, duration } from './trace.js';
import { detailOf, wordsOf } from './words.js';

const THUMBS = ['up', 'down'];
const DEAR = 8, REST = 25;              // milliseconds: half a frame, the limit for rendering, and one and a half

const clock = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'short' });

/** @param {?{amount: number, currency: string}} cost */
export function money(cost) {
  if (!cost) return '';
  try {
    const style = { style: 'currency', currency: cost.currency, maximumSignificantDigits: 2 };
    return new Intl.NumberFormat(locale, style).format(Number(cost.amount));
  } catch {
    return `${cost.amount} ${cost.currency}`;
  }
}

function figures({ usage, cost, latency_ms, model }) {
  const tokens = usage ? `${usage.estimated ? '≈ ' : ''}${t('tokens', { n: usage.total_tokens })}` : '';
  return [tokens, money(cost), duration(latency_ms), model ?? ''].filter(Boolean);
}

/** Why an answer is not whole, by its `finish_reason`; one that failed has an error instead. */
const noteOf = reason => (has(`note.${reason}`) ? t(`note.${reason}`) : '');

export class UserTurn {
  /**
   * @param {{edit: function(string, Object[]): boolean, choose: function(string): void, grown: function(): void, client: Object}} actions
   * @param {{file_id: string, name: string, type: string, size: number}[]} [files]
   */
  constructor(text, actions, timestamp = null, files = []) {
    this.text = text;
    this.files = files;
    this.message = null;                // as it is stored
    this.branches = new Branches(actions.choose);
    this.editing = iconButton('edit', t('editMessage'), () => use('editor', ({ editor }) => this.#edit(editor, actions)),
      { 'data-late': 'editor' });
    this.node = el('article.turn.mine', {},
      el('h2.offscreen', { text: t('youWrote') }),
      el('div.bubble', { text, dir: 'auto', hidden: !text }),
      el('div.turn-foot', {}, this.branches.node,
        iconButton('copy', t('copyMessage'), event => copyText(event.currentTarget, text), { hidden: !text }),
        this.editing));
    if (timestamp) this.node.querySelector('.bubble').title = clock.format(new Date(timestamp));
    if (files.length) this.#attachments(actions);
  }

  /** Shows the files: their names, until the file that shows them is there. */
  async #attachments({ client, grown }) {
    const list = el('ul.attachments', {}, ...this.files.map(({ name }) => el('li', { text: visible(name) })));
    this.node.querySelector('.bubble').before(list);
    try {
      (await import('./attachments.js')).show(list, this.files, client, grown);
    } catch { /* the names are there */ }
  }

  /** @param {Object} message as it is stored, with its place among its siblings */
  place(message) {
    this.message = message;
    this.branches.show(message);
  }

  #edit(editor, actions) {
    const bubble = this.node.querySelector('.bubble'), parts = this.node.querySelectorAll('.attachments, .bubble, .turn-foot');
    if (this.node.querySelector('.editor')) return;
    const form = editor(this, actions.client, actions.edit, () => {
      form.remove();
      for (const part of parts) part.hidden = part === bubble && !this.text;
      if (this.node.isConnected) this.editing.focus();
      else if (matchMedia('(pointer: fine)').matches) $('text').focus();
    });
    for (const part of parts) part.hidden = true;
    bubble.before(form);
  }
}

export class AnswerTurn {
  #pending = ''; #frame = 0; #rests = 0; #said = ''; #calls; #rendered; #prose; #foot; #figures; #note = null; #copying; #steps = null;
  #noted = false; #rating = null; #reasoning = null; #thinks = false;

  /**
   * @param {string} name whose answer
   * @param {{retry: function(): void, choose: function(string): void, decide: function(string, boolean): Promise,
   *          grown: function(): void, client: Object}} actions
   */
  constructor(name, actions) {
    this.text = '';
    this.sources = [];
    this.actions = actions;
    this.message = null;                // as it is stored
    this.branches = new Branches(actions.choose);
    this.trace = new Trace(actions.decide, () => this.#place());
    this.#figures = el('span.figures');
    this.feedback = null;
    this.thumbs = THUMBS.map(rating => iconButton(`thumb-${rating}`, t(`feedback.${rating}`), () => this.#rate(rating),
      { 'data-late': 'feedback', 'aria-pressed': 'false', hidden: true }));
    this.#copying = [iconButton('copy', t('copyAnswer'), event => copyText(event.currentTarget, this.text)),
      iconButton('retry', t('askAgain'), () => actions.retry())];
    this.#foot = el('div.turn-foot', { hidden: true }, this.branches.node, this.#figures, ...this.#copying, ...this.thumbs,
      iconButton('steps', t('steps'), event => this.#showSteps(event.currentTarget), { 'data-late': 'steps', 'aria-expanded': 'false' }));
    this.node = el('article.turn.answer', {}, el('h2.speaker', { text: name }), this.#foot);
    this.#stretch(this.node.firstElementChild);
  }

  /** Another agent continues. */
  handedTo(name) { this.node.firstElementChild.append(` → ${name}`); }

  /** A part of the answer, behind this element: calls, and the text after them. */
  #stretch(last) {
    this.#prose?.classList.remove('growing');
    this.#calls = callList();
    this.#prose = el('div.prose.growing');
    last.after(this.#calls, this.#prose);
    this.#rendered = new Rendered(this.#prose);
    this.#said = '';
  }

  /** The place of the next call: behind the text before it. */
  #place() {
    if (this.#said.trim()) {
      this.flush(true);
      this.#stretch(this.#prose);
    }
    return this.#calls;
  }

  /** Shows a cursor at the end: the answer is being written. */
  begin() {
    this.node.classList.add('writing');
    this.node.setAttribute('aria-busy', 'true');
  }

  /** Does something with what the model thinks. Its file is loaded when there is such a thing; without it the answer is whole. */
  #think(does) {
    this.#reasoning ??= import('./reasoning.js').then(({ Reasoning }) => {
      const reasoning = new Reasoning();
      this.node.firstElementChild.after(reasoning.node);
      return reasoning;
    });
    this.#reasoning.then(reasoning => { does(reasoning); this.actions.grown(); }, () => { /* as above */ });
  }

  /** A part of what the model thinks. */
  reason(text) {
    this.#thinks = true;
    this.#think(reasoning => reasoning.add(text));
  }

  /** The model answers, or calls a tool. */
  #answers() {
    if (this.#thinks) this.#think(reasoning => reasoning.pause());
    this.#thinks = false;
  }

  /** More sources, which tools found or the model named. */
  rests(sources) {
    this.sources.push(...sources);
  }

  /** An event of a tool call. */
  call(event) {
    this.#answers();
    this.trace.take(event);
  }

  /** What the model thought, of all calls of the model. */
  async #readReasoning() {
    const steps = await this.actions.client.steps(this.runId);
    return steps.map(({ reasoning }) => reasoning ?? '').filter(Boolean).join('\n\n');
  }

  /** Renders in the next frame. A hidden page has no frames, and waits. */
  token(text) {
    this.#answers();
    this.#say(text);
    this.#frame ||= requestAnimationFrame(now => this.#write(now));
  }

  #say(text) {
    this.text += text;
    this.#said += text;
    this.#pending += text;
  }

  /** A frame with expensive rendering is followed by one without, so that scrolling stays smooth in long answers. */
  #write(now) {
    if (now < this.#rests) {
      this.#frame = requestAnimationFrame(later => this.#write(later));
      return;
    }
    const begun = performance.now();
    this.flush();
    if (performance.now() - begun > DEAR) this.#rests = now + REST;
  }

  flush(whole = false) {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const text = this.#pending;
    this.#pending = '';
    if (text || whole) this.#rendered.append(text, whole);
    this.actions.grown();
  }

  /** @param {Object} message as it is stored, with its place among its siblings */
  place(message) {
    if (message.feedback || message.id !== this.message?.id) this.rated(message.feedback ?? null);
    this.message = message;
    this.branches.show(message);
    for (const button of this.thumbs) button.hidden = !message.id;
  }

  /** Shows how the answer is rated. @param {?{rating: string}} feedback */
  rated(feedback) {
    this.feedback = feedback;
    for (const [i, rating] of THUMBS.entries()) this.thumbs[i].setAttribute('aria-pressed', String(feedback?.rating === rating));
  }

  #rate(rating) {
    use('feedback', ({ Feedback }) => {
      this.#rating ??= new Feedback(this);
      this.#rating.press(rating);
    });
  }

  /** Shows a stored message. @param {Object} message @param {Object} [run] */
  show(message, run) {
    const calls = message.tool_calls ?? [], { usage, model, finish_reason, reasoning_ms } = message.metadata ?? {};
    // A message that was stored before parts existed does not have their order.
    const parts = message.parts ?? [...calls.map(({ id }) => ({ type: 'tool_call', id })), { type: 'text', text: message.content }];
    if (reasoning_ms !== undefined) this.#think(reasoning => reasoning.stored(reasoning_ms, () => this.#readReasoning()));
    this.rests(message.sources ?? []);
    for (const { type, text, id } of parts) {
      if (type === 'text') this.#say(text);
      if (type === 'tool_call') this.trace.show(calls.filter(call => call.id === id));
    }
    if (message.summary) use('summary', ({ Summary }) => this.node.append(new Summary(message.summary).node));
    this.end({ usage, model, finish_reason, cost: run?.cost, latency_ms: run?.latency_ms, status: run?.status });
    if (finish_reason === 'content_filter' || finish_reason === 'error') {
      this.fail(run?.error ?? { code: finish_reason === 'error' ? 'model_error' : 'content_filtered' });
    }
  }

  /** @param {Object} facts of the event `done`, of the run, or of the message */
  end(facts) {
    this.#settle();
    this.#figures.replaceChildren(...figures(facts).map(text => el('span', {}, el('bdi', { text }))));
    this.note(noteOf(facts.finish_reason) || noteOf(facts.status));
    this.actions.grown();
  }

  /** @param {{code?: string, message?: string}} error why there is no answer, or no more of it */
  fail(error) {
    const detail = detailOf(error);
    this.#settle();
    this.#foot.before(el('div.failure', {}, icon('alert'), el('span', { text: wordsOf(error) }),
      el('button', { type: 'button', text: t('tryAgain'), onclick: () => this.actions.retry() }),
      detail ? el('details', {}, el('summary', { text: t('details') }), el('p', { text: detail })) : null));
    for (const button of this.#copying) button.hidden = !this.text;     // there is nothing to copy, and the notice has the retry button
    this.#foot.hidden = !this.text && !this.runId;
    this.actions.grown();
  }

  /** @param {string} [text] none: the text stays */
  note(text) {
    if (!text) return;
    this.#note ??= el('p.note');
    this.#note.textContent = text;
    this.#foot.before(this.#note);
  }

  /** Shows or hides the steps of the run. Their file is loaded when it is first needed. */
  #showSteps(button) {
    if (!this.runId) return;
    use('steps', async ({ show }) => {
      const isNew = !this.#steps;
      this.#steps ??= el('section.steps', { 'aria-label': t('steps.answer'), hidden: true });
      this.#steps.hidden = !this.#steps.hidden;
      button.setAttribute('aria-expanded', String(!this.#steps.hidden));
      if (!isNew) return;
      this.#foot.after(this.#steps);
      await show(this.#steps, this.actions.client, this.runId);
      this.actions.grown();
    });
  }

  /** Shows the sources. Their file is loaded when there is one. */
  async #notes() {
    if (this.#noted || !this.sources.length) return;
    this.#noted = true;
    try {
      const { notes } = await import('./sources.js');
      await namesToCome();              // texts that wait for it are rendered again
      this.#foot.before(notes(this.sources, [...this.node.querySelectorAll('.prose')]));
      this.actions.grown();
    } catch { /* the results of the tools have them */ }
  }

  #settle() {
    this.flush(true);
    this.#answers();
    this.trace.cut();
    this.node.classList.remove('writing');
    this.node.removeAttribute('aria-busy');
    this.#foot.hidden = false;
    this.#notes();
  }
}
