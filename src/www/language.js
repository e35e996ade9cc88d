// SPDX-License-Identifier: Apache-2.0
// The page's texts in the browser's language. They are asked for at once, while config.json is on its way, too.

/** The languages of the page itself. */
export const OWN = ['en', 'de'];

const asked = new Map();

/** @param {string} name "en" @returns {Promise<Object>} key to text */
export function textsOf(name) {
  if (!asked.has(name)) asked.set(name, import(`./strings.${name}.js`).then(({ default: texts }) => texts));
  return asked.get(name);
}

/** The first of the browser's languages that is one of these, with its region. @param {string[]} names */
export function preferred(names) {
  return (globalThis.navigator?.languages ?? []).find(name => names.includes(name.split('-')[0])) ?? 'en';
}

textsOf(preferred(OWN).split('-')[0]).catch(() => { /* strings.js sees it, too */ });
