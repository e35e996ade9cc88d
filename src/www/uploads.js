// SPDX-License-Identifier: Apache-2.0
// The files of a message that is being written: their uploads with progress, above the text. Loaded with the first file.
import { $, el, iconButton, sentence } from './dom.js';
import { draw, isImage, kindOf, nameOf, pathIcon, previewOf, previewOfFile, sizeOf } from './file-kinds.js';
import { notice } from './notices.js';
import { askToSignIn } from './sign-in.js';
import { session } from './storage.js';
import { isEnglish, locale, t } from './strings.js';
import { wordsOf } from './words.js';

const AT_ONCE = 2;                      // of a browser's six connections; answers and lists need the others
const percent = new Intl.NumberFormat(locale, { style: 'percent' });

// What another attempt cannot mend; the text is the server's own in English, since it has the figures.
const REASONS = {
  unsupported_media_type: 'files.kind', file_limit_exceeded: 'files.full', storage_full: 'files.noRoom', invalid_request: 'files.unreadable',
};

/** One file: on its way to the server, there, or not. */
export class Upload {
  #client; #changed; #threadId; #abort = null; #progress; #info; #again; #remove; #thumb;

  /**
   * @param {Object} client @param {{file?: File, stored?: Object, blob?: Blob}} of a file of this computer, or one that is on the server
   * @param {function(): void} changed @param {function(Upload): void} remove
   */
  constructor(client, { file = null, stored = null, blob = null }, changed, remove) {
    this.#client = client;
    this.#changed = changed;
    this.file = file;
    this.stored = stored;               // {file_id, name, type, size}
    this.blob = blob ?? file;
    this.isOurs = !stored;              // no message can have it: it may be deleted
    this.state = stored ? 'done' : 'waiting';
    this.#thumb = el('span.file-thumb', {}, pathIcon('file'));
    this.#info = el('span.file-info');
    this.#progress = el('progress', { max: 1, value: 0, 'aria-label': this.name, hidden: true });
    this.#again = iconButton('retry', t('files.again', { name: this.name }), () => this.again(), { hidden: true });
    this.#remove = iconButton('close', '', () => remove(this));
    this.node = el('li.file', {}, this.#thumb,
      el('span.file-words', {}, el('span.file-name', { text: this.name, title: this.name, dir: 'auto' }), this.#info, this.#progress),
      this.#again, this.#remove);
    this.#paint();
    this.#picture();
  }

  get name() { return nameOf(this.stored ?? this.file); }

  get size() { return (this.stored ?? this.file).size; }

  /** What the message has of it. */
  get part() { return { ...this.stored, blob: this.blob ?? undefined }; }

  focus() { this.#remove.focus(); }

  async #picture() {
    const { type } = this.stored ?? this.file;
    if (!isImage(type)) return;
    try {
      const bitmap = await (this.stored ? previewOfFile(this.#client, this.part) : previewOf(this.file));
      this.#thumb.replaceChildren(draw(bitmap));
    } catch { /* its icon stays */ }
  }

  /** @param {string} [reason] why it failed @param {boolean} [final] another attempt is of no use */
  #paint(reason = '', final = false) {
    const { state, name } = this, kind = `${kindOf(this.stored ?? this.file)} · ${sizeOf(this.size)}`;
    this.node.dataset.state = state;
    this.#info.textContent = state === 'failed' ? reason : state === 'waiting' ? t('files.waiting') : kind;
    this.#progress.hidden = state !== 'uploading';
    this.#again.hidden = state !== 'failed' || final;
    const label = t(state === 'uploading' || state === 'waiting' ? 'files.cancel' : 'files.remove', { name });
    this.#remove.title = label;
    this.#remove.setAttribute('aria-label', label);
    this.#changed();
  }

  #fail(reason, final) {
    this.state = 'failed';
    this.#paint(reason, final);
  }

  /** Refuses what the server would refuse, before it is sent. @param {{max_bytes: number}} limits */
  check({ max_bytes: most }) {
    if (this.file.size > most) this.#fail(t('files.large', { size: sizeOf(most) }), true);
    else if (!this.file.size) this.#fail(t('files.empty'), true);
  }

  again() {
    this.state = 'waiting';
    this.#paint();
    this.focus();
  }

  /** @param {?string} threadId of the conversation that it is for, if there is one */
  async begin(threadId) {
    const abort = this.#abort = new AbortController();
    this.state = 'uploading';
    this.#progress.value = 0;
    this.#paint();
    try {
      // A file that is gone, or was changed meanwhile, cannot be read; an upload of it would only fail as a lost connection.
      await this.file.slice(0, 1).arrayBuffer();
    } catch {
      this.#fail(t('files.unreadable'), true);
      return;
    }
    try {
      const stored = await this.#client.upload(this.file, { thread_id: threadId ?? undefined, signal: abort.signal,
        onprogress: ({ loaded, total }) => this.#sent(total ? loaded / total : 0) });
      this.stored = { file_id: stored.id, name: stored.name, type: stored.type, size: stored.size };
      this.state = 'done';
      this.#paint();
      if (isImage(stored.type)) previewOfFile(this.#client, this.part).catch(() => {});
    } catch (error) {
      if (abort.signal.aborted) return;
      if (error.wantsSignIn) askToSignIn(error);
      this.#fail(...reasonOf(error));
    }
  }

  #sent(share) {
    this.#progress.value = share;
    this.#info.textContent = share < 1 ? t('files.progress', { share: percent.format(share) }) : t('files.storing');
  }

  /** Looks whether a file of an older draft is still on the server. */
  async look() {
    try {
      await this.#client.request('GET', `/files/${this.stored.file_id}`);
    } catch (error) {
      if (error.status === 404) this.#fail(t('files.gone'), true);
    }
  }

  /** It is wanted no longer. Without this the server would remove it after a day. */
  drop() {
    this.#abort?.abort();
    if (this.state === 'done' && this.isOurs) this.#client.request('DELETE', `/files/${this.stored.file_id}`).catch(() => {});
  }
}

/** The text for a refusal, and whether another attempt is of no use. */
function reasonOf(error) {
  const { code, status, message } = error;
  if (status === 413 && code !== 'file_limit_exceeded') return [isEnglish && message ? sentence(message) : t('error.body_too_large'), true];
  if (status === 404) return [t('files.off'), true];
  const key = REASONS[code];
  if (!key) return [wordsOf(error), false];
  return [isEnglish && message && code !== 'storage_full' ? sentence(message) : t(key), code === 'unsupported_media_type' || code === 'invalid_request'];
}

/** The files of all drafts; those of the open one are on the page. */
export class Uploads {
  #app; #limits; #kept; #drafts = new Map(); #open = null; #list; #state; #box;

  /** @param {Object} app the page @param {Object} limits @param {string} kept the beginning of names in the session storage */
  constructor(app, limits, kept) {
    this.#app = app;
    this.#limits = limits;
    this.#kept = kept;
    this.#list = el('ul.files', { 'aria-label': t('files.chosen') });
    this.#state = el('p.files-state', { id: 'files-state', role: 'status' });
    this.#box = el('div.uploads', { hidden: true }, this.#list, this.#state);
    $('composer').prepend(this.#box);
    $('send').setAttribute('aria-describedby', 'files-state');
    this.#open = app.conversation.threadId;
    this.open(this.#open);
  }

  #draft(threadId) {
    const key = threadId ?? '';
    if (!this.#drafts.has(key)) this.#drafts.set(key, this.#load(key));
    return this.#drafts.get(key);
  }

  get #files() { return this.#draft(this.#open); }

  // ---- a draft outlives a reload, as far as its files are on the server ----
  #load(key) {
    const found = JSON.parse(session.get(this.#kept + key) ?? '[]');
    return found.map(({ isOurs, ...stored }) => {
      const one = this.#upload({ stored });
      one.isOurs = isOurs;
      one.look();
      return one;
    });
  }

  #keep() {
    for (const [key, files] of this.#drafts) {
      const done = files.filter(one => one.state === 'done').map(({ stored, isOurs }) => ({ ...stored, isOurs }));
      try {
        if (done.length) session.set(this.#kept + key, JSON.stringify(done));
        else session.remove(this.#kept + key);
      } catch { /* there is no more room; they are still on the page */ }
    }
  }

  #upload(of) { return new Upload(this.#app.client, of, () => this.#changed(), one => this.#remove(one)); }

  // ---- what the composer wants ----
  get count() { return this.#files.length; }

  get ready() { return this.#files.every(one => one.state === 'done'); }

  open(threadId) {
    this.#open = threadId;
    this.#show();
  }

  take() {
    const files = this.#files;
    this.#drafts.set(this.#open ?? '', []);
    this.#show();
    return files.map(one => one.part);
  }

  /** A message may have these, so they are not deleted when they leave the draft. */
  putBack(threadId, files) {
    const back = files.map(({ blob, ...stored }) => this.#upload({ stored, blob }));
    this.#drafts.set(threadId ?? '', [...back, ...this.#draft(threadId)]);
    this.#show();
  }

  move(threadId) {
    this.#drafts.set(threadId, this.#draft(null));
    this.#drafts.set('', []);
    this.#open = threadId;
    this.#show();
  }

  /** @param {File[]} files @param {number} folders */
  add(files, folders) {
    const most = this.#limits.message_files, room = Math.max(0, most - this.count);
    notice([folders && t('files.folder'), files.length > room && t('files.many', { n: most })].filter(Boolean).join(' '));
    for (const file of files.slice(0, room)) {
      const one = this.#upload({ file });
      this.#files.push(one);
      one.check(this.#limits);
    }
    this.#show();
  }

  // ---- the page ----
  #remove(one) {
    const files = this.#files, at = files.indexOf(one);
    if (at < 0) return;
    one.drop();
    files.splice(at, 1);
    this.#show();
    const next = files[at] ?? files[at - 1];
    if (next) next.focus();
    else $('text').focus();
  }

  #show() {
    this.#list.replaceChildren(...this.#files.map(one => one.node));
    this.#box.hidden = !this.count;
    $('composer').classList.toggle('with-files', this.count > 0);
    this.#changed();
  }

  #changed() {
    if (!this.#drafts.has(this.#open ?? '')) return;       // it is being loaded
    this.#start();
    const files = this.#files, failed = files.filter(one => one.state === 'failed').length;
    const under = files.filter(one => one.state === 'waiting' || one.state === 'uploading').length;
    const text = failed && !under ? t('files.stuck', { n: failed }) : under ? t('files.uploading', { n: under })
      : files.length ? t('files.ready', { n: files.length }) : '';
    if (this.#state.textContent !== text) this.#state.textContent = text;
    this.#state.classList.toggle('offscreen', !failed && !under);
    this.#keep();
    this.#app.composer.fits();
  }

  /** Begins further uploads; those of drafts that are not open go on. */
  #start() {
    const all = [...this.#drafts].flatMap(([key, files]) => files.map(one => ({ key, one })));
    let under = all.filter(({ one }) => one.state === 'uploading').length;
    for (const { key, one } of all) {
      if (one.state !== 'waiting') continue;
      if (under++ >= AT_ONCE) return;
      one.begin(key || null);
    }
  }
}
