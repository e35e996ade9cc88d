// SPDX-License-Identifier: Apache-2.0
// src/www/agentchat.js against a server that does what a real one hardly ever does, at an exact byte: node --test client.mjs
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { AgentChat, AgentChatError, EventStreamParser } from '../../src/www/agentchat.js';

let server, base, script, seen;
before(async () => {
  server = createServer(async (request, response) => {
    let body = '';
    for await (const piece of request) body += piece;
    seen.push({ method: request.method, url: request.url, headers: request.headers, body: body && JSON.parse(body) });
    const step = script.shift();
    if (!step) return response.writeHead(500).end();
    await step(response);
  });
  await new Promise(up => server.listen(0, '127.0.0.1', up));
  base = `http://127.0.0.1:${server.address().port}/api`;
});
after(() => server.close());

function client(steps, options = {}) {
  script = steps;
  seen = [];
  return new AgentChat({ url: base, backoff: { min: 1, max: 4 }, ...options });
}

const event = (id, type, more = {}) => `id: ${id}\ndata: ${JSON.stringify({ type, ...more })}\n\n`;
const RUN = event(1, 'run', { run_id: 'run_1', thread_id: 'thread_1' });
const token = (id, content) => event(id, 'token', { content });
const DONE = event(9, 'done', { run_id: 'run_1' });
const stream = (...pieces) => async response => {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  for (const piece of pieces) await new Promise(sent => response.write(piece, sent));
  response.end();
};
const cut = (...pieces) => async response => {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  for (const piece of pieces) await new Promise(sent => response.write(piece, sent));
  response.destroy();
};
const hold = (...pieces) => async response => {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  for (const piece of pieces) await new Promise(sent => response.write(piece, sent));
};
// What comes behind the last event that the client knows of, as a server has it.
const behind = (...blocks) => response => {
  const last = Number(seen.at(-1).headers['last-event-id'] ?? 0);
  return stream(...blocks.filter(block => Number(block.match(/\d+/)[0]) > last))(response);
};
const hangUp = response => response.destroy();
const problem = (status, code, headers = {}) => response => {
  response.writeHead(status, { 'Content-Type': 'application/problem+json', ...headers });
  response.end(JSON.stringify({ status, code, title: 'No', detail: `because ${code}`, request_id: 'req_1', errors: [] }));
};
const json = (value, status = 200) => response => {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(value));
};
const page = status => response => { response.writeHead(status, { 'Content-Type': 'text/html' }); response.end('<h1>gateway</h1>'); };

async function all(events) {
  const list = [];
  for await (const one of events) list.push(one);
  return list;
}
const short = list => list.map(one => one.content ?? one.type).join(' ');

test('the parser takes any piece, any line end', () => {
  const text = '\u{feff}: hi\nretry: 70\nid: 1\ndata: {"a"\ndata::1}\n\nevent: x\ndata:  two\n\ndata\n\n' +
    'id: 3\n\nretry: x\nother: 1\ndata: üñ€😀\n\ndata: lost';
  const expected = [{ event: 'message', data: '{"a"\n:1}', id: '1' }, { event: 'x', data: ' two', id: '1' },
    { event: 'message', data: '', id: '1' }, { event: 'message', data: 'üñ€😀', id: '3' }];
  for (const lineEnd of ['\n', '\r', '\r\n']) {
    const bytes = new TextEncoder().encode(text.replaceAll('\n', lineEnd));
    for (let size = 1; size < bytes.length; size++) {
      const parser = new EventStreamParser(), decoder = new TextDecoder(), got = [];
      for (let i = 0; i < bytes.length; i += size) got.push(...parser.push(decoder.decode(bytes.subarray(i, i + size), { stream: true })));
      assert.deepEqual(got, expected, `${JSON.stringify(lineEnd)} in pieces of ${size}`);
      assert.equal(parser.retry, 70);
    }
  }
});

test('an answer in one connection', async () => {
  const chat = client([stream('retry: 2000\n', RUN, token(2, 'a'), ': heartbeat\n', 'data: {"type":"heartbeat"}\n\n', token(3, 'b'), DONE)], { key: 'k' });
  const events = await all(chat.send('thread_1', 'hello', { metadata: { a: 'b' } }));
  assert.equal(short(events), 'run a b done');
  assert.deepEqual(events.map(one => one.id), ['1', '2', '3', '9']);
  assert.equal(seen[0].url, '/api/threads/thread_1/messages');
  assert.deepEqual(seen[0].body, { content: 'hello', metadata: { a: 'b' }, stream: true });
  assert.equal(seen[0].headers['x-api-key'], 'k');
  assert.match(seen[0].headers['idempotency-key'], /^[0-9a-f]{32}$/);
});

test('a cut at every byte loses nothing and repeats nothing', async () => {
  const whole = RUN + token(2, 'a') + token(3, 'é') + DONE, bytes = new TextEncoder().encode(whole);
  const blocks = [RUN, token(2, 'a'), token(3, 'é'), DONE];
  for (let at = 0; at < bytes.length; at += 3) {
    const chat = client([cut(bytes.subarray(0, at)), behind(...blocks)]);
    assert.equal(short(await all(chat.send('thread_1', 'x'))), 'run a é done', `cut at ${at}`);
    assert.equal(seen.length, 2);
    const knew = at >= new TextEncoder().encode(RUN).length;
    assert.equal(seen[1].method, knew ? 'GET' : 'POST');
    if (!knew) assert.equal(seen[1].headers['idempotency-key'], seen[0].headers['idempotency-key']);
    else assert.equal(seen[1].url, '/api/runs/run_1/events');
  }
});

test('it is sent again with the same key while the server is away', async () => {
  const retries = [];
  const chat = client([hangUp, page(502), problem(503, 'overloaded', { 'Retry-After': '0' }), 
    problem(429, 'rate_limited', { 'Retry-After': '0' }), stream(RUN, DONE)],
  { onretry: info => retries.push([info.attempt, info.delay, info.error.status]) });
  assert.equal(short(await all(chat.send(null, 'x', { agent_id: 'a' }))), 'run done');
  assert.equal(new Set(seen.map(one => one.headers['idempotency-key'])).size, 1);
  assert.ok(seen.every(one => one.url === '/api/agents/a/chat'));
  assert.deepEqual(retries.map(([attempt]) => attempt), [1, 2, 3, 4]);
  assert.deepEqual(retries.slice(2).map(([, delay]) => delay), [0, 0]);
});

test('a refusal is thrown at once', async () => {
  for (const step of [problem(409, 'run_in_progress'), problem(401, 'unauthenticated'), problem(502, 'model_error'), 
    problem(503, 'store_error'), problem(429, 'budget_exceeded', { 'Retry-After': '3600' })]) {
    const chat = client([step]);
    await assert.rejects(all(chat.send('thread_1', 'x')), error => {
      assert.ok(error instanceof AgentChatError);
      assert.equal(error.message, `because ${error.code}`);
      assert.equal(error.requestId, 'req_1');
      if (error.code === 'budget_exceeded') assert.equal(error.retryAfter, 3_600_000);
      return true;
    });
    assert.equal(seen.length, 1);
  }
});

test('it gives up after the maximum of failed attempts', async () => {
  const chat = client([stream(RUN, token(2, 'a')), hangUp, stream(token(3, 'b')), hangUp, hangUp], { retries: 2 });
  const got = [];
  await assert.rejects(async () => { for await (const one of chat.send('thread_1', 'x')) got.push(one); },
    error => error instanceof AgentChatError && error.status === 0 && error.code === 'connection_lost');
  assert.equal(short(got), 'run a b');
  assert.equal(seen.length, 5);
});

test('a run that is gone ends the following', async () => {
  const chat = client([cut(RUN, token(2, 'a')), problem(404, 'not_found')]);
  await assert.rejects(all(chat.send('thread_1', 'x')), { code: 'not_found', status: 404 });
});

test('follow continues behind an event; 204 ends it', async () => {
  let chat = client([stream(token(3, 'b'), DONE)]);
  assert.equal(short(await all(chat.follow('run_1', 2))), 'b done');
  assert.equal(seen[0].headers['last-event-id'], '2');
  chat = client([response => response.writeHead(204).end()]);
  assert.deepEqual(await all(chat.follow('run_1', 9)), []);
  chat = client([stream(RUN, event(2, 'error', { code: 'model_error' }))]);
  assert.equal(short(await all(chat.follow('run_1'))), 'run error');
  assert.equal(seen[0].headers['last-event-id'], undefined);
});

test('a silent stream is opened again', async () => {
  // On a busy machine the second one may seem silent too, and is opened again as well.
  const chat = client([hold(RUN, token(2, 'a')), ...Array(5).fill(behind(RUN, token(2, 'a'), token(3, 'b'), DONE))], { silence: 500 });
  assert.equal(short(await all(chat.send('thread_1', 'x'))), 'run a b done');
  assert.equal(seen[1].headers['last-event-id'], '2');
});

test('retry: raises the least pause', async () => {
  const delays = [];
  const chat = client([cut('retry: 40\n', RUN), cut(), cut(), stream(DONE)],
    { backoff: { min: 1, max: 60 }, onretry: ({ delay }) => delays.push(delay) });
  await all(chat.send('thread_1', 'x'));
  assert.ok(delays[0] >= 20 && delays[0] <= 40 && delays[1] >= 30 && delays[1] <= 60 && delays[2] <= 60, String(delays));
});

test('abort and break end the watching', async () => {
  const abort = new AbortController();
  const chat = client([hold(RUN), hold(RUN)]);
  await assert.rejects(async () => {
    for await (const one of chat.send('thread_1', 'x', { signal: abort.signal })) if (one.type === 'run') abort.abort(new Error('enough'));
  }, { message: 'enough' });
  for await (const one of chat.send('thread_1', 'x')) if (one.type === 'run') break;
  assert.equal(seen.length, 2);
  await assert.rejects(all(chat.send('thread_1', 'x', { signal: abort.signal })), { message: 'enough' });
  server.closeAllConnections?.();
});

test('an abort ends a pause', async () => {
  const abort = new AbortController();
  const chat = client([hangUp], { backoff: { min: 60_000, max: 60_000 }, onretry: () => abort.abort(new Error('enough')) });
  await assert.rejects(all(chat.send('thread_1', 'x', { signal: abort.signal })), { message: 'enough' });
});

test('an event that is not JSON', async () => {
  await assert.rejects(all(client([stream('data: {\n\n')]).send('thread_1', 'x')), { code: 'bad_event' });
});

test('an empty message sends no request', async () => {
  for (const thread of [null, 'thread_1']) {
    const chat = client([]);
    await assert.rejects(all(chat.send(thread, ' \n')), { code: 'message_empty', status: 400 });
    assert.equal(seen.length, 0);
  }
});

test('a first message that is refused leaves no thread', async () => {
  let chat = client([json({ id: 'thread_1' }), problem(413, 'body_too_large'), json({})]);
  await assert.rejects(all(chat.send(null, 'x')), { code: 'body_too_large' });
  assert.deepEqual(seen.map(one => `${one.method} ${one.url.slice(4)}`),
    ['POST /threads', 'POST /threads/thread_1/messages', 'DELETE /threads/thread_1?hard_delete=true']);
  // Where it may have been stored, and where its run began, the thread stays.
  chat = client([json({ id: 'thread_1' }), problem(504, 'store_timeout')]);
  await assert.rejects(all(chat.send(null, 'x')), { code: 'store_timeout' });
  chat = client([json({ id: 'thread_1' }), cut(RUN), problem(404, 'not_found')]);
  await assert.rejects(all(chat.send(null, 'x')), { code: 'not_found' });
  assert.equal(seen.length, 3);
});

test('a page in the place of an answer is an error at once', async () => {
  const away = response => response.writeHead(302, { Location: 'https://sign.example/' }).end();
  for (const step of [away, page(200)]) {
    for (const call of [chat => all(chat.send('thread_1', 'x')), chat => all(chat.follow('run_1')), chat => chat.agents()]) {
      const chat = client([step], { redirect: 'manual' });
      await assert.rejects(call(chat), error => error.code === 'redirected' && error.wantsSignIn && !error.transient);
      assert.equal(seen.length, 1);
    }
  }
  const chat = client([response => response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="x"' }).end()]);
  await assert.rejects(chat.agents(), { status: 401, scheme: 'basic', wantsSignIn: true });
});

// ---- branches ----
const FILES = [{ type: 'text', text: 'x' }, { type: 'file', file_id: 'file_1' }];

test('an edited question is a sibling: it has the same parent, and none in the place of the first', async () => {
  for (const [parent_id, content] of [['msg_7', 'in other words'], [null, 'in other words'], [null, FILES]]) {
    const chat = client([stream(RUN, token(2, 'a'), DONE)]);
    const events = await all(chat.edit('thread_1', { id: 'msg_8', parent_id }, content, { agent_id: 'b', metadata: { a: 'b' } }));
    assert.equal(short(events), 'run a done');
    assert.equal(seen[0].url, '/api/threads/thread_1/messages');
    assert.deepEqual(seen[0].body, { content, agent_id: 'b', metadata: { a: 'b' }, parent_id, stream: true });
  }
  await assert.rejects(all(client([]).edit('thread_1', { parent_id: null }, ' ')), { code: 'message_empty' });
  assert.equal(seen.length, 0);
});

test('a further answer names the message, and no text', async () => {
  let chat = client([stream(RUN, DONE)]);
  await all(chat.regenerate('thread/1', 'msg_2', { agent_id: 'b', idempotencyKey: 'key' }));
  assert.equal(seen[0].url, '/api/threads/thread%2F1/messages');
  assert.deepEqual(seen[0].body, { regenerate: 'msg_2', agent_id: 'b', stream: true });
  assert.equal(seen[0].headers['idempotency-key'], 'key');
  chat = client([stream(RUN, DONE)]);
  await all(chat.regenerate('thread_1', 'msg_2'));
  assert.deepEqual(seen[0].body, { regenerate: 'msg_2', stream: true });
  assert.match(seen[0].headers['idempotency-key'], /^[0-9a-f]{32}$/);
});

test('a cut makes no second version', async () => {
  const calls = [chat => chat.edit('thread_1', { parent_id: 'msg_7' }, 'x'), chat => chat.regenerate('thread_1', 'msg_8')];
  const blocks = [RUN, token(2, 'a'), token(3, 'é'), DONE], bytes = new TextEncoder().encode(blocks.join(''));
  const begun = new TextEncoder().encode(RUN).length;
  for (const call of calls) {
    for (let at = 0; at < bytes.length; at += 5) {
      const chat = client([hangUp, cut(bytes.subarray(0, at)), behind(...blocks)]);
      assert.equal(short(await all(call(chat))), 'run a é done', `cut at ${at}`);
      const posts = seen.filter(one => one.method === 'POST');
      assert.equal(posts.length, at < begun ? 3 : 2);
      assert.equal(new Set(posts.map(one => one.headers['idempotency-key'])).size, 1);
      for (const one of posts) assert.deepEqual(one.body, posts[0].body);
      if (at >= begun) assert.equal(seen.at(-1).url, '/api/runs/run_1/events');
    }
  }
});

test('a refusal of a version is thrown at once', async () => {
  for (const step of [problem(409, 'run_in_progress'), problem(404, 'not_found'), problem(400, 'invalid_request')]) {
    for (const call of [chat => all(chat.edit('thread_1', { parent_id: 'msg_1' }, 'x')), chat => all(chat.regenerate('thread_1', 'msg_2')),
      chat => chat.switchBranch('thread_1', 'msg_2')]) {
      await assert.rejects(call(client([step])), error => error instanceof AgentChatError && error.message === `because ${error.code}`);
      assert.equal(seen.length, 1);
    }
  }
});

test('a branch is chosen by one of its messages', async () => {
  const chat = client([json({ id: 'thread_1', leaf: 'msg_9' })]);
  assert.equal((await chat.switchBranch('thread_1', 'msg_2')).leaf, 'msg_9');
  assert.deepEqual([seen[0].method, seen[0].url, seen[0].body], ['PATCH', '/api/threads/thread_1', { leaf: 'msg_2' }]);
  const abort = AbortSignal.abort(new Error('enough'));
  await assert.rejects(client([]).switchBranch('thread_1', 'msg_2', { signal: abort }), { message: 'enough' });
});

test('the other calls', async () => {
  const chat = client(Array.from({ length: 18 }, () => json({ data: [] })),
    { url: `${base}/`, headers: async () => ({ Authorization: 'Bearer t' }) });
  await chat.createThread({ title: 't' });
  await chat.threads({ limit: 5, after: 'a b', status: undefined });
  await chat.thread('thread_1');
  await chat.renameThread('thread_1', 'n');
  await chat.deleteThread('thread_1', { hard: true });
  await chat.restoreThread('thread_1');
  await chat.messages('thread_1', { before: 7, order: 'desc' });
  await chat.runs('thread_1', { limit: 1 });
  assert.deepEqual(await chat.steps('run_1'), []);
  assert.deepEqual(await chat.agents(), []);
  await chat.cancel('run_1');
  await chat.approve('run_1', 'call_1', false, 'no');
  assert.deepEqual(seen.map(one => `${one.method} ${one.url.slice(4)}`), ['POST /threads', 'GET /threads?limit=5&after=a+b',
    'GET /threads/thread_1', 'PATCH /threads/thread_1', 'DELETE /threads/thread_1?hard_delete=true', 'POST /threads/thread_1/restore',
    'GET /threads/thread_1/messages?before=7&order=desc', 'GET /threads/thread_1/runs?limit=1', 'GET /runs/run_1/steps', 'GET /agents',
    'POST /runs/run_1/cancel', 'POST /runs/run_1/approvals']);
  await chat.rate('msg_1', { rating: 'down', reason: 'incorrect' });
  await chat.messages('thread_1', { all: true });
  await chat.threads({ q: 'two words', pinned: true });
  await chat.me();
  await chat.forgetMe();
  await (await chat.exportMe({ after: 'p 1' })).text();
  assert.deepEqual(seen.slice(12).map(one => `${one.method} ${one.url.slice(4)}`), ['PUT /messages/msg_1/feedback',
    'GET /threads/thread_1/messages?all=true', 'GET /threads?q=two+words&pinned=true', 'GET /me', 'DELETE /me', 'GET /me/export?after=p+1']);
  assert.deepEqual([seen[12].body, seen[16].body], [{ rating: 'down', reason: 'incorrect' }, { confirm: 'delete everything' }]);
  assert.deepEqual(seen[11].body, { call_id: 'call_1', approve: false, reason: 'no' });
  assert.ok(seen.every(one => one.headers.authorization === 'Bearer t'));
});
