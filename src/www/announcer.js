// SPDX-License-Identifier: Apache-2.0
// Text for screen readers: an answer is announced sentence by sentence, never word by word.
import { t } from './strings.js';

const END = /[.!?:;…。！？](?=[\s)"'”’»]|$)|\n/g;
const LEAST = 40;                       // characters; shorter ones wait for the next sentence
const KEPT = 12;                        // lines that stay in the region

export class Announcer {
  #region; #text = ''; #line = 0; #sentence = 0;         // the offset behind the last complete sentence

  /** @param {HTMLElement} region aria-live, polite */
  constructor(region) { this.#region = region; }

  say(text) {
    const line = document.createElement('p');
    line.textContent = text;
    this.#region.append(line);
    while (this.#region.childElementCount > KEPT) this.#region.firstElementChild.remove();
  }

  /** Adds a piece of an answer. */
  take(text) {
    const from = Math.max(0, this.#text.length - 1);
    this.#text += text;
    let last = 0;
    for (const { 0: mark, index } of this.#text.slice(from).matchAll(END)) {
      const end = from + index + 1;
      if (mark === '\n') this.#line = end;
      else if (end === this.#text.length) last = end;       // the next characters may show that it is not the end
      else this.#sentence = end;
    }
    const end = last || this.#sentence || this.#line, whole = this.#text.slice(0, end);
    if (end < LEAST || whole.trim().length < LEAST) return;
    this.#text = this.#text.slice(end);
    this.#line = this.#sentence = 0;
    this.say(readable(whole));
  }

  /** Announces the rest: the answer has ended. */
  end(text) {
    const rest = this.#text;
    this.#text = '';
    this.#line = this.#sentence = 0;
    if (rest.trim()) this.say(readable(rest));
    this.say(text);
  }

  clear() {
    this.#text = '';
    this.#line = this.#sentence = 0;
    this.#region.replaceChildren();
  }
}

/** The text without Markdown's marks. */
function readable(text) {
  return text.replace(/```\w*/g, ` ${t('said.code')} `).replace(/\*\*|__|`|^#+ |^> /gm, '').replace(/\[([^[\]]*)\]\([^()]*\)/g, '$1').trim();
}
