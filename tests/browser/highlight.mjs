// SPDX-License-Identifier: Apache-2.0
// Makes src/www/highlight.js out of the npm package that package-lock.json names: node highlight.mjs >../../src/www/highlight.js
// Its function highlight() gets the member `continuation`: the state in which an earlier piece of the same code ended (`_top` of its
// result). The package has that argument for itself only; with it code is coloured line by line as it arrives.
// A language is defined when it is first wanted: to define all of them at once takes longer than a frame.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
const require = createRequire(process.env.PEERS + '/');
const { version } = JSON.parse(readFileSync(`${process.env.PEERS}/highlight.js/package.json`));

const MORE = ['apache', 'cmake', 'dart', 'dockerfile', 'elixir', 'haskell', 'http', 'latex', 'nginx', 'powershell', 'protobuf', 'scala'];
// In text of unknown language, such as the body of an HTTP message: these only.
const GUESSED = ['css', 'javascript', 'json', 'plaintext', 'xml', 'yaml'];
const CALL = '_highlight(context.language, context.code, ignoreIllegals)';
const NAME = "    name = (name || '').toLowerCase();\n    return languages[name]";

function replaced(text, from, to) {
  if (text.split(from).length !== 2) throw new Error(`it is not as it was: ${from}`);
  return text.replace(from, to);
}

const plugin = {
  name: 'continuation',
  setup(build) {
    build.onLoad({ filter: /highlight\.js\/lib\/core\.js$/ }, ({ path }) => {
      const lazy = replaced(readFileSync(path, 'utf8'), NAME, NAME.replace('return', 'hljs.want?.(name);\n    return'));
      const text = replaced(lazy, CALL, `${CALL.slice(0, -1)}, optionsOrCode.continuation)`);
      // What writes HTML into elements is not used: the page's policy forbids it.
      return { contents: text.replaceAll('.innerHTML', '.textContent') };
    });
  },
};
const full = require('highlight.js/lib/common');
for (const name of MORE) full.registerLanguage(name, require(`highlight.js/lib/languages/${name}`));
const names = full.listLanguages();
const aliases = Object.fromEntries(names.flatMap(name => (full.getLanguage(name).aliases ?? []).map(alias => [alias.toLowerCase(), name])));
const contents = `import hljs from 'highlight.js/lib/core';
${names.map((name, i) => `import l${i} from 'highlight.js/lib/languages/${name}';`).join('\n')}
const wanted = new Map([${names.map((name, i) => `['${name}', l${i}]`)}]);
const aliases = { __proto__: null, ...${JSON.stringify(aliases)} };
hljs.want = asked => {
  const name = wanted.has(asked) ? asked : aliases[asked], definition = wanted.get(name);
  if (!wanted.delete(name)) return;
  hljs.registerLanguage(name, definition);
};
hljs.configure({ languages: ${JSON.stringify(GUESSED)} });
export default hljs;`;
const made = await require('esbuild').build({
  stdin: { contents, resolveDir: process.env.PEERS }, plugins: [plugin],
  bundle: true, minify: true, write: false, format: 'esm', target: 'es2022', charset: 'utf8', legalComments: 'none', logLevel: 'error',
  banner: { js: `// highlight.js ${version} (BSD-3-Clause): highlight.LICENSE.\n// Made by tests/browser/highlight.mjs; do not edit.` },
});
process.stdout.write(made.outputFiles[0].text);
