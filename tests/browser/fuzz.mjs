// SPDX-License-Identifier: Apache-2.0
// The page's readers of foreign text (Markdown, event streams, what is said to a screen reader) against hostile input: node fuzz.mjs [SEED [ROUNDS]]
// Text that takes more than linear time does not end before the test that runs this has lost its patience.
import assert from 'node:assert/strict';
import { EventStreamParser } from '../../src/www/agentchat.js';
import { Announcer } from '../../src/www/announcer.js';
import { blocks, inlines, safeAddress, settled, shown } from '../../src/www/markdown.js';

const LENGTH = 200_000, MAX_DEPTH = 20;
let seed = Number(process.argv[2] ?? 7);
const rounds = Number(process.argv[3] ?? 600);
const random = n => (seed = (seed * 48271) % 2147483647) % n;

function checkNodes(nodes, depth = 0) {
  assert.ok(depth <= MAX_DEPTH, 'elements too deep');
  for (const node of nodes) {
    if (node.type === 'link') assert.ok(safeAddress(node.address) !== null, node.address);
    if (node.children) checkNodes(node.children, depth + 1);
  }
}

function checkBlocks(found, references, grows, depth = 0) {
  assert.ok(depth <= MAX_DEPTH, 'blocks too deep');
  for (const { block } of found) {
    if (block.blocks) checkBlocks(block.blocks, references, grows, depth + 1);
    const texts = block.type === 'code' ? [] : [block.text, ...(block.header ?? []), ...(block.cells ?? [])];
    for (const text of texts) if (text) checkNodes(inlines(text, references, grows));
  }
}

/** Reads a text as one that is whole and as one that grows. Each block begins behind the one before. */
function read(text) {
  const references = Object.create(null), found = blocks(text, {}, references);
  for (const grows of [false, true]) checkBlocks(found, references, grows);
  assert.ok(shown(text, true) <= text.length && shown(text, false) <= text.length);
  found.forEach(({ from }, i) => assert.ok(i === 0 || from >= found[i - 1].from));
  if (found.length) assert.ok(settled(found) >= 0);
}

globalThis.document = { createElement: () => ({}) };
const region = { childElementCount: 0, append: line => region.said.push(line.textContent), said: [] };

/** Says a text that comes at once, and in pieces. Returns what was said. */
function announce(text, length = 10_000) {
  region.said = [];
  for (const size of [Infinity, length]) {
    const announcer = new Announcer(region);
    for (let i = 0; i < text.length; i += size) announcer.take(text.slice(i, i + size));
    announcer.end('');
  }
  return region.said;
}

const repeated = unit => unit.repeat(LENGTH / unit.length);
const numbered = (n, line) => Array.from({ length: n }, (_, i) => line(i)).join('');
const HARD = {
  'an invalid fence': '```' + ' '.repeat(LENGTH) + 'x` ',
  'three marks and blanks, again and again': ('```' + ' '.repeat(6000) + 'x` \n').repeat(LENGTH / 6000),
  'a heading of marks': '# x' + ' #'.repeat(LENGTH / 2) + 'x',
  'a heading of blanks': '# x' + ' '.repeat(LENGTH) + 'x',
  'an invalid rule': repeated('- ') + 'x', 'an invalid rule of stars': repeated('* ') + 'x',
  'a deep quotation': repeated('>') + 'x', 'deep quotations': ('>'.repeat(400) + '\n').repeat(LENGTH / 400),
  'a deep list': numbered(600, i => ' '.repeat(2 * i) + '- a\n'),
  'definitions and references': numbered(LENGTH / 30, i => `[a${i}]: /u${i}\n`) + '\n' + numbered(LENGTH / 30, i => `[x][a${i}] `),
  'references to nothing': numbered(LENGTH / 10, i => `[x][a${i}] `),
  'a title without an end': '[a]: /u "' + repeated('x\n'), 'titles without an end': repeated('[a]: /u "x\n'),
  'long labels': ('[' + 'a'.repeat(900) + '\n').repeat(LENGTH / 900),
  'a wide table': '|a'.repeat(LENGTH / 16) + '|\n' + '|-'.repeat(LENGTH / 16) + '|\n' + '|1\n'.repeat(LENGTH / 12),
  'the line below a table\'s head': '|a|\n' + '|-'.repeat(LENGTH / 2) + 'x',
  'fences in a fence': '````\n' + repeated('```\n'), 'one long paragraph': repeated('a *b* c\n'),
};
for (const unit of ['*a ', 'a**', '**a *a ', '*a_ ', '*', '_', '*a**a_a__', '~~a ', '`', '` ', '[', '![', '[a](', '[a](b "', '[a](<b', '[a][', '[[a]', '*[', '](',
  '[a\\]', '<', '<a:b', '<br ', '&', '&#', '\\', '\\(', '\\(a ', '\\[', '$$', '$$a ', 'http://', 'https://a)', '(', '\ud800*', '\u00a0*', ' \n', '-\n', '- > ', '| ',
  '\t', '\\\n', '[a]: ', '- [ ] ', '\r', '\0']) HARD[`${JSON.stringify(unit)} again and again`] = `x ${repeated(unit)}`;
for (const [name, text] of Object.entries(HARD)) {
  const { user } = process.cpuUsage();
  read(text);
  announce(text);
  console.log(`${name}: ${Math.round((process.cpuUsage().user - user) / 1000)} ms`);
}

const MARKS = ['*', '**', '_', '`', '```', '~~', '[', ']', '(', ')', '[a]', ']: ', '](', '<', '>', '!', '#', '- ', '1. ', '> ', '|', '|-|', '\n', '\n\n', '    ', '\t', '\\',
  '\\(', '\\)', '$$', '&amp;', '&', ';', '<br>', 'https://a.b/', 'javascript:', 'data:', ':', 'a', 'é', '😀', '\ud83d', '\0', '\r\n', '=\n', '---\n', '"', "'", ' ', '[x] '];
for (let round = 0; round < rounds; round++) {
  let text = '';
  for (let n = random(60); n > 0; n--) text += MARKS[random(MARKS.length)].repeat(random(9) ? 1 : 1 + random(20));
  try {
    for (let end = 0; end <= text.length; end += 1 + random(3)) read(text.slice(0, end));
    read(text);
  } catch (error) {
    console.log(JSON.stringify(text));
    throw error;
  }
}
console.log(`${rounds} texts of marks, each piece by piece`);

/** All events of a text in pieces of these lengths. */
function events(text, length) {
  const parser = new EventStreamParser(), found = [];
  for (let i = 0, n; i < text.length; i += n) found.push(...parser.push(text.slice(i, i + (n = length()))));
  return { found, retry: parser.retry };
}

const FIELDS = ['data: a\n', 'data:b\r\n', 'data\r', 'event: x\n', 'id: 7\n', 'id: \0\n', 'retry: 5\n', 'retry: x\n', ': c\n', '\n', '\r\n', '\r', ':', ' ', 'data: é😀\n', '\ufeff', 'x: y\n', '\0'];
for (let round = 0; round < rounds; round++) {
  let text = '';
  for (let n = random(40); n > 0; n--) text += FIELDS[random(FIELDS.length)];
  const whole = events(text, () => Infinity);
  assert.deepEqual(events(text, () => 1), whole, JSON.stringify(text));
  assert.deepEqual(events(text, () => 1 + random(5)), whole, JSON.stringify(text));
}
for (const text of ['data: ' + 'x'.repeat(5 * LENGTH) + '\n\n', 'data: x\n'.repeat(LENGTH) + '\n', '\r'.repeat(LENGTH), ':'.repeat(5 * LENGTH)]) {
  assert.ok(events(text, () => 1).found.length <= 1);
}
console.log(`${rounds} event streams, in pieces of all lengths`);
