// SPDX-License-Identifier: Apache-2.0
// The dialog for signing in, and signing out. Loaded when one of them is wanted.
import { $, el } from './dom.js';
import { KEY, frame, keyOf, settings } from './settings.js';
import { session } from './storage.js';
import { t } from './strings.js';

/** An address of config.json; `{here}` in it is where to come back to. */
function addressOf(text) { return new URL(text.replaceAll('{here}', encodeURIComponent(location.href)), document.baseURI).href; }

function make() {
  const key = el('input', { id: 'key', type: 'password', autocomplete: 'off', spellcheck: false, required: true, autofocus: true });
  const form = el('form', { id: 'sign-in-form', onsubmit: event => {
    event.preventDefault();
    if (!key.value.trim()) return;
    session.set(KEY, key.value.trim());
    location.reload();
  } },
  el('p', { id: 'sign-in-word', role: 'alert', hidden: true }), el('label', { htmlFor: 'key', text: t('signIn.key') }), key,
  el('p.hint', { text: t(session.isKept ? 'signIn.kept' : 'signIn.blocked') }), el('button.primary', { type: 'submit', text: t('signIn'), disabled: !session.isKept }));
  const dialog = el('dialog', { id: 'sign-in', 'aria-labelledby': 'sign-in-title' }, el('h2', { id: 'sign-in-title', text: t('signIn') }), form,
    el('div', { id: 'sign-in-else' }, el('p.hint', { text: t('signIn.ended') }),
      el('a.primary', { id: 'sign-in-link', text: t('signIn') }),
      el('button.primary', { id: 'sign-in-again', type: 'button', text: t('signIn.reload'), onclick: () => location.reload() })));
  // Without a sign-in the page has no content. A browser closes the dialog all the same when Esc is pressed twice.
  dialog.addEventListener('cancel', event => event.preventDefault());
  dialog.addEventListener('close', () => dialog.showModal());
  document.body.append(dialog);
  return dialog;
}

/** By the address that config.json names; by a key, where the API itself asks for one; else by loading the page again. */
export function askToSignIn({ code, scheme }) {
  const dialog = $('sign-in') ?? make();
  if (dialog.open) return;
  frame?.tell('sign-in');
  const { sign_in: address } = settings, byKey = !address && code === 'unauthenticated' && scheme === 'bearer';
  $('sign-in-word').textContent = byKey && keyOf() ? t('signIn.refused') : '';
  $('sign-in-word').hidden = !$('sign-in-word').textContent;
  session.remove(KEY);
  $('sign-in-form').hidden = !byKey;
  $('sign-in-else').hidden = byKey;
  $('sign-in-link').hidden = !address;
  $('sign-in-again').hidden = Boolean(address);
  if (address) $('sign-in-link').href = addressOf(address);
  dialog.showModal();
}

/** Loads the page again, so that no data of this user is left on it. @param {string} drafts the beginning of their names */
export function signOut(drafts) {
  const address = keyOf() ? null : settings.sign_out;
  for (const name of session.names()) if (name === KEY || name.startsWith(drafts)) session.remove(name);
  history.replaceState(null, '', location.pathname + location.search);
  if (address) location.assign(addressOf(address));
  else location.reload();
}
