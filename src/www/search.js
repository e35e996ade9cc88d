// SPDX-License-Identifier: Apache-2.0
// The dialog that finds conversations by their titles and words, with the place that was found. Loaded when it is first opened.
import { $, composing, el, iconButton, visible } from './dom.js';
import { t } from './strings.js';
import { wordsOf } from './words.js';

const PAUSE = 150, PAGE = 20;
const NEAR = 200;                       // pixels from the end of the list at which more is loaded

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
  #app; #field; #list; #box; #state; #abort = null; #timer; #links = []; #next = null; #loading = false;

  constructor(app) {
    this.#app = app;
    this.#field = el('input', { type: 'search', dir: 'auto', autocomplete: 'off', placeholder: t('search.words'), 'aria-label': t('search.words'),
      'aria-controls': 'found' });
    this.#state = el('p.hint', { role: 'status' });
    this.#list = el('ul', { id: 'found', 'aria-label': t('search.found') });
    this.#box = el('div.search-found', { onscroll: () => this.#fill() }, this.#list);
    $('search-box').append(el('div.search-head', {}, this.#field, iconButton('close', t('close'), () => $('search-box').close())),
      this.#state, this.#box);
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
    this.#abort?.abort();
    this.#abort = new AbortController();
    this.#next = null;
    await this.#load();
  }

  /** Loads the next page when the end of the list is near. */
  #fill() {
    const { scrollHeight, scrollTop, clientHeight } = this.#box;
    if (this.#next && !this.#loading && scrollHeight - scrollTop - clientHeight < NEAR) this.#load(this.#next);
  }

  async #load(after) {
    const words = this.#field.value.trim(), { signal } = this.#abort;
    this.#loading = true;
    try {
      const where = words ? { q: words } : { order: 'updated', status: 'active' };
      const { data, has_more: isMore, next } = await this.#app.client.threads({ ...where, limit: PAGE, after }, { signal });
      if (signal.aborted) return;
      const links = data.map(thread => this.#link(thread));
      this.#links = after ? [...this.#links, ...links] : links;
      this.#next = isMore ? next : null;
      this.#list.replaceChildren(...this.#links.map(link => link.parentElement ?? el('li', {}, link)));
      const n = this.#links.length;
      this.#state.textContent = !words ? t('search.recent') : n ? t(isMore ? 'search.many' : 'search.count', { n }) : t('search.none');
    } catch (error) {
      if (signal.aborted) return;
      this.#next = null;
      if (!after) this.#list.replaceChildren(...(this.#links = []));
      this.#state.textContent = wordsOf(error);
    }
    this.#loading = false;
    this.#fill();
  }

  #link({ id, title, match, status }) {
    const name = visible(title || t('newConversation'));
    return el('a', { href: `#/${id}`, onclick: () => { $('search-box').close(); this.#app.find(match?.message_id ? { ...match, thread_id: id } : null); } },
      el('span.found-title', {}, el('span', { text: name, dir: 'auto' }), status === 'archived' && el('span.found-mark', { text: t('archive') })),
      match?.message_id && match.snippet ? marked(match) : null);
  }
}

let search = null;

/** @param {Object} app the page: its client, and `find`, which is given the match of a thread, to show its message */
export function open(app) {
  search ??= new Search(app);
  search.open();
}
