// SPDX-License-Identifier: Apache-2.0
// An answer's text as elements, while it comes. Only the last block is made anew when text arrives; those before it stay.
import { blocks, inlines, shown } from './markdown.js';
import { copyText, el, icon } from './dom.js';

const CHUNK = 60;                       // lines of code that are laid out together

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
  }
}

/** The Markdown of one answer below an element of its own. */
export class Rendered {
  #root; #open = ''; #place = {}; #tail = null; #code = null; #base = 0; #level = 2; #inner = false;

  /** @param {HTMLElement} root empty @param {string} [text] all of it, where it does not grow */
  constructor(root, text) {
    this.#root = root;
    if (text !== undefined) this.append(text, true);
  }

  /** @param {string} text what has come @param {boolean} whole that was all */
  append(text, whole = false) {
    this.#open += text;
    const end = whole ? this.#open.length : shown(this.#open, this.#code !== null && !this.#code.closed);
    const found = blocks(this.#open.slice(0, end), this.#place);
    if (!found.length) return;
    if (this.#code && found[0].block.type === 'code' && !found[0].block.closed && found.length === 1) {
      this.#code.update(found[0].block);
      return;
    }
    const code = this.#code;
    if (!code || found[0].block.type !== 'code') this.#takeBack();
    this.#code = null;
    found.forEach(({ block }, i) => {
      const last = i === found.length - 1;
      if (i === 0 && code && block.type === 'code') {
        code.update(block);
        this.#tail = code.node;
        if (last && !whole) this.#code = code;
      } else {
        this.#tail = this.#add(block, last && !whole);
      }
    });
    const { from, place } = found[found.length - 1];
    this.#open = this.#open.slice(from);
    this.#place = place;
  }

  /** The last block, and the list that it began. */
  #takeBack() {
    for (let node = this.#tail, above; node && node !== this.#root; node = above) {
      above = node.parentElement;
      node.remove();
      if (!above || above.childNodes.length) return;
    }
  }

  /** Puts a block behind the others; what it returns is all that it brought along. */
  #add(block, grows) {
    const last = this.#root.lastElementChild;
    if (block.type === 'item') {
      const node = this.#item(block, grows), tag = block.ordered ? 'OL' : 'UL';
      if (last?.tagName === tag && last.dataset.marker === block.marker) return last.appendChild(node);
      return this.#put(this.#list(block, node));
    }
    if (block.type === 'row') {
      const table = last.querySelector('table');
      const align = [...table.tHead.rows[0].cells].map(cell => cell.className);
      const body = table.tBodies[0] ?? table.createTBody();
      return body.appendChild(el('tr', {}, ...align.map((name, i) =>
        el(name ? `td.${name}` : 'td', {}, ...nodesOf(inlines(block.cells[i] ?? '', grows))))));
    }
    return this.#put(this.#node(block, grows));
  }

  /** Each block is written from the side that its own words want, code from the left; what is within it follows. */
  #put(node) {
    if (!this.#inner && !node.dir) node.dir = 'auto';
    return this.#root.appendChild(node);
  }

  #list(block, ...items) {
    const list = el(block.ordered ? 'ol' : 'ul', { start: block.ordered && block.start !== 1 ? block.start : undefined }, ...items);
    list.dataset.marker = block.marker;
    if (block.isTask) list.className = 'tasks';
    return list;
  }

  #item(block, grows) {
    const inner = new Rendered(el('li'));
    const node = inner.#root;
    if (block.isTask) {
      const label = block.task ? 'done' : 'open';
      node.append(el('input', { type: 'checkbox', checked: block.task, disabled: true, 'aria-label': label }));
    }
    // An item of one line needs no paragraph.
    if (block.blocks[0]?.type === 'paragraph') {
      node.append(...nodesOf(inlines(block.blocks[0].text, grows && block.blocks.length === 1)));
      this.#nest(inner, block.blocks.slice(1), grows);
    } else {
      this.#nest(inner, block.blocks, grows);
    }
    return node;
  }

  #nest(inner, list, grows) {
    inner.#inner = true;
    inner.#level = this.#level;
    inner.#base = this.#base;
    list.forEach((block, i) => inner.#add(block, grows && i === list.length - 1));
  }

  #node(block, grows) {
    switch (block.type) {
      case 'code': {
        const code = new Code(block);
        if (grows && !block.closed) this.#code = code;
        return code.node;
      }
      case 'heading': return this.#heading(block, grows);
      case 'rule': return el('hr');
      case 'quote': {
        const inner = new Rendered(el('blockquote'));
        this.#nest(inner, block.blocks, grows);
        return inner.#root;
      }
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
