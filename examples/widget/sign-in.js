// SPDX-License-Identifier: Apache-2.0
// The site's own server knows its user and gives the key or token of the chat for him.
const chat = document.querySelector('agent-chat');
async function signIn() {
  const response = await fetch('chat-token');
  chat.key = response.ok ? await response.text() : null;
}
chat.addEventListener('agent-chat-sign-in', signIn);    // the chat has no key, or one that has expired
signIn();
