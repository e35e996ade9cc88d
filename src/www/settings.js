// SPDX-License-Identifier: Apache-2.0
// The administrator's config.json: docs/chat-page.md has its members.

async function read() {
  try {
    const response = await fetch('config.json', { cache: 'no-cache' });
    return response.ok ? await response.json() : {};
  } catch {
    return {};
  }
}

export const settings = await read();
