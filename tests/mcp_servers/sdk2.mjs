// SPDX-License-Identifier: Apache-2.0
// An MCP server on version 2 of the project's SDK, as its documentation shows one: node sdk2.mjs PORT [legacy]. It speaks both eras, or,
// with "legacy", the older one only, without sessions.
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const load = name => import(pathToFileURL(createRequire(`${process.env.PEERS}/x.js`).resolve(name)).href);
const { McpServer, acceptedContent, createMcpHandler, fromJsonSchema, inputRequired } = (await load('@modelcontextprotocol/server'));
const { NodeStreamableHTTPServerTransport, toNodeHandler } = (await load('@modelcontextprotocol/node'));

const text = value => ({ content: [{ type: 'text', text: value }] });
const confirmation = fromJsonSchema({ type: 'object', properties: { confirm: { type: 'boolean' } }, required: ['confirm'] });

function make() {
  const server = new McpServer({ name: 'sdk2', version: '1.0.0' });
  server.registerTool('add', {
    description: 'Adds two numbers', annotations: { readOnlyHint: true },
    inputSchema: fromJsonSchema({ type: 'object', properties: { a: { type: 'number' }, b: { type: 'number' } }, required: ['a', 'b'] }),
    outputSchema: fromJsonSchema({ type: 'object', properties: { sum: { type: 'number' } }, required: ['sum'] }),
  }, async ({ a, b }) => ({ ...text(JSON.stringify({ sum: a + b })), structuredContent: { sum: a + b } }));
  server.registerTool('region', {
    description: 'Repeats the header of the request', annotations: { readOnlyHint: true },
    inputSchema: fromJsonSchema({ type: 'object', properties: { name: { type: 'string', 'x-mcp-header': 'Region' } } }),
  }, async ({ name }) => text(`in ${name}`));
  server.registerTool('deploy', {
    description: 'Deploys, after a question', annotations: { destructiveHint: false },
    inputSchema: fromJsonSchema({ type: 'object', properties: { env: { type: 'string' } }, required: ['env'] }),
  }, async ({ env }, context) => {
    const answer = acceptedContent(context.mcpReq.inputResponses, 'confirm', confirmation);
    if (answer?.confirm !== true) {
      return inputRequired({ inputRequests: { confirm: inputRequired.elicit({ message: `Deploy to ${env}?`, requestedSchema: confirmation }) } });
    }
    return text(`deployed to ${env}`);
  });
  server.registerTool('fail', { description: 'Fails', annotations: { readOnlyHint: true } }, async () => { throw new Error('out of order'); });
  return server;
}

async function legacy(request, response) {
  const transport = new NodeStreamableHTTPServerTransport({ sessionIdGenerator: undefined });
  await make().connect(transport);
  await transport.handleRequest(request, response);
}

const [port, era] = process.argv.slice(2);
createServer(era === 'legacy' ? legacy : toNodeHandler(createMcpHandler(make))).listen(Number(port), '127.0.0.1', () => console.error('listening'));
