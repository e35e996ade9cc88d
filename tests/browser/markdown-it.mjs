// SPDX-License-Identifier: Apache-2.0
// Makes src/www/markdown-it.js out of the npm package that package-lock.json names: node markdown-it.mjs >../../src/www/markdown-it.js
// Left out is what the page does not use: the search for bare links, and the encoding of addresses and host names. The table of named
// characters is a file of its own, entities.js: `characters.of` is given a name such as `&eacute;`, and gives the character or undefined.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
const require = createRequire(process.env.PEERS + '/');
const { version } = JSON.parse(readFileSync(`${process.env.PEERS}/markdown-it/package.json`));

const instead = {
  'linkify-it': 'export class LinkifyIt {}',
  'punycode.js': 'export default {}',
  'uc.micro': 'export const P = /\\p{P}/u, S = /\\p{S}/u',
  mdurl: 'export {}',
  entities: 'export const characters = {}, decodeHTMLStrict = name => characters.of(name) ?? name',
};
const plugin = {
  name: 'instead',
  setup(build) {
    build.onResolve({ filter: /^[a-z]/ }, ({ path }) => (path in instead ? { path, namespace: 'instead' } : undefined));
    build.onLoad({ filter: /^/, namespace: 'instead' }, ({ path }) => ({ contents: instead[path] }));
  },
};
const made = await require('esbuild').build({
  stdin: { contents: "export { default } from 'markdown-it'; export { characters } from 'entities'", resolveDir: process.env.PEERS }, plugins: [plugin],
  bundle: true, minify: true, write: false, format: 'esm', target: 'es2022', charset: 'utf8', legalComments: 'none', logLevel: 'error',
  banner: { js: `// markdown-it ${version} (MIT): markdown-it.LICENSE.\n` +
    '// Made by tests/browser/markdown-it.mjs; do not edit.' },
});
process.stdout.write(made.outputFiles[0].text);
