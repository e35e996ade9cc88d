// SPDX-License-Identifier: Apache-2.0
// A browser for tests in another language: one JSON object a line on stdin, {ref, method, args}, one a line on stdout,
// {value | ref | error}. `ref` 0 is the browser; what is no plain value gets a number of its own: node bridge.mjs CHROMIUM
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
const { chromium } = createRequire(process.env.PEERS + '/')('playwright-core');

const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-background-timer-throttling', '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows', '--hide-scrollbars=false'];
const browser = await chromium.launch({ executablePath: process.argv[2], args: ARGS, headless: true });
const things = [browser];
const said = [];                        // what pages wrote to their consoles, and what they threw

function isPlain(value) {
  if (value === null || typeof value !== 'object') return typeof value !== 'function';
  if (Array.isArray(value)) return value.every(isPlain);
  return [Object.prototype, null].includes(Object.getPrototypeOf(value)) && Object.values(value).every(isPlain);
}

function keep(thing) {
  if (thing?.constructor?.name === 'Page') {
    thing.on('console', message => {
      if (['error', 'warning'].includes(message.type())) said.push(`${message.type()}: ${message.text()} ${message.location().url}`);
    });
    thing.on('pageerror', error => said.push(`thrown: ${error.stack ?? error}`));
  }
  return things.push(thing) - 1;
}

function given(value) {
  if (value && typeof value === 'object' && 'ref' in value) return things[value.ref];
  return value;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { ref, method, args } = JSON.parse(line);
  let answer;
  try {
    if (method === '_said') answer = { value: said.splice(0) };
    else {
      const target = things[ref], member = target[method];
      const result = typeof member === 'function' ? await member.apply(target, args.map(given)) : member;
      if (result === undefined || Buffer.isBuffer(result)) answer = { value: null };
      else answer = isPlain(result) ? { value: result } : { ref: keep(result) };
    }
  } catch (error) {
    answer = { error: String(error.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
