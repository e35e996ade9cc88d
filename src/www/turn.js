// SPDX-License-Identifier: Apache-2.0
// One turn of a conversation on the page: what somebody wrote, or an answer that grows.
import { copyText, el, icon, iconButton, sentence } from './dom.js';
import { Rendered } from './render.js';
import { Trace, duration } from './trace.js';

const DEAR = 8, REST = 25;              // milliseconds: half a frame, which its words may cost, and one and a half

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const number = new Intl.NumberFormat();

function money(cost) {
  if (!cost) return '';
  try {
    const style = { style: 'currency', currency: cost.currency, maximumSignificantDigits: 2 };
    return new Intl.NumberFormat(undefined, style).format(Number(cost.amount));
  } catch {
    return `${cost.amount} ${cost.currency}`;
  }
}

function figures({ usage, cost, latency_ms, model }) {
  const tokens = usage ? `${usage.estimated ? '≈ ' : ''}${number.format(usage.total_tokens)} tokens` : '';
  return [tokens, money(cost), duration(latency_ms), model ?? ''].filter(Boolean);
}

export class UserTurn {
  /** @param {{edit: function(string): void}} actions */
  constructor(text, actions, timestamp = null) {
    this.text = text;
    this.state = el('span.turn-state');
    this.node = el('article.turn.mine', {},
      el('h2.offscreen', { text: 'You wrote' }),
      el('div.bubble', { text, dir: 'auto' }),
      el('div.turn-foot', {}, this.state,
        iconButton('copy', 'Copy message', event => copyText(event.currentTarget, text)),
        iconButton('edit', 'Edit and send again', () => actions.edit(text))));
    if (timestamp) this.node.querySelector('.bubble').title = clock.format(new Date(timestamp));
  }
}

export class AnswerTurn {
  #pending = ''; #frame = 0; #rests = 0; #rendered; #prose; #foot; #figures;

  /**
   * @param {string} name whose answer
   * @param {{retry: function(): void, decide: function(string, boolean): Promise, grown: function(): void}} actions
   */
  constructor(name, actions) {
    this.text = '';
    this.actions = actions;
    this.trace = new Trace(actions.decide);
    this.#prose = el('div.prose');
    this.#rendered = new Rendered(this.#prose);
    this.#figures = el('span.figures');
    this.#foot = el('div.turn-foot', { hidden: true }, this.#figures,
      iconButton('copy', 'Copy answer', event => copyText(event.currentTarget, this.text)),
      iconButton('retry', 'Ask again', () => actions.retry()));
    this.node = el('article.turn.answer', {}, el('h2.speaker', { text: name }), this.trace.node, this.#prose, this.#foot);
  }

  /** From now on it is written; a cursor stands at its end. */
  begin() {
    this.node.classList.add('writing');
    this.node.setAttribute('aria-busy', 'true');
  }

  /** In the next frame it is on the screen. A page that nobody sees has no frames, and waits. */
  token(text) {
    this.text += text;
    this.#pending += text;
    this.#frame ||= requestAnimationFrame(now => this.#write(now));
  }

  /** Behind a frame whose words were dear comes one without any, so that scrolling stays smooth however long the answer is. */
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

  /** A message that is stored. @param {Object} message @param {Object} [run] */
  show(message, run) {
    this.text = message.content;
    this.trace.show(message.tool_calls ?? []);
    this.#rendered.append(message.content, true);
    const { usage, model } = message.metadata ?? {};
    this.end({ usage, model, cost: run?.cost, latency_ms: run?.latency_ms, status: run?.status ?? 'completed' });
  }

  /** @param {Object} facts of the event `done`, or of the run */
  end(facts) {
    this.#settle();
    this.#figures.replaceChildren(...figures(facts).map(text => el('span', { text })));
    if (facts.status === 'cancelled') this.note('Stopped.');
    if (facts.status === 'interrupted') this.note('The server stopped in the middle of this answer.');
    this.actions.grown();
  }

  /** @param {string} message why there is no answer */
  fail(message) {
    this.#settle();
    this.#foot.before(el('div.failure', {}, icon('alert'), el('span', { text: sentence(message) || 'The answer failed.' }),
      el('button', { type: 'button', text: 'Try again', onclick: () => this.actions.retry() })));
    this.#foot.hidden = !this.text;       // nothing to copy, and the box has its own way to ask again
    this.actions.grown();
  }

  note(text) { this.#foot.before(el('p.note', { text })); }

  #settle() {
    this.flush(true);
    this.trace.cut();
    this.node.classList.remove('writing');
    this.node.removeAttribute('aria-busy');
    this.#foot.hidden = false;
  }

  get empty() { return !this.text && this.trace.node.hidden; }
}
