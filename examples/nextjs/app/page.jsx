// SPDX-License-Identifier: Apache-2.0
// A chat with an agent of mod_agentchat on another server: NEXT_PUBLIC_AGENTCHAT_API at the build names it. The server allows this
// page by AgentChatCORSOrigin. docs/clients.md describes the client, agentchat.js, which is copied beside this file.
'use client';
import { useRef, useState } from 'react';
import { AgentChat } from './agentchat.js';

const chat = new AgentChat({ url: process.env.NEXT_PUBLIC_AGENTCHAT_API });

export default function Page() {
  const [turns, setTurns] = useState([]);
  const [busy, setBusy] = useState(false);
  const thread = useRef(null);

  const show = (n, change) => setTurns(all => all.map((turn, i) => (i === n ? { ...turn, ...change(turn) } : turn)));

  async function send(event) {
    event.preventDefault();
    const question = new FormData(event.currentTarget).get('question'), n = turns.length;
    event.currentTarget.reset();
    setTurns(all => [...all, { question, answer: '' }]);
    setBusy(true);
    try {
      for await (const one of chat.send(thread.current, question)) {
        if (one.type === 'run') thread.current = one.thread_id;
        if (one.type === 'token') show(n, turn => ({ answer: turn.answer + one.content }));
        if (one.type === 'error') show(n, () => ({ error: one.message }));
      }
    } catch (error) {
      show(n, () => ({ error: error.detail ?? error.message }));
    }
    setBusy(false);
  }

  return (
    <main>
      <h1>Chat</h1>
      {turns.map(({ question, answer, error }, n) => (
        <section key={n}>
          <h2>{question}</h2>
          <p className="answer">{answer}</p>
          {error && <p role="alert">{error}</p>}
        </section>
      ))}
      <form onSubmit={send}>
        <input name="question" aria-label="Message" required autoComplete="off" />
        <button disabled={busy}>Send</button>
      </form>
    </main>
  );
}
