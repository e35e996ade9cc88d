// SPDX-License-Identifier: Apache-2.0
// Renders an answer's text as elements while it arrives. New text changes the last block only; earlier blocks stay.
import { Code } from './code.js';
import { el } from './dom.js';
import { blocks, inlines, namesToCome, settled, shown } from './markdown.js';
import { t } from './strings.js';

const PART = 24;                        // blocks that are laid out together

function nodesOf(list) { return list.map(nodeOf); }

function nodeOf(node) {
  if (typeof node === 'string') return document.createTextNode(node);
  switch (node.type) {
    case 'strong': return el('strong', {}, ...nodesOf(node.children));
    case 'emphasis': return el('em', {}, ...nodesOf(node.children));
    case 'deleted': return el('del', {}, ...nodesOf(node.children));
    case 'code': return el('code', { text: node.text });
    case 'break': return el('br');
    case 'formula': return formulaOf(node.text);
    default: return el('a', { href: node.address, title: node.title || null, rel: 'noopener noreferrer', target: '_blank' },
      ...nodesOf(node.children));
  }
}

let formulas = null;                    // formula.js, once it is loaded

/** A formula: its source, until it is complete and the file that draws it is there. */
function formulaOf(text) {
  const node = el('span.formula', { dir: 'ltr', text });
  if (formulas) formulas.show(node);
  else import('./formula.js').then(loaded => { formulas = loaded; loaded.show(node); }, () => { /* the source is readable, too */ });
  return node;
}

/** The link definitions of one answer, and the elements that a new definition changes. */
class Links {
  #waiting = new Map(); #now;

  constructor(root) {
    this.root = root;
    this.#now = this.settled = Object.create(null);
  }

  /** Renders this text as the content of an element. */
  fill(element, text, grows = false) {
    const asked = new Set(), references = new Proxy({}, { get: (_, label) => (asked.add(label), this.#now[label]) });
    element.replaceChildren(...nodesOf(inlines(text, references, grows)));
    if (grows) return;                  // it is rendered again in any case
    if (text.includes('&')) namesToCome()?.then(() => { if (this.root.contains(element)) this.fill(element, text); });
    for (const label of asked) {
      if (!this.#waiting.has(label)) this.#waiting.set(label, new Map());
      this.#waiting.get(label).set(element, text);
    }
  }

  /** @param {Object} now the settled definitions, as its prototype, and those of the text that is still open */
  learn(now) {
    const before = this.#now, changed = new Map();
    this.#now = now;
    for (const label of new Set([...Object.keys(before), ...Object.keys(now)])) {
      if (before[label]?.href === now[label]?.href && before[label]?.title === now[label]?.title) continue;
      for (const one of this.#waiting.get(label) ?? []) changed.set(...one);
      this.#waiting.delete(label);
    }
    for (const [element, text] of changed) if (this.root.contains(element)) this.fill(element, text);
  }
}

const kindOf = block => `${block.type} ${block.ordered} ${block.first} ${block.isTask} ${block.task}`;

/** A list, of one element or of several that look like one. */
class List {
  #elements = []; #loose = false;

  constructor({ ordered, isTask }) { Object.assign(this, { ordered, isTask }); }

  /** The element that is still there and takes the next item. */
  get last() {
    while (this.#elements.length && !this.#elements[this.#elements.length - 1].childElementCount) this.#elements.pop();
    return this.#elements[this.#elements.length - 1];
  }

  next(start) {
    const element = el(this.ordered ? 'ol' : 'ul', { start: this.ordered && start !== 1 ? start : undefined });
    element.classList.toggle('tasks', this.isTask);
    element.classList.toggle('goes-on', this.#elements.length > 0);
    element.classList.toggle('loose', this.#loose);
    this.#elements.push(element);
    return element;
  }

  /** Makes the list loose or tight. */
  part(loose) {
    if (loose === this.#loose) return;
    this.#loose = loose;
    for (const element of this.#elements) {
      element.classList.toggle('loose', loose);
      if (!element.className) element.removeAttribute('class');
    }
  }
}

/** A list item or a quotation: new text changes only the end of its content. */
class Container {
  /** @param {Rendered} inner of an element of its own */
  constructor(block, grows, inner) {
    this.node = inner.root;
    this.inner = inner;
    this.kind = kindOf(block);
    inner.show(block.blocks, grows);
  }

  /** Extends this by the block; false, without any change, if the block is not the same one with more in it. */
  update(block, grows) {
    if (kindOf(block) !== this.kind) return false;
    this.inner.show(block.blocks, grows);
    return true;
  }
}

const isVisible = ({ block }) => block.type !== 'definition';

/** The Markdown of one answer below an element of its own. */
export class Rendered {
  #open = ''; #place = {}; #lineEnd = '';       // received text that is not settled
  #shown = []; #before = { list: null, level: { base: 0, last: 2 } };      // its blocks, and the node before them
  #list; #level; #inner = false; #links;

  /** @param {HTMLElement} root empty @param {string} [text] all of it, where it does not grow */
  constructor(root, text, links = new Links(root)) {
    this.root = root;
    this.#links = links;
    if (text !== undefined) this.append(text, true);
  }

  /** @param {string} text the new text @param {boolean} whole it was the last */
  append(text, whole = false) {
    this.#open += this.#normal(text, whole);
    const last = this.#shown[this.#shown.length - 1]?.made;
    const end = whole ? this.#open.length : shown(this.#open, last instanceof Code && last.closed === false);
    const shownText = this.#open.slice(0, end), definitions = Object.create(this.#links.settled);
    const found = blocks(shownText, this.#place, definitions);
    this.#links.learn(definitions);
    if (whole || found.some(isVisible)) this.show(found, !whole);
    if (found.length > 1) this.#settle(shownText, found);
  }

  /** The text with `\n` as line end and without NUL. */
  #normal(text, whole) {
    const all = this.#lineEnd + text;
    this.#lineEnd = !whole && all.endsWith('\r') ? '\r' : '';
    return all.slice(0, all.length - this.#lineEnd.length).replace(/\r\n?/g, '\n').replaceAll('\0', '\ufffd');
  }

  /** Drops the text of blocks that can no longer change. Only complete lines are certain. */
  #settle(text, found) {
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    const sure = whole === text ? found : blocks(whole, this.#place, Object.create(this.#links.settled));
    const n = sure.length && settled(sure);
    if (!n) return;
    const { from, place } = sure[n];
    blocks(this.#open.slice(0, from), this.#place, this.#links.settled);
    this.#open = this.#open.slice(from);
    this.#place = place;
    const gone = this.#shown.splice(0, sure.slice(0, n).filter(isVisible).length);
    if (gone.length) this.#before.level = gone[gone.length - 1].level;
    this.#before.list = place.list ? this.#shown[0].list : null;
  }

  /** Replaces the blocks that are shown and not settled. Equal ones stay; those that can grow, grow. */
  show(all, grows) {
    const there = this.#shown, found = all.filter(isVisible), grown = i => grows && found[i] === all[all.length - 1];
    let n = 0;
    while (n < found.length && there[n]?.source === found[n].source && !there[n].grows && !grown(n)) n++;
    const { made } = there[n] ?? {};
    if (made && n < found.length && made.update(found[n].block, grown(n))) {
      Object.assign(there[n], { source: found[n].source, grows: grown(n) });
      n++;
    }
    for (const { node } of there.splice(n).reverse()) this.#takeBack(node);
    ({ list: this.#list, level: this.#level } = n ? there[n - 1] : this.#before);
    for (; n < found.length; n++) {
      const { block, source } = found[n], added = this.#add(block, grown(n));
      there.push({ source, grows: grown(n), ...added, list: block.type === 'item' ? this.#list : null, level: this.#level });
    }
    found.forEach(({ block }, i) => { if (block.type === 'item') there[i].list.part(block.loose); });
  }

  /** A block, and the list that it began. */
  #takeBack(node) {
    for (let above; node !== this.root; node = above) {
      above = node.parentElement;
      node.remove();
      if (above.childNodes.length) return;
    }
  }

  /** Appends a block: {node: all nodes of it, made: the object that can grow}. */
  #add(block, grows) {
    if (block.type === 'item') return this.#addItem(block, grows);
    if (block.type === 'row') {
      const table = this.#last.lastElementChild.querySelector('table');
      const align = [...table.tHead.rows[0].cells].map(cell => cell.className);
      const body = table.tBodies[0] ?? table.createTBody();
      return { node: body.appendChild(el('tr', {}, ...align.map((name, i) =>
        this.#words(name ? `td.${name}` : 'td', {}, block.cells[i] ?? '', grows)))) };
    }
    const made = block.type === 'code' ? new Code(block)
      : block.type === 'quote' ? new Container(block, grows, this.#within('blockquote')) : null;
    return { node: this.#put(made?.node ?? this.#node(block, grows)), made };
  }

  /** The element that the next block is put into. */
  get #last() { return this.#inner ? this.root : this.root.lastElementChild ?? this.root; }

  /**
   * The text of each block decides its direction (code: left to right), and its content follows. Blocks are grouped in parts, so
   * that parts outside of the view cost no layout, however many there are (prose.css).
   */
  #put(node, isApart = false) {
    if (this.#inner) return this.root.appendChild(node);
    if (!node.dir) node.dir = 'auto';
    const part = this.#last;
    if (!isApart && part !== this.root && part.childElementCount < PART) return part.appendChild(node);
    return this.root.appendChild(el('div.part')).appendChild(node);
  }

  /** Puts an item into the list that it continues, or into a further element of that list if it is long. */
  #addItem(block, grows) {
    const made = new Container(block, grows, this.#within('li'));
    if (block.isTask) {
      const label = t(block.task ? 'task.done' : 'task.open');
      made.node.prepend(el('input', { type: 'checkbox', checked: block.task, disabled: true, 'aria-label': label }));
    }
    if (block.first || !this.#list) this.#list = new List(block);
    const list = this.#list, last = list.last, goesOn = Boolean(last);
    if (last && (this.#inner || last.childElementCount < PART)) return { node: last.appendChild(made.node), made };
    const next = list.next(goesOn ? (last.start ?? 1) + PART : block.start);
    next.append(made.node);
    this.#put(next, goesOn);
    return { node: made.node, made };
  }

  #within(tag) {
    const inner = new Rendered(el(tag), undefined, this.#links);
    inner.#inner = true;
    inner.#before = { list: null, level: this.#level };
    return inner;
  }

  #words(name, members, text, grows) {
    const element = el(name, members);
    this.#links.fill(element, text, grows);
    return element;
  }

  #node(block, grows) {
    switch (block.type) {
      case 'heading': return this.#heading(block, grows);
      case 'rule': return el('hr');
      case 'table': return el('div.table', { tabIndex: 0, role: 'group', 'aria-label': t('table') }, el('table', {}, el('thead', {},
        el('tr', {}, ...block.header.map((text, i) =>
          this.#words(block.align[i] ? `th.${block.align[i]}` : 'th', { scope: 'col' }, text))))));
      default: return this.#words(block.goesOn ? 'p.goes-on' : 'p', {}, block.text, grows);
    }
  }

  /** Heading levels begin below that of the turn and skip none, whatever the model has chosen; the look is the model's. */
  #heading(block, grows) {
    const base = this.#level.base || block.level;
    const level = Math.min(Math.max(block.level - base + 3, 3), this.#level.last + 1, 6);
    if (!grows) this.#level = { base, last: level };
    return this.#words(`h${level}.h-${block.level}`, {}, block.text, grows);
  }
}
