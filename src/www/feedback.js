// SPDX-License-Identifier: Apache-2.0
// What the thumbs of an answer do, and the box for the reason. Loaded when the first of them is wanted.
import { el } from './dom.js';
import { addTexts, t } from './strings.js';
import { wordsOf } from './words.js';

await addTexts('feedback');

const REASONS = ['incorrect', 'unhelpful', 'incomplete', 'unsafe', 'other'];

export class Feedback {
  #turn; #form = null;

  /** @param {Object} turn the answer (turn.js): its message, feedback, thumbs and actions */
  constructor(turn) { this.#turn = turn; }

  get #down() { return this.#turn.thumbs[1]; }

  /** @param {'up'|'down'} rating */
  async press(rating) {
    this.#form?.remove();
    const wanted = this.#turn.feedback?.rating === rating ? null : rating;
    if (await this.#send({ rating: wanted }) && wanted === 'down') this.#ask();
  }

  async #send(feedback) {
    const { id, thread_id } = this.#turn.message, before = this.#turn.feedback;
    this.#turn.rated(feedback.rating ? feedback : null);
    try {
      await this.#turn.actions.client.rate(id, { ...feedback, ...(thread_id ? { thread_id } : {}) });
      return true;
    } catch (error) {
      this.#turn.rated(before);
      this.#say(wordsOf(error), 'failure');
      return false;
    }
  }

  #say(text, kind) {
    this.#form?.remove();
    this.#form = el(`p.note.${kind}`, { role: 'status', text });
    this.#down.closest('.turn-foot').after(this.#form);
    this.#turn.actions.grown();
  }

  #ask() {
    const { reason: given, comment: said } = this.#turn.feedback, choices = REASONS.map(reason => el('label.choice', {},
      el('input', { type: 'radio', name: `reason-${this.#turn.message.id}`, value: reason, checked: reason === given }), t(`feedback.${reason}`)));
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
    this.#turn.actions.grown();
  }
}
