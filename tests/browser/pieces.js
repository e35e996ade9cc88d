// SPDX-License-Identifier: Apache-2.0
// In the chat page: answers made of parts by chance, once whole and once in pieces. Gives null, or what differs.
(async () => {
  const { Rendered } = await import('./render.js');
  const parts = ['# Head\n', 'text *em* **strong** `code`', '\n', '\n\n', '- item\n', '  - inner\n', '1. one\n', '2) two\n', '> quote\n',
    '```js\n', 'let x = 1;\n', '```\n', '~~~\n', '| a | b |\n', '|---|:-:|\n', '| 1 | `2|3` |\n', '---\n', '***', '* * *\n',
    '[a](https://a.example/x)', '[b](', '<b>', '\\*', '~~gone~~', '&amp;', 'https://b.example/y_z).', '    four\n', '\tTab\n',
    '- [x] done\n', '### Deep\n', ' \n', '_x_', '__', '|', '🙂', 'Under\n===\n', '--\n', '[a]: /u\n', '[ref]:\n', '/url\n', '"title\n', "'",
    '[a]', '[text][ref] ', '![p][a]', '\\(x_1*y*\\)', '\\[', '$$', '<br>', '&deg;', '\r\n', '\0', '+ plus\n', '- \n', '\\\n', '``'];
  const nested = ['- item\n', '- item\n', '- **more**\n', '  - inner\n', '    - deep\n', '  > quote\n', '> - a\n', '> b\n', '  words\n', '\n',
    '  ```\n', '1. one\n', '   2. two\n', '- [ ] open\n', '[a]: /b\n', '[a]\n', '* star\n', '   * under\n', 'lazy\n', '| a | b |\n', '|-|-|\n'];
  let seed = 7;
  const random = n => (seed = (seed * 48271) % 2147483647) % n;
  for (let round = 0; round < 1500; round++) {
    const from = round % 4 ? parts : nested.slice(0, 2 + random(nested.length - 1));
    let text = '';
    for (let n = 2 + random(round % 50 ? 22 : 160); n > 0; n--) text += from[random(from.length)];
    const whole = document.createElement('div'), pieces = document.createElement('div');
    new Rendered(whole, text);
    const growing = new Rendered(pieces), characters = [...text];
    for (let i = 0, n; i < characters.length; i += n) growing.append(characters.slice(i, i + (n = 1 + random(round % 2 ? 9 : 2))).join(''));
    growing.append('', true);
    if (!whole.isEqualNode(pieces)) return [text, whole.innerHTML, pieces.innerHTML];
  }
  return null;
})()
