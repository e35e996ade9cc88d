// SPDX-License-Identifier: Apache-2.0
// The page in the frame of widget.js: the page around it gives the key. The server's policy says which pages may be around it
// (AGENTCHAT_FRAME_ANCESTORS), so that whatever is there may be answered.

/** Waits for the key of the page around this one. @returns {Promise<{key: ?string, tell: function(string): void}>} */
export function meet() {
  return new Promise(resolve => {
    let met = null;
    addEventListener('message', ({ source, origin, data }) => {
      if (source !== parent || data?.agentchat !== 'key') return;
      const key = data.key ? String(data.key) : null;
      if (!met) resolve(met = { key, tell: kind => parent.postMessage({ agentchat: kind }, origin) });
      else if (key !== met.key) location.reload();          // asks for it again
    });
    parent.postMessage({ agentchat: 'hello' }, '*');
  });
}
