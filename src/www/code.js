// SPDX-License-Identifier: Apache-2.0
// A block of code that grows at its end: complete lines are not touched again, except that they get their colours when the file
// for that has been loaded (syntax.js).
import { copyText, el, icon } from './dom.js';
import { t } from './strings.js';

const CHUNK = 60;                       // lines of code that are laid out together

let syntax = null;                      // syntax.js, once it is loaded

export class Code {
  #colours = null; #language = null; #at = 0; #lines = 0; #tail = null;

  constructor(block) {
    this.label = el('span.code-language');
    this.pre = el('pre', { tabIndex: 0, role: 'group' });
    const copy = el('button.code-copy', { type: 'button', 'aria-label': t('copyCode'), onclick: () => copyText(copy, this.text) },
      icon('copy'), el('span.copy-word', { text: t('copy') }));
    this.node = el('div.code', { dir: 'ltr' }, el('div.code-head', {}, this.label, copy), this.pre);
    this.text = '';
    this.done = 0;                      // where the last chunk of plain text begins
    this.update(block);
  }

  /** Extends this by the block; false if the block is no code. */
  update(block) {
    if (block.type !== 'code') return false;
    const text = block.text.replace(/\n$/, '');
    if (!text.startsWith(this.text)) this.#reset();
    this.label.textContent = block.language || t('code.text');
    this.pre.setAttribute('aria-label', t('code', { language: this.label.textContent }));
    this.closed = block.closed;
    this.text = text;
    const { language } = block, isNew = language !== this.#language;
    if (isNew && this.#colours) this.#reset();
    this.#language = language;
    if (this.#colours) this.#grow();
    else this.#plain();
    if (isNew && language) this.#colour();
    return true;
  }

  #reset() {
    this.pre.replaceChildren();
    this.#language = this.#colours = this.#tail = null;
    this.done = this.#at = this.#lines = 0;
  }

  #plain() {
    let rest = this.text.slice(this.done), lines = rest.split('\n');
    let last = this.pre.lastElementChild ?? this.pre.appendChild(el('code'));
    while (lines.length > CHUNK) {
      const whole = lines.splice(0, CHUNK).join('\n');
      last.textContent = whole;
      this.done += whole.length + 1;
      last = this.pre.appendChild(el('code'));
    }
    rest = lines.join('\n');
    const there = last.firstChild;
    if (there && rest.startsWith(there.data)) there.appendData(rest.slice(there.data.length));
    else last.textContent = rest;
  }

  // ---- colours ----
  #colour() {
    if (syntax) this.#begin();
    else import('./syntax.js').then(loaded => { syntax = loaded; this.#begin(); }, () => { /* it can be read without colours */ });
  }

  /** Colours the lines that are there, some at a time, and then those that follow as they come. */
  #begin() {
    const language = this.#language, colours = syntax.coloursOf(language);
    if (!colours || this.#colours) return;
    const chunks = () => this.pre.children;
    let next = 0;
    syntax.inTurn(() => {
      if (language !== this.#language) return false;
      if (next >= chunks().length - 1) {
        const last = chunks()[next];
        this.#at = this.done;
        this.#lines = 0;
        this.#colours = colours;
        this.#tail = el('span');
        last?.replaceChildren(this.#tail);
        this.#grow();
        return false;
      }
      const chunk = chunks()[next++];
      chunk.replaceChildren(...colours.take(`${chunk.textContent}\n`));
      return true;
    });
  }

  #grow() {
    let last = this.pre.lastElementChild ?? this.pre.appendChild(el('code', {}, this.#tail));
    for (let end; (end = this.#wholeLines()) > this.#at;) {
      this.#tail.before(...this.#colours.take(this.text.slice(this.#at, end)));
      this.#at = end;
      if (this.#lines < CHUNK) continue;
      this.#lines = 0;
      last = this.pre.appendChild(el('code'));
      last.append(this.#tail);
    }
    this.#tail.replaceChildren(...this.#colours.look(this.text.slice(this.#at)));
  }

  /** The end of the complete lines that the last chunk still takes. */
  #wholeLines() {
    let end = this.#at;
    for (let at; this.#lines < CHUNK && (at = this.text.indexOf('\n', end)) >= 0; this.#lines++) end = at + 1;
    return end;
  }
}
