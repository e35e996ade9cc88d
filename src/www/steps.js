// SPDX-License-Identifier: Apache-2.0
// The steps of a run as a waterfall: a table whose rows have a bar on a common time axis. Loaded when it is first opened.
import { el, icon, visible } from './dom.js';
import { addTexts, has, number, t } from './strings.js';
import { duration } from './trace.js';
import { money } from './turn.js';
import { wordsOf } from './words.js';

await addTexts('steps');

const SHARE = 0.15;                     // the most that a wait for approval takes of the axis
const KINDS = ['wait', 'store', 'approval', 'first', 'model', 'tool', 'bad'];
const at = text => (text ? Date.parse(text) : null);
const total = intervals => intervals.reduce((sum, [from, to]) => sum + to - from, 0);

// ---- what happened, as rows of segments [kind, from, to] in milliseconds since 1970 ----
function modelRow(step) {
  const from = at(step.started_at), to = at(step.completed_at) ?? from, queued = step.queued_ms ?? 0, segments = [];
  const first = from + (step.ttft_ms ?? 0);
  if (queued) segments.push(['wait', from - queued, from]);
  if (step.ttft_ms === null || step.ttft_ms === undefined) segments.push([step.status === 'failed' ? 'bad' : 'model', from, to]);
  else segments.push(['first', from, first], ['model', first, Math.max(to, first)]);
  const marks = [
    step.agent_id ?? '',
    step.retries ? t('steps.retries', { n: step.retries }) : '',
    step.fallback_of ? t('steps.instead', { model: step.fallback_of }) : '',
    step.status === 'failed' ? t('steps.failed') : '',
  ];
  return { step, name: step.model ?? t('steps.model'), kind: t('steps.model'), marks, segments, took: step.latency_ms };
}

function toolRow(step, end) {
  const from = at(step.started_at), to = at(step.completed_at), segments = [], waits = step.approval && step.status === 'in_progress';
  const asked = at(step.requested_at);
  if (waits) segments.push(['approval', asked ?? from, end]);
  else if (asked !== null && asked < from) segments.push(['approval', asked, from]);
  if (!waits) segments.push([step.status === 'failed' ? 'bad' : 'tool', from, to ?? end]);
  const decision = step.approval ? t(`steps.${step.approval}`) : '';
  const decided = decision && asked !== null && asked < from ? t('steps.decided', { decision, time: duration(from - asked) }) : decision;
  const failed = step.status === 'failed' && step.approval !== 'refused';
  const marks = [step.agent_id ?? '', decided, failed ? t('steps.failed') : ''];
  return { step, name: step.tool, kind: t('steps.tool'), marks, segments, took: step.latency_ms };
}

/** The rows in the order of their beginning, and when all begins and ends. */
function rowsOf(run, steps) {
  const begin = at(run.created_at), known = steps.flatMap(step => [at(step.started_at), at(step.completed_at)]).filter(Boolean);
  const end = Math.max(begin + 1, at(run.completed_at) ?? Date.now(), ...known), started = at(run.started_at) ?? begin;
  const rows = steps.map(step => (step.type === 'model_call' ? modelRow(step) : toolRow(step, end)));
  rows.sort((a, b) => a.segments[0][1] - b.segments[0][1]);
  const before = rows.length ? Math.max(started, rows[0].segments[0][1]) : started;
  if (before > started) rows.unshift({ name: t('steps.read'), kind: t('steps.store'), marks: [], segments: [['store', started, before]] });
  if (started > begin) rows.unshift({ name: t('steps.slot'), kind: t('steps.queue'), marks: [], segments: [['wait', begin, started]] });
  return { rows, begin, end };
}

// ---- the time axis ----
/** What is left of these intervals outside of others. */
function without(intervals, others) {
  let left = intervals;
  for (const [from, to] of others) {
    left = left.flatMap(([a, b]) => [[a, Math.min(b, from)], [Math.max(a, to), b]].filter(([c, d]) => c < d));
  }
  return left;
}

/** Maps a time to its place, from 0 to 1. Times in which a run did nothing but await approval are shown shortened. */
function axis({ rows, begin, end }) {
  const all = rows.flatMap(row => row.segments);
  const pick = wanted => all.filter(([kind]) => (kind === 'approval') === wanted).map(([, from, to]) => [from, to]);
  let waits = [];
  for (const one of pick(true)) waits.push(...without([one], waits));
  waits = without(waits, pick(false));
  const most = Math.max(1, SHARE * (end - begin - total(waits)));
  const length = upTo => {
    const long = waits.map(([from, to]) => [from, Math.min(to, upTo)]).filter(([from, to]) => from < to);
    const shown = waits.map(([from, to]) => Math.max(0, Math.min(to, upTo) - from) * Math.min(1, most / (to - from)));
    return upTo - begin - total(long) + shown.reduce((sum, one) => sum + one, 0);
  };
  const whole = length(end);
  return { place: time => Math.min(1, Math.max(0, length(time) / whole)), shortened: waits.some(([from, to]) => to - from > most) };
}

function bar(row, place) {
  const pieces = row.segments.map(([kind, from, to]) => {
    const piece = el(`span.steps-bar.${kind}`, { title: t('steps.segment', { kind: t(`steps.kind.${kind}`), time: duration(to - from) }) });
    piece.style.left = `${100 * place(from)}%`;
    piece.style.width = `${100 * (place(to) - place(from))}%`;
    return piece;
  });
  return el('div.steps-track', { 'aria-hidden': 'true' }, ...pieces);
}

// ---- one row, and what it shows when it is opened ----
function tokens(usage) {
  if (!usage) return '';
  const { prompt_tokens: input, completion_tokens: output } = usage;
  return `${usage.estimated ? '≈ ' : ''}${t('steps.inOut', { input, output })}`;
}

function facts(row, begin) {
  const { step } = row, { usage } = step;
  return [
    [t('steps.begins'), duration(Math.max(0, at(step.started_at) - begin))],
    [t('steps.queued'), step.queued_ms ? duration(step.queued_ms) : ''],
    [t('steps.first'), duration(step.ttft_ms)],
    [t('steps.awaited'), step.requested_at && step.status !== 'in_progress' ? duration(at(step.started_at) - at(step.requested_at)) : ''],
    [t('steps.took'), duration(step.latency_ms)],
    [t('steps.again'), step.retries ? number.format(step.retries) : ''],
    [t('steps.of'), step.fallback_of ?? ''],
    [t('steps.tokens'), tokens(usage)],
    [t('steps.cached'), usage?.cached_tokens ? number.format(usage.cached_tokens) : ''],
    [t('steps.reasoning'), usage?.reasoning_tokens ? number.format(usage.reasoning_tokens) : ''],
    [t('steps.cost'), money(step.cost)],
    [t('steps.step'), step.id],
  ].filter(([, value]) => value);
}

function part(name, value) {
  if (value === null || value === undefined) return null;
  const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2);
  return el('div.call-part', {}, el('div.call-label', { text: name }),
    el('pre', { text: visible(text), tabIndex: 0, role: 'group', 'aria-label': name }));
}

const cell = (name, text, ...more) => el(`div.steps-${name}`, { role: 'cell' }, text, ...more);

function rowNodes(row, place, begin, id) {
  const { step } = row, took = row.took ?? total(row.segments.map(([, from, to]) => [from, to]));
  const label = [el('span.steps-kind', { text: row.kind }), el('span.steps-name', { text: visible(row.name) }),
    ...row.marks.filter(Boolean).map(text => el(`span.steps-mark${text === t('steps.failed') ? '.bad' : ''}`, { text: visible(text) }))];
  const waits = step?.status === 'in_progress' ? t('steps.waits') : '';
  const offset = row.segments[0][1] - begin;
  const cells = [cell('line', '', bar(row, place), el('span.offscreen', { text: t('steps.from', { time: duration(Math.max(0, offset)) }) })),
    cell('took', waits || duration(took)), cell('figures', [tokens(step?.usage), money(step?.cost)].filter(Boolean).join(' · '))];
  if (!step) return [el('div.steps-row', { role: 'row' }, el('div.steps-head', { role: 'rowheader' }, ...label), ...cells)];
  const more = el('div.steps-row.steps-more', { role: 'row', id, hidden: true }, el('div', { role: 'cell', 'aria-colspan': '4' },
    el('dl', {}, ...facts(row, begin).map(([name, value]) => el('div', {}, el('dt', { text: name }), el('dd', { text: visible(value) })))),
    part(t('call.error'), step.error), ...(step.type === 'model_call' ? [part(t('reasoning'), step.reasoning)] : []),
    ...(step.type === 'tool_call' ? [part(t('call.arguments'), step.arguments), part(t('call.result'), step.result)] : [])));
  const button = el('button.steps-open', { type: 'button', 'aria-expanded': 'false', 'aria-controls': id, onclick: () => {
    more.hidden = !more.hidden;
    button.setAttribute('aria-expanded', String(!more.hidden));
  } }, icon('chevron'), ...label);
  return [el('div.steps-row', { role: 'row' }, el('div.steps-head', { role: 'rowheader' }, button), ...cells), more];
}

// ---- the whole ----
function table(run, steps) {
  const found = rowsOf(run, steps), { place, shortened } = axis(found), { begin, end, rows } = found;
  const head = (name, text, ...more) => el(`div.steps-${name}`, { role: 'columnheader' }, el('span', { text }), ...more);
  const kinds = KINDS.filter(kind => rows.some(row => row.segments.some(([one]) => one === kind)));
  return [
    el('div.steps-table', { role: 'table', 'aria-label': t('steps.table') },
      el('div.steps-row.steps-top', { role: 'row' }, head('head', t('steps.step')),
        head('line', number.format(0), el('span', { text: duration(end - begin) }), el('span.offscreen', { text: t('steps.time') })),
        head('took', t('steps.took')), head('figures', t('steps.figures'))),
      ...rows.flatMap((row, i) => rowNodes(row, place, begin, `${run.id}-${i}`))),
    el('p.steps-legend', { 'aria-hidden': 'true' }, ...kinds.map(kind => el('span', {}, el(`span.steps-bar.${kind}`), t(`steps.kind.${kind}`)))),
    shortened ? el('p.hint', { text: t('steps.shorter') }) : null,
  ];
}

function summary(run) {
  const first = run.ttft_ms === null ? '' : t('steps.firstToken', { time: duration(run.ttft_ms) });
  const rounds = t('steps.rounds', { n: run.rounds });
  const status = has(`steps.status.${run.status}`) ? t(`steps.status.${run.status}`) : run.status;
  return [status, duration(run.latency_ms), first, rounds, tokens(run.usage), money(run.cost), run.id].filter(Boolean);
}

/** Resolves when the rules are there, or cannot be had: the table can be read without them. */
const styled = new Promise(resolve => {
  const { href } = new URL('steps.css', import.meta.url);
  document.head.append(el('link', { rel: 'stylesheet', href, onload: resolve, onerror: resolve }));
});

/** Fills the box with the steps of a run. @param {HTMLElement} box @param {Object} client @param {string} runId */
export async function show(box, client, runId) {
  box.replaceChildren(el('p.loading', { role: 'status', text: t('loading') }));
  try {
    const [run, steps] = await Promise.all([client.run(runId), client.steps(runId), styled]);
    const error = run.error && el('p.steps-error', { text: visible(`${run.error.message ?? ''} (${run.error.code})`) });
    const figures = el('p.figures', {}, ...summary(run).map(text => el('span', { text })));
    box.replaceChildren(...[figures, error, ...table(run, steps)].filter(Boolean));
  } catch (error) {
    box.replaceChildren(el('div.failure', {}, icon('alert'), el('span', { role: 'alert', text: wordsOf(error) }),
      el('button', { type: 'button', text: t('tryAgain'), onclick: () => show(box, client, runId) })));
  }
}
