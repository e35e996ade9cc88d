// SPDX-License-Identifier: Apache-2.0
// The texts about summaries in English; loaded with summary.js.
export default {
  'summary': 'Summary of the conversation up to here',
  'summary.by': 'By {model}, {date}. Where the conversation is too long for the model, it gets this text in place of the messages.',
};
