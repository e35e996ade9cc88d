// SPDX-License-Identifier: Apache-2.0
// Thumbs up and down of an answer, and the box for the reason.
import { el, iconButton } from './dom.js';
import { t } from './strings.js';
import { wordsOf } from './words.js';

const REASONS = ['incorrect', 'unhelpful', 'incomplete', 'unsafe', 'other'];

export class Feedback {
  #client; #grown; #message = null; #feedback = null; #up; #down; #form = null;

  /** @param {Object} client @param {function(): void} grown called when the box is shown */
  constructor(client, grown) {
    this.#client = client;
    this.#grown = grown;
    this.#up = iconButton('thumb-up', t('feedback.up'), () => this.#press('up'), { 'aria-pressed': 'false' });
    this.#down = iconButton('thumb-down', t('feedback.down'), () => this.#press('down'), { 'aria-pressed': 'false' });
    this.buttons = [this.#up, this.#down];
    this.show(null);
  }

  /** @param {?Object} message the stored answer; without one it cannot be rated */
  show(message) {
    if (message?.feedback || message?.id !== this.#message?.id) this.#feedback = message?.feedback ?? null;
    this.#message = message;
    this.#paint();
  }

  #paint() {
    const message = this.#message;
    for (const button of this.buttons) button.hidden = !message?.id;
    for (const [name, button] of [['up', this.#up], ['down', this.#down]]) {
      button.setAttribute('aria-pressed', String(this.#feedback?.rating === name));
    }
  }

  async #press(rating) {
    this.#form?.remove();
    const wanted = this.#feedback?.rating === rating ? null : rating;
    if (await this.#send({ rating: wanted }) && wanted === 'down') this.#ask();
  }

  async #send(feedback) {
    const { id, thread_id } = this.#message, before = this.#feedback;
    this.#feedback = feedback.rating ? feedback : null;
    this.#paint();
    try {
      await this.#client.rate(id, { ...feedback, ...(thread_id ? { thread_id } : {}) });
      return true;
    } catch (error) {
      this.#feedback = before;
      this.#paint();
      this.#say(wordsOf(error), 'failure');
      return false;
    }
  }

  #say(text, kind) {
    this.#form?.remove();
    this.#form = el(`p.note.${kind}`, { role: 'status', text });
    this.#down.closest('.turn-foot').after(this.#form);
    this.#grown();
  }

  #ask() {
    const { reason: given, comment: said } = this.#feedback, choices = REASONS.map(reason => el('label.choice', {},
      el('input', { type: 'radio', name: `reason-${this.#message.id}`, value: reason, checked: reason === given }), t(`feedback.${reason}`)));
    const comment = el('textarea', { rows: 2, maxLength: 4000, dir: 'auto', value: said ?? '', 'aria-label': t('feedback.comment'),
      placeholder: t('feedback.comment') });
    const end = () => { this.#form.remove(); this.#down.focus(); };
    this.#form = el('form.feedback', { 'aria-label': t('feedback.why'), onsubmit: async event => {
      event.preventDefault();
      const reason = this.#form.querySelector('input:checked')?.value;
      const more = { ...(reason ? { reason } : {}), ...(comment.value.trim() ? { comment: comment.value.trim() } : {}) };
      if (await this.#send({ rating: 'down', ...more })) this.#say(t('feedback.thanks'), 'thanks');
    }, onkeydown: event => {
      if (event.key !== 'Escape') return;
      event.stopPropagation();
      end();
    } },
    el('fieldset', {}, el('legend', { text: t('feedback.why') }), el('div.choices', {}, ...choices)), comment,
    el('div.editor-foot', {}, el('span.hint', { text: t('feedback.who') }), el('button', { type: 'button', text: t('cancel'), onclick: end }),
      el('button.primary', { type: 'submit', text: t('send') })));
    this.#down.closest('.turn-foot').after(this.#form);
    this.#form.querySelector('input').focus();
    this.#grown();
  }
}
