// SPDX-License-Identifier: Apache-2.0
// The texts about the list of shortcuts in German, with the keys of strings.keys.en.js.
export default {
  'keys.these': 'Diese Tastenkürzel',
  'keys.message': 'Zur Nachricht',
  'keys.stop': 'Antwort anhalten',
  'keys.line': 'Neue Zeile',
  'keys.shift': 'Umschalt',
  'keys.control': 'Strg',
  'keys.escape': 'Esc',
  'keys.enter': 'Eingabe',
};
