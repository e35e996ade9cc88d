// SPDX-License-Identifier: Apache-2.0
// What tsc --strict has to accept of agentchat.d.ts, and what it has to refuse.
import { AgentChat, AgentChatError, EventStreamParser, type Agent, type Message, type NativeEvent, type Run, type Thread } from 'agentchat';

const chat = new AgentChat({ url: new URL('https://chat.example/api'), key: null, headers: { Authorization: 'Bearer x' }, redirect: 'manual' });
new AgentChat();
new AgentChat({ headers: () => ({ Authorization: 'Bearer x' }), retries: 3, backoff: { min: 1, max: 2 }, silence: 1000 });
new AgentChat({ headers: async () => ({ Authorization: 'Bearer x' }), onretry: ({ attempt, delay, error }) => console.log(attempt + delay, error.message), fetch });
chat.key = 'key';

export async function calls(signal: AbortSignal): Promise<void> {
  const agents: Agent[] = await chat.agents();
  await chat.agents({ signal, headers: { 'X-Request-Id': 'one' } });
  const thread: Thread = await chat.createThread();
  await chat.createThread({ title: 'A title', agent_id: agents[0]?.id, metadata: { a: 'b' } }, { signal });
  for (const { id } of (await chat.threads()).data) await chat.thread(id);
  await chat.threads({ limit: 10, after: thread.id, status: 'archived' });
  await chat.updateThread(thread.id, { status: 'archived' });
  await chat.renameThread(thread.id, 'Another title');
  await chat.deleteThread(thread.id);
  await chat.deleteThread(thread.id, { hard: true, signal });
  await chat.restoreThread(thread.id);
  const messages: Message[] = (await chat.messages(thread.id)).data;
  const next: number | null = (await chat.messages(thread.id, { order: 'desc', before: 7 })).next;
  const runs: Run[] = (await chat.runs(thread.id)).data;
  const run = await chat.run(runs[0]!.id);
  console.log(messages.length, next, run.cost?.amount.toFixed(2), (await chat.steps(run.id)).map(step => step.tool));
  const branch: Thread = await chat.switchBranch(thread.id, messages[0]!.id, { signal });
  for await (const event of chat.edit(branch.id, messages[0]!, [{ type: 'text', text: 'x' }], { agent_id: 'a', signal })) console.log(words(event));
  for await (const event of chat.regenerate(branch.id, messages[0]!.id, { agent_id: 'a', signal })) console.log(words(event));
  await chat.cancel(run.id);
  await chat.approve(run.id, 'call_1', false);
  await chat.approve(run.id, 'call_1', false, 'not today', { signal });
  const response: Response = await chat.request('POST', '/agents/a/chat', { body: { message: 'x', stream: false }, signal });
  console.log(response.status);
}

function words(event: NativeEvent): string {
  switch (event.type) {
    case 'run': return event.thread_id;
    case 'queued': return String(event.place);
    case 'reasoning': return event.content;
    case 'sources': return event.sources.map(source => source.title).join();
    case 'token': return event.content;
    case 'trace_start': return event.call_id;
    case 'trace_update': return event.arguments_delta ?? '';
    case 'trace_end': return String(event.latency_ms);
    case 'error': return event.message;
    case 'done': return event.status;
    default: {
      const nothing: never = event;
      return nothing;
    }
  }
}

export async function answer(): Promise<string> {
  let text = '', last: string | undefined;
  try {
    for await (const event of chat.send(null, 'A question', { agent_id: 'assistant', idempotencyKey: 'k' })) {
      text += words(event);
      last = event.id;
    }
    for await (const event of chat.follow('run_1')) text += words(event);
    for await (const event of chat.follow('run_1', last, { signal: AbortSignal.timeout(1000) })) text += event.timestamp;
  } catch (error) {
    if (!(error instanceof AgentChatError) || error.wantsSignIn) throw error;
    const { status, code, retryAfter }: { status: number; code: string; retryAfter: number | null } = error;
    console.log(status, code, retryAfter, error.errors.map(({ pointer }) => pointer));
  }
  return text + new EventStreamParser().push('data: x\n\n').map(({ data }) => data).join();
}

// @ts-expect-error an id is needed
chat.thread();
// @ts-expect-error not a status
chat.threads({ status: 'gone' });
// @ts-expect-error a header is text
new AgentChat({ headers: { retries: 3 } });
// @ts-expect-error there is no such option
new AgentChat({ header: {} });
