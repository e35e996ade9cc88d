// SPDX-License-Identifier: Apache-2.0
// Makes src/www/temml.js out of the npm package that package-lock.json names: node temml.mjs >../../src/www/temml.js
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
const require = createRequire(process.env.PEERS + '/');
const { version } = JSON.parse(readFileSync(`${process.env.PEERS}/temml/package.json`));

const made = await require('esbuild').build({
  stdin: { contents: "export { default } from 'temml/dist/temml.mjs'", resolveDir: process.env.PEERS },
  bundle: true, minify: true, write: false, format: 'esm', target: 'es2022', charset: 'utf8', legalComments: 'none', logLevel: 'error',
  banner: { js: `// Temml ${version} (MIT): temml.LICENSE.\n// Made by tests/browser/temml.mjs; do not edit.` },
});
process.stdout.write(made.outputFiles[0].text);
