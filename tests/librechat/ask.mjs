// SPDX-License-Identifier: Apache-2.0
// A turn as LibreChat runs it for a custom endpoint: node ask.mjs BASE KEY HEADER CONVERSATION TEXT... The texts are the user's and the
// assistant's in turns. Prints the answer.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
const require = createRequire(process.env.PEERS + '/');
const load = name => import(pathToFileURL(require.resolve(name)));
const [baseURL, apiKey, header, conversation, ...texts] = process.argv.slice(2);
const { Run, Providers } = await load('@librechat/agents');
const { AIMessage, HumanMessage } = await load('@langchain/core/messages');
const run = await Run.create({
  runId: 'run-1',
  graphConfig: {
    type: 'standard',
    llmConfig: {
      provider: Providers.OPENAI, model: 'assistant', apiKey, streaming: true,
      configuration: { baseURL, defaultHeaders: { [header]: conversation } },
    },
    instructions: 'Be kind.',
  },
  returnContent: true,
});
const messages = texts.map((text, i) => i % 2 ? new AIMessage(text) : new HumanMessage(text));
const parts = await run.processStream({ messages }, { configurable: { thread_id: conversation }, version: 'v2' });
console.log(parts.filter(part => part.type === 'text').map(part => part.text).join(''));
