// SPDX-License-Identifier: Apache-2.0
// Error texts for users: the meaning, and what the user can do. The server's own texts are for operators.
import { sentence } from './dom.js';

const STORE = 'The server cannot reach its conversations just now. Try again in a minute.';
const BUSY = 'The server is busy. Try again in a minute.';
const NO_TIME = 'The answer took too long and was stopped. Try again, or ask for less at once.';
const WORDS = {
  connection_lost: 'The server cannot be reached. Check your connection and try again.',
  unauthenticated: 'You are not signed in. Sign in and try again.',
  forbidden: 'You are not allowed to do this. Ask the people who run this server.',
  not_found: 'This no longer exists.',
  run_in_progress: 'An answer is still being written in this conversation. Wait until it ends, or stop it.',
  not_waiting: 'This call was decided elsewhere, or its time is over.',
  run_ended: 'The answer has ended already.',
  context_length_exceeded: 'This conversation is too long for the assistant. Begin a new one.',
  body_too_large: 'This message is too long. Shorten it and send it again.',
  content_filtered: 'The safety system of the assistant refused this. Ask in other words.',
  model_refused: 'The assistant is not set up correctly. Tell the people who run this server.',
  model_error: 'The assistant failed. Try again.',
  model_throttled: 'The assistant is busy. Try again in a minute.',
  model_timeout: 'The assistant did not answer in time. Try again.',
  store_error: STORE, store_timeout: STORE,
  upstream_error: 'A service behind this server failed. Try again in a minute.', upstream_timeout: NO_TIME,
  overloaded: BUSY, stopping: 'The server is restarting. Try again in a minute.',
  interrupted: 'The server stopped in the middle of this answer. Try again.',
  run_timeout: NO_TIME,
  internal: 'The server made a mistake. Try again; if it continues, tell the people who run this server.',
};

/** @param {{code?: string, status?: number, message?: string}} error of a request, or of a run */
export function wordsOf({ code, status, message }) {
  if (WORDS[code]) return WORDS[code];
  if (code !== 'http_error') return sentence(message) || 'The answer failed.';
  return status === 413 ? WORDS.body_too_large : status < 500 ? WORDS.forbidden : BUSY;
}

/** The details for an operator. */
export function detailOf({ code, message, requestId, run_id }) {
  return [sentence(message), code, requestId ?? run_id].filter(Boolean).join(' · ');
}

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

/** The time of the next possible attempt. @param {number} ms from now */
export function whenOf(ms) {
  const then = new Date(Date.now() + ms);
  return (ms < 12 * 3_600_000 ? clock : day).format(then);
}
