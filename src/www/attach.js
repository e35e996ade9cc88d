// SPDX-License-Identifier: Apache-2.0
// Files for a message: the button, dropping and pasting. Loaded where the server takes files; uploads.js with the first of them.
import { $, el } from './dom.js';
import { DRAFT } from './composer.js';
import { pathIcon, sizeOf } from './file-kinds.js';
import { notice } from './notices.js';
import { session } from './storage.js';
import { addTexts, isEnglish, t } from './strings.js';
import { wordsOf } from './words.js';

const KEPT = `${DRAFT}files.`;          // beside the drafts of texts: signing out removes both

/** The files of drafts, by conversation. */
export class Attach {
  #app; #limits; #uploads = null;

  /** @param {Object} app the page @param {Object} limits the member `files` of GET /me */
  constructor(app, limits) {
    this.#app = app;
    this.#limits = limits;
    this.#button();
    this.#drop();
    document.addEventListener('paste', event => {
      const files = filesOf(event.clipboardData), field = event.target.closest?.('input,textarea') ?? $('text');
      if (!files.length || field !== $('text') || document.querySelector('dialog[open]') || isText(event.clipboardData, files)) return;
      event.preventDefault();
      this.add(files);
    });
    this.open(app.conversation.threadId);
  }

  #button() {
    const limits = t('files.limits', { size: sizeOf(this.#limits.max_bytes), n: this.#limits.message_files });
    const { types } = this.#limits, accept = types.includes('text/plain') ? '' : types.join();
    const field = el('input', { type: 'file', multiple: true, hidden: true, accept, onchange: () => {
      this.add([...field.files]);
      field.value = '';
    } });
    const button = el('button.icon-button.attach', { type: 'button', 'aria-label': t('files.attach'), title: `${t('files.attach')}. ${limits}`,
      onclick: () => field.click(), onpointerenter: () => this.#load().catch(() => {}) }, pathIcon('clip'));
    $('text').before(button, field);
  }

  /** The whole page takes files, and says so while some are above it. */
  #drop() {
    const veil = el('div.drop-veil', { hidden: true }, el('p', {}, pathIcon('clip'), el('span', { text: t('files.drop') })));
    const takes = event => event.dataTransfer?.types.includes('Files') && !document.querySelector('dialog[open]');
    $('main').append(veil);
    document.addEventListener('dragover', event => {
      if (!event.dataTransfer?.types.includes('Files')) return;
      event.preventDefault();           // else the browser would leave the page for the file
      event.dataTransfer.dropEffect = takes(event) ? 'copy' : 'none';
      veil.hidden = !takes(event);
    });
    document.addEventListener('dragleave', event => { if (!event.relatedTarget) veil.hidden = true; });
    document.addEventListener('drop', event => {
      if (!event.dataTransfer?.types.includes('Files')) return;
      event.preventDefault();
      veil.hidden = true;
      if (takes(event)) this.add(filesOf(event.dataTransfer), foldersOf(event.dataTransfer));
    });
  }

  async #load() {
    if (!this.#uploads) {
      const { Uploads } = await import('./uploads.js');
      this.#uploads ??= new Uploads(this.#app, this.#limits, KEPT);
    }
    return this.#uploads;
  }

  /** @param {File[]} files @param {number} [folders] how many folders there were beside them */
  async add(files, folders = 0) {
    try {
      (await this.#load()).add(files, folders);
      $('text').focus();
    } catch (error) {
      notice(wordsOf(error));
    }
  }

  // ---- for the composer ----
  /** The number of files of the open draft. */
  get count() { return this.#uploads?.count ?? 0; }

  /** Whether all of them are on the server. If not, says why the message waits. */
  get ready() { return this.#uploads?.ready ?? true; }

  /** Takes the files of the open draft for a message. */
  take() { return this.#uploads?.take() ?? []; }

  /** Shows the files of the draft of a conversation. */
  async open(threadId) {
    if (this.#uploads) this.#uploads.open(threadId);
    else if (session.get(KEPT + (threadId ?? ''))) (await this.#load()).open(this.#app.conversation.threadId);
  }

  /** Files of a message that was not sent return to the draft of its conversation. */
  async putBack(threadId, files) { if (files.length) (await this.#load()).putBack(threadId, files); }

  /** Why the server refused a message because of its files, where its own text is of another language. @returns {?string} */
  reasonOf({ code, errors = [] }) {
    const isFile = code === 'invalid_request' && errors.some(({ pointer }) => /^\/(content|message)\/\d/.test(pointer));
    return isFile && !isEnglish ? t('files.refused') : null;
  }

  /** The draft of a new conversation becomes that of this one. */
  move(threadId) { this.#uploads?.move(threadId); }
}

const filesOf = transfer => [...(transfer?.items ?? [])].filter(item => item.kind === 'file' && !item.webkitGetAsEntry?.()?.isDirectory)
  .map(item => item.getAsFile()).filter(Boolean);

const foldersOf = transfer => [...transfer.items].filter(item => item.webkitGetAsEntry?.()?.isDirectory).length;

/** Whether a text was copied, of which office programs also give a picture; a file's text is its name. */
function isText(transfer, files) {
  const lines = transfer.getData('text/plain').split(/[\r\n]+/).map(line => line.trim()).filter(Boolean);
  return lines.some(line => !files.some(({ name }) => line.endsWith(name)));
}

/** Offers files on the page. */
export async function wire(app, limits) {
  await addTexts('files');
  app.composer.attach = new Attach(app, limits);
}
