// SPDX-License-Identifier: Apache-2.0
// The Markdown of answers, as plain data: blocks() and inlines(). CommonMark by markdown-it, with tables, task lists,
// strike-through, bare links and <br>. No HTML: a tag is text. Each block says where it begins, so that in a growing
// text all but the last are settled.
import MarkdownIt, { characters } from './markdown-it.js';

const MAX_LEVEL = 16;                   // quotes count 1, lists 2; deeper marks are text
const MAX_DEPTH = 16;                   // nested elements in a line; of deeper ones only the text is shown
const MAX_LINK = 1000;                  // characters of a bare link, and of an address that is still coming
const PARAGRAPH_LINES = 24;             // a longer paragraph is cut into several elements, so that its beginning is settled

const md = new MarkdownIt({ maxNesting: 20 });
md.validateLink = address => safeAddress(address) !== null;
md.normalizeLinkText = text => text;
md.normalizeLink = address => {
  try {
    return encodeURI(address).replace(/%25([0-9a-f]{2})/gi, '%$1');
  } catch {                             // half of a surrogate pair
    return 'invalid:';
  }
};

/** The address, if a link may lead to it: on this site, or of a safe scheme; else null. */
export function safeAddress(text) {
  try {
    const { protocol } = new URL(text, 'https://page.invalid/');
    return ['http:', 'https:', 'mailto:', 'tel:'].includes(protocol) ? text : null;
  } catch {
    return null;
  }
}

// ---- characters with a name ----
// The frequent ones are here. The file with all of them is loaded when a text first has another one.
const FREQUENT = { __proto__: null, amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0', copy: '©', reg: '®', trade: '™', hellip: '…', mdash: '—',
  ndash: '–', lsquo: '‘', rsquo: '’', ldquo: '“', rdquo: '”', laquo: '«', raquo: '»', bull: '•', middot: '·', times: '×', divide: '÷', deg: '°',
  plusmn: '±', rarr: '→', larr: '←', harr: '↔', euro: '€', pound: '£', le: '≤', ge: '≥', ne: '≠', asymp: '≈', infin: '∞', para: '¶', sect: '§' };
const TRIES = 3;
let names = null, tried = 0;            // names: while the file is being loaded

characters.of = name => FREQUENT[name.slice(1, -1)] ?? (wantNames(), undefined);

/** Null, or a promise: it resolves when the file of all names is there, or cannot be had. */
export function namesToCome() { return names; }

/** Loads the file of all names. Until it is there a text has the name as it is written. */
export function wantNames() {
  if (names || tried === TRIES) return names;
  names = import(`./entities.js${tried++ ? `?${tried}` : ''}`)
    .then(({ decode }) => { characters.of = decode; }, () => { /* the name can be read, too */ }).then(() => { names = null; });
  return names;
}

for (const name of ['blockquote', 'list']) {
  const rule = md.block.ruler.__rules__.find(one => one.name === name);
  const { fn } = rule;
  rule.fn = (state, ...more) => state.level < MAX_LEVEL && fn(state, ...more);
}

// ---- blocks ----
const isBlank = line => !line.trim();

/** Whether no element that begins in these lines can end behind them, judged by the numbers of marks. */
class Balance {
  #marks = new Map([...'*_~`$'].map(mark => [mark, 0]));
  #brackets = 0;

  add(line) {
    for (let i = 0; i < line.length; i++) {
      const c = line[i];
      if (c === '\\') i++;
      else if (c === '[') this.#brackets++;
      else if (c === ']') this.#brackets = Math.max(0, this.#brackets - 1);
      else if (this.#marks.has(c)) this.#marks.set(c, this.#marks.get(c) ^ 1);
    }
  }

  get isEven() { return !this.#brackets && [...this.#marks.values()].every(odd => !odd); }
}

/** Cuts a paragraph's text into independent pieces. */
function pieces(text) {
  const lines = text.split('\n'), found = [];
  let balance = new Balance(), from = 0;
  if (lines.length <= PARAGRAPH_LINES) return [text];
  for (let i = 0; i < lines.length; i++) {
    balance.add(lines[i]);
    if (i + 1 - from < PARAGRAPH_LINES || i + 1 === lines.length || !balance.isEven) continue;
    found.push(lines.slice(from, i + 1).join('\n').trim());
    from = i + 1;
    balance = new Balance();
  }
  return [...found, lines.slice(from).join('\n').trim()];
}

const ALIGN = { 'text-align:left': 'left', 'text-align:center': 'center', 'text-align:right': 'right' };
const TASK = /^\[([ xX])\][ \t]+/;

/** The tokens of one text, read in order. */
class Reader {
  constructor(text, place, references) {
    this.text = (place.table ?? '') + text;
    this.skipped = this.text.length - text.length;
    this.place = place;
    this.tokens = [];
    this.state = new md.block.State(this.text, md, { references }, this.tokens);
    md.block.tokenize(this.state, 0, this.state.lineMax);
    this.at = 0;
  }

  offset(line) { return this.state.bMarks[Math.min(line, this.state.lineMax)]; }

  /** The block's source identifies it, except whether it grows. */
  entry(block, [from, to], place = {}) {
    const start = this.offset(from);
    const source = `${block.type} ${this.text.slice(start, this.offset(to))}`;
    return { block, place, from: start - this.skipped, lines: [from, to], source };
  }

  /** The blocks up to the token that closes their parent. */
  all(isTop = false) {
    const found = [];
    while (this.at < this.tokens.length && this.tokens[this.at].nesting >= 0) this.#one(this.tokens[this.at], found, isTop);
    this.at++;
    return found;
  }

  #one(token, found, isTop) {
    const { map } = token;
    this.at++;
    switch (token.type) {
      case 'paragraph_open': found.push(...this.#paragraph(map)); break;
      case 'heading_open':
        found.push(this.entry({ type: 'heading', level: Number(token.tag[1]), text: this.tokens[this.at].content }, map));
        this.at += 2;
        break;
      case 'hr': found.push(this.entry({ type: 'rule' }, map)); break;
      case 'fence': found.push(this.entry(this.#fence(token), map)); break;
      case 'code_block':
        found.push(this.entry({ type: 'code', language: '', text: token.content }, map));
        break;
      case 'blockquote_open': found.push(this.entry({ type: 'quote', blocks: this.all() }, map)); break;
      case 'reference_definition': found.push(this.entry({ type: 'definition' }, map)); break;
      case 'table_open': this.#table(map, found, isTop); break;
      default: this.#list(token, found, isTop);
    }
  }

  #paragraph(map) {
    const { content } = this.tokens[this.at];
    this.at += 2;
    const parts = pieces(content), { from } = this.entry({}, map);
    if (parts.length === 1) return [this.entry({ type: 'paragraph', text: content }, map)];
    return parts.map((text, i) =>
      ({ block: { type: 'paragraph', text, goesOn: i > 0 }, place: {}, from, lines: map, source: text }));
  }

  #fence(token) {
    const [from, to] = token.map, { content } = token;
    const lines = content ? content.split('\n').length - content.endsWith('\n') : 0;
    const language = md.utils.unescapeAll(token.info).trim().split(/\s/)[0];
    return { type: 'code', language, text: content, closed: lines < to - from - 1 };
  }

  /** Its head, then the rows. */
  #table(map, found, isTop) {
    const goesOn = isTop && this.place.table && map[0] === 0, head = [map[0], map[0] + 2];
    const place = isTop ? { table: this.text.slice(this.offset(head[0]), this.offset(head[1])) } : {};
    const align = [];
    for (let cells = [], line = null; ;) {
      const token = this.tokens[this.at++];
      if (token.type === 'tr_open') { cells = []; line = token.map[0]; }
      else if (token.type === 'inline') cells.push(token.content);
      else if (token.type === 'th_open') align.push(ALIGN[token.attrGet('style')] ?? '');
      else if (token.type === 'table_close') return;
      else if (token.type !== 'tr_close') continue;
      else if (line > map[0]) found.push(this.entry({ type: 'row', cells }, [line, line + 1], place));
      else if (!goesOn) found.push(this.entry({ type: 'table', header: cells, align }, head));
    }
  }

  /** Its items. `first` begins a list; `loose` holds for a whole list and separates its items. */
  #list(token, found, isTop) {
    const goesOn = isTop && this.place.list && this.at === 1, ordered = token.type === 'ordered_list_open';
    const start = this.at, items = [];
    while (this.tokens[this.at].type === 'list_item_open') {
      const { map, info } = this.tokens[this.at++];
      items.push([{ type: 'item', ordered, start: Number(info || 0), first: !goesOn && !items.length, ...this.#content() }, map]);
    }
    const loose = !isTop ? this.#hasShown(start, token.level)
      : Boolean(goesOn && this.place.list.loose) || this.#isLoose(start, token.level);
    const place = isTop ? { list: { loose } } : {};
    this.at++;
    found.push(...items.map(([block, map]) => this.entry(Object.assign(block, { loose }), map, place)));
  }

  #content() {
    const words = this.tokens[this.at]?.type === 'paragraph_open' ? this.tokens[this.at + 1] : null;
    const task = words && TASK.exec(words.content);
    if (task) words.content = words.content.slice(task[0].length);
    return { isTask: Boolean(task), task: Boolean(task && task[1] !== ' '), blocks: this.all() };
  }

  /** Whether a blank line parts its items, or the blocks of one. */
  #isLoose(start, level) {
    for (let i = start + 1, before = 'list_item_open'; i < this.at; i++) {
      const token = this.tokens[i];
      if (token.level > level + 2 || token.nesting < 0 || !token.map) continue;
      const isFirst = token.level === level + 2 && before === 'list_item_open';
      const [line] = token.map;
      if (!isFirst && isBlank(this.text.slice(this.offset(line - 1), this.offset(line)))) return true;
      before = token.type;
    }
    return false;
  }

  #hasShown(start, level) {
    return this.tokens.slice(start, this.at)
      .some(token => token.type === 'paragraph_open' && token.level === level + 2 && !token.hidden);
  }
}

/**
 * The blocks of a text, each with its source, the offset of its start and the blocks that enclose it there; nested blocks are in
 * `blocks`. A list is its items, a table its head and rows.
 * @param {string} text @param {Object} place of the first block, if this is the rest of a longer text
 * @param {Object} references the definitions of links that are known; those of this text are added
 */
export function blocks(text, place = {}, references = Object.create(null)) {
  return new Reader(text, place, references).all(true);
}

/** The number of blocks that cannot change: all but the last, and but a definition whose title the last may be. */
export function settled(found) {
  const n = found.findIndex(one => one.from === found[found.length - 1].from), before = found[n - 1];
  return before?.block.type === 'definition' && before.lines[1] === found[n].lines[0] ? n - 1 : n;
}

// ---- within a line ----
// Open emphasis, code and links of a growing text are treated as if they ended with it.

/** Code without its end. */
function openCode(state, silent) {
  const { src, pos, env } = state;
  if (!env.grows || src[pos] !== '`' || state.posMax < src.length) return false;
  let from = pos, last = -1;
  while (src[from] === '`') from++;
  if (!env.runs) {
    env.runs = new Map();
    for (let i = src.indexOf('`'); i >= 0; i = src.indexOf('`', last)) {
      for (last = i; src[last] === '`'; last++);
      env.runs.set(last - i, i);
    }
  }
  if (from === src.length || env.runs.get(from - pos) > pos) return false;
  if (!silent) state.push('code_inline', 'code', 0).content = src.slice(from).replaceAll('\n', ' ');
  state.pos = src.length;
  return true;
}

/** [text](addr */
function openLink(state, silent) {
  const { src, pos, env } = state;
  if (!env.grows || src[pos] !== '[' || state.posMax < src.length) return false;
  env.last ??= src.lastIndexOf('](');
  const rest = src.length - env.last;
  if (env.last < pos || rest > MAX_LINK || src.indexOf(')', env.last) >= 0 || src.indexOf('\n', env.last) >= 0) return false;
  if (md.helpers.parseLinkLabel(state, pos, true) !== env.last) return false;
  if (!silent) {
    state.pos = pos + 1;
    state.posMax = env.last;
    md.inline.tokenize(state);
  }
  state.pos = state.posMax = src.length;
  return true;
}

/** Emphasis without its end. */
function openMarks(state) {
  const { delimiters } = state, open = [];
  if (!state.env.grows) return;
  for (let i = 0, end = -1; i < delimiters.length; i++) {
    if (delimiters[i].end >= 0) end = Math.max(end, delimiters[i].end);
    else if (delimiters[i].open && i > end) open.push(delimiters[i]);
  }
  for (const mark of open.reverse()) {
    state.push('text', '', 0);
    mark.end = delimiters.length;
    delimiters.push({ ...mark, token: state.tokens.length - 1, end: -1, open: false, close: false });
  }
}

/** Formulas are shown as they are written: \( \) and \[ \] with letters or digits within, and $$ $$. */
function formula(state, silent) {
  const { src, pos, env } = state, mark = src.slice(pos, pos + 2), close = { '\\(': '\\)', '\\[': '\\]', $$: '$$' }[mark];
  if (!close || env.noEnd?.[mark]) return false;
  let at = pos + 2, isFilled = false;
  for (; at < state.posMax && !src.startsWith(close, at); at++) {
    if (src[at] === '\\' && src.startsWith(mark, at)) return false;
    if (/[A-Za-z0-9]/.test(src[at])) isFilled = true;
    if (src[at] === '\\') at++;
  }
  if (at >= state.posMax) {
    if (state.posMax < src.length) return false;
    if (!env.grows) {
      (env.noEnd ??= {})[mark] = true;
      return false;
    }
    at = src.length - 2;
  }
  if (!isFilled) return false;
  if (!silent) state.push('formula', '', 0).content = src.slice(pos, at + 2);
  state.pos = Math.min(at + 2, state.posMax);
  return true;
}

const STOPS = new Set(' \t\n\r\f\v\u00a0\u3000<>"`。，、；：！？）】」》');
const TRAILS = new Set('.,;:!?\'*_~');

function ends(text) {
  let end = text.length, open = text.split('(').length - text.split(')').length;
  for (; end > 0; end--) {
    const c = text[end - 1];
    if (c === ')' && open < 0) open++;
    else if (!TRAILS.has(c) && !(c === ']' && !text.includes('['))) break;
  }
  return end;
}

/** https://… without link syntax. */
function bareLink(state, silent) {
  const { src, pos, pending } = state;
  if (silent || state.linkLevel || !src.startsWith('://', pos)) return false;
  const scheme = [5, 4].map(n => pending.slice(-n)).find(name => /^https?$/i.test(name));
  if (!scheme || /[A-Za-z0-9/]/.test(pending[pending.length - scheme.length - 1] ?? ' ')) return false;
  let end = pos + 3;
  while (end < state.posMax && end - pos < MAX_LINK && !STOPS.has(src[end])) end++;
  const from = pos - scheme.length, text = src.slice(from, from + ends(src.slice(from, end)));
  if (text.length <= scheme.length + 3 || !safeAddress(text)) return false;
  state.pending = pending.slice(0, -scheme.length);
  state.push('link_open', 'a', 1).attrs = [['href', text]];
  state.push('text', '', 0).content = text;
  state.push('link_close', 'a', -1);
  state.pos = from + text.length;
  return true;
}

function lineBreak(state, silent) {
  const found = state.src[state.pos] === '<' && /^<br {0,8}\/?> {0,8}\n?/i.exec(state.src.slice(state.pos, state.pos + 24));
  if (!found || state.pos + found[0].length > state.posMax) return false;
  if (!silent) state.push('hardbreak', 'br', 0);
  state.pos += found[0].length;
  return true;
}

md.inline.ruler.before('linkify', 'bare_link', bareLink);
md.inline.ruler.before('escape', 'formula', formula);
md.inline.ruler.before('backticks', 'open_code', openCode);
md.inline.ruler.after('link', 'open_link', openLink);
md.inline.ruler.before('autolink', 'line_break', lineBreak);
md.inline.ruler2.after('balance_pairs', 'open_marks', openMarks);

const ELEMENTS = { strong_open: 'strong', em_open: 'emphasis', s_open: 'deleted', link_open: 'link' };

/** Of an image only its alternative text is shown. */
function wordsOf(tokens) {
  return tokens.map(token => (token.type.endsWith('break') ? ' ' : token.children ? wordsOf(token.children) : token.content)).join('');
}

function nodeOf(token, isInLink) {
  switch (token.type) {
    case 'softbreak': case 'hardbreak': return { type: 'break' };
    case 'code_inline': return { type: 'code', text: token.content };
    case 'formula': return { type: 'formula', text: token.content };
    case 'image': {
      const address = token.attrGet('src'), words = wordsOf(token.children);
      return isInLink ? words : { type: 'link', address, title: token.attrGet('title'), children: [words || address] };
    }
    default: return token.content;
  }
}

/**
 * The inline content of a text: strings and {type, children | text | address, title}.
 * @param {string} text @param {Object} references by label @param {boolean} grows more text follows
 */
export function inlines(text, references = {}, grows = false) {
  const tokens = [], root = [], stack = [root];
  let deep = 0, links = 0;
  md.inline.parse(text, md, { references, grows }, tokens);
  for (const token of tokens) {
    const inner = stack[stack.length - 1];
    links += (token.type === 'link_open') - (token.type === 'link_close');
    if (token.nesting > 0) {
      if (stack.length > MAX_DEPTH) { deep++; continue; }
      const node = { type: ELEMENTS[token.type], children: [] };
      if (node.type === 'link') Object.assign(node, { address: token.attrGet('href'), title: token.attrGet('title') });
      inner.push(node);
      stack.push(node.children);
    } else if (token.nesting < 0) {
      if (deep) deep--;
      else stack.pop();
    } else {
      const node = nodeOf(token, links > 0);
      if (typeof node === 'string' && typeof inner[inner.length - 1] === 'string') inner[inner.length - 1] += node;
      else if (node !== '') inner.push(node);
    }
  }
  return root;
}

/** The text without these characters at its end. */
function trimmed(text, characters) {
  let end = text.length;
  while (end && characters.includes(text[end - 1])) end--;
  return text.slice(0, end);
}

/** The part of a growing text that can be shown: its end may be the beginning of a mark. */
export function shown(text, inCode) {
  const at = text.lastIndexOf('\n') + 1, line = text.slice(at);
  if (inCode) return /^ {0,3}[`~]+$/.test(line) ? at : text.length;
  const sure = trimmed(line, '*_~`[!\\<&$');
  if ([line, sure].some(part => /^\s*(?:[-*+>#|_~`=]+|\d{1,9}[.)])\s*$/.test(part))) return at;
  if (/^ {0,3}\[[^\]]{1,200}\]:/.test(line)) return at;
  // The head of a table is a paragraph until the line below it is there.
  const before = text.lastIndexOf('\n', at - 2) + 1, previous = at ? text.slice(before, at - 1) : '';
  if (/^\s*\|/.test(line) && !/^\s*\|/.test(previous)) return at;
  const above = text.slice(text.lastIndexOf('\n', before - 2) + 1, before);
  if (/^\s*\|/.test(previous) && /^[\s|:-]*$/.test(line) && isBlank(above)) return before;
  return at + sure.length;
}
