// SPDX-License-Identifier: Apache-2.0
// The Responses API by unchanged clients: node responses.mjs CLIENT CASE BASE-URL JSON. Prints {text, …} or {error}.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
const require = createRequire(process.env.PEERS + '/');
const load = name => import(pathToFileURL(require.resolve(name)));
const [client, which, baseURL, text] = process.argv.slice(2);
const input = JSON.parse(text);
const apiKey = input.key ?? 'none', model = input.model ?? 'assistant', said = input.input ?? 'hi';
const look = { type: 'object', properties: { what: { type: 'string' } }, required: ['what'], additionalProperties: false };
const tool = { type: 'function', name: 'look', description: 'Looks', parameters: look, strict: true };

async function all(stream) {
  const events = [];
  for await (const event of stream) { events.push(event); }
  return events;
}

// Version 4 computes output_text of a response that it has created, and of no other one.
const textOf = response => response.output.filter(item => item.type === 'message').flatMap(item => item.content).map(part => part.text).join('');

async function openai(name) {
  const { default: OpenAI, AzureOpenAI } = await load(name);
  const api = which === 'azure' ? new AzureOpenAI({ apiKey, endpoint: baseURL, apiVersion: '2025-04-01-preview' })
    : new OpenAI({ apiKey, baseURL, ...input.options });
  const request = { model, input: said, ...input.request };
  switch (which) {
  case 'azure':
  case 'whole': {
    const response = await api.responses.create(request);
    return { text: response.output_text, response, request: response._request_id };
  }
  case 'stream': {
    const events = await all(await api.responses.create({ ...request, stream: true }));
    return { text: events.filter(e => e.type === 'response.output_text.delta').map(e => e.delta).join(''), events, response: events.at(-1).response };
  }
  case 'helper': {
    const stream = api.responses.stream(request);
    const types = [];
    stream.on('event', event => types.push(event.type));
    const response = await stream.finalResponse();
    return { text: textOf(response), response, types };
  }
  case 'turns': {
    const first = await api.responses.create(request);
    const second = await api.responses.create({ model, input: 'and now?', previous_response_id: first.id });
    return { text: second.output_text, first, response: second };
  }
  case 'background': {
    let response = await api.responses.create({ ...request, background: true });
    const status = response.status;
    while (response.status === 'queued' || response.status === 'in_progress') {
      await new Promise(done => setTimeout(done, 20));
      response = await api.responses.retrieve(response.id);
    }
    return { text: textOf(response), status, response };
  }
  case 'resume': { // the stream breaks off after some events
    const events = [];
    for await (const event of await api.responses.create({ ...request, background: true, stream: true })) {
      events.push(event);
      if (events.length === (input.events ?? 4)) { break; }
    }
    const { id } = events[0].response, { sequence_number } = events.at(-1);
    const rest = await all(await api.responses.retrieve(id, { stream: true, starting_after: sequence_number }));
    const helper = api.responses.stream({ response_id: id, starting_after: sequence_number });
    const seen = await all(helper);
    return { events: events.concat(rest), whole: await all(await api.responses.retrieve(id, { stream: true })),
             helped: seen.map(e => e.sequence_number), response: await helper.finalResponse() };
  }
  case 'manage': {
    const response = await api.responses.create(request);
    const items = await all(api.responses.inputItems.list(response.id, { limit: 1, order: 'asc' }));
    const cancelled = await api.responses.cancel(response.id);
    const shown = await api.responses.retrieve(response.id);
    const [deleted] = [await (api.responses.delete ?? api.responses.del).call(api.responses, response.id)];
    const gone = await api.responses.retrieve(response.id).catch(error => error.constructor.name);
    return { items, cancelled, shown, deleted: deleted ?? null, gone };
  }
  case 'chain': { // the middle one of three responses is deleted
    const remove = id => (api.responses.delete ?? api.responses.del).call(api.responses, id);
    const first = await api.responses.create(request);
    const second = await api.responses.create({ ...request, input: 'two', previous_response_id: first.id });
    const third = await api.responses.create({ ...request, input: 'three', previous_response_id: second.id });
    await remove(second.id);
    const nameOf = error => [error.constructor.name, error.param];
    const refused = await Promise.all([remove(second.id), api.responses.retrieve(second.id), all(api.responses.inputItems.list(second.id)),
      api.responses.create({ ...request, previous_response_id: second.id })].map(one => one.then(() => null, nameOf)));
    const shown = await api.responses.retrieve(third.id);
    const fourth = await api.responses.create({ ...request, input: 'four', previous_response_id: third.id });
    return { text: fourth.output_text, refused, third, shown, response: fourth };
  }
  case 'conversation': {
    const conversation = await api.conversations.create({ metadata: { topic: 'tests' }, items: input.items });
    const first = await api.responses.create({ ...request, conversation: conversation.id });
    const second = await api.responses.create({ ...request, conversation: { id: conversation.id }, input: 'and now?' });
    const items = await all(api.conversations.items.list(conversation.id, { limit: 2, order: 'asc' }));
    const one = await api.conversations.items.retrieve(items[0].id, { conversation_id: conversation.id });
    const without = await api.conversations.items.delete(items[1].id, { conversation_id: conversation.id });
    const left = await all(api.conversations.items.list(conversation.id, { order: 'asc' }));
    const updated = await api.conversations.update(conversation.id, { metadata: { topic: 'other' } });
    const shown = await api.conversations.retrieve(conversation.id);
    const deleted = await api.conversations.delete(conversation.id);
    const gone = await api.conversations.retrieve(conversation.id).catch(error => error.constructor.name);
    return { text: second.output_text, conversation, first, response: second, items, one, without, left, updated, shown, deleted, gone };
  }
  case 'tools': {
    const first = await api.responses.create({ ...request, tools: [tool] });
    const call = first.output.find(item => item.type === 'function_call');
    const second = await api.responses.create({ model, tools: [tool], previous_response_id: first.id,
      input: [{ type: 'function_call_output', call_id: call.call_id, output: 'found it' }] });
    return { text: second.output_text, called: JSON.parse(call.arguments), first, response: second };
  }
  case 'approval': {
    const first = await api.responses.create(request);
    const asked = first.output.filter(item => item.type === 'mcp_approval_request');
    if (input.partial) {                          // an answer to the first question only, and then to both
      const decision = item => ({ type: 'mcp_approval_response', approval_request_id: item.id, approve: true });
      const refused = await api.responses.create({ model, previous_response_id: first.id, input: [decision(asked[0])] }).then(
        () => null, error => ({ name: error.constructor.name, status: error.status, message: error.message, param: error.param }));
      const whole = await api.responses.create({ model, previous_response_id: first.id, input: asked.map(decision) });
      return { text: whole.output_text, asked, refused };
    }
    const stream = api.responses.stream({ model, previous_response_id: first.id,
      input: asked.map(item => ({ type: 'mcp_approval_response', approval_request_id: item.id, approve: input.approve ?? true })) });
    const response = await stream.finalResponse();
    return { text: response.output_text, asked, first, response };
  }
  }
}

const parts = async stream => {
  const result = { text: '', reasoning: '', errors: [], parts: [], sources: [] };
  for await (const part of stream) {
    result.parts.push(part.type);
    if (part.type === 'text-delta') { result.text += part.text; }
    if (part.type === 'reasoning-delta') { result.reasoning += part.text; }
    if (part.type === 'source') { result.sources.push(part); }
    if (part.type === 'error') { result.errors.push(String(part.error?.message ?? part.error)); }
    if (part.type === 'finish') { result.finish = part.finishReason; result.usage = part.totalUsage; }
    if (part.type === 'tool-call') { result.called = { name: part.toolName, provider: part.providerExecuted ?? false, input: part.input }; }
    if (part.type === 'tool-result') { result.result = part.output; }
    if (part.type === 'tool-approval-request') { result.asked = (result.asked ?? []).concat(part.approvalId); }
  }
  return result;
};

async function aisdk(open) {
  const { generateText, streamText, tool: made, jsonSchema, isStepCount, stepCountIs } = await load('ai');
  const { createOpenAI } = await load('@ai-sdk/openai');
  const at = open ? (await load('@ai-sdk/open-responses')).createOpenResponses({ name: 'agentchat', url: `${baseURL}/responses`, apiKey })(model)
    : createOpenAI({ baseURL, apiKey }).responses(model);
  const mcp = () => createOpenAI({ baseURL, apiKey }).tools.mcp({ serverLabel: 'agentchat', serverUrl: 'https://unused.example/mcp',
                                                               requireApproval: 'always' });
  const options = { model: at, prompt: said, maxRetries: input.retries ?? 2, ...input.sdk };
  switch (which) {
  case 'whole': {
    const { text, finishReason, usage, sources } = await generateText(options);
    return { text, finish: finishReason, usage, sources };
  }
  case 'stream':
    return parts(streamText({ ...options, onError() {} }).fullStream);
  case 'turns': {
    const messages = [{ role: 'user', content: said }];
    const first = await generateText({ ...options, prompt: undefined, messages });
    messages.push(...first.response.messages, { role: 'user', content: 'and now?' });
    return parts(streamText({ ...options, prompt: undefined, messages, onError() {} }).fullStream);
  }
  case 'tools': {
    let called;
    const execute = args => { called = args; return 'found it'; };
    const { text } = streamText({ ...options, stopWhen: (isStepCount ?? stepCountIs)(3),
      tools: { look: made({ description: 'Looks', inputSchema: jsonSchema(look), execute }) } });
    return { text: await text, called };
  }
  case 'approval': {
    const tools = { mcp: mcp() }, messages = [{ role: 'user', content: said }];
    const first = await generateText({ ...options, prompt: undefined, messages, tools });
    const asked = first.content.filter(part => part.type === 'tool-approval-request');
    messages.push(...first.response.messages, { role: 'tool', content: asked.map(part => ({
      type: 'tool-approval-response', approvalId: part.approvalId, approved: input.approve ?? true, providerExecuted: true })) });
    return { asked: asked.length, ...await parts(streamText({ ...options, prompt: undefined, messages, tools, onError() {} }).fullStream) };
  }
  }
}

async function langchain() {
  const { ChatOpenAI } = await load('@langchain/openai');
  const { HumanMessage, ToolMessage } = await load('@langchain/core/messages');
  const chat = new ChatOpenAI({ model, apiKey, useResponsesApi: true, configuration: { baseURL }, maxRetries: input.retries ?? 2 });
  const shown = async (runnable, messages) => {
    let whole;
    for await (const chunk of await runnable.stream(messages)) { whole = whole ? whole.concat(chunk) : chunk; }
    return whole;
  };
  const result = message => ({ text: message.text, calls: message.tool_calls, usage: message.usage_metadata });
  const human = new HumanMessage(said);
  switch (which) {
  case 'whole': return result(await chat.invoke([human]));
  case 'stream': return result(await shown(chat, [human]));
  case 'turns': {
    const first = await chat.invoke([human]);
    return result(await shown(chat, [human, first, new HumanMessage('and now?')]));
  }
  case 'tools': {
    const asking = chat.bindTools([{ type: 'function', function: { name: 'look', parameters: look } }]);
    const first = await shown(asking, [human]), [call] = first.tool_calls;
    const answer = await asking.invoke([human, first, new ToolMessage({ tool_call_id: call.id, content: 'found it' })]);
    return { ...result(answer), called: call.args };
  }
  }
}

async function agents() {
  const { default: OpenAI } = await load('openai');
  const { Agent, run, tool: made, hostedMcpTool, setDefaultOpenAIClient, setTracingDisabled } = await load('@openai/agents');
  setTracingDisabled(true);
  setDefaultOpenAIClient(new OpenAI({ apiKey, baseURL, ...input.options }));
  let called;
  const tools = which === 'tools' ? [made({ name: 'look', description: 'Looks', parameters: look, strict: true,
                                            execute: async args => { called = args; return 'found it'; } })]
    : which === 'approval' ? [hostedMcpTool({ serverLabel: 'agentchat', serverUrl: 'https://unused.example/mcp', requireApproval: 'always' })]
      : [];
  const agent = new Agent({ name: 'Test', model, tools });
  switch (which) {
  case 'whole':
  case 'tools': {
    const result = await run(agent, said);
    return { text: result.finalOutput, called, items: result.newItems.map(item => item.type) };
  }
  case 'stream': {
    const result = await run(agent, said, { stream: true });
    let text = '';
    for await (const piece of result.toTextStream()) { text += piece; }
    await result.completed;
    return { text, items: result.newItems.map(item => item.type), last: result.finalOutput };
  }
  case 'turns': {
    const first = await run(agent, said);
    const second = await run(agent, first.history.concat({ role: 'user', content: 'and now?' }));
    return { text: second.finalOutput };
  }
  case 'approval': {
    const first = await run(agent, said), { length } = first.interruptions; // the state changes with the second run
    for (const asked of first.interruptions) { (input.approve ?? true) ? first.state.approve(asked) : first.state.reject(asked); }
    const second = await run(agent, first.state);
    return { text: second.finalOutput, asked: length };
  }
  }
}

const clients = { openai, openai6: openai, openai4: openai, aisdk: () => aisdk(false), open: () => aisdk(true), langchain, agents };
try {
  console.log(JSON.stringify(await clients[client](client)));
} catch (error) {
  console.log(JSON.stringify({
    error: { name: error.constructor.name, status: error.status ?? error.statusCode ?? null, code: error.code ?? null,
             type: error.type ?? null, param: error.param ?? null, message: String(error.message), request: error.requestID ?? error.request_id ?? null },
  }));
}
process.exit(0);
