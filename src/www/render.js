// SPDX-License-Identifier: Apache-2.0
// An answer's text as elements, while it comes. Only the last block is made anew when text arrives; those before it stay.
import { blocks, inlines, shown } from './markdown.js';
import { copyText, el, icon } from './dom.js';

const CHUNK = 60;                       // lines of code that are laid out together
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
    case 'link': return el('a', { href: node.address, rel: 'noopener noreferrer', target: '_blank' }, ...nodesOf(node.children));
    default: return el('span', {}, ...nodesOf(node.children));
  }
}

/** A block of code that grows at its end: lines that are whole are never touched again. */
class Code {
  constructor(block) {
    this.label = el('span.code-language');
    this.pre = el('pre', { tabIndex: 0, role: 'group' });
    const copy = el('button.code-copy', { type: 'button', 'aria-label': 'Copy code', onclick: () => copyText(copy, this.text) },
      icon('copy'), el('span.copy-word', { text: 'Copy' }));
    this.node = el('div.code', { dir: 'ltr' }, el('div.code-head', {}, this.label, copy), this.pre);
    this.text = '';
    this.done = 0;                      // where the last chunk begins
    this.update(block);
  }

  update(block) {
    if (block.type !== 'code') return false;
    this.label.textContent = block.language || 'text';
    this.pre.setAttribute('aria-label', `Code, ${block.language || 'text'}`);
    this.closed = block.closed;
    this.text = block.text.replace(/\n$/, '');
    let rest = this.text.slice(this.done), lines = rest.split('\n');
    let last = this.pre.lastElementChild ?? this.pre.appendChild(el('code'));
    while (lines.length > CHUNK) {
      const whole = lines.splice(0, CHUNK).join('\n');
      last.textContent = whole;
      this.done += whole.length + 1;
      last = this.pre.appendChild(el('code'));
    }
    rest = lines.join('\n');
    const there = last.firstChild;
    if (there && rest.startsWith(there.data)) there.appendData(rest.slice(there.data.length));
    else last.textContent = rest;
    return true;
  }
}

const beginsWithWords = block => block.type === 'item' && block.blocks[0]?.block.type === 'paragraph';
const kindOf = block => `${block.type} ${block.marker} ${block.isTask} ${block.task} ${beginsWithWords(block)}`;

/** The item of a list, or a quotation: what has come below it, of which only the end is made anew. */
class Container {
  /** @param {Rendered} inner of an element of its own @param {Node[]} words of an item's first line, which needs no paragraph */
  constructor(block, grows, inner, words = []) {
    this.node = inner.root;
    this.node.append(...words);
    this.inner = inner;
    this.kind = kindOf(block);
    this.words = beginsWithWords(block) ? block.blocks[0].source : null;
    this.isOpen = grows && block.blocks.length === 1;
    this.#show(block, grows);
  }

  #show(block, grows) { this.inner.show(this.words === null ? block.blocks : block.blocks.slice(1), grows); }

  /** Whether this is still the same with more in it; if not, nothing was done. */
  update(block, grows) {
    if (kindOf(block) !== this.kind || (this.words !== null && (this.isOpen || block.blocks[0]?.source !== this.words))) return false;
    this.#show(block, grows);
    return true;
  }
}

/** The Markdown of one answer below an element of its own. */
export class Rendered {
  #open = ''; #place = {}; #shown = []; #base = 0; #level = 2; #inner = false;

  /** @param {HTMLElement} root empty @param {string} [text] all of it, where it does not grow */
  constructor(root, text) {
    this.root = root;
    if (text !== undefined) this.append(text, true);
  }

  /** @param {string} text what has come @param {boolean} whole that was all */
  append(text, whole = false) {
    this.#open += text;
    const last = this.#shown[this.#shown.length - 1]?.made;
    const end = whole ? this.#open.length : shown(this.#open, last instanceof Code && !last.closed);
    const found = blocks(this.#open.slice(0, end), this.#place);
    if (!found.length) return;
    this.show(found, !whole);
    // What stands before the last block is settled.
    const { from, place } = found[found.length - 1];
    this.#open = this.#open.slice(from);
    this.#place = place;
    this.#shown = this.#shown.slice(-1);
  }

  /** These blocks instead of those that are shown and not settled. What is the same stays, and what can grow does. */
  show(found, grows) {
    const there = this.#shown, grown = i => grows && i === found.length - 1;
    let n = 0;
    while (n < found.length && there[n]?.source === found[n].source && !there[n].grows && !grown(n)) n++;
    const { made } = there[n] ?? {};
    if (made && n < found.length && made.update(found[n].block, grown(n))) {
      Object.assign(there[n], { source: found[n].source, grows: grown(n) });
      n++;
    }
    for (const { node } of there.splice(n).reverse()) this.#takeBack(node);
    for (; n < found.length; n++) {
      const { block, source } = found[n];
      there.push({ source, grows: grown(n), ...this.#add(block, grown(n)) });
    }
  }

  /** A block, and the list that it began. */
  #takeBack(node) {
    for (let above; node !== this.root; node = above) {
      above = node.parentElement;
      node.remove();
      if (above.childNodes.length) return;
    }
  }

  /** Puts a block behind the others: {node: all that it brought along, made: what can grow}. */
  #add(block, grows) {
    const last = this.#last.lastElementChild;
    if (block.type === 'item') {
      const made = this.#item(block, grows), tag = block.ordered ? 'OL' : 'UL';
      if (last?.tagName !== tag || last.dataset.marker !== block.marker) return { node: this.#put(this.#list(block, made.node)), made };
      if (this.#inner || last.childElementCount < PART) return { node: last.appendChild(made.node), made };
      const next = this.#list({ ...block, start: (last.start ?? 1) + PART }, made.node);
      next.classList.add('goes-on');
      return { node: this.#put(next, true), made };
    }
    if (block.type === 'row') {
      const table = last.querySelector('table');
      const align = [...table.tHead.rows[0].cells].map(cell => cell.className);
      const body = table.tBodies[0] ?? table.createTBody();
      return { node: body.appendChild(el('tr', {}, ...align.map((name, i) =>
        el(name ? `td.${name}` : 'td', {}, ...nodesOf(inlines(block.cells[i] ?? '', grows)))))) };
    }
    const made = block.type === 'code' ? new Code(block)
      : block.type === 'quote' ? new Container(block, grows, this.#within('blockquote')) : null;
    return { node: this.#put(made?.node ?? this.#node(block, grows)), made };
  }

  /** What the next block comes into, or behind. */
  get #last() { return this.#inner ? this.root : this.root.lastElementChild ?? this.root; }

  /**
   * Each block is written from the side that its own words want, code from the left; what is within it follows. Blocks stand in parts,
   * so that a part that nobody sees costs a frame nothing, however many there are (prose.css).
   */
  #put(node, isApart = false) {
    if (this.#inner) return this.root.appendChild(node);
    if (!node.dir) node.dir = 'auto';
    const part = this.#last;
    if (!isApart && part !== this.root && part.childElementCount < PART) return part.appendChild(node);
    return this.root.appendChild(el('div.part')).appendChild(node);
  }

  #list(block, ...items) {
    const list = el(block.ordered ? 'ol' : 'ul', { start: block.ordered && block.start !== 1 ? block.start : undefined }, ...items);
    list.dataset.marker = block.marker;
    if (block.isTask) list.className = 'tasks';
    return list;
  }

  #within(tag) {
    const inner = new Rendered(el(tag));
    inner.#inner = true;
    inner.#level = this.#level;
    inner.#base = this.#base;
    return inner;
  }

  #item(block, grows) {
    const inner = this.#within('li');
    if (block.isTask) {
      const label = block.task ? 'done' : 'open';
      inner.root.append(el('input', { type: 'checkbox', checked: block.task, disabled: true, 'aria-label': label }));
    }
    const words = beginsWithWords(block) ? nodesOf(inlines(block.blocks[0].block.text, grows && block.blocks.length === 1)) : [];
    return new Container(block, grows, inner, words);
  }

  #node(block, grows) {
    switch (block.type) {
      case 'heading': return this.#heading(block, grows);
      case 'rule': return el('hr');
      case 'table': return el('div.table', { tabIndex: 0, role: 'group', 'aria-label': 'Table' }, el('table', {}, el('thead', {},
        el('tr', {}, ...block.header.map((text, i) =>
          el(block.align[i] ? `th.${block.align[i]}` : 'th', { scope: 'col' }, ...nodesOf(inlines(text))))))));
      default: return el(block.goesOn ? 'p.goes-on' : 'p', {}, ...nodesOf(inlines(block.text, grows)));
    }
  }

  /** Below the heading of its turn, and without a step left out, whatever the model has chosen; it looks as the model meant it. */
  #heading(block, grows) {
    const base = this.#base || block.level;
    const level = Math.min(Math.max(block.level - base + 3, 3), this.#level + 1, 6);
    if (!grows) { this.#base = base; this.#level = level; }
    return el(`h${level}.h-${block.level}`, {}, ...nodesOf(inlines(block.text, grows)));
  }
}
