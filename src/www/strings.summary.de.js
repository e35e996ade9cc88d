// SPDX-License-Identifier: Apache-2.0
// The texts about summaries in German, with the keys of strings.summary.en.js.
export default {
  'summary': 'Zusammenfassung des Gesprächs bis hierher',
  'summary.by': 'Von {model}, {date}. Wo das Gespräch für das Modell zu lang ist, bekommt es diesen Text an Stelle der Nachrichten.',
};
