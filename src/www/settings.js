// SPDX-License-Identifier: Apache-2.0
// The administrator's config.json: docs/chat-page.md has its members. And the user's key, which is kept in this tab's session storage.

async function read() {
  try {
    const response = await fetch('config.json', { cache: 'no-cache' });
    return response.ok ? await response.json() : {};
  } catch {
    return {};
  }
}

export const settings = await read();

export const KEY = 'agentchat.key';

export const keyOf = () => sessionStorage.getItem(KEY);
