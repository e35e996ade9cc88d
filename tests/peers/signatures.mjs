// SPDX-License-Identifier: Apache-2.0
// What the vendor's signing package makes of a table of requests, as JSON: tests/peers/signatures.json is its output.
import { createRequire } from 'node:module';
const { generateHeaders } = createRequire(process.env.PEERS + '/')('@azure/cosmos-sign');

const KEYS = [
  'dsZQi3KtZmCv1ljt3VNWNm7sQUF1y5rJfC6kv5JiwvW0EndXdDku/dkKBp8/ufDToSxLzR4y+O/0H/t4bQtVNw==',
  'C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==',
];
const DATES = ['2017-04-27T00:51:12Z', '2024-02-29T23:59:59Z', '2031-12-01T07:08:09Z'];
const VERBS = {
  'account': ['GET', '', 'account', 'account'],
  'database read': ['GET', 'dbs', 'database', 'database'],
  'database create': ['POST', 'dbs', 'databases', 'account'],
  'container read': ['GET', 'colls', 'container', 'container'],
  'container create': ['POST', 'colls', 'containers', 'database'],
  'read': ['GET', 'docs', 'document', 'document'],
  'create': ['POST', 'docs', 'documents', 'container'],
  'upsert': ['POST', 'docs', 'documents', 'container'],
  'replace': ['PUT', 'docs', 'document', 'document'],
  'patch': ['PATCH', 'docs', 'document', 'document'],
  'delete': ['DELETE', 'docs', 'document', 'document'],
  'query': ['POST', 'docs', 'documents', 'container'],
  'batch': ['POST', 'docs', 'documents', 'container'],
};
const NAMES = [
  ['chat', 'messages', 'msg_01'],
  ['ToDoList', 'Items', 'Item 1'],
  ['MiXeD cAsE', 'WITH SPACES ', ' leading and trailing x'],
  ['ünïcödé', '日本語', '🎉 emoji é'],
  ["quote's", 'a+b=c&d', '100%41 %2F ;,:@!$()*[]{}<>|^`"~'],
  ['a.b-c_d~e', '0', 'x'.repeat(255)],
];

// The URL encodes all but RFC 3986's unreserved characters.
const encode = text => encodeURIComponent(text).replace(/[!'()*]/g, c => '%' + c.charCodeAt(0).toString(16).toUpperCase());

function link(kind, [database, container, id], f) {
  const whole = `dbs/${f(database)}`;
  return {
    account: '', databases: 'dbs', database: whole, containers: `${whole}/colls`, container: `${whole}/colls/${f(container)}`,
    documents: `${whole}/colls/${f(container)}/docs`, document: `${whole}/colls/${f(container)}/docs/${f(id)}`,
  }[kind];
}

const rows = [];
for (const [verb, [method, type, path, signed]] of Object.entries(VERBS)) {
  NAMES.forEach((names, i) => {
    const key = KEYS[i % KEYS.length], when = new Date(DATES[i % DATES.length]);
    const headers = generateHeaders(key, method, type, link(signed, names, x => x), when);
    rows.push({
      verb, database: names[0], container: names[1], id: names[2], key, date: headers['x-ms-date'],
      path: '/' + link(path, names, encode), authorization: headers.Authorization,
    });
  });
}
console.log('[\n' + rows.map(row => JSON.stringify(row)).join(',\n') + '\n]');
