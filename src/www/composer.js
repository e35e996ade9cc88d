// SPDX-License-Identifier: Apache-2.0
// The input box: its text is a draft that stays with its conversation until it is sent.
import { $, composing } from './dom.js';
import { session } from './storage.js';

export const DRAFT = 'agentchat.draft.';
export const touch = matchMedia('(pointer: coarse)');

export class Composer {
  #text; #threadId; #send;

  /** @param {function(): ?string} threadId of the open conversation @param {function(string): void} send */
  constructor(threadId, send) {
    this.#text = $('text');
    this.#threadId = threadId;
    this.#send = send;
    this.attach = null;                 // the files of drafts: attach.js, where the server takes files
    $('composer').addEventListener('submit', event => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener('input', () => this.write(this.#text.value));
    this.#text.addEventListener('keydown', event => {
      // On a touch keyboard Enter makes a new line: it has no other key for that.
      if (event.key === 'Enter' && !event.shiftKey && !composing(event) && !touch.matches) {
        event.preventDefault();
        this.#submit();
      }
    });
    addEventListener('resize', () => this.fits());
  }

  #submit() {
    if (this.#isComplete) this.#send(this.#text.value.trim());
  }

  /** Whether there is a message, and all its files are on the server. */
  get #isComplete() { return (this.attach?.ready ?? true) && Boolean(this.#text.value.trim() || this.attach?.count); }

  focus() { this.#text.focus(); }

  get text() { return this.#text.value; }

  write(words) {
    if (this.#text.value !== words) this.#text.value = words;
    this.fits();
    this.keepDraft(this.#threadId(), words);
  }

  keepDraft(threadId, words) {
    const name = DRAFT + (threadId ?? '');
    try {
      if (words) session.set(name, words);
      else session.remove(name);
    } catch { /* there is no more room; it is still in the box */ }
  }

  /** Shows the draft of a conversation. */
  open(threadId) {
    this.write(session.get(DRAFT + (threadId ?? '')) ?? '');
    this.attach?.open(threadId);
  }

  /** Puts a message that was not sent above the current draft. */
  putBack(words, files = []) {
    const since = this.#text.value;
    this.write(since.trim() ? `${words}\n\n${since}` : words);
    this.attach?.putBack(this.#threadId(), files);
    this.#text.focus();
    this.#text.setSelectionRange(words.length, words.length);
  }

  /** The same for a conversation that is no longer open. */
  keep(threadId, words, files = []) {
    this.attach?.putBack(threadId, files);
    const since = session.get(DRAFT + (threadId ?? '')) ?? '';
    this.keepDraft(threadId, since.trim() ? `${words}\n\n${since}` : words);
  }

  /** Makes the box as high as its text. */
  fits() {
    this.#text.style.height = 'auto';
    this.#text.style.height = `${this.#text.scrollHeight}px`;
    $('send').disabled = !this.#isComplete;
  }
}
