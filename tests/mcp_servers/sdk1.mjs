// SPDX-License-Identifier: Apache-2.0
// An MCP server on version 1 of the project's SDK, with sessions, a store of events and a question: node sdk1.mjs PORT.
import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const load = name => import(pathToFileURL(createRequire(`${process.env.PEERS}/x.js`).resolve(`@modelcontextprotocol/sdk/${name}`)).href);
const { McpServer } = await load('server/mcp.js');
const { StreamableHTTPServerTransport } = await load('server/streamableHttp.js');
const { createMcpExpressApp } = await load('server/express.js');
const { InMemoryEventStore } = await load('examples/shared/inMemoryEventStore.js');
const { z } = await import(pathToFileURL(createRequire(`${process.env.PEERS}/x.js`).resolve('zod')).href);

const text = value => ({ content: [{ type: 'text', text: value }] });

function make() {
  const server = new McpServer({ name: 'sdk1', version: '1.0.0' });
  server.registerTool('deploy', { description: 'Deploys, after a question', inputSchema: { env: z.string() }, annotations: { destructiveHint: false } },
    async ({ env }, extra) => {
      const answer = await extra.sendRequest({ method: 'elicitation/create', params: {
        message: `Deploy to ${env}?`, requestedSchema: { type: 'object', properties: { confirm: { type: 'boolean' } }, required: ['confirm'] },
      } }, (await load('types.js')).ElicitResultSchema);
      return text(answer.action === 'accept' && answer.content.confirm ? `deployed to ${env}` : `not deployed: ${answer.action}`);
    });
  return server;
}

const transports = new Map();
const app = createMcpExpressApp();
app.all('/mcp', async (request, response) => {
  const id = request.headers['mcp-session-id'];
  let transport = transports.get(id);
  if (!transport) {
    if (id) {
      response.status(404).json({ jsonrpc: '2.0', error: { code: -32001, message: 'Session not found' }, id: null });
      return;
    }
    transport = new StreamableHTTPServerTransport({ sessionIdGenerator: randomUUID, eventStore: new InMemoryEventStore(),
      onsessioninitialized: opened => transports.set(opened, transport) });
    await make().connect(transport);
  }
  await transport.handleRequest(request, response, request.body);
});
app.listen(Number(process.argv[2]), '127.0.0.1', () => console.error('listening'));
