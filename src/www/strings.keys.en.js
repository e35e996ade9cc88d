// SPDX-License-Identifier: Apache-2.0
// The texts about the list of shortcuts in English; loaded with keys.js.
export default {
  'keys.these': 'These shortcuts',
  'keys.message': 'To the message',
  'keys.stop': 'Stop the answer',
  'keys.line': 'A new line',
  'keys.shift': 'Shift',
  'keys.control': 'Ctrl',
  'keys.escape': 'Esc',
  'keys.enter': 'Enter',
};
