// SPDX-License-Identifier: Apache-2.0
// Colours of code, by highlight.js: elements out of its tree, line by line. Loaded when the first code with a language is there.
import { el } from './dom.js';
import hljs from './highlight.js';

const LONG = 1000;                      // characters of a line that is not coloured
const SLICE = 8;                        // milliseconds of colouring in one go

document.head.append(el('link', { rel: 'stylesheet', href: new URL('syntax.css', import.meta.url).href }));

function nodesOf({ children }) {
  return children.map(child => {
    if (typeof child === 'string') return child;
    const [name] = (child.scope ?? '').split(/[.:]/);
    return name && name !== 'language' ? el(`span.hl-${name}`, {}, ...nodesOf(child)) : el('span', {}, ...nodesOf(child));
  });
}

class Colours {
  #language; #state;

  constructor(language) { this.#language = language; }

  #read(text) {
    if (text.length > LONG && text.split('\n').some(line => line.length > LONG)) return { nodes: [text], state: this.#state };
    const { _emitter, _top } = hljs.highlight(text, { language: this.#language, continuation: this.#state });
    return { nodes: nodesOf(_emitter.rootNode), state: _top };
  }

  /** The nodes of complete lines. The next ones continue behind them. */
  take(text) {
    const { nodes, state } = this.#read(text);
    this.#state = state;
    return nodes;
  }

  /** The nodes of a line that is still coming. */
  look(text) { return this.#read(text).nodes; }
}

/** Null for a language that is not known. */
export function coloursOf(language) { return hljs.getLanguage(language) ? new Colours(language) : null; }

const jobs = [];

/** Calls the function until it returns false, between other work. */
export function inTurn(job) {
  jobs.push(job);
  if (jobs.length === 1) work();
}

function work() {
  const end = performance.now() + SLICE;
  while (jobs.length && performance.now() < end) if (!jobs[0]()) jobs.shift();
  if (jobs.length) setTimeout(work);
}
