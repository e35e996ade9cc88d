// SPDX-License-Identifier: Apache-2.0
// What a screen reader is told: whole sentences of an answer as they are complete, never single words.

const END = /^[\s\S]*[.!?:;…。！？](?=[\s)"'”’»]|$)|^[\s\S]*\n/;
const LEAST = 40;                       // characters; shorter ones wait for the next sentence
const KEPT = 12;                        // lines that stay in the region

export class Announcer {
  #region; #text = '';

  /** @param {HTMLElement} region aria-live, polite */
  constructor(region) { this.#region = region; }

  say(text) {
    const line = document.createElement('p');
    line.textContent = text;
    this.#region.append(line);
    while (this.#region.childElementCount > KEPT) this.#region.firstElementChild.remove();
  }

  /** A piece of an answer. */
  take(text) {
    this.#text += text;
    const whole = END.exec(this.#text)?.[0] ?? '';
    if (whole.trim().length < LEAST) return;
    this.#text = this.#text.slice(whole.length);
    this.say(readable(whole));
  }

  /** The answer has ended. */
  end(text) {
    if (this.#text.trim()) this.say(readable(this.#text));
    this.#text = '';
    this.say(text);
  }

  clear() {
    this.#text = '';
    this.#region.replaceChildren();
  }
}

/** Without the marks that are only for the eye. */
function readable(text) {
  return text.replace(/```\w*/g, ' code: ').replace(/\*\*|__|`|^#+ |^> /gm, '').replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').trim();
}
