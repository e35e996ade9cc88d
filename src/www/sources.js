// SPDX-License-Identifier: Apache-2.0
// The sources of an answer as numbered notes: what its tools found. `[2]` in its text leads to the second one.
import { el, visible } from './dom.js';
import { safeAddress } from './markdown.js';
import { t } from './strings.js';

const MOST = 50, SHORT = 300;
const LISTS = ['results', 'sources', 'citations'];
let answers = 0;

function sourceOf(item) {
  if (!item || typeof item !== 'object') return null;
  const { url, document: place, title, snippet } = item, address = typeof url === 'string' && /^https?:/.test(url) && safeAddress(url);
  if (!address && typeof place !== 'string') return null;
  const name = typeof title === 'string' && title ? title : address || place;
  return { address, name, place: address ? new URL(address).host : place, snippet: typeof snippet === 'string' ? snippet.slice(0, SHORT) : '' };
}

/** The sources that results of tools name, each once. @param {any[]} results */
export function sourcesOf(results) {
  const found = new Map();
  for (const result of results) {
    for (const list of LISTS) {
      for (const item of Array.isArray(result?.[list]) ? result[list] : []) {
        const source = sourceOf(item), key = source && [source.address || source.place, source.name].join(' ');
        if (source && !found.has(key) && found.size < MOST) found.set(key, source);
      }
    }
  }
  return [...found.values()];
}

/** Makes links of the numbers in the text of an answer, outside of code. */
function link(node, sources, id) {
  const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT), texts = [];
  while (walker.nextNode()) if (!walker.currentNode.parentElement.closest('a,code,pre,math,.formula')) texts.push(walker.currentNode);
  for (const text of texts) {
    const parts = text.data.split(/\[(\d{1,2})\]/);
    if (parts.length === 1) continue;
    text.replaceWith(...parts.map((part, i) => {
      if (i % 2 === 0) return part;
      const source = sources[part - 1];
      return source ? el('a.cited', { href: `#${id}-${part}`, text: part, title: visible(source.name), 'aria-label': t('sources.one', { n: part }),
        onclick: event => {               // the address of the page names the conversation
          event.preventDefault();
          document.getElementById(`${id}-${part}`)?.focus();
        } }) : `[${part}]`;
    }));
  }
}

/** The list below an answer; null without a source. @param {Object[]} sources @param {HTMLElement[]} texts */
export function notes(sources, texts) {
  if (!sources.length) return null;
  const id = `source-${++answers}`;
  for (const text of texts) link(text, sources, id);
  return el('section.sources', { 'aria-label': t('sources') }, el('h3', { text: t('sources') }), el('ol', {}, ...sources.map((source, i) => {
    const name = visible(source.name);
    return el('li', { id: `${id}-${i + 1}`, tabIndex: -1, title: visible(source.snippet) || null }, source.address
      ? el('a', { href: source.address, text: name, rel: 'noopener noreferrer', target: '_blank', dir: 'auto' }) : el('span', { text: name, dir: 'auto' }),
    source.place !== source.name ? el('span.source-place', { text: visible(source.place), dir: 'auto' }) : null);
  })));
}
