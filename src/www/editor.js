// SPDX-License-Identifier: Apache-2.0
// The editor that makes a further version of a question.
import { composing, el } from './dom.js';
import { t } from './strings.js';

/** A box in the place of a question. @param {function(string): void} send @param {function(): void} end puts the question back */
export function editor(text, send, end, mayBeEmpty = false) {
  const field = el('textarea', { value: text, dir: 'auto', rows: 1, 'aria-label': t('editMessage') });
  const button = el('button.primary', { type: 'submit', text: t('send') });
  const fits = () => {
    field.style.height = 'auto';
    field.style.height = `${field.scrollHeight + 2}px`;
    button.disabled = !mayBeEmpty && !field.value.trim();
  };
  const form = el('form.editor', { onsubmit: event => {
    event.preventDefault();
    if (button.disabled) return;
    end();
    send(field.value.trim());
  } }, field, el('div.editor-foot', {}, el('span.hint', { text: t('editMessage.hint') }),
    el('button', { type: 'button', text: t('cancel'), onclick: end }), button));
  field.addEventListener('input', fits);
  field.addEventListener('keydown', event => {
    if (composing(event)) return;
    if (event.key === 'Escape') { event.stopPropagation(); end(); }
    if (event.key === 'Enter' && !event.shiftKey && matchMedia('(pointer: fine)').matches) { event.preventDefault(); form.requestSubmit(); }
  });
  requestAnimationFrame(() => { fits(); field.focus(); });
  return form;
}
