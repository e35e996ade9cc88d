// SPDX-License-Identifier: Apache-2.0
// The texts about all data of a user in English; loaded with the first of them.
export default {
  'account.what': 'All conversations with their messages, as one file. Attached files are not part of it.',
  'account.save': 'Save all conversations',
  'account.saving': { one: '{n} conversation …', other: '{n} conversations …' },
  'account.saved': 'Saved.',
  'account.cut': 'The connection broke before the end. Try again.',
  'account.erase': 'Delete everything',
  'account.warning': 'Conversations, messages, files and ratings are removed for good. This cannot be undone.',
  'account.type': 'Type “{word}” to go ahead',
  'account.word': 'delete',
  'account.erased': 'Everything was deleted',
  'account.threads': 'Conversations',
  'account.messages': 'Messages',
  'account.files': 'Files',
  'account.receipt': 'Receipt',
  'account.gone': 'All of it is removed.',
  'account.continues': 'You see none of it any more. The server removes the rest now.',
  'account.begin': 'Start again',
};
