// SPDX-License-Identifier: Apache-2.0
// The dialog that lists the keyboard shortcuts. Loaded when it is first opened.
import { $, el, iconButton } from './dom.js';
import { addTexts, t } from './strings.js';

await addTexts('keys');

const isMac = /Mac|iP(hone|ad)/.test(navigator.platform);

function make(keys) {
  const control = isMac ? '⌘' : t('keys.control'), shift = t('keys.shift'), esc = t('keys.escape'), enter = t('keys.enter');
  const row = (names, label) => el('div', {}, el('dt', {}, ...names.map(name => el('kbd', { text: name }))), el('dd', { text: t(label) }));
  const dialog = el('dialog', { id: 'keys', 'aria-labelledby': 'keys-title' },
    el('div.dialog-head', {}, el('h2', { id: 'keys-title', text: t('keys') }), iconButton('close', t('close'), () => dialog.close())),
    el('dl', { id: 'keys-list' }, ...keys.map(one => row([control, ...(one.shift ? [shift] : []), one.key], one.label)),
      row([shift, esc], 'keys.message'), row([esc], 'keys.stop'), row([shift, enter], 'keys.line'), row(['?'], 'keys.these')));
  document.body.append(dialog);
  return dialog;
}

/** @param {{key: string, shift?: boolean, label: string}[]} keys those with Ctrl */
export function showKeys(keys) { ($('keys') ?? make(keys)).showModal(); }
