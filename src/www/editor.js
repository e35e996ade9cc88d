// SPDX-License-Identifier: Apache-2.0
// The editor that makes a further version of a question.
import { composing, el } from './dom.js';
import { t } from './strings.js';

/**
 * The files of the question, each with a button that leaves it out of the new version.
 * @param {Object} client @param {Object[]} files those that are kept; changed here @param {function(): void} changed
 */
async function filesOf(client, files, changed) {
  const list = el('ul.files', { 'aria-label': t('files.attached') }), { Upload } = await import('./uploads.js');
  const shown = files.map(file => {
    const one = new Upload(client, { stored: file, blob: file.blob }, () => {}, () => {
      const at = shown.indexOf(one);
      shown.splice(at, 1);
      files.splice(files.indexOf(file), 1);
      one.node.remove();
      changed();
      (shown[at] ?? shown[at - 1])?.focus();
    });
    return one;
  });
  list.append(...shown.map(({ node }) => node));
  return list;
}

/**
 * A box in the place of a question.
 * @param {{text: string, files: Object[]}} question @param {Object} client
 * @param {function(string, Object[]): boolean} send false: not now @param {function(): void} end puts the question back
 */
export function editor({ text, files: had }, client, send, end) {
  const files = [...had], field = el('textarea', { value: text, dir: 'auto', rows: 1, 'aria-label': t('editMessage') });
  const button = el('button.primary', { type: 'submit', text: t('send') });
  const fits = () => {
    field.style.height = 'auto';
    field.style.height = `${field.scrollHeight + 2}px`;
    button.disabled = !files.length && !field.value.trim();
  };
  const form = el('form.editor', { onsubmit: event => {
    event.preventDefault();
    if (button.disabled) return;
    if (send(field.value.trim(), files)) end();
  } }, field, el('div.editor-foot', {}, el('span.hint', { text: t('editMessage.hint') }),
    el('button', { type: 'button', text: t('cancel'), onclick: end }), button));
  if (files.length) {
    filesOf(client, files, () => {
      fits();
      if (!files.length) { form.querySelector('.files').remove(); field.focus(); }
    }).then(list => form.prepend(list), () => { /* all of them are kept */ });
  }
  field.addEventListener('input', fits);
  form.addEventListener('keydown', event => {
    if (composing(event)) return;
    if (event.key === 'Escape') { event.stopPropagation(); end(); }
    if (event.target === field && event.key === 'Enter' && !event.shiftKey && matchMedia('(pointer: fine)').matches) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  requestAnimationFrame(() => { fits(); field.focus(); });
  return form;
}
