// SPDX-License-Identifier: Apache-2.0
// The keyboard shortcuts of the page.
import { $, composing } from './dom.js';
import { use } from './late.js';

/**
 * @param {{key: string, shift?: boolean, label: string, does: function(): void}[]} keys each with Ctrl, or ⌘ on a Mac
 * @param {function(KeyboardEvent): void} escape
 */
export function wireShortcuts(keys, escape) {
  const show = () => use('keys', ({ showKeys }) => showKeys(keys));
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
