// SPDX-License-Identifier: Apache-2.0
// The list of conversations: loads more when its end is in view. thread-menu.js has what can be done with one of them.
import { $, el, iconButton, visible } from './dom.js';
import { use } from './late.js';
import { t } from './strings.js';

const PAGE = 30, PINNED = 100, AGAIN_MS = 5000;
const DAY = 86_400_000;

function ageOf(thread) {
  if (thread.pinned) return 'list.pinned';
  const days = Math.floor((new Date().setHours(24, 0, 0, 0) - Date.parse(thread.updated_at)) / DAY);
  return `list.${days < 1 ? 'today' : days < 2 ? 'yesterday' : days < 8 ? 'week' : days < 31 ? 'month' : 'earlier'}`;
}

/** Those that are pinned come first, then the most recently changed. */
function byUse(a, b) {
  if (a.pinned !== b.pinned) return a.pinned ? -1 : 1;
  if (a.updated_at === b.updated_at) return a.id < b.id ? 1 : -1;
  return a.updated_at < b.updated_at ? 1 : -1;
}

export class ThreadList {
  #list; #end; #threads = []; #nodes = new Map(); #next = null; #more = true; #loading = null; #active = null; #status = 'active';

  constructor(app) {
    this.app = app;
    this.#list = $('threads');
    this.#end = $('threads-end');
    $('archive').addEventListener('click', () => this.#archived());
    new IntersectionObserver(entries => entries.some(entry => entry.isIntersecting) && this.more(),
      { root: $('threads-box'), rootMargin: '300px' }).observe(this.#end);
  }

  /** Changes between the list and the archive. */
  #archived() {
    this.#status = this.#status === 'active' ? 'archived' : 'active';
    $('archive').setAttribute('aria-pressed', String(this.isArchive));
    $('threads-title').classList.toggle('offscreen', !this.isArchive);
    $('threads-title').textContent = t(this.isArchive ? 'archive' : 'conversations');
    this.#threads = [];
    this.#next = null;
    this.#more = true;
    this.#loading = null;
    this.show();
    this.more();
  }

  /** The next page. */
  async more() {
    if (!this.#more || this.#loading) return;
    this.#loading = this.#load({ limit: PAGE, after: this.#next ?? undefined }, false);
    await this.#loading.finally(() => { this.#loading = null; });
    this.#fill();
  }

  /** Loads the first page again, for new threads and new titles. */
  async refresh() {
    await this.#loading?.catch(() => {});
    await this.#load({ limit: PAGE }, true);
  }

  async #load(where, first) {
    const status = this.#status, list = more => this.app.client.threads({ order: 'updated', status, ...more });
    try {
      const [page, pinned] = await Promise.all([list(where), where.after ? null : list({ pinned: true, limit: PINNED })]);
      this.app.connected();
      if (status !== this.#status) return;
      if (pinned) page.data = [...new Map([...pinned.data, ...page.data].map(thread => [thread.id, thread])).values()];
      const known = new Set(page.data.map(thread => thread.id));
      const others = this.#threads.filter(thread => !known.has(thread.id));
      if (!first || !this.#threads.length) {
        this.#next = page.next;
        this.#more = page.has_more;
      }
      this.#threads = first ? [...page.data, ...others] : [...others, ...page.data];
      this.#threads.sort(byUse);
      this.show();
    } catch (error) {
      if (first && error.transient) return;     // at the next refresh
      this.#more = false;
      if (!error.transient) { this.app.failed(error); return; }
      this.app.waits(error);
      setTimeout(() => { this.#more = true; this.#fill(); }, error.retryAfter ?? AGAIN_MS);
    }
  }

  /** Loads pages while there is room: the observer reports changes only. */
  #fill() {
    const room = $('threads-box').getBoundingClientRect().bottom + 300;
    if (this.#more && !this.#loading && this.#end.getBoundingClientRect().top < room) this.more();
  }

  /** Shows a thread that is new or has changed. */
  put(thread) {
    if (thread.status !== this.#status) { this.remove(thread.id); return; }
    const at = this.#threads.findIndex(one => one.id === thread.id);
    if (at >= 0) this.#threads[at] = thread;
    else this.#threads.push(thread);
    this.#threads.sort(byUse);
    this.show();
  }

  remove(id) {
    this.#threads = this.#threads.filter(thread => thread.id !== id);
    this.show();
  }

  threadOf(id) { return this.#threads.find(thread => thread.id === id); }

  titleOf(id) { return this.threadOf(id)?.title ?? ''; }

  nodeOf(id) { return this.#nodes.get(id); }

  get isArchive() { return this.#status === 'archived'; }

  /** @param {string?} id of the open thread */
  mark(id) {
    this.#active = id;
    for (const [key, node] of this.#nodes) this.#state(node, key);
  }

  #state(node, id) {
    const link = node.querySelector('a');
    if (!link) return;
    if (id === this.#active) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }

  show() {
    const groups = [];
    for (const thread of this.#threads) {
      const age = ageOf(thread);
      if (groups.at(-1)?.age !== age) groups.push({ age, nodes: [] });
      groups.at(-1).nodes.push(this.#node(thread));
    }
    const focus = document.activeElement;
    this.#list.replaceChildren(...groups.map(({ age, nodes }) => el('section', {}, el('h3', { text: t(age) }), el('ul', {}, ...nodes))));
    if (this.#list.contains(focus)) focus.focus();
    $('threads-none').hidden = this.#threads.length > 0 || this.#more;
    $('threads-none').textContent = t(this.#status === 'active' ? 'list.none' : 'list.archive.none');
  }

  #node(thread) {
    const title = visible(thread.title || t('newConversation'));
    let node = this.#nodes.get(thread.id);
    if (node?.querySelector('input')) return node;
    if (node?.dataset.title === title) return node;
    const fresh = el('li.thread', {},
      el('a', { href: `#/${thread.id}`, text: title, title, dir: 'auto' }),
      el('div.thread-actions', {},
        iconButton('more', t('more', { title }), ({ currentTarget }) => use('thread-menu', ({ menu }) => menu(this, thread.id, currentTarget)),
          { 'aria-haspopup': 'menu', 'aria-expanded': 'false' })));
    fresh.dataset.title = title;
    node?.replaceWith(fresh);
    this.#nodes.set(thread.id, fresh);
    this.#state(fresh, thread.id);
    return fresh;
  }
}
