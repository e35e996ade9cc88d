// SPDX-License-Identifier: Apache-2.0
// What can be done with a conversation of the list: rename it in place, delete it with undo, pin it, archive it, take it along as a file.
// Loaded when the pointer or the focus first reaches the list.
import { $, composing, el, icon, visible } from './dom.js';
import { toast } from './notices.js';
import { t } from './strings.js';

/** Saves an answer of the API as a file. */
async function save(client, path, name) {
  const response = await client.request('GET', path, { headers: { Accept: '*/*' } });
  const given = /filename="([^"]+)"/.exec(response.headers.get('Content-Disposition') ?? '')?.[1];
  const address = URL.createObjectURL(await response.blob());
  el('a', { href: address, download: given ?? name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/**
 * Shows the menu below a button.
 * @param {HTMLElement} button @param {{name: string, label: string, does: function(): void}[]} entries
 */
function showMenu(button, entries) {
  const menu = $('menu-box');
  const items = entries.map(({ name, label, does }) => el('button', { type: 'button', role: 'menuitem', onclick: () => {
    menu.hidePopover();
    button.focus();
    does();
  } }, icon(name), el('span', { text: label })));
  menu.replaceChildren(...items);
  menu.setAttribute('aria-label', button.getAttribute('aria-label'));
  button.setAttribute('aria-expanded', 'true');
  menu.onkeydown = event => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      items[(items.indexOf(document.activeElement) + step + items.length) % items.length].focus();
    } else if (event.key === 'Escape' || event.key === 'Tab') {
      event.preventDefault();
      event.stopPropagation();
      menu.hidePopover();
      button.focus();
    }
  };
  menu.ontoggle = ({ newState }) => { if (newState === 'closed') button.setAttribute('aria-expanded', 'false'); };
  menu.showPopover();
  const { left, right, bottom, top } = button.getBoundingClientRect(), { offsetWidth: width, offsetHeight: height } = menu;
  const isRtl = document.documentElement.dir === 'rtl', x = isRtl ? right - width : left;
  menu.style.left = `${Math.max(8, Math.min(x, innerWidth - width - 8))}px`;
  menu.style.top = `${bottom + height + 8 > innerHeight ? Math.max(8, top - height) : bottom}px`;
  items[0].focus();
}

/** @param {Object} list of the conversations (threads.js) @param {string} id @param {HTMLElement} button below which the menu is shown */
export function menu(list, id, button) {
  const thread = list.threadOf(id), { client } = list.app;
  if (!thread) return;
  const file = format => save(client, `/threads/${id}/export?format=${format}`, `${id}.${format === 'json' ? 'json' : 'md'}`)
    .catch(error => list.app.failed(error));
  showMenu(button, [
    { name: 'pin', label: t(thread.pinned ? 'unpin' : 'pin'), does: () => change(list, id, { pinned: !thread.pinned }) },
    { name: 'edit', label: t('rename'), does: () => rename(list, id) },
    { name: 'archive', label: t(list.isArchive ? 'archive.take' : 'archive.put'),
      does: () => change(list, id, { status: list.isArchive ? 'active' : 'archived' }) },
    { name: 'save', label: t('save.markdown'), does: () => file('markdown') },
    { name: 'save', label: t('save.json'), does: () => file('json') },
    { name: 'trash', label: t('delete'), does: () => remove(list, id) },
  ]);
}

/** What has the focus when this conversation has left the list. */
function nextOf(list, id) { return list.nodeOf(id)?.nextElementSibling?.querySelector('a') ?? $('new'); }

async function change(list, id, members) {
  const next = nextOf(list, id), title = visible(list.titleOf(id) || t('newConversation'));
  try {
    const thread = await list.app.client.updateThread(id, members);
    list.put(thread);
    list.app.threadChanged(thread);
    if (members.status === 'archived') {
      toast(t('archived', { title }), t('undo'), () => change(list, id, { status: 'active' }), next);
    } else list.nodeOf(id)?.querySelector('[aria-haspopup]')?.focus();
  } catch (error) {
    list.app.failed(error);
  }
}

async function remove(list, id) {
  const next = nextOf(list, id), title = visible(list.titleOf(id) || t('newConversation')), { app } = list;
  try {
    await app.client.deleteThread(id);
  } catch (error) {
    app.failed(error);
    return;
  }
  list.remove(id);
  app.threadGone(id);
  toast(t('deleted', { title }), t('undo'), async () => {
    try {
      list.put(await app.client.restoreThread(id));
      app.threadBack(id);
    } catch (error) {
      app.failed(error);
    }
  }, next);
}

function rename(list, id) {
  const node = list.nodeOf(id), title = list.titleOf(id), { app } = list;
  const field = el('input.rename', { value: title, maxLength: 200, dir: 'auto', 'aria-label': t('title') });
  let ended = false;
  const end = async isSaved => {
    if (ended) return;
    ended = true;
    const wanted = field.value.trim();
    delete node.dataset.title;
    field.remove();
    try {
      const changes = isSaved && wanted && wanted !== title;
      const thread = changes ? await app.client.renameThread(id, wanted) : list.threadOf(id);
      list.put(thread);
      if (changes) app.threadChanged(thread);
    } catch (error) {
      list.show();
      app.failed(error);
    }
    list.nodeOf(id)?.querySelector('a')?.focus();
  };
  field.addEventListener('keydown', event => {
    if (composing(event)) return;
    if (event.key === 'Enter') end(true);
    if (event.key === 'Escape') { event.stopPropagation(); end(false); }
  });
  field.addEventListener('blur', () => end(true));
  node.replaceChildren(field);
  field.focus();
  field.select();
}
