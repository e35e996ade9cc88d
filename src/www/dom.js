// SPDX-License-Identifier: Apache-2.0
// Makes elements without the HTML parser, so that no text can become markup.
import { t } from './strings.js';

/**
 * @param {string} name "button.quiet.small": a tag and its classes
 * @param {Object} [members] `on…` are listeners, `text` is text, a name with a dash, or without a property, becomes an attribute
 */
export function el(name, members = {}, ...children) {
  const [tag, ...classes] = name.split('.');
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(' ');
  for (const [key, value] of Object.entries(members)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === 'text') node.textContent = value;
    else if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (key in node && !key.includes('-') && typeof value !== 'object') node[key] = value;
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.filter(child => child !== null && child !== undefined && child !== false));
  return node;
}

/** An icon of the sprite in index.html. */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A button that is an icon; its label is the accessible name and the tooltip. */
export function iconButton(name, label, onclick, more = {}) {
  return el('button.icon-button', { type: 'button', title: label, 'aria-label': label, onclick, ...more }, icon(name));
}

/** Shows on the button for a moment that the text was copied. */
export async function copyText(button, text) {
  if (button.classList.contains('copied')) return;
  try {
    await navigator.clipboard.writeText(text);
  } catch {                             // only a page on https or localhost has a clipboard
    const field = el('textarea.offscreen', { value: text, readOnly: true });
    document.body.append(field);
    field.select();
    document.execCommand('copy');
    field.remove();
    button.focus();
  }
  const word = button.querySelector('.copy-word'), label = button.getAttribute('aria-label');
  button.classList.add('copied');
  button.setAttribute('aria-label', t('copied'));
  if (word) word.textContent = t('copied');
  setTimeout(() => {
    button.classList.remove('copied');
    button.setAttribute('aria-label', label);
    if (word) word.textContent = t('copy');
  }, 1600);
}

const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u2800]|\p{Cf}|\p{Default_Ignorable_Code_Point}/gu;
// Joiners and variation selectors are visible content within emoji, and within words of scripts that need them.
const JOINS = /[\u200c\u200d\ufe0e\ufe0f]/;
const JOINED = /^[\p{L}\p{Mn}\p{Mc}\p{Extended_Pictographic}\p{Emoji_Modifier}]$/u;
const PLAIN = /\p{Script=Latin}|\p{Script=Greek}|\p{Script=Cyrillic}/u;

function joins(text, at) {
  const pair = text.codePointAt(at - 2), before = pair > 0xffff ? String.fromCodePoint(pair) : text[at - 1] ?? '';
  return JOINS.test(text[at]) && ((JOINED.test(before) && !PLAIN.test(before)) || text[at + 1] === '\u20e3');
}

/** Replaces each invisible character, and each that changes the text direction, by a mark such as ‹U+202E›. */
export function visible(text) {
  return String(text).replace(UNSEEN, (char, at, whole) =>
    (joins(whole, at) ? char : `‹U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}›`));
}

/** Whether a key belongs to the composition of a character, and is no command. */
export function composing(event) { return event.isComposing || event.keyCode === 229; }

/** An error's text as a sentence: the server's details begin in lower case and have no full stop. */
export function sentence(text) {
  return text ? text[0].toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? '' : '.') : '';
}

export const $ = id => document.getElementById(id);
