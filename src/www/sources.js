// SPDX-License-Identifier: Apache-2.0
// The sources of an answer as numbered notes, in the order in which they were found. `[2]` in its text leads to the second one.
import { el, visible } from './dom.js';
import { safeAddress } from './markdown.js';
import { t } from './strings.js';

let answers = 0;

/** What the list shows of a source. An address that no link may have is shown as text. */
function shown({ url, place, title, snippet }) {
  const address = url && /^https?:/i.test(url) && safeAddress(url);
  return { address, name: title || url || place, place: address ? new URL(address).host : place || url || '', snippet: snippet ?? '' };
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

/** The list below an answer. @param {{title: string, url?: string, place?: string, snippet?: string}[]} list @param {HTMLElement[]} texts */
export function notes(list, texts) {
  const sources = list.map(shown);
  const id = `source-${++answers}`;
  for (const text of texts) link(text, sources, id);
  return el('section.sources', { 'aria-label': t('sources') }, el('h3', { text: t('sources') }), el('ol', {}, ...sources.map((source, i) => {
    const name = visible(source.name);
    return el('li', { id: `${id}-${i + 1}`, tabIndex: -1, title: visible(source.snippet) || null }, source.address
      ? el('a', { href: source.address, text: name, rel: 'noopener noreferrer', target: '_blank', dir: 'auto' }) : el('span', { text: name, dir: 'auto' }),
    source.place !== source.name ? el('span.source-place', { text: visible(source.place), dir: 'auto' }) : null);
  })));
}
