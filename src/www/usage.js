// SPDX-License-Identifier: Apache-2.0
// The page with the usage of all owners, for admins, or of the caller: totals, charts by day, a table, CSV.
import { AgentChat } from './agentchat.js';
import { barChart } from './chart.js';
import { $, el, visible } from './dom.js';
import { use } from './late.js';
import { apiAddress, keyOf, settings } from './settings.js';
import { locale, number as count, t } from './strings.js';
import { wireTheme } from './theme.js';
import { detailOf, wordsOf } from './words.js';

const DAY_MS = 86_400_000;
const GROUPS = { day: 'day', agent: 'agent_id', model: 'model', owner: 'owner' };

const dayOf = ms => new Date(ms).toISOString().slice(0, 10);
const short = new Intl.NumberFormat(locale, { notation: 'compact', maximumSignificantDigits: 3 });
const seconds = ms => (ms < 1000 ? t('time.ms', { n: Math.round(ms) })
  : t('time.s', { n: (ms / 1000).toLocaleString(locale, { maximumFractionDigits: ms < 10_000 ? 2 : 0 }) }));

function money(amount, currency, digits = 4) {
  const form = { maximumFractionDigits: Math.abs(amount) < 1 ? digits + 2 : digits, minimumFractionDigits: 2 };
  try {
    return new Intl.NumberFormat(locale, { style: 'currency', currency, ...form }).format(amount);
  } catch {                             // a currency that is no ISO code
    return `${new Intl.NumberFormat(locale, form).format(amount)} ${currency}`;
  }
}
const costs = cost => cost.map(({ amount, currency }) => money(amount, currency)).join(', ') || '–';
const failed = ({ status }) => status.failed + status.interrupted;
const duration = (sum, name) => (sum ? seconds(sum[name]) : '–');

const COLUMNS = [
  ['usage.runs', one => count.format(one.runs)],
  ['usage.failed', one => count.format(failed(one))],
  ['usage.cancelled', one => count.format(one.status.cancelled)],
  ['usage.input', one => count.format(one.usage.prompt_tokens)],
  ['usage.ofCached', one => count.format(one.usage.cached_tokens)],
  ['usage.output', one => count.format(one.usage.completion_tokens)],
  ['usage.ofReasoning', one => count.format(one.usage.reasoning_tokens)],
  ['usage.cost', one => costs(one.cost)],
  ['usage.firstMedian', one => duration(one.first_token, 'p50_ms')],
  ['usage.firstP95', one => duration(one.first_token, 'p95_ms')],
  ['usage.durationP95', one => duration(one.duration, 'p95_ms')],
];

class UsagePage {
  constructor() {
    this.charts = [];
    this.width = 0;
    this.client = new AgentChat({
      url: apiAddress(), key: keyOf(), redirect: 'manual',
    });
    document.title = settings.title ? t('usage.title', { title: settings.title }) : t('usage');
    this.#wire();
    this.#fromAddress();
    this.show();
  }

  #wire() {
    $('range').addEventListener('submit', event => { event.preventDefault(); this.show(); });
    $('period').addEventListener('change', () => { if (this.#preset($('period').value)) this.show(); });
    for (const id of ['from', 'to']) $(id).addEventListener('change', () => { $('period').value = ''; });
    $('by').addEventListener('change', () => this.show());
    $('csv').addEventListener('click', () => this.download());
    $('again').addEventListener('click', () => this.show());
    wireTheme();
    new ResizeObserver(() => this.#draw()).observe($('charts'));
  }

  // ---- what to show ----
  /** Sets both days. @returns {boolean} whether the name has a meaning */
  #preset(name) {
    const now = new Date(), year = now.getUTCFullYear(), month = now.getUTCMonth();
    const range = /^\d+$/.test(name) ? [now - (Number(name) - 1) * DAY_MS, now]
      : name === 'month' ? [Date.UTC(year, month), now]
        : name === 'last' ? [Date.UTC(year, month - 1), Date.UTC(year, month) - DAY_MS] : null;
    if (range) [$('from').value, $('to').value] = range.map(dayOf);
    return Boolean(range);
  }

  #fromAddress() {
    const given = new URLSearchParams(location.search);
    this.#preset('30');
    if (given.has('from') && given.has('to')) {
      for (const id of ['from', 'to']) $(id).value = given.get(id);
      $('period').value = '';
    }
    if (given.get('by') in GROUPS) $('by').value = given.get('by');
  }

  get #where() { return { from: $('from').value, to: $('to').value }; }

  async show() {
    const where = this.#where, by = $('by').value, query = new URLSearchParams({ ...where, by });
    history.replaceState(null, '', `?${query}`);
    const abort = this.abort = (this.abort?.abort(), new AbortController());
    this.#state(t('loading'));
    try {
      const get = group => this.client.usage({ ...where, by: group }, { signal: abort.signal });
      const [days, groups] = await Promise.all([get('day'), by === 'day' ? null : get(by)]);
      this.#show(days, groups ?? days, by);
    } catch (error) {
      if (!abort.signal.aborted) this.#failed(error);
    }
  }

  async download() {
    try {
      const query = new URLSearchParams({ ...this.#where, by: $('by').value === 'day' ? 'day' : `day,${$('by').value}`, format: 'csv' });
      const response = await this.client.request('GET', `/usage?${query}`, { headers: { Accept: 'text/csv, application/problem+json' } });
      const address = URL.createObjectURL(await response.blob());
      el('a', { href: address, download: `usage_${$('from').value}_${$('to').value}.csv` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    } catch (error) {
      this.#failed(error);
    }
  }

  // ---- states ----
  #state(text, again = false) {
    $('state').textContent = text;
    $('state').hidden = !text;
    $('again').hidden = !again;
    $('result').classList.toggle('old', Boolean(text));
  }

  #failed(error) {
    if (error.wantsSignIn) {
      this.#state('');
      use('sign-in', ({ askToSignIn }) => askToSignIn(error));
      return;
    }
    $('result').hidden = true;
    const mine = error.code === 'invalid_request' || error.code === 'forbidden';
    this.#state(mine ? detailOf({ message: error.message }) : wordsOf(error), !mine);
  }

  // ---- the result ----
  #show(days, groups, by) {
    const { totals } = days, none = totals.runs === 0;
    $('scope').textContent = t(days.scope === 'all' ? 'usage.all' : 'usage.own');
    this.#state(none ? t('usage.none') : '');
    $('result').classList.remove('old');
    $('result').hidden = none;
    if (none) return;
    this.#totals(totals);
    this.#charts(days, totals);
    this.#table(groups, by);
    const errors = Object.entries(totals.errors).sort((a, b) => b[1] - a[1]);
    $('errors').hidden = errors.length === 0;
    $('errors-list').replaceChildren(...errors.map(([code, n]) => el('li', {}, el('code', { text: code }), ` ${count.format(n)}`)));
  }

  #totals(totals) {
    const share = failed(totals) / totals.runs;
    const rows = [
      ['usage.runs', count.format(totals.runs),
        t('usage.share', { share: share.toLocaleString(locale, { style: 'percent', maximumFractionDigits: 1 }) })],
      ['usage.input', short.format(totals.usage.prompt_tokens), t('usage.cached', { n: short.format(totals.usage.cached_tokens) })],
      ['usage.output', short.format(totals.usage.completion_tokens),
        t('usage.reasoning', { n: short.format(totals.usage.reasoning_tokens) })],
      ['usage.cost', costs(totals.cost), ''],
      ['usage.first', duration(totals.first_token, 'p50_ms'), t('usage.p95', { time: duration(totals.first_token, 'p95_ms') })],
    ];
    $('totals').replaceChildren(...rows.map(([name, value, more]) =>
      el('div', {}, el('dt', { text: t(name) }), el('dd', {}, el('strong', { text: value }), more && el('small', { text: more })))));
  }

  #charts({ from, to, data }, totals) {
    const byDay = new Map(data.map(one => [one.day, one])), days = [];
    for (let at = Date.parse(from); at <= Date.parse(to); at += DAY_MS) days.push(dayOf(at));
    const values = get => days.map(day => (byDay.has(day) ? get(byDay.get(day)) : 0));
    const amount = (one, wanted) => one.cost.find(({ currency }) => currency === wanted)?.amount ?? 0;
    const chart = (title, format, ...series) => ({ title, days, format, series: series.map(([name, get]) => ({ name, values: values(get) })) });
    this.charts = [
      chart(t('usage.tokens'), short.format, [t('usage.series.input'), one => one.usage.prompt_tokens], [t('usage.series.output'), one => one.usage.completion_tokens]),
      ...totals.cost.map(({ currency }) =>
        chart(t('usage.costIn', { currency }), value => short.format(value), [t('usage.series.cost'), one => amount(one, currency)])),
      chart(t('usage.runs'), short.format, [t('usage.series.ended'), one => one.runs - failed(one)], [t('usage.series.failed'), failed]),
      chart(t('usage.firstP95'), seconds, ['p95', one => one.first_token?.p95_ms ?? 0]),
    ];
    $('charts').replaceChildren(...this.charts.map(one => el('figure', {},
      el('figcaption', {}, one.title, one.series.length > 1 && el('span.legend', {}, ...one.series.map(({ name }, i) =>
        el('span', {}, el(`i.series-${i}`, { 'aria-hidden': 'true' }), name)))),
      el('div.plot'))));
    this.width = 0;
    this.#draw();
  }

  /** Draws the charts as wide as they are shown. */
  #draw() {
    const plots = [...document.querySelectorAll('.plot')], width = plots[0]?.clientWidth ?? 0;
    if (!width || width === this.width) return;
    this.width = width;
    plots.forEach((plot, i) => {
      const one = this.charts[i], label = t('usage.chart', { title: one.title, from: one.days[0], to: one.days.at(-1) });
      plot.replaceChildren(barChart({ ...one, label }, width));
    });
  }

  #table({ data, totals }, by) {
    const member = GROUPS[by], name = t(`usage.${by}`);
    const weight = one => one.usage.total_tokens;
    const rows = [...data].sort((a, b) => (by === 'day' ? b.day.localeCompare(a.day) : weight(b) - weight(a)));
    const cells = one => COLUMNS.map(([, show]) => el('td', { text: show(one) }));
    $('table').replaceChildren(el('table', {},
      el('caption.offscreen', { text: t('usage.caption', { group: name }) }),
      el('thead', {}, el('tr', {}, ...[name, ...COLUMNS.map(([title]) => t(title))].map(title => el('th', { scope: 'col', text: title })))),
      el('tbody', {}, ...rows.map(one => el('tr', {}, el('th', { scope: 'row', dir: 'auto', text: visible(one[member]) || '–' }), ...cells(one)))),
      el('tfoot', {}, el('tr', {}, el('th', { scope: 'row', text: t('usage.total') }), ...cells(totals)))));
  }
}

new UsagePage();
