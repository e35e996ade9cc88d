// SPDX-License-Identifier: Apache-2.0
// The form of a tool's question: fields for what the approval brings, as the JSON Schema of the question has them.
import { el, visible } from './dom.js';

document.head.append(el('link', { rel: 'stylesheet', href: new URL('form.css', import.meta.url).href }));

const TYPES = { email: 'email', uri: 'url', date: 'date' };
const list = value => value === undefined ? [] : Array.isArray(value) ? value : [value];

/** The values to choose from, as `[value, title]`; undefined: any text. */
function choices({ enum: values, enumNames, oneOf, anyOf }) {
  if (values) return values.map((value, i) => [value, enumNames?.[i] ?? value]);
  return (oneOf ?? anyOf)?.map(each => [each.const, each.title ?? each.const]);
}

/** A field: its control, and its value; an empty one has none. */
function field(schema, required) {
  const several = schema.type === 'array', options = choices(several ? schema.items ?? {} : schema), chosen = list(schema.default);
  if (options) {
    const control = el('select', { multiple: several, required });
    if (!several) control.append(el('option', { value: '' }));
    options.forEach(([value, title], i) => control.append(el('option', { value: String(i), text: visible(title), selected: chosen.includes(value) })));
    const picked = () => [...control.selectedOptions].filter(option => option.value).map(option => options[option.value][0]);
    return { control, value: () => several ? picked() : picked()[0] };
  }
  if (schema.type === 'boolean') {
    const control = el('input', { type: 'checkbox', checked: schema.default === true });
    return { control, value: () => control.checked };
  }
  if (several) {                                    // a text a line
    const control = el('textarea', { rows: 3, required, value: chosen.join('\n') });
    return { control, value: () => control.value.split('\n').filter(line => line.trim()) };
  }
  const number = schema.type !== 'string';
  const control = el('input', { type: number ? 'number' : TYPES[schema.format] ?? 'text', required, value: schema.default ?? '' });
  const limits = number ? { min: schema.minimum, max: schema.maximum, step: schema.type === 'integer' ? 1 : 'any' }
    : { minLength: schema.minLength, maxLength: schema.maxLength };
  for (const [name, value] of Object.entries(limits)) if (value !== undefined) control.setAttribute(name, value);
  return { control, value: () => control.value === '' ? undefined : number ? control.valueAsNumber : control.value };
}

export class Form {
  #fields;

  /** @param {{form: Object, problem: string}} question @param {Element} approval gets the fields */
  constructor({ form: { properties, required = [] }, problem }, approval) {
    this.#fields = Object.entries(properties).map(([name, schema]) => ({ name, schema, ...field(schema, required.includes(name)) }));
    approval.querySelector('button').before(el('div.form', {}, problem && el('p.form-problem', { role: 'alert', text: visible(problem), dir: 'auto' }),
      ...this.#fields.map(({ name, schema, control }) => el('label', { dir: 'auto' },
        el('span', { text: visible(schema.title ?? name) }), control,
        schema.description && el('small', { text: visible(schema.description) })))));
  }

  /** @returns {Object} null: a field is not filled in as it should be, and the page shows it */
  content() {
    return this.#fields.every(({ control }) => control.reportValidity())
      ? Object.fromEntries(this.#fields.map(({ name, value }) => [name, value()])) : null;
  }
}
