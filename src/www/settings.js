// SPDX-License-Identifier: Apache-2.0
// The administrator's config.json (docs/chat-page.md has its members), what the page's address says, and the user's key: that of the
// page around this one, or the one in this tab's session storage.
import { session } from './storage.js';

async function read() {
  try {
    const response = await fetch('config.json');        // index.html has asked for it
    return response.ok ? await response.json() : {};
  } catch {
    return {};
  }
}

export const settings = await read();

export const KEY = 'agentchat.key';

/** What the address of the page says: ?agent=ID&api=PATH, and `widget` in the frame of widget.js. */
export const wanted = new URLSearchParams(globalThis.location?.search);

/** The page around this one, if it has put this one into a frame by widget.js; else null. */
export const frame = wanted.has('widget') && parent !== window ? await (await import('./frame.js')).meet() : null;

export const keyOf = () => frame?.key ?? session.get(KEY);

/** The address of the API. A link chooses no other server than this one, which would get the key. */
export function apiAddress() {
  const own = new URL(settings.api ?? '../api', document.baseURI), asked = new URL(wanted.get('api') ?? own, document.baseURI);
  return (asked.origin === location.origin ? asked : own).href;
}
