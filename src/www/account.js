// SPDX-License-Identifier: Apache-2.0
// The dialog in which users save all of their conversations as a file, and delete all of them. Loaded when it is first opened.
import { DRAFT } from './composer.js';
import { $, el, iconButton } from './dom.js';
import { session } from './storage.js';
import { addTexts, number, t } from './strings.js';

const TRIES = 5, PAUSE_MS = 1000;

document.head.append(el('link', { rel: 'stylesheet', href: new URL('account.css', import.meta.url).href }));
await addTexts('account');

/** The lines of a stream of bytes. */
async function* linesOf(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    const lines = (rest + (value ?? '')).split('\n');
    rest = done ? '' : lines.pop();
    yield* lines.filter(Boolean);
    if (done) return;
  }
}

/**
 * All that the user has, as JSON lines. Where the connection breaks, it continues at the last position.
 * @param {AgentChat} client @param {function(number): void} progress gets the number of conversations
 * @returns {Promise<Blob>}
 */
async function exported(client, progress) {
  const whole = [];                     // up to the position
  let after, tries = 0, before = 0;
  for (;;) {
    const part = [];                    // after it
    let n = before;
    try {
      for await (const line of linesOf((await client.exportMe({ after })).body)) {
        const one = JSON.parse(line);
        part.push(line, '\n');
        if (one.object === 'end') return new Blob([...whole, ...part], { type: 'application/jsonl' });
        if (one.object === 'thread') progress(++n);
        if (one.object === 'position') {
          whole.push(new Blob(part.splice(0)));
          ({ after } = one);
          before = n;
          tries = 0;
        }
      }
      throw new Error(t('account.cut'));
    } catch (error) {
      if (error.status || ++tries >= TRIES) throw error;
      await new Promise(resume => setTimeout(resume, PAUSE_MS * tries));
    }
  }
}

/** Loads the page again, empty and without drafts. */
function begin() {
  for (const name of session.names()) if (name.startsWith(DRAFT)) session.remove(name);
  history.replaceState(null, '', location.pathname + location.search);
  location.reload();
}

class Account {
  #app; #dialog; #state; #save; #word; #erase;

  constructor(app) {
    this.#app = app;
    this.#state = el('p.hint', { id: 'account-state', role: 'status' });
    this.#save = el('button', { id: 'account-save', type: 'button', text: t('account.save'), onclick: () => this.#take() });
    this.#word = el('input', { id: 'account-word', autocomplete: 'off', spellcheck: false, oninput: () => this.#check() });
    this.#erase = el('button.primary', { id: 'account-erase', type: 'submit', text: t('account.erase'), disabled: true });
    this.#dialog = el('dialog', { id: 'account-box', 'aria-labelledby': 'account-title' },
      el('div.dialog-head', {}, el('h2', { id: 'account-title', text: t('account') }),
        iconButton('close', t('close'), () => this.#dialog.close())),
      el('p.hint', { text: t('account.what') }), this.#save, this.#state,
      el('form', { id: 'account-form', onsubmit: event => { event.preventDefault(); this.#forget(); } },
        el('h3', { text: t('account.erase') }), el('p.hint', { id: 'account-warning', text: t('account.warning') }),
        el('label', { htmlFor: 'account-word', text: t('account.type', { word: t('account.word') }) }), this.#word, this.#erase));
    document.body.append(this.#dialog);
  }

  open() {
    this.#state.textContent = this.#word.value = '';
    this.#check();
    this.#dialog.showModal();
  }

  #check() { this.#erase.disabled = this.#word.value.trim().toLowerCase() !== t('account.word'); }

  #failed(error) {
    this.#state.textContent = error.detail ?? error.message;
    this.#state.scrollIntoView({ block: 'nearest' });
  }

  async #take() {
    this.#save.disabled = true;
    this.#state.textContent = t('account.saving', { n: 0 });
    try {
      const blob = await exported(this.#app.client, n => { this.#state.textContent = t('account.saving', { n }); });
      const address = URL.createObjectURL(blob);
      el('a', { href: address, download: `conversations-${new Date().toISOString().slice(0, 10)}.jsonl` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
      this.#state.textContent = t('account.saved');
    } catch (error) {
      this.#failed(error);
    }
    this.#save.disabled = false;
  }

  async #forget() {
    if (this.#erase.disabled) return;
    this.#erase.disabled = this.#word.disabled = true;
    try {
      this.#receipt(await this.#app.client.forgetMe());
    } catch (error) {
      this.#word.disabled = false;
      this.#check();
      this.#failed(error);
    }
  }

  /** What was deleted. The page starts again afterwards. */
  #receipt({ id, status, threads, messages, files }) {
    const shown = n => (n === null ? '…' : number.format(n));
    const again = el('button.primary', { id: 'account-begin', type: 'button', text: t('account.begin'), onclick: begin });
    this.#dialog.replaceChildren(el('h2', { id: 'account-title', text: t('account.erased') }),
      el('dl', { id: 'account-receipt' }, ...[['threads', shown(threads)], ['messages', shown(messages)], ['files', shown(files)], ['receipt', id]]
        .map(([name, value]) => el('div', {}, el('dt', { text: t(`account.${name}`) }), el('dd', { text: value })))),
      el('p.hint', { role: 'status', text: t(status === 'done' ? 'account.gone' : 'account.continues') }), again);
    this.#dialog.addEventListener('close', begin);
    again.focus();
  }
}

let account = null;

export function open(app) { (account ??= new Account(app)).open(); }
