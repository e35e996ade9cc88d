// SPDX-License-Identifier: Apache-2.0
// AG-UI's HttpAgent, unchanged: node agui.mjs PACKAGE BASE-URL JSON. The JSON has the steps: [[action, …arguments]…].
// Prints {messages, pending, error, steps: [{messages, pending, events, error, reports}…]}; reports: how often the client
// reported an error to its page.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
const require = createRequire(process.env.PEERS + '/');
const [name, base, text] = process.argv.slice(2);
const input = JSON.parse(text);
const { HttpAgent } = await import(pathToFileURL(require.resolve(name)));
console.error = console.warn = () => {};

const make = messages => new HttpAgent({
  url: `${base}/agui/${input.agent ?? 'assistant'}`, headers: input.headers ?? {}, threadId: input.thread ?? 'talk-1',
  initialMessages: messages ?? [],
});
let agent = make(input.messages), events = [], error = null, reports = 0, n = 0;
const id = () => `m-${process.pid}-${++n}`;
const run = async (more = {}) => {
  events = [];
  error = null;
  reports = 0;
  try {
    await agent.runAgent({ tools: input.tools, context: input.context, ...more }, {
      onEvent: ({ event }) => { events.push(event); },
      onRunErrorEvent: ({ event }) => { error = { message: event.message, code: event.code }; reports++; },
      onRunFailed: () => { reports++; },
    });
  } catch (failure) {
    error = { message: failure.message, status: failure.status ?? null };
  }
};
const until = async done => { while (!done()) { await new Promise(resolve => setTimeout(resolve, 5)); } };
const begun = () => events.some(e => e.type === 'TEXT_MESSAGE_CONTENT' || e.type === 'TOOL_CALL_START');
const pendingCalls = () => {
  const answered = new Set(agent.messages.filter(m => m.role === 'tool').map(m => m.toolCallId));
  return agent.messages.flatMap(m => m.toolCalls ?? []).filter(call => !answered.has(call.id));
};
const actions = {
  send: (content, more) => { agent.addMessage({ id: id(), role: 'user', content }); return run(more); },
  sendLong: n => actions.send('x'.repeat(n)),
  run: more => run(more),
  edit: (at, content) => { agent.setMessages([...agent.messages.slice(0, at), { ...agent.messages[at], content }]); return run(); },
  // As CopilotKit's pages do: the messages are cut, and the new one has another id.
  replace: (at, content) => { agent.setMessages(agent.messages.slice(0, at)); return actions.send(content); },
  regenerate: at => { agent.setMessages(agent.messages.slice(0, at)); return run(); },
  reload: messages => { agent = make(messages); return run(); },
  // Answers all interrupts, or those that are listed.
  resume: (payload, status = 'resolved', more) => run({
    resume: agent.pendingInterrupts.map(i => status === 'resolved' ? { interruptId: i.id, status, payload } : { interruptId: i.id, status }),
    ...more,
  }),
  resumeAs: (resume, more) => run({ resume, ...more }),
  carryOut: results => {
    for (const call of pendingCalls()) {
      agent.addMessage({ id: id(), role: 'tool', toolCallId: call.id, ...results[call.function.name] });
    }
    return run();
  },
  // Sends, and is cut off when something has come.
  cut: async (content, more) => {
    agent.addMessage({ id: id(), role: 'user', content });
    const going = run(more);
    await until(begun);
    agent.abortRun();
    await going;
    process.stderr.write('cut\n');
  },
  gate: () => new Promise(resolve => process.stdin.once('data', resolve)),
};
const steps = [];
const state = () => structuredClone({ messages: agent.messages, pending: agent.pendingInterrupts });
for (const [action, ...rest] of input.steps) {
  await actions[action](...rest);
  steps.push({ ...state(), events, error, reports });
}
process.stdout.write(JSON.stringify({ ...state(), steps, error }), () => process.exit(0));
