// SPDX-License-Identifier: Apache-2.0
// The texts about all data of a user in German; loaded with the first of them.
export default {
  'account.what': 'Alle Unterhaltungen mit ihren Nachrichten, als eine Datei. Angehängte Dateien gehören nicht dazu.',
  'account.save': 'Alle Unterhaltungen sichern',
  'account.saving': { one: '{n} Unterhaltung …', other: '{n} Unterhaltungen …' },
  'account.saved': 'Gesichert.',
  'account.cut': 'Die Verbindung brach vor dem Ende ab. Bitte noch einmal versuchen.',
  'account.erase': 'Alles löschen',
  'account.warning': 'Unterhaltungen, Nachrichten, Dateien und Bewertungen werden endgültig entfernt. Das lässt sich nicht rückgängig machen.',
  'account.type': 'Zum Fortfahren „{word}“ eingeben',
  'account.word': 'löschen',
  'account.erased': 'Alles wurde gelöscht',
  'account.threads': 'Unterhaltungen',
  'account.messages': 'Nachrichten',
  'account.files': 'Dateien',
  'account.receipt': 'Beleg',
  'account.gone': 'Alles ist entfernt.',
  'account.continues': 'Sie sehen nichts mehr davon. Der Server entfernt jetzt den Rest.',
  'account.begin': 'Neu beginnen',
};
