// SPDX-License-Identifier: Apache-2.0
// Light or dark: as the system has it, until the user decides.
import { $ } from './dom.js';
import { local } from './storage.js';

const THEME = 'agentchat.theme', root = document.documentElement.dataset;
const kept = local.get(THEME);
if (kept === 'dark' || kept === 'light') root.theme = kept;

export function wireTheme() {
  $('theme').addEventListener('click', () => {
    const dark = root.theme ? root.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    root.theme = dark ? 'light' : 'dark';
    local.set(THEME, root.theme);
  });
}
