// SPDX-License-Identifier: Apache-2.0
// What can be done with a conversation of the list: pin it, archive it, take it along as a file.
import { $, el, icon } from './dom.js';
import { t } from './strings.js';

/** Saves an answer of the API as a file. */
export async function save(client, path, name) {
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
export function showMenu(button, entries) {
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
