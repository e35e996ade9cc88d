// SPDX-License-Identifier: Apache-2.0
// The dialog for signing in, signing out, and the key, which is kept in this tab's session storage.
import { $ } from './dom.js';
import { settings } from './settings.js';
import { t } from './strings.js';

const KEY = 'agentchat.key';

export const keyOf = () => sessionStorage.getItem(KEY);

/** An address of config.json; `{here}` in it is where to come back to. */
function addressOf(text) { return new URL(text.replaceAll('{here}', encodeURIComponent(location.href)), document.baseURI).href; }

export function wireSignIn() {
  $('sign-in-form').addEventListener('submit', event => {
    event.preventDefault();
    const key = $('key').value.trim();
    if (!key) return;
    sessionStorage.setItem(KEY, key);
    location.reload();
  });
  // Without a sign-in the page has no content. A browser closes the dialog all the same when Esc is pressed twice.
  $('sign-in').addEventListener('cancel', event => event.preventDefault());
  $('sign-in').addEventListener('close', () => $('sign-in').showModal());
  $('sign-in-again').addEventListener('click', () => location.reload());
}

/** By the address that config.json names; by a key, where the API itself asks for one; else by loading the page again. */
export function askToSignIn({ code, scheme }) {
  if ($('sign-in').open) return;
  const { sign_in: address } = settings, byKey = !address && code === 'unauthenticated' && scheme === 'bearer';
  $('sign-in-word').textContent = byKey && keyOf() ? t('signIn.refused') : '';
  $('sign-in-word').hidden = !$('sign-in-word').textContent;
  sessionStorage.removeItem(KEY);
  $('sign-in-form').hidden = !byKey;
  $('sign-in-else').hidden = byKey;
  $('sign-in-link').hidden = !address;
  $('sign-in-again').hidden = Boolean(address);
  if (address) $('sign-in-link').href = addressOf(address);
  $('sign-in').showModal();
}

/** Loads the page again, so that no data of this user is left on it. @param {string} drafts the beginning of their names */
export function signOut(drafts) {
  const address = keyOf() ? null : settings.sign_out;
  for (const name of Object.keys(sessionStorage)) if (name === KEY || name.startsWith(drafts)) sessionStorage.removeItem(name);
  history.replaceState(null, '', location.pathname + location.search);
  if (address) location.assign(addressOf(address));
  else location.reload();
}
