// SPDX-License-Identifier: Apache-2.0
// What the page reports: the state of the connection, a notice above the input box, and short messages with an action.
import { $, el, iconButton, sentence } from './dom.js';
import { isEnglish, t } from './strings.js';

const TOAST_MS = 10_000;

/** The connection, and its effect on the open request. @param {?Error} waiting why the page polls the server */
export function showConnection(waiting, { busy, begun }) {
  const { status, message } = waiting ?? {};
  let text = '';
  if (!navigator.onLine) {
    text = t(begun ? 'offline.answer' : busy ? 'offline.message' : 'offline');
  } else if (waiting) {
    const limit = isEnglish ? sentence(message) : t('error.rate_limited');
    text = t('waiting', { reason: status === 429 ? limit : t(status ? 'waiting.busy' : 'waiting.lost') });
  }
  if ($('banner').textContent !== text) $('banner').textContent = text;
  $('banner').hidden = !text;
}

/** Shows a notice above the box until the next message. */
export function notice(text) {
  $('notice').textContent = text;
  $('notice').hidden = !text;
}

/** @param {HTMLElement} [next] where the focus goes from here; with it the action has the focus now */
export function toast(text, action = '', onaction = null, next = null) {
  const box = $('toast');
  let timer;
  const end = () => {
    clearTimeout(timer);
    if (one.contains(document.activeElement)) (next?.isConnected ? next : $('text')).focus();
    one.remove();
  };
  const button = action ? el('button.toast-action', { type: 'button', text: action, onclick: () => { end(); onaction(); } }) : null;
  const one = el('div.toast', {}, el('span', { text, dir: 'auto' }), button, iconButton('close', t('close'), end));
  // It stays while its button has the focus or the pointer.
  const later = () => { timer = setTimeout(() => (one.matches(':hover, :has(:focus-visible)') ? later() : end()), TOAST_MS); };
  // A notice with an undo button stays beside later ones; of plain notices only the last are kept.
  box.querySelectorAll('.toast:not(:has(.toast-action))').forEach(old => old.remove());
  box.append(one);
  later();
  if (next) button.focus();
}
