// SPDX-License-Identifier: Apache-2.0
// The texts about feedback in English; loaded with feedback.js.
export default {
  'feedback.why': 'What was wrong?',
  'feedback.incorrect': 'Incorrect',
  'feedback.unhelpful': 'Not helpful',
  'feedback.incomplete': 'Incomplete',
  'feedback.unsafe': 'Harmful',
  'feedback.other': 'Something else',
  'feedback.comment': 'More about it',
  'feedback.who': 'The people who run this server can read it.',
  'feedback.thanks': 'Thank you.',
};
