// SPDX-License-Identifier: Apache-2.0
// Formulas as MathML, by Temml. Loaded when the first formula is there, with its style sheet.
import { el } from './dom.js';
import { t } from './strings.js';
import temml from './temml.js';

const CLOSE = { '\\(': '\\)', '\\[': '\\]', $$: '$$' };
const LONGEST = 10_000, KEPT = 500;     // characters of a formula; formulas that are kept, as a growing text draws them again
const OPTIONS = { throwOnError: true, trust: false, maxExpand: 200, maxSize: [50, 200] };
const made = new Map();

document.head.append(el('link', { rel: 'stylesheet', href: new URL('formula.css', import.meta.url).href }));

/** The policy of the page forbids `style` attributes; the properties themselves may be set. */
function withoutAttribute(node) {
  const { style } = node.attributes ?? {};
  if (style) {
    delete node.attributes.style;
    for (const rule of style.split(';')) {
      const [name, value] = rule.split(':');
      if (value) node.style[name.trim().replace(/-(\w)/g, (_, c) => c.toUpperCase())] = value.trim();
    }
  }
  for (const child of node.children ?? []) withoutAttribute(child);
  return node;
}

/** The formula as an element; null if it is not complete, or has an error. */
function draw(source) {
  const open = source.slice(0, 2), close = CLOSE[open];
  if (!source.endsWith(close) || source.length < 5 || source.length > LONGEST) return null;
  const options = { ...OPTIONS, displayMode: open !== '\\(' };
  try {
    return withoutAttribute(temml.__renderToMathMLTree(source.slice(2, -2).trim(), options)).toNode();
  } catch {
    return null;
  }
}

/** A formula that is wider than its line scrolls, and the keyboard reaches it. */
const widths = new ResizeObserver(entries => {
  for (const { target } of entries) {
    const isWide = target.scrollWidth > target.clientWidth;
    if (isWide === target.hasAttribute('tabindex')) continue;
    for (const [name, value] of [['tabindex', '0'], ['role', 'group'], ['aria-label', t('formula')]]) {
      if (isWide) target.setAttribute(name, value);
      else target.removeAttribute(name);
    }
  }
});

/** Draws the formula whose source is the element's text. */
export function show(node) {
  const source = node.textContent;
  if (!made.has(source)) {
    if (made.size === KEPT) made.delete(made.keys().next().value);
    made.set(source, draw(source));
  }
  const math = made.get(source);
  if (!math) return;
  node.replaceChildren(math.cloneNode(true));
  node.classList.toggle('display', !source.startsWith('\\('));
  widths.observe(node);
}
