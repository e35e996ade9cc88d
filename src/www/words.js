// SPDX-License-Identifier: Apache-2.0
// Error texts for users: the meaning, and what the user can do. The server's own texts are for operators.
import { sentence } from './dom.js';
import { has, isEnglish, locale, t } from './strings.js';

// Codes whose texts are those of others; and those whose text by the server has the figures that a user needs.
const SAME = { store_timeout: 'store_error', upstream_timeout: 'run_timeout' };
const FIGURES = new Set(['rate_limited', 'budget_exceeded']);

/** @param {{code?: string, status?: number, message?: string}} error of a request, or of a run */
export function wordsOf({ code, status, message }) {
  const key = `error.${SAME[code] ?? code}`;
  if (has(key) && !(isEnglish && message && FIGURES.has(code))) return t(key);
  if (code !== 'http_error') return sentence(message) || t('error');
  return t(status === 413 ? 'error.body_too_large' : status < 500 ? 'error.forbidden' : 'error.overloaded');
}

/** The details for an operator. */
export function detailOf({ code, message, requestId, run_id }) {
  return [sentence(message), code, requestId ?? run_id].filter(Boolean).join(' · ');
}

const clock = new Intl.DateTimeFormat(locale, { timeStyle: 'short' });
const day = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'short' });

/** The time of the next possible attempt. @param {number} ms from now */
export function whenOf(ms) {
  const then = new Date(Date.now() + ms);
  return (ms < 12 * 3_600_000 ? clock : day).format(then);
}
