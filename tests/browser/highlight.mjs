// SPDX-License-Identifier: Apache-2.0
// Makes src/www/highlight.js out of the npm package that package-lock.json names: node highlight.mjs >../../src/www/highlight.js
// Its function highlight() gets the member `continuation`: the state in which an earlier piece of the same code ended (`_top` of its
// result). The package has that argument for itself only; with it code is coloured line by line as it arrives.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
const require = createRequire(process.env.PEERS + '/');
const { version } = JSON.parse(readFileSync(`${process.env.PEERS}/highlight.js/package.json`));

const MORE = ['apache', 'cmake', 'dart', 'dockerfile', 'elixir', 'haskell', 'http', 'latex', 'nginx', 'powershell', 'protobuf', 'scala'];
const CALL = '_highlight(context.language, context.code, ignoreIllegals)';
const plugin = {
  name: 'continuation',
  setup(build) {
    build.onLoad({ filter: /highlight\.js\/lib\/core\.js$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      if (text.split(CALL).length !== 2) throw new Error('highlight() is not as it was');
      // What writes HTML into elements is not used: the page's policy forbids it.
      return { contents: text.replace(CALL, `${CALL.slice(0, -1)}, optionsOrCode.continuation)`).replaceAll('.innerHTML', '.textContent') };
    });
  },
};
const contents = ["import hljs from 'highlight.js/lib/common';", ...MORE.map((name, i) => `import l${i} from 'highlight.js/lib/languages/${name}';`),
  ...MORE.map((name, i) => `hljs.registerLanguage('${name}', l${i});`), 'export default hljs;'].join('\n');
const made = await require('esbuild').build({
  stdin: { contents, resolveDir: process.env.PEERS }, plugins: [plugin],
  bundle: true, minify: true, write: false, format: 'esm', target: 'es2022', charset: 'utf8', legalComments: 'none', logLevel: 'error',
  banner: { js: `// highlight.js ${version} (BSD-3-Clause): highlight.LICENSE.\n// Made by tests/browser/highlight.mjs; do not edit.` },
});
process.stdout.write(made.outputFiles[0].text);
