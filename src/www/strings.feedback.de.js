// SPDX-License-Identifier: Apache-2.0
// The texts about feedback in German, with the keys of strings.feedback.en.js.
export default {
  'feedback.why': 'Was war falsch?',
  'feedback.incorrect': 'Unrichtig',
  'feedback.unhelpful': 'Nicht hilfreich',
  'feedback.incomplete': 'Unvollständig',
  'feedback.unsafe': 'Schädlich',
  'feedback.other': 'Etwas anderes',
  'feedback.comment': 'Mehr dazu',
  'feedback.who': 'Die Betreiber dieses Servers können es lesen.',
  'feedback.thanks': 'Danke.',
};
