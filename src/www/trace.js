// SPDX-License-Identifier: Apache-2.0
// The tool calls of an answer, live: arguments, result, duration, and the buttons of an approval.
import { el, icon, visible } from './dom.js';
import { use } from './late.js';
import { locale, t } from './strings.js';
import { wordsOf } from './words.js';

const asText = value => (typeof value === 'string' ? value : JSON.stringify(value, null, 2));
const asLine = value => {
  if (value && typeof value === 'object' && !Array.isArray(value)) {
    return Object.values(value).map(one => (typeof one === 'object' ? JSON.stringify(one) : String(one))).join(', ');
  }
  return asText(value ?? '');
};
const progressLine = ({ progress, total, message }) =>
  [message, total ? `${progress} / ${total}` : progress].filter(one => one !== undefined && one !== '').join(' · ');

const tenths = new Intl.NumberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export function duration(ms) {
  if (ms === null || ms === undefined) return '';
  if (ms < 1000) return t('time.ms', { n: Math.round(ms) });
  if (ms < 59_950) return t('time.s', { n: tenths.format(ms / 1000) });
  const seconds = Math.round(ms / 1000), min = Math.floor(seconds / 60);
  return min < 60 ? t('time.min', { min, s: seconds % 60 }) : t('time.h', { h: Math.floor(min / 60), min: min % 60 });
}

class Call {
  constructor(tool, callId, decide) {
    this.callId = callId;
    this.decide = decide;
    this.written = '';
    this.preview = el('span.call-preview');
    this.time = el('bdi.call-time', { text: t('call.running') });
    this.body = el('div.call-body');
    this.node = el('details.call.running', {},
      el('summary', {}, icon('chevron'), el('span.call-state', { 'aria-hidden': 'true' }), el('span.call-tool', { text: visible(tool) }),
        this.preview, this.time),
      this.body);
  }

  /** @param {'arguments'|'result'|'error'} name */
  part(name, value) {
    const id = `call-${name}`, label = t(`call.${name}`);
    let part = this.body.querySelector(`.${id}`);
    if (!part) {
      part = el(`div.call-part.${id}`, {}, el('div.call-label', { text: label }),
        el('pre', { tabIndex: 0, role: 'group', 'aria-label': label }));
      this.body.append(part);
    }
    part.lastElementChild.textContent = visible(asText(value));
  }

  update(event) {
    if (event.arguments_delta) {
      this.written += event.arguments_delta;
      this.preview.textContent = visible(this.written);
      this.part('arguments', this.written);
    }
    if (event.progress !== undefined && event.progress !== null) this.time.textContent = visible(progressLine(event.progress));
    if (event.approved) this.settled(true);
    if (event.approval_required) this.ask(event);
  }

  ask(event) {
    if (event.arguments !== undefined) this.arguments(event.arguments);
    if (this.body.querySelector('.approval')) return;
    for (let at = this.node; at; at = at.parentElement?.closest('details.call')) at.open = true;
    this.node.classList.add('waiting');
    this.time.textContent = t('call.waiting');
    const answer = approve => async () => {
      const content = approve && form ? form.content() : undefined;
      if (content === null) return;
      const buttons = approval.querySelectorAll('button');
      buttons.forEach(button => { button.disabled = true; });
      try {
        await this.decide(this.callId, approve, content);
      } catch (error) {
        buttons.forEach(button => { button.disabled = false; });
        approval.querySelector('.approval-word').textContent = wordsOf(error);
      }
    };
    let form;
    const { question } = event;                  // of an MCP server
    const word = question ? t('approval.asked', { server: visible(question.server ?? event.tool) }) : t('approval.question');
    const approval = el('div.approval', { role: 'group', 'aria-label': t('approval') },
      question && el('p.approval-text', { text: visible(question.message), dir: 'auto' }),
      el('span.approval-word', { text: word }),
      el('button.primary', { type: 'button', text: t('approve'), onclick: answer(true) }),
      el('button', { type: 'button', text: t('refuse'), onclick: answer(false) }));
    this.body.append(approval);
    if (question?.form) use('form', ({ Form }) => { form = new Form(question, approval); });
  }

  /** @param {boolean} [runs] the call continues */
  settled(runs = false) {
    this.node.classList.remove('waiting', ...runs ? [] : ['running']);
    this.body.querySelector('.approval')?.remove();
    if (runs) this.time.textContent = t('call.running');
  }

  arguments(value) {
    this.preview.textContent = visible(asLine(value));
    this.part('arguments', value);
  }

  end({ arguments: given, result, error, latency_ms }) {
    this.settled();
    this.arguments(given ?? this.written);
    const failed = error !== undefined && error !== null;
    this.result = result;
    this.node.classList.add(failed ? 'failed' : 'ended');
    this.part(failed ? 'error' : 'result', failed ? error : result ?? null);
    this.time.textContent = failed ? t('call.failed', { time: duration(latency_ms) }) : duration(latency_ms);
  }

  cut() {
    if (!this.node.classList.contains('running')) return;
    this.settled();
    this.node.classList.add('failed');
    this.time.textContent = t('call.cut');
  }
}

/** The element of consecutive calls. */
export function callList() { return el('div.trace', { role: 'group', 'aria-label': t('tools'), hidden: true }); }

export class Trace {
  #calls = new Map(); #decide; #place;

  /**
   * @param {function(string, boolean): Promise} decide sends the approval or refusal of a call
   * @param {function(): HTMLElement} place gives the list that the next call goes into
   */
  constructor(decide, place) {
    this.#decide = decide;
    this.#place = place;
  }

  /** @param {string} [parent] the step of the call of an agent, inside of which this call is made */
  #add(id, tool, callId, parent) {
    const call = new Call(tool, callId, this.#decide), outer = this.#calls.get(parent);
    this.#calls.set(id, call);
    if (outer) {
      outer.body.append(call.node);
      return call;
    }
    const list = this.#place();
    list.append(call.node);
    list.hidden = false;
    return call;
  }

  /** Shows a trace_… event of the run. */
  take(event) {
    const { step_id: id, tool, call_id: callId, parent_step_id: parent } = event;
    if (event.type === 'trace_start') this.#add(id, tool, callId, parent);
    const call = this.#calls.get(id) ?? (tool ? this.#add(id, tool, callId, parent) : null);
    if (call && event.call_id) call.callId = event.call_id;
    if (event.type === 'trace_update') call?.update(event);
    if (event.type === 'trace_end') call?.end(event);
  }

  /** Shows the calls of a stored message. */
  show(calls) {
    for (const call of calls) this.#add(call.id, call.tool, call.id).end(call);
  }

  /** The run has ended: calls without a result stay without one. */
  cut() { for (const call of this.#calls.values()) call.cut(); }
}
