// SPDX-License-Identifier: Apache-2.0
// The browser's storage; memory where the browser refuses it, as it does in frames of another site.

function open(kind) {
  const items = new Map();
  try {
    const kept = window[kind];
    return { get: name => kept.getItem(name), set: (name, text) => kept.setItem(name, text), remove: name => kept.removeItem(name),
      names: () => Object.keys(kept), isKept: true };
  } catch {
    return { get: name => items.get(name) ?? null, set: (name, text) => items.set(name, text), remove: name => items.delete(name),
      names: () => [...items.keys()], isKept: false };
  }
}

export const local = open('localStorage');       // of all tabs
export const session = open('sessionStorage');   // of this tab
