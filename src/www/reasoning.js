// SPDX-License-Identifier: Apache-2.0
// What the model thinks before it answers: folded, above the answer.
import { el, icon, visible } from './dom.js';
import { t } from './strings.js';
import { duration } from './trace.js';
import { wordsOf } from './words.js';

document.head.append(el('link', { rel: 'stylesheet', href: new URL('reasoning.css', import.meta.url).href }));

export class Reasoning {
  #since = 0; #took = 0; #text = ''; #frame = 0; #title; #body; #load = null;

  constructor() {
    this.#title = el('span', { text: t('reasoning.now') });
    this.#body = el('div.reasoning-text', { dir: 'auto', tabIndex: 0, role: 'group', 'aria-label': t('reasoning') });
    this.node = el('details.reasoning', { ontoggle: () => this.#read() },
      el('summary', {}, icon('chevron'), this.#title), this.#body);
  }

  /** A piece, as it comes. It is shown in the next frame. */
  add(text) {
    if (!this.#since) {
      this.#since = performance.now();
      if (this.#text) this.#text += '\n\n';
      this.node.classList.add('running');
      this.#title.textContent = t('reasoning.now');
    }
    this.#text += text;
    this.#frame ||= requestAnimationFrame(() => this.#show());
  }

  /** The model answers, or calls a tool. */
  pause() {
    if (!this.#since) return;
    this.#took += performance.now() - this.#since;
    this.#since = 0;
    this.#stop(this.#took);
  }

  /** Reasoning of a stored answer. @param {number} ms @param {function(): Promise<string>} load reads it when it is opened */
  stored(ms, load) {
    this.#load = load;
    this.#stop(ms);
  }

  #stop(ms) {
    this.node.classList.remove('running');
    this.#title.textContent = t('reasoning.took', { time: duration(Math.max(1, ms)) });
  }

  #show() {
    this.#frame = 0;
    this.#body.textContent = visible(this.#text);
  }

  async #read() {
    const load = this.#load;
    if (!this.node.open || !load) return;
    this.#load = null;
    try {
      this.#text = await load() || t('reasoning.none');
    } catch (error) {
      this.#text = wordsOf(error);
      this.#load = load;
    }
    this.#show();
  }
}
