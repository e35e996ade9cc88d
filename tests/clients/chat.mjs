// SPDX-License-Identifier: Apache-2.0
// Chat completions by unchanged clients: node chat.mjs CLIENT CASE BASE-URL JSON. Prints {text, finish, usage, reasoning, error}.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
const require = createRequire(process.env.PEERS + '/');
const load = name => import(pathToFileURL(require.resolve(name)));
const [client, which, baseURL, text] = process.argv.slice(2);
const input = JSON.parse(text);
const messages = input.messages ?? [{ role: 'user', content: 'hi' }];
const apiKey = input.key ?? 'none', model = input.model ?? 'assistant';

const person = async () => {
  const { z } = await load('zod');
  return z.object({ name: z.string(), age: z.number().nullable() });
};
const look = { type: 'object', properties: { what: { type: 'string' } }, required: ['what'] };

async function openai(name) {
  const { default: OpenAI, AzureOpenAI } = await load(name);
  const api = which === 'azure' ? new AzureOpenAI({ apiKey, endpoint: baseURL, apiVersion: '2024-10-21', deployment: model })
    : new OpenAI({ apiKey, baseURL, ...input.options });
  const request = { model, messages, ...input.request };
  const result = { text: '', finish: null, usage: null, reasoning: '' };
  switch (which) {
  case 'models':
    for await (const one of api.models.list()) { result.text += one.id + ' '; }
    result.usage = await api.models.retrieve(model);
    break;
  case 'azure':
  case 'whole': {
    const answer = await api.chat.completions.create(request);
    result.text = answer.choices[0].message.content;
    result.finish = answer.choices[0].finish_reason;
    result.usage = answer.usage;
    result.request = answer._request_id;
    result.sources = answer.choices[0].message.annotations.map(one => one.url_citation);
    break;
  }
  case 'stream':
    for await (const chunk of await api.chat.completions.create({ ...request, stream: true, stream_options: { include_usage: true } })) {
      result.text += chunk.choices[0]?.delta?.content ?? '';
      result.reasoning += chunk.choices[0]?.delta?.reasoning_content ?? '';
      result.sources = chunk.choices[0]?.delta?.annotations?.map(one => one.url_citation) ?? result.sources;
      result.finish = chunk.choices[0]?.finish_reason ?? result.finish;
      result.usage = chunk.usage ?? result.usage;
    }
    break;
  case 'again':       // a stream that is cut; the program sends the request again
    for (let attempt = 0; attempt < 2 && !result.finish; attempt++) {
      result.text = '';
      try {
        for await (const chunk of await api.chat.completions.create({ ...request, stream: true })) {
          result.text += chunk.choices[0].delta.content ?? '';
          result.finish = chunk.choices[0].finish_reason;
          if (attempt === 0 && result.text === input.seen) { console.log('begun'); }
        }
      } catch (error) { result.cut = String(error.message); }
    }
    break;
  case 'tools': {
    const chat = api.chat.completions.runTools ? api.chat.completions : api.beta.chat.completions;
    const runner = chat.runTools({ ...request, stream: true, tools: [{ type: 'function', function: {
      name: 'look', parameters: look, parse: JSON.parse, function: args => { result.called = args; return 'found it'; } } }] });
    result.text = await runner.finalContent();
    break;
  }
  case 'parse': {
    const { zodResponseFormat, zodTextFormat } = await load(name + '/helpers/zod');
    const schema = await person();
    const answer = await api.chat.completions.parse({ ...request, response_format: zodResponseFormat(schema, 'person') });
    result.parsed = answer.choices[0].message.parsed;
    const response = await api.responses.parse({ model, input: 'hi', text: { format: zodTextFormat(schema, 'person') } });
    result.response = response.output_parsed;
    break;
  }
  case 'helper': {
    const chat = api.chat.completions.stream ? api.chat.completions : api.beta.chat.completions;
    const stream = chat.stream(request);
    stream.on('content', delta => { result.text += delta; });
    stream.on('chunk', chunk => { result.reasoning += chunk.choices[0]?.delta?.reasoning_content ?? ''; });
    const answer = await stream.finalChatCompletion();
    result.finish = answer.choices[0].finish_reason;
    result.same = answer.choices[0].message.content === result.text;
    break;
  }
  }
  return result;
}

async function aisdk(compatible) {
  const { generateText, streamText, Output, tool, jsonSchema, stepCountIs, isStepCount } = await load('ai');
  const { createOpenAI } = await load('@ai-sdk/openai');
  const { createOpenAICompatible } = await load('@ai-sdk/openai-compatible');
  const at = compatible ? createOpenAICompatible({ name: 'agentchat', baseURL, apiKey })(model)
    : createOpenAI({ baseURL, apiKey }).chat(model);
  const options = { model: at, messages, ...input.sdk };
  if (which === 'tools') {
    let called;
    const execute = args => { called = args; return 'found it'; };
    const { text } = streamText({ ...options, stopWhen: (isStepCount ?? stepCountIs)(3),
      tools: { look: tool({ description: 'Looks', inputSchema: jsonSchema(look), execute }) } });
    return { text: await text, called };
  }
  if (which === 'parse') {
    const wanted = { ...options, output: Output.object({ schema: await person() }) };
    const { output } = await generateText(wanted), streamed = streamText(wanted);
    await streamed.consumeStream();
    return { parsed: output, response: await streamed.output };
  }
  if (which === 'whole') {
    const { text, finishReason, usage, sources } = await generateText(options);
    return { text, finish: finishReason, usage, sources };
  }
  const result = { text: '', reasoning: '', errors: [], parts: [], sources: [] };
  for await (const part of streamText({ ...options, onError() {} }).fullStream) {
    result.parts.push(part.type);
    if (part.type === 'text-delta') { result.text += part.text; }
    if (part.type === 'reasoning-delta') { result.reasoning += part.text; }
    if (part.type === 'source') { result.sources.push(part); }
    if (part.type === 'error') { result.errors.push(String(part.error?.message ?? part.error)); }
    if (part.type === 'finish') { result.finish = part.finishReason; result.usage = part.totalUsage; }
  }
  return result;
}

async function langchain() {
  const { ChatOpenAI } = await load('@langchain/openai');
  const chat = new ChatOpenAI({ model, apiKey, configuration: { baseURL }, ...input.options });
  if (which === 'tools') {
    const asking = chat.bindTools([{ type: 'function', function: { name: 'look', parameters: look } }]);
    let whole;
    for await (const chunk of await asking.stream(messages)) { whole = whole ? whole.concat(chunk) : chunk; }
    const [call] = whole.tool_calls;
    const { text } = await asking.invoke([...messages, whole, { role: 'tool', tool_call_id: call.id, content: 'found it' }]);
    return { text, called: call.args };
  }
  if (which === 'parse') {
    const schema = await person();
    const parsed = await chat.withStructuredOutput(schema, { method: 'jsonSchema' }).invoke(messages);
    return { parsed, response: await chat.withStructuredOutput(schema, { method: 'jsonSchema' }).invoke(messages) };
  }
  if (which === 'whole') {
    const answer = await chat.invoke(messages);
    return { text: answer.content, calls: answer.tool_calls, finish: answer.response_metadata.finish_reason, usage: answer.usage_metadata };
  }
  const result = { text: '', calls: 0 };
  for await (const chunk of await chat.stream(messages)) {
    result.text += chunk.content;
    result.calls += chunk.tool_call_chunks?.length ?? 0;
    result.reasoning = (result.reasoning ?? '') + (chunk.additional_kwargs?.reasoning_content ?? '');
    result.finish = chunk.response_metadata?.finish_reason ?? result.finish;
  }
  return result;
}

const clients = { openai, openai6: openai, openai4: openai, aisdk: () => aisdk(false), compatible: () => aisdk(true), langchain };
try {
  console.log(JSON.stringify(await clients[client](client)));
} catch (error) {
  console.log(JSON.stringify({
    error: { name: error.constructor.name, status: error.status ?? error.statusCode ?? null, code: error.code ?? null,
             type: error.type ?? null, param: error.param ?? null, message: String(error.message), request: error.requestID ?? error.request_id ?? null },
  }));
}
process.exit(0);
