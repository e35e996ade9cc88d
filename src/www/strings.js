// SPDX-License-Identifier: Apache-2.0
// The texts of the page in the browser's language, and its forms of dates and numbers: strings.en.js and strings.de.js, and
// further languages of the administrator (`languages` of config.json). A text that is missing there is English.
import { OWN, preferred, textsOf } from './language.js';
import { settings } from './settings.js';

const RIGHT_TO_LEFT = new Set(['ar', 'ckb', 'dv', 'fa', 'he', 'ks', 'ps', 'sd', 'ug', 'ur', 'yi']);
const languages = [...OWN, ...[...settings.languages ?? []].filter(name => /^[a-z]{2,3}$/.test(name))];

/** The browser's first language that the page has, with its region: it decides about dates and numbers. */
export const locale = preferred(languages);
const language = locale.split('-')[0];
const direction = RIGHT_TO_LEFT.has(language) ? 'rtl' : 'ltr';

/** Only the texts of this language; a language of the administrator may lack some, which are English then. */
async function load() {
  const own = textsOf(language);
  if (OWN.includes(language)) return own;
  return { ...await textsOf('en'), ...await own.catch(error => console.warn(error)) };
}

const strings = await load();

/**
 * Adds the texts of a part of the page that is loaded later, strings.PART.en.js and so on. A language of the administrator
 * has them in its one file.
 */
export async function addTexts(part) {
  const { default: texts } = await import(`./strings.${part}.${OWN.includes(language) ? language : 'en'}.js`);
  Object.assign(strings, { ...texts, ...strings });
}

const plurals = new Intl.PluralRules(locale);
export const number = new Intl.NumberFormat(locale);

/**
 * The text with this key. Of a text with plural forms, the value `n` decides.
 * @param {string} key @param {Object<string, string|number>} [values] of the places in braces; numbers are formatted
 */
export function t(key, values = {}) {
  let text = strings[key] ?? key;
  if (typeof text === 'object') text = text[plurals.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (whole, name) =>
    (typeof values[name] === 'number' ? number.format(values[name]) : values[name] ?? whole));
}

/** Whether there is a text with this key. */
export function has(key) { return Object.hasOwn(strings, key); }

/** Whether the page is in the language of the server's own texts. */
export const isEnglish = language === 'en';

/** Fills in the texts of a page: `data-t` of an element is the key of its text, `data-label` of its name, `data-hint` of its placeholder. */
function translate(root) {
  root.lang = locale;
  root.dir = direction;
  for (const node of root.querySelectorAll('[data-t]')) node.textContent = t(node.dataset.t, { n: Number(node.dataset.n) });
  for (const node of root.querySelectorAll('[data-hint]')) node.placeholder = t(node.dataset.hint);
  for (const node of root.querySelectorAll('[data-label]')) {
    const label = t(node.dataset.label);
    node.setAttribute('aria-label', label);
    if (node.matches('.icon-button, #send, #stop')) node.title = label;
  }
}

// Another page than the chat names its texts: <html data-texts="usage">.
const { texts: part } = globalThis.document?.documentElement.dataset ?? {};
if (part) await addTexts(part);

// The page has its texts as soon as they are there, before its other files.
if (globalThis.document) {
  if (document.readyState === 'loading') await new Promise(done => { document.addEventListener('readystatechange', done, { once: true }); });
  translate(document.documentElement);
}
