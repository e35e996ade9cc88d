// SPDX-License-Identifier: Apache-2.0
// The summary of a conversation up to an answer, which the model gets in place of the messages: folded, below the answer.
import { el, icon, visible } from './dom.js';
import { addTexts, locale, t } from './strings.js';

await addTexts('summary');
document.head.append(el('link', { rel: 'stylesheet', href: new URL('reasoning.css', import.meta.url).href }));

const day = new Intl.DateTimeFormat(locale, { dateStyle: 'medium' });

export class Summary {
  /** @param {{text: string, model: string, created_at: string}} summary */
  constructor({ text, model, created_at }) {
    this.node = el('details.reasoning', {}, el('summary', {}, icon('chevron'), el('span', { text: t('summary') })),
      el('div.reasoning-text', { dir: 'auto', tabIndex: 0, role: 'group', 'aria-label': t('summary'), text: visible(text) }),
      el('p', { text: t('summary.by', { model: visible(model), date: day.format(new Date(created_at)) }) }));
  }
}
