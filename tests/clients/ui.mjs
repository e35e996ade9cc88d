// SPDX-License-Identifier: Apache-2.0
// The AI SDK's chat, unchanged: node ui.mjs PACKAGE BASE-URL JSON. The JSON has the steps: [[action, …arguments]…].
// Prints {messages, status, error, steps: [{status, error, messages}…]}.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
const require = createRequire(process.env.PEERS + '/');
const [name, base, text] = process.argv.slice(2);
const input = JSON.parse(text);
const ai = await import(pathToFileURL(require.resolve(name)));
const { AbstractChat, DefaultChatTransport } = ai;

class State {
  status = 'ready';
  error = undefined;
  messages = [];
  pushMessage = message => { this.messages = this.messages.concat(message); };
  popMessage = () => { this.messages = this.messages.slice(0, -1); };
  replaceMessage = (index, message) => { this.messages = this.messages.map((m, i) => i === index ? structuredClone(message) : m); };
  snapshot = value => structuredClone(value);
}

class Chat extends AbstractChat {
  constructor(options) { const state = new State(); state.messages = options.messages ?? []; super({ ...options, state }); }
}

const data = [];
const make = (messages) => new Chat({
  id: input.id ?? 'chat-1', messages,
  transport: new DefaultChatTransport({ api: base + (input.path ?? '/ui/chat'), headers: input.headers, body: input.body,
    prepareSendMessagesRequest: input.last ? ({ id, messages, trigger, messageId, body }) =>
      ({ body: { ...body, id, trigger, messageId, message: messages.at(-1) } }) : undefined }),
  sendAutomaticallyWhen: input.tools ? ai.lastAssistantMessageIsCompleteWithToolCalls
    : input.automatic === false ? undefined : ai.lastAssistantMessageIsCompleteWithApprovalResponses,
  onData: part => data.push(part),
  onToolCall: async ({ toolCall }) => {
    if (input.tools && !toolCall.dynamic) {
      chat.addToolOutput?.({ tool: toolCall.toolName, toolCallId: toolCall.toolCallId, output: input.tools[toolCall.toolName] })
        ?? chat.addToolResult?.({ tool: toolCall.toolName, toolCallId: toolCall.toolCallId, output: input.tools[toolCall.toolName] });
    }
  },
  onError: () => {},
});
let chat = make(input.messages);
const settle = async () => { // automatic requests begin after the stream that caused them
  for (let quiet = 0; quiet < 5;) {
    await new Promise(resolve => setImmediate(resolve));
    quiet = chat.status === 'ready' || chat.status === 'error' ? quiet + 1 : 0;
  }
};
const parts = () => chat.messages.flatMap(m => m.parts);
const until = async done => { while (!done()) { await new Promise(resolve => setTimeout(resolve, 5)); } };
const actions = {
  send: (text, files) => chat.sendMessage({ text, files }),
  // With the files that the message has.
  edit: (index, text) => chat.sendMessage({ text, messageId: chat.messages[index].id,
    files: chat.messages[index].parts.filter(part => part.type === 'file') }),
  regenerate: index => chat.regenerate(index === undefined ? undefined : { messageId: chat.messages[index].id }),
  resume: async notify => {
    const resumed = chat.resumeStream();
    if (notify) { await until(() => parts().some(p => p.type === 'text' && p.state === 'streaming')); console.error('resumed'); }
    await resumed;
  },
  approve: (approved, reason) => Promise.all(parts().filter(p => p.state === 'approval-requested').map(
    p => chat.addToolApprovalResponse({ id: p.approval.id, approved, reason }))),
  decide: async (at, approved) => {
    const { approval } = parts().filter(p => p.approval)[at];
    await chat.addToolApprovalResponse({ id: approval.id, approved });
  },
  submit: () => chat.sendMessage(),
  // Sends, and stops or forgets the chat when a text has come.
  begin: async (text, then) => {
    const sent = chat.sendMessage({ text });
    await until(() => parts().some(p => p.type === 'text' && p.state === 'streaming'));
    if (then === 'stop') { await chat.stop(); await sent; } else { const old = chat; chat = make(chat.messages.slice(0, 1)); old.stop(); }
    console.error('begun');
  },
  load: async () => { chat = make(await (await fetch(`${base}${input.path ?? '/ui/chat'}/${input.id ?? 'chat-1'}`, { headers: input.headers })).json()); },
  gate: () => new Promise(resolve => process.stdin.once('data', resolve)),
};
const steps = [];
for (const [action, ...rest] of input.steps) {
  await actions[action](...rest);
  await settle();
  steps.push({ status: chat.status, error: chat.error?.message ?? null, messages: structuredClone(chat.messages) });
}
console.log(JSON.stringify({ messages: chat.messages, status: chat.status, error: chat.error?.message ?? null, code: chat.error?.statusCode ?? null, steps, data }));
process.exit(0);
