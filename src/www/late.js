// SPDX-License-Identifier: Apache-2.0
// Files of the page that are loaded when they are first wanted.
import { toast } from './notices.js';
import { t } from './strings.js';

const failures = new Map();

/** A file's module. A browser may remember that a file could not be had, so that each attempt has an address of its own. */
async function late(name) {
  const n = failures.get(name);
  try {
    return await import(`./${name}.js${n ? `?${n}` : ''}`);
  } catch (error) {
    failures.set(name, (n ?? 0) + 1);
    throw error;
  }
}

/**
 * Does something with a file's module, now if it is there. If it cannot be had, a notice says so, with a button to try again.
 * @param {string} name without `.js` @param {function(Object): void} does
 */
export async function use(name, does) {
  let file;
  try {
    file = await late(name);
  } catch {
    toast(t('late.lost'), t('tryAgain'), () => use(name, does));
    return;
  }
  does(file);
}

/** Loads the file that `data-late` of an element names when the pointer or the focus reaches it: it is there when it is pressed. */
export function wireLate() {
  for (const kind of ['pointerover', 'focusin']) {
    document.addEventListener(kind, ({ target }) => {
      const name = target.closest?.('[data-late]')?.dataset.late;
      if (name && !failures.has(name)) late(name).catch(() => { /* said when it is used */ });
    }, { passive: true });
  }
}
