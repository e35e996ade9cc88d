// SPDX-License-Identifier: Apache-2.0
// The keyboard shortcuts of the page, and the dialog that lists them.
import { $, composing, el } from './dom.js';
import { t } from './strings.js';

const isMac = /Mac|iP(hone|ad)/.test(navigator.platform);

/**
 * @param {{key: string, shift?: boolean, label: string, does: function(): void}[]} keys each with Ctrl, or ⌘ on a Mac
 * @param {function(KeyboardEvent): void} escape
 */
export function wireShortcuts(keys, escape) {
  const control = isMac ? '⌘' : t('keys.control'), shift = t('keys.shift'), esc = t('keys.escape'), enter = t('keys.enter');
  const row = (names, label) => el('div', {}, el('dt', {}, ...names.map(name => el('kbd', { text: name }))), el('dd', { text: t(label) }));
  $('keys-list').append(...keys.map(one => row([control, ...(one.shift ? [shift] : []), one.key], one.label)),
    row([shift, esc], 'keys.message'), row([esc], 'keys.stop'), row([shift, enter], 'keys.line'), row(['?'], 'keys.these'));
  const show = () => $('keys').showModal();
  $('keys-open').addEventListener('click', show);
  document.addEventListener('keydown', event => {
    if (composing(event) || event.defaultPrevented || document.querySelector('dialog[open]')) return;
    if (event.key === 'Escape') { escape(event); return; }
    const isList = event.key === '?' && !event.target.closest('input,textarea,select');
    if (event.altKey || (event.ctrlKey === event.metaKey && !isList)) return;
    const found = isList || event.key === '/' ? { does: show }
      : keys.find(one => one.key === event.key.toUpperCase() && Boolean(one.shift) === event.shiftKey);
    if (!found) return;
    event.preventDefault();
    found.does();
  });
}
