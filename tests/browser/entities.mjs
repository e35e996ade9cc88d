// SPDX-License-Identifier: Apache-2.0
// Makes src/www/entities.js out of the npm package that package-lock.json names: node entities.mjs >../../src/www/entities.js
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
const require = createRequire(process.env.PEERS + '/');
const { version } = JSON.parse(readFileSync(`${process.env.PEERS}/entities/package.json`));

const made = await require('esbuild').build({
  stdin: { contents: "export { decodeHTMLStrict as decode } from 'entities'", resolveDir: process.env.PEERS },
  bundle: true, minify: true, write: false, format: 'esm', target: 'es2022', charset: 'utf8', legalComments: 'none', logLevel: 'error',
  banner: { js: `// entities ${version} (BSD-2-Clause): entities.LICENSE.\n// Made by tests/browser/entities.mjs; do not edit.` },
});
process.stdout.write(made.outputFiles[0].text);
