// SPDX-License-Identifier: Apache-2.0
// Clients of the Model Context Protocol, unchanged: node mcp.mjs sdk|client|auto|pin URL JSON. `sdk` is version 1 of the TypeScript SDK,
// the others are version 2: its default, with a probe of the server's version, and with the newest version alone. The JSON has the steps:
// [[action, …arguments]…]. Prints [{…}…], what each step has given.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
const require = createRequire(process.env.PEERS + '/');
const [kind, url, text] = process.argv.slice(2);
const input = JSON.parse(text);
const load = name => import(pathToFileURL(require.resolve(name)));
const old = kind === 'sdk';
const { Client } = await load(old ? '@modelcontextprotocol/sdk/client/index.js' : '@modelcontextprotocol/client');
const { StreamableHTTPClientTransport } = await load(
  old ? '@modelcontextprotocol/sdk/client/streamableHttp.js' : '@modelcontextprotocol/client');
const ElicitRequestSchema = old ? (await load('@modelcontextprotocol/sdk/types.js')).ElicitRequestSchema : null;
const modes = { auto: { mode: 'auto' }, pin: { mode: { pin: '2026-07-28' } } };
const client = new Client({ name: 'test', version: '1' }, {
  capabilities: input.answers ? { elicitation: {} } : {},
  ...modes[kind] && { versionNegotiation: modes[kind] },
});
const asked = [], sent = [];
if (input.answers) {
  client.setRequestHandler(old ? ElicitRequestSchema : 'elicitation/create', request => {
    asked.push(request.params);
    return input.answers[Math.min(asked.length, input.answers.length) - 1];
  });
}
const counted = async (address, options) => {
  const response = await fetch(address, options);
  const message = options?.body ? JSON.parse(options.body) : {};
  const what = message.method ?? (message.result ? 'answer' : null);
  sent.push([options?.method ?? 'GET', what, response.status, response.headers.get('content-type')]);
  return response;
};
const transport = new StreamableHTTPClientTransport(new URL(url), { fetch: counted, requestInit: { headers: input.headers ?? {} } });
const line = () => new Promise(resolve => process.stdin.once('data', resolve));
const actions = {
  connect: async () => {
    await client.connect(transport);
    return { server: client.getServerVersion(), instructions: client.getInstructions(), capabilities: client.getServerCapabilities(),
             version: client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion };
  },
  list: () => client.listTools(),
  ping: () => client.ping(),
  // options: progress (a line on standard error), stop (by a line of standard input), and the SDK's own
  call: async (name, args, { progress, stop, ...options } = {}) => {
    const reports = [], abort = new AbortController();
    if (progress) { options.onprogress = said => { reports.push(said); console.error('progress'); }; }
    if (stop) { line().then(() => abort.abort('enough')); options.signal = abort.signal; }
    const params = { name, arguments: args };
    try {
      return { result: await (old ? client.callTool(params, undefined, options) : client.callTool(params, options)), reports };
    } catch (error) {
      return { error: { message: error.message, code: error.code ?? null, name: error.name }, reports };
    }
  },
  // Continues the thread of the last result.
  again: (name, message) => actions.call(name, { message, thread_id: given.at(-1).result.structuredContent.thread_id }),
  close: () => client.close(),
};
const given = [];
for (const [action, ...rest] of input.steps) {
  try {
    given.push(await actions[action](...rest) ?? {});
  } catch (error) {
    given.push({ error: { message: error.message, code: error.code ?? null, name: error.name } });
  }
}
console.log(JSON.stringify({ given, asked, sent }));
process.exit(0);
