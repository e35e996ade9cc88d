// SPDX-License-Identifier: Apache-2.0
// The versions of a message: a switch ‹ 2/3 › between them, and the editor that makes a further one of a question.
import { composing, el, iconButton } from './dom.js';
import { number, t } from './strings.js';

export class Branches {
  #siblings = []; #at = 0; #choose; #label; #back; #next;

  /** @param {function(string): void} choose with the id of the message to show */
  constructor(choose) {
    this.#choose = choose;
    this.#label = el('span.branches-place');
    this.#back = iconButton('back', t('branches.back'), () => this.#go(-1));
    this.#next = iconButton('next', t('branches.next'), () => this.#go(1));
    this.node = el('span.branches', { role: 'group', 'aria-label': t('branches'), hidden: true }, this.#back, this.#label, this.#next);
  }

  #go(step) { this.#choose(this.#siblings[this.#at + step]); }

  /** @param {{siblings?: string[], sibling_index?: number}} message */
  show({ siblings = [], sibling_index: at = 0 }) {
    this.#siblings = siblings;
    this.#at = at;
    this.node.hidden = siblings.length < 2;
    this.#label.textContent = `${number.format(at + 1)}/${number.format(siblings.length)}`;
    this.#back.disabled = at === 0;
    this.#next.disabled = at >= siblings.length - 1;
  }
}

/** A box in the place of a question. @param {function(string): void} send @param {function(): void} end puts the question back */
export function editor(text, send, end, mayBeEmpty = false) {
  const field = el('textarea', { value: text, dir: 'auto', rows: 1, 'aria-label': t('editMessage') });
  const button = el('button.primary', { type: 'submit', text: t('send') });
  const fits = () => {
    field.style.height = 'auto';
    field.style.height = `${field.scrollHeight + 2}px`;
    button.disabled = !mayBeEmpty && !field.value.trim();
  };
  const form = el('form.editor', { onsubmit: event => {
    event.preventDefault();
    if (button.disabled) return;
    end();
    send(field.value.trim());
  } }, field, el('div.editor-foot', {}, el('span.hint', { text: t('editMessage.hint') }),
    el('button', { type: 'button', text: t('cancel'), onclick: end }), button));
  field.addEventListener('input', fits);
  field.addEventListener('keydown', event => {
    if (composing(event)) return;
    if (event.key === 'Escape') { event.stopPropagation(); end(); }
    if (event.key === 'Enter' && !event.shiftKey && matchMedia('(pointer: fine)').matches) { event.preventDefault(); form.requestSubmit(); }
  });
  requestAnimationFrame(() => { fits(); field.focus(); });
  return form;
}
