// SPDX-License-Identifier: Apache-2.0
// The dialog that finds conversations by their titles and words, with the place that was found. Loaded when it is first opened.
import { $, composing, el, visible } from './dom.js';
import { t } from './strings.js';
import { wordsOf } from './words.js';

const PAUSE = 150, PAGE = 20;

document.head.append(el('link', { rel: 'stylesheet', href: new URL('search.css', import.meta.url).href }));

/** A snippet with its matches as marks. */
function marked({ snippet, highlights = [] }) {
  const characters = [...snippet], nodes = [];
  let at = 0;
  for (const { start, end } of highlights) {
    nodes.push(visible(characters.slice(at, start).join('')), el('mark', { text: visible(characters.slice(start, end).join('')) }));
    at = end;
  }
  return el('span.found-text', { dir: 'auto' }, ...nodes, visible(characters.slice(at).join('')));
}

class Search {
  #app; #field; #list; #state; #abort = null; #timer; #links = [];

  constructor(app) {
    this.#app = app;
    this.#field = el('input', { type: 'search', dir: 'auto', autocomplete: 'off', placeholder: t('search.words'), 'aria-label': t('search.words'),
      'aria-controls': 'found' });
    this.#state = el('p.hint', { role: 'status' });
    this.#list = el('ul', { id: 'found', 'aria-label': t('search.found') });
    $('search-box').append(this.#field, this.#state, this.#list);
    this.#field.addEventListener('input', () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#ask(), PAUSE);
    });
    $('search-box').addEventListener('keydown', event => this.#key(event));
    $('search-box').addEventListener('click', event => event.target === $('search-box') && $('search-box').close());
  }

  open() {
    $('search-box').showModal();
    this.#field.select();
    this.#ask();
  }

  /** The arrows lead from the field to what was found, and back. */
  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (composing(event)) return;
    // The field would be emptied first.
    if (event.key === 'Escape') { event.preventDefault(); $('search-box').close(); }
    if (event.key === 'Enter' && event.target === this.#field) this.#links[0]?.click();
    if (!step || !this.#links.length) return;
    event.preventDefault();
    (this.#links[this.#links.indexOf(document.activeElement) + step] ?? this.#field).focus();
  }

  async #ask() {
    const words = this.#field.value.trim(), abort = this.#abort = (this.#abort?.abort(), new AbortController());
    try {
      const where = words ? { q: words } : { order: 'updated', status: 'active' };
      const { data } = await this.#app.client.threads({ ...where, limit: PAGE }, { signal: abort.signal });
      if (abort.signal.aborted) return;
      const found = data.filter(({ match, title }) => !words || match || (title ?? '').toLowerCase().includes(words.toLowerCase()));
      this.#links = found.map(thread => this.#link(thread));
      this.#list.replaceChildren(...this.#links.map(link => el('li', {}, link)));
      this.#state.textContent = words ? t('search.count', { n: found.length }) : t('search.recent');
    } catch (error) {
      if (abort.signal.aborted) return;
      this.#links = [];
      this.#list.replaceChildren();
      this.#state.textContent = wordsOf(error);
    }
  }

  #link({ id, title, match, status }) {
    const name = visible(title || t('newConversation'));
    return el('a', { href: `#/${id}`, onclick: () => { $('search-box').close(); this.#app.find(match?.message_id ?? null); } },
      el('span.found-title', {}, el('span', { text: name, dir: 'auto' }), status === 'archived' && el('span.found-mark', { text: t('archive') })),
      match?.message_id && match.snippet ? marked(match) : null);
  }
}

let search = null;

/** @param {Object} app the page: its client, and `find`, which is given the id of the message to show */
export function open(app) {
  search ??= new Search(app);
  search.open();
}
