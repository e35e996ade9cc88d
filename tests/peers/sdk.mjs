// SPDX-License-Identifier: Apache-2.0
// The vendor's SDK on the documents of the store: node sdk.mjs read|write ENDPOINT DATABASE JSON
import { createRequire } from 'node:module';
const { CosmosClient } = createRequire(process.env.PEERS + '/')('@azure/cosmos');

const [command, endpoint, name, text] = process.argv.slice(2);
const KEY = 'YSBrZXkgb2YgdGhlIHNjcmlwdGVkIGFjY291bnQsIG9mIHNpeHR5LWZvdXIgYnl0ZXMsIGFsbCB2aXNpYmxlLg==';
const database = new CosmosClient({ endpoint, key: KEY, connectionPolicy: { enableEndpointDiscovery: false } }).database(name);
const messages = database.container('messages'), threads = database.container('threads');
const input = JSON.parse(text);

async function read() {
  const { resource: head } = await messages.item(input.thread, input.thread).read();
  const { resources: list } = await messages.items.query({
    query: "SELECT * FROM c WHERE c.thread_id = @t AND c.role IN ('user', 'assistant') ORDER BY c.seq",
    parameters: [{ name: '@t', value: input.thread }],
  }, { partitionKey: input.thread }).fetchAll();
  const { resource: run } = await messages.item(list[0].run_id, input.thread).read();
  const { resources: entries } = await threads.items.query({
    query: "SELECT * FROM c WHERE c.owner = @o AND c.type = 'thread'",
    parameters: [{ name: '@o', value: input.owner }],
  }, { partitionKey: input.owner }).fetchAll();
  console.log(JSON.stringify({ head, list, run, entries }));
}

async function write() {
  await threads.items.create(input.entry);
  for (const message of input.messages) await messages.items.create(message);
  await messages.items.create(input.head);
  console.log('{}');
}

await (command === 'read' ? read : write)();
