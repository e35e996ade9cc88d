// SPDX-License-Identifier: Apache-2.0
// The versions of a message: a switch ‹ 2/3 › between them.
import { el, iconButton } from './dom.js';
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
