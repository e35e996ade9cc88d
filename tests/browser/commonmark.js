// SPDX-License-Identifier: Apache-2.0
// In the chat page: makes elements of a Markdown text, once whole and once character by character. Gives {whole, pieces}: what the elements
// say, in the HTML of CommonMark's examples. A picture is a link with its words, and a line end in a paragraph is <br>.
async text => {
  const { Rendered } = await import('./render.js');
  await (await import('./markdown.js')).wantNames();
  const escape = words => words.replace(/[&<>"]/g, c => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }[c]));
  const within = node => [...node.childNodes].map(html).join('');
  const tagged = (tag, node, attributes = '') => `<${tag}${attributes}>${within(node)}</${tag}>`;
  const attribute = (name, value) => (value || name === 'href' ? ` ${name}="${escape(value)}"` : '');
  function html(node) {
    if (node.nodeType === Node.TEXT_NODE) return escape(node.data).replaceAll('\n', '<br>');
    const tag = node.tagName.toLowerCase();
    if (node.classList.contains('code')) {
      const language = node.querySelector('.code-language').textContent, code = node.querySelector('pre').textContent;
      return `<pre><code${attribute('class', language !== 'text' && `language-${language}`)}>${escape(code)}</code></pre>`;
    }
    if (/^h\d$/.test(tag)) return tagged(`h${node.className.slice(-1)}`, node);
    if (tag === 'a') return tagged(tag, node, attribute('href', node.getAttribute('href')) + attribute('title', node.title));
    if (tag === 'ol') return tagged(tag, node, attribute('start', node.getAttribute('start')));
    if (tag === 'p' && node.parentElement.matches(':not(.loose) > li')) return within(node);
    if (tag === 'br' || tag === 'hr') return `<${tag}>`;
    return ['div', 'span'].includes(tag) ? within(node) : tagged(tag, node);
  }
  const whole = document.createElement('div'), pieces = document.createElement('div');
  new Rendered(whole, text);
  const growing = new Rendered(pieces);
  for (const character of text) growing.append(character);
  growing.append('', true);
  return { whole: html(whole), pieces: html(pieces) };
}
