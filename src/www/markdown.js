// SPDX-License-Identifier: Apache-2.0
// The Markdown of answers, as plain data: blocks() and inlines(). No HTML: what looks like a tag is text. Of CommonMark and its
// tables, task lists, strike-through and bare links; left out: reference links, indented code, underlined headings.
// Written for text that still grows: each block says where it began, so that all but the last are settled for good.

const FENCE = /^( {0,3})(`{3,}|~{3,})\s*([^`]*?)\s*$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*$/;
const RULE = /^ {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|(\d{1,9})[.)])(?:( +)(.*)|)$/;
const DELIMITERS = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const MAX_DEPTH = 8;                    // of quotes and lists within each other; deeper ones are text
const PARAGRAPH_LINES = 24;             // a paragraph of more is cut, so that its beginning is settled

const indentOf = line => line.length - line.trimStart().length;
const isBlank = line => !line.trim();

function cells(line) {
  const found = [];
  let cell = '', inCode = false;
  for (let i = 0; i < line.length; i++) {
    if (line[i] === '\\' && line[i + 1] === '|') cell += line[++i];
    else if (line[i] === '|' && !inCode) { found.push(cell.trim()); cell = ''; }
    else { if (line[i] === '`') inCode = !inCode; cell += line[i]; }
  }
  found.push(cell.trim());
  if (found[0] === '' && /^\s*\|/.test(line)) found.shift();
  if (found.length && found[found.length - 1] === '' && /\|\s*$/.test(line)) found.pop();
  return found;
}

function tableAt(lines, i) {
  const [head, under] = [lines[i], lines[i + 1]];
  if (under === undefined || !head.includes('|') || !DELIMITERS.test(under)) return null;
  const header = cells(head), marks = cells(under);
  if (header.length !== marks.length) return null;
  const align = marks.map(mark => (mark.startsWith(':') ? (mark.endsWith(':') ? 'center' : 'left') : mark.endsWith(':') ? 'right' : ''));
  return { type: 'table', header, align };
}

/** Whether a paragraph ends before this line. */
function interrupts(lines, i) {
  const line = lines[i], item = ITEM.exec(line);
  return isBlank(line) || FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) ||
    (item && item[5] && (!item[3] || item[3] === '1')) || tableAt(lines, i) !== null;
}

function fence(lines, i) {
  const [, indent, marks, info] = FENCE.exec(lines[i]);
  const end = new RegExp(`^ {0,3}${marks[0]}{${marks.length},}[ \\t]*$`);
  const body = [];
  let at = i + 1, closed = false;
  for (; at < lines.length && !closed; at++) {
    if (end.test(lines[at])) closed = true;
    else body.push(lines.raw[at].slice(Math.min(indent.length, indentOf(lines.raw[at]))));
  }
  return [{ type: 'code', language: info.split(/\s/)[0], text: body.join('\n'), closed }, at];
}

function quote(lines, i, depth) {
  const body = [];
  for (; i < lines.length && (QUOTE.test(lines[i]) || (body.length && !interrupts(lines, i))); i++) body.push(lines[i].replace(QUOTE, ''));
  return [{ type: 'quote', blocks: blocks(body.join('\n'), {}, depth + 1) }, i];
}

function item(lines, i, depth) {
  const [, indent, marker, number, space = ' ', first = ''] = ITEM.exec(lines[i]);
  const inner = indent.length + marker.length + (space.length > 4 ? 1 : space.length);
  const task = /^\[([ xX])\] +/.exec(first);
  const body = [task ? first.slice(task[0].length) : first];
  let at = i + 1, blank = 0;
  for (; at < lines.length; at++) {
    const line = lines[at], own = indentOf(line);
    if (isBlank(line)) { blank++; continue; }
    // Models are sloppy with the indent of a list in a list: two more than the marker's own are enough.
    const belongs = own >= inner || (own >= indent.length + 2 && (!blank || ITEM.test(line.trimStart())));
    if (!belongs && (blank || interrupts(lines, at) || ITEM.test(line))) break;
    for (; blank > 0; blank--) body.push('');
    body.push(line.slice(Math.min(own, inner)));
  }
  return [{
    type: 'item', ordered: number !== undefined, start: Number(number ?? 0), marker: marker.slice(-1), task: task && task[1] !== ' ',
    isTask: Boolean(task), blocks: blocks(body.join('\n'), {}, depth + 1),
  }, at - blank];
}

/** Whether nothing that began in this text could end behind it. */
function isBalanced(text) {
  return (text.match(/\*/g) ?? []).length % 2 === 0 && (text.match(/`/g) ?? []).length % 2 === 0 && !/\[[^\]]*$/.test(text);
}

function paragraph(lines, i, goesOn) {
  const body = [];
  let cut = false;
  for (let at = i; at < lines.length && !cut && (at === i || !interrupts(lines, at)); at++) {
    body.push(lines[at].trimStart());
    // The line behind it decides: only what a further line has ended is whole.
    cut = body.length >= PARAGRAPH_LINES && at + 1 < lines.length && !interrupts(lines, at + 1) && isBalanced(body.join('\n'));
  }
  return [{ type: 'paragraph', text: body.join('\n').trimEnd(), goesOn, cut }, i + body.length];
}

function blockAt(lines, i, place, depth) {
  if (place.goesOn) return paragraph(lines, i, true);
  if (place.columns) {
    if (!FENCE.test(lines[i]) && !HEADING.test(lines[i]) && !QUOTE.test(lines[i]) && !RULE.test(lines[i])) {
      return [{ type: 'row', cells: cells(lines[i]).slice(0, place.columns) }, i + 1];
    }
  }
  if (FENCE.test(lines[i])) return fence(lines, i);
  const heading = HEADING.exec(lines[i]);
  if (heading) return [{ type: 'heading', level: heading[1].length, text: heading[2] ?? '' }, i + 1];
  if (RULE.test(lines[i])) return [{ type: 'rule' }, i + 1];
  if (depth < MAX_DEPTH && QUOTE.test(lines[i])) return quote(lines, i, depth);
  if (depth < MAX_DEPTH && ITEM.test(lines[i])) return item(lines, i, depth);
  const table = tableAt(lines, i);
  return table ? [table, i + 2] : paragraph(lines, i, false);
}

/** What a text that begins behind this block stands in; {} for nothing. */
export function placeAfter(block, place) {
  if (block.type === 'table') return { columns: block.header.length };
  if (block.type === 'row') return place;
  return block.type === 'paragraph' && block.cut ? { goesOn: true } : {};
}

/**
 * The blocks of a text, each with its source, the offset at which it began and what it stands in; those within another are in its
 * `blocks`. A list is its items, a table its head and rows.
 * @param {string} text @param {Object} place from placeAfter(), where this is the rest of a longer text
 */
export function blocks(text, place = {}, depth = 0) {
  const raw = text.split('\n'), offsets = [], found = [];
  const lines = raw.map(line => (/^ *\t/.test(line) ? line.replace(/^[ \t]+/, white => white.replaceAll('\t', '    ')) : line));
  lines.raw = raw;                      // what a fence holds is left as it is
  raw.reduce((offset, line) => (offsets.push(offset), offset + line.length + 1), 0);
  for (let i = 0; i < lines.length;) {
    if (isBlank(lines[i])) { place = {}; i++; continue; }
    const [block, next] = blockAt(lines, i, place, depth);
    found.push({ block, from: offsets[i], place, source: text.slice(offsets[i], offsets[next]) });
    place = placeAfter(block, place);
    i = next;
  }
  return found;
}

// ---- within a line ----
const PUNCTUATION = /[!-/:-@[-`{-~]/;
const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0',
  hellip: '…', ndash: '–', mdash: '—', euro: '€', times: '×' };
const BARE = /^https?:\/\/[^\s<>"`]+/i;
const MAX_LINK = 1000;

/** The address, if it is of a kind that a link may lead to; else null. */
export function safeAddress(text) {
  if (!/^(?:https?:\/\/|mailto:)/i.test(text)) return null;
  try {
    return ['http:', 'https:', 'mailto:'].includes(new URL(text).protocol) ? text : null;
  } catch {
    return null;
  }
}

class Inline {
  constructor(text, open, depth) {
    this.text = text;
    this.open = open;                   // the text still grows: what has begun is taken to end with it
    this.depth = depth;
    this.hopeless = new Set();          // what has no end behind this point; not looked for again
    this.out = [];
    this.plain = '';
  }

  put(node) {
    if (this.plain) this.out.push(this.plain);
    this.plain = '';
    this.out.push(node);
  }

  inner(text, open) { return this.depth >= MAX_DEPTH ? [text] : new Inline(text, open, this.depth + 1).parse(); }

  parse() {
    const { text } = this;
    for (let i = 0; i < text.length;) {
      const c = text[i];
      let next = 0;
      if (c === '\\' && i + 1 < text.length && PUNCTUATION.test(text[i + 1])) { this.plain += text[i + 1]; next = i + 2; }
      else if (c === '\n') { this.plain = this.plain.replace(/(?: +|\\)$/, ''); this.put({ type: 'break' }); next = i + 1; }
      else if (c === '`') next = this.code(i);
      else if (c === '*' || c === '_' || c === '~') next = this.emphasis(i, c);
      else if (c === '[') next = this.link(i, i);
      else if (c === '!' && text[i + 1] === '[') next = this.link(i, i + 1);
      else if (c === '<') next = this.angle(i);
      else if (c === '&') next = this.entity(i);
      else if ((c === 'h' || c === 'H') && !/[\w/]/.test(text[i - 1] ?? ' ')) next = this.bare(i);
      if (!next) { this.plain += c; next = i + 1; }
      i = next;
    }
    if (this.plain) this.out.push(this.plain);
    return this.out;
  }

  code(i) {
    const marks = /^`+/.exec(this.text.slice(i, i + 64))[0], name = `code${marks.length}`;
    if (this.hopeless.has(name)) { this.plain += marks; return i + marks.length; }
    const from = i + marks.length;
    let end = from;
    for (;;) {
      end = this.text.indexOf(marks, end);
      if (end < 0) break;
      let after = end;
      while (this.text[after] === '`') after++;
      if (after - end === marks.length) break;
      end = after;
    }
    if (end < 0) {
      if (this.open && from < this.text.length) end = this.text.length;
      else { this.hopeless.add(name); this.plain += marks; return from; }
    }
    const body = this.text.slice(from, end).replace(/\n/g, ' ');
    this.put({ type: 'code', text: /^ .*[^ ].* $/.test(body) ? body.slice(1, -1) : body });
    return end + marks.length;
  }

  emphasis(i, c) {
    const { text } = this;
    let n = 1;
    while (text[i + n] === c) n++;
    const before = text[i - 1] ?? ' ', after = text[i + n] ?? ' ';
    const opens = n <= 3 && (c !== '~' || n === 2) && !/\s/.test(after) && (c !== '_' || !/[\p{L}\p{N}]/u.test(before));
    const end = opens ? this.closer(i + n, c, n) : -1;
    if (end < 0) { this.plain += text.slice(i, i + n); return i + n; }
    const children = this.inner(text.slice(i + n, end), this.open && end === text.length);
    const wrap = (type, list) => ({ type, children: list });
    this.put(c === '~' ? wrap('deleted', children) : n === 1 ? wrap('emphasis', children)
      : n === 2 ? wrap('strong', children) : wrap('strong', [wrap('emphasis', children)]));
    return end + n;
  }

  /** Where a run of n of these characters ends what one has begun. */
  closer(from, c, n) {
    const { text } = this, name = c + n;
    if (this.hopeless.has(name)) return -1;
    for (let i = from; i < text.length; i++) {
      if (text[i] === '\\') { i++; continue; }
      if (text[i] === '`') {
        const marks = /^`+/.exec(text.slice(i, i + 64))[0], end = text.indexOf(marks, i + marks.length);
        i = (end < 0 ? i : end) + marks.length - 1;
        continue;
      }
      if (text[i] !== c) continue;
      let run = 1;
      while (text[i + run] === c) run++;
      const closes = (run === n || (run === 3 && n < 3)) && i > from && !/\s/.test(text[i - 1]) &&
        (c !== '_' || !/[\p{L}\p{N}]/u.test(text[i + run] ?? ' '));
      if (closes) return run === 3 && n === 1 ? i + 2 : i;
      i += run - 1;
    }
    if (this.open) return text.length;
    this.hopeless.add(name);
    return -1;
  }

  /** [text](address "title"), and ![text](address): a link too, since no foreign picture is loaded. */
  link(i, bracket) {
    const { text } = this;
    const end = this.matching(bracket, '[', ']');
    if (end < 0 || text[end + 1] !== '(') return 0;
    const close = this.matching(end + 1, '(', ')');
    if (close < 0) {
      if (!this.open || text.length - end > MAX_LINK || text.slice(end).includes('\n')) return 0;
      for (const node of this.inner(text.slice(bracket + 1, end), false)) this.put(node);    // the address is still coming
      return text.length;
    }
    const inside = /^\s*(?:<([^<>\n]*)>|(\S*?))(?:\s+(?:"[^"]*"|'[^']*'))?\s*$/.exec(text.slice(end + 2, close));
    const address = inside && safeAddress(inside[1] ?? inside[2] ?? '');
    if (!address) { this.plain += text.slice(i, close + 1); return close + 1; }
    const label = text.slice(bracket + 1, end);
    this.put({ type: 'link', address, children: label ? this.inner(label, false).map(flat) : [address] });
    return close + 1;
  }

  matching(from, opens, closes) {
    let depth = 0;
    for (let i = from; i < this.text.length && i < from + MAX_LINK; i++) {
      if (this.text[i] === '\\') i++;
      else if (this.text[i] === opens) depth++;
      else if (this.text[i] === closes && --depth === 0) return i;
    }
    return -1;
  }

  angle(i) {
    const found = /^<([a-z][a-z0-9+.-]{1,31}:[^\s<>]*|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)>/i.exec(this.text.slice(i, i + MAX_LINK));
    const address = found && safeAddress(found[1].includes(':') ? found[1] : `mailto:${found[1]}`);
    if (!address) return 0;
    this.put({ type: 'link', address, children: [found[1]] });
    return i + found[0].length;
  }

  entity(i) {
    const found = /^&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|(\w{2,8}));/i.exec(this.text.slice(i, i + 12));
    const code = found && (found[1] ? Number(found[1]) : found[2] ? parseInt(found[2], 16) : 0);
    const character = found && (found[3] ? ENTITIES[found[3]] : code > 31 && code < 0x110000 && (code < 0xd800 || code > 0xdfff)
      ? String.fromCodePoint(code) : null);
    if (!character) return 0;
    this.plain += character;
    return i + found[0].length;
  }

  bare(i) {
    const found = BARE.exec(this.text.slice(i, i + MAX_LINK));
    if (!found) return 0;
    let address = found[0].replace(/[.,;:!?'*_~]+$/, '');
    while (address.endsWith(')') && address.split(')').length > address.split('(').length) {
      address = address.slice(0, -1).replace(/[.,;:!?]+$/, '');
    }
    if (!safeAddress(address)) return 0;
    this.put({ type: 'link', address, children: [address] });
    return i + address.length;
  }
}

/** A link in a link would be none. */
function flat(node) {
  if (typeof node === 'string' || !node.children) return node;
  return node.type === 'link' ? { type: 'span', children: node.children } : { ...node, children: node.children.map(flat) };
}

/** What stands in a line: strings and {type, children | text | address}. `open`: the text still grows. */
export function inlines(text, open = false) {
  return new Inline(text, open, 0).parse();
}

/** How much of a growing text can be shown: its end may still turn out to be a mark of something. */
export function shown(text, inCode) {
  const at = text.lastIndexOf('\n') + 1, line = text.slice(at);
  if (inCode) return /^ {0,3}[`~]+$/.test(line) ? at : text.length;
  const sure = line.replace(/[*_~`[!\\<&]+$/, '');
  if ([line, sure].some(part => /^\s*(?:[-*+>#|_~`=]+|\d{1,9}[.)])\s*$/.test(part))) return at;
  // The head of a table is a paragraph until the line below it is there.
  const before = text.lastIndexOf('\n', at - 2) + 1, previous = at ? text.slice(before, at - 1) : '';
  if (/^\s*\|/.test(line) && !/^\s*\|/.test(previous)) return at;
  const above = text.slice(text.lastIndexOf('\n', before - 2) + 1, before);
  if (/^\s*\|/.test(previous) && /^[\s|:-]*$/.test(line) && isBlank(above)) return before;
  return at + sure.length;
}
