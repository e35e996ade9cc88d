// SPDX-License-Identifier: Apache-2.0
// A client of mod_agentchat for browsers and for Node 18 and later. One file, no dependencies; agentchat.d.ts has
// its types. The manual: docs/clients.md

/**
 * An event of a run, see "Native events" in docs/api.md; `id` is the position after which `follow` continues.
 * @typedef {{type: string, timestamp: string, id?: string, [member: string]: any}} NativeEvent
 * @typedef {{id: string, title: string, agent_id: string?, status: string, metadata: Object<string, string>,
 *            message_count: number, created_at: string, updated_at: string}} Thread
 * @typedef {{id: string, thread_id: string, seq: number, role: string, content: string, tool_calls: Object[]?,
 *            run_id: string, timestamp: string, metadata: Object}} Message
 * @typedef {{data: any[], has_more: boolean, next: string?}} Page
 */

/** A failure: a problem document of the server, or (status 0) a lost connection that could not be restored. */
export class AgentChatError extends Error {
  /** @param {{status?: number, code?: string, title?: string, detail?: string, request_id?: string, errors?: Object[]}} problem */
  constructor(problem, more = {}) {
    super(problem.detail || problem.title || `the server answered ${problem.status}`, more.cause && { cause: more.cause });
    this.name = 'AgentChatError';
    /** @type {number} the HTTP status; 0 without an answer */
    this.status = problem.status ?? 0;
    /** @type {string} stable, for programs: docs/errors.md */
    this.code = problem.code ?? (this.status ? 'http_error' : 'connection_lost');
    this.title = problem.title ?? '';
    this.detail = problem.detail ?? '';
    this.requestId = problem.request_id ?? null;
    /** @type {{pointer: string, detail: string}[]} the wrong members of the request */
    this.errors = problem.errors ?? [];
    /** @type {number?} the delay in milliseconds that the server asks for before the next attempt */
    this.retryAfter = more.retryAfter ?? null;
    /** @type {string} the scheme of WWW-Authenticate, in lower case: "bearer", "basic" */
    this.scheme = more.scheme ?? '';
    /** True if the connection to the server failed; false if the server refused. */
    this.transient = more.transient ?? false;
  }

  /** True if the request had no valid authentication, or it has expired: 401, or a web page instead of an answer. */
  get wantsSignIn() { return this.status === 401 || this.code === 'redirected'; }
}

/** Parses text/event-stream, in pieces of any size. https://html.spec.whatwg.org/multipage/server-sent-events.html */
export class EventStreamParser {
  #line = '';
  #afterCR = false;
  #data = [];
  #event = '';
  #id = '';
  /** @type {number?} the value of the last `retry:`, in milliseconds */
  retry = null;

  /** @param {string} text @returns {{event: string, data: string, id: string}[]} the events that this piece completed */
  push(text) {
    const found = [];
    let from = 0;
    for (let i = 0; i < text.length; i++) {
      const c = text[i];
      if (c === '\n' && this.#afterCR) {
        this.#afterCR = false;
        from = i + 1;
        continue;
      }
      this.#afterCR = c === '\r';
      if (c === '\n' || c === '\r') {
        this.#take(this.#line + text.slice(from, i), found);
        this.#line = '';
        from = i + 1;
      }
    }
    this.#line += text.slice(from);
    return found;
  }

  #take(line, found) {
    if (line === '') {
      if (this.#data.length) found.push({ event: this.#event || 'message', data: this.#data.join('\n'), id: this.#id });
      this.#data = [];
      this.#event = '';
      return;
    }
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'data') this.#data.push(value);
    else if (name === 'event') this.#event = value;
    else if (name === 'id' && !value.includes('\0')) this.#id = value;
    else if (name === 'retry' && /^\d+$/.test(value)) this.retry = Number(value);
  }
}

const TERMINAL = new Set(['done', 'error']);
const PATIENCE = 60_000;        // a server that asks for more than this is not waited for

/** A unique key. crypto.randomUUID exists on https and on localhost only, and Node 18 has no crypto at all. */
function newKey() {
  const bytes = globalThis.crypto?.getRandomValues(new Uint8Array(16)) ?? Array.from({ length: 16 }, () => Math.floor(Math.random() * 256));
  return [...bytes].map(byte => byte.toString(16).padStart(2, '0')).join('');
}

function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null);
  return given.length ? `?${new URLSearchParams(given)}` : '';
}

function retryAfterOf(response) {
  const text = response.headers.get('Retry-After');
  if (!text) return null;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}

async function errorOf(response) {
  const isProblem = (response.headers.get('Content-Type') ?? '').startsWith('application/problem+json');
  const problem = isProblem ? await response.json().catch(() => ({})) : {};
  const retryAfter = retryAfterOf(response);
  // 429 and 503 say themselves when to come back; a gateway's own page means that the way to the server is broken.
  const transient = [429, 503].includes(response.status) ? retryAfter !== null && retryAfter <= PATIENCE || !isProblem
    : [502, 504].includes(response.status) && !isProblem;
  const scheme = (response.headers.get('WWW-Authenticate') ?? '').split(/[\s,]/)[0].toLowerCase();
  return new AgentChatError({ ...problem, status: response.status }, { retryAfter, transient, scheme });
}

/** When an authentication has expired, many servers redirect to a sign-in page; that page is not an answer of the API. */
function redirected(response) {
  return new AgentChatError({ status: response.status, code: 'redirected', detail: 'the server leads to another page instead of answering' });
}

/** A POST that reports how much of its body was sent, which fetch does not. */
function sendWithProgress(url, headers, body, signal, onprogress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open('POST', url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = event => onprogress({ loaded: event.loaded, total: event.total });
    request.onload = () => resolve(new Response(request.responseText, {
      status: request.status,
      headers: request.getAllResponseHeaders().trim().split(/[\r\n]+/).filter(Boolean).map(line => line.split(/:\s*(.*)/).slice(0, 2)),
    }));
    request.onerror = request.onabort = () => reject(new TypeError('the upload failed'));
    request.onloadend = () => signal?.removeEventListener('abort', abort);
    signal?.addEventListener('abort', abort);
    if (signal?.aborted) reject(signal.reason);
    else request.send(body);
  });
}

function isOf(response, type) { return (response.headers.get('Content-Type') ?? '').startsWith(type); }

/** Ends early when the network is back. */
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      globalThis.removeEventListener?.('online', end);
      signal?.removeEventListener('abort', end);
      if (signal?.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(end, ms);
    globalThis.addEventListener?.('online', end);
    signal?.addEventListener('abort', end);
    if (signal?.aborted) end();
  });
}

/** One connection of a stream: aborted by its user, by silence, or by a loss of the network. */
class Connection {
  #abort = new AbortController();
  #timer;
  #silence;
  #outer;

  constructor(silence, outer) {
    this.#silence = silence;
    this.#outer = outer;
    outer?.addEventListener('abort', this.#gone);
    globalThis.addEventListener?.('offline', this.#gone);
    this.heard();
  }

  #gone = () => this.#abort.abort(this.#outer?.aborted ? this.#outer.reason : new Error('the network has gone'));

  get signal() { return this.#abort.signal; }

  heard() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#abort.abort(new Error('the server has fallen silent')), this.#silence);
  }

  close() {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener('abort', this.#gone);
    globalThis.removeEventListener?.('offline', this.#gone);
    this.#abort.abort();
  }
}

export class AgentChat {
  #url; #key; #headers; #fetch; #retries; #backoff; #silence; #onretry; #redirect;

  /**
   * @param {Object} options
   * @param {string} [options.url] the mount of the API; default /api
   * @param {string?} [options.key] sent as X-API-Key
   * @param {Object<string, string>|function(): Object<string, string>|Promise<Object<string, string>>} [options.headers]
   *        additional headers of each request, or a function that returns them, for example for a token that expires
   * @param {number} [options.retries] the maximum number of failed reconnections of a stream in a row; default 10
   * @param {{min: number, max: number}} [options.backoff] the delays between attempts, in milliseconds; `retry:` raises the minimum
   * @param {number} [options.silence] a stream without a byte for this number of milliseconds counts as broken; default 45000,
   *        three heartbeats
   * @param {function({attempt: number, delay: number, error: Error}): void} [options.onretry] called before each delay
   * @param {'follow'|'manual'} [options.redirect] `manual`: a redirect is an error, `redirected`, for example after an expired authentication
   * @param {typeof fetch} [options.fetch]
   */
  constructor({ url = '/api', key = null, headers = {}, retries = 10, backoff = { min: 500, max: 30_000 }, silence = 45_000,
    onretry = null, redirect = 'follow', fetch = (...args) => globalThis.fetch(...args) } = {}) {
    this.#url = String(url).replace(/\/+$/, '');
    this.#key = key;
    this.#headers = headers;
    this.#retries = retries;
    this.#backoff = backoff;
    this.#silence = silence;
    this.#onretry = onretry;
    this.#redirect = redirect;
    this.#fetch = fetch;
  }

  /** @param {string?} key the key of the requests from now on */
  set key(key) { this.#key = key; }

  /** The whole answer of one request. @throws {AgentChatError} */
  async request(method, path, { body, headers = {}, signal, stream = false } = {}) {
    const given = typeof this.#headers === 'function' ? await this.#headers() : this.#headers;
    const response = await this.#fetch(this.#url + path, {
      method, signal, cache: 'no-store', redirect: this.#redirect,
      body: body === undefined ? undefined : JSON.stringify(body),
      headers: {
        Accept: stream ? 'text/event-stream, application/problem+json' : 'application/json, application/problem+json',
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...(this.#key ? { 'X-API-Key': this.#key } : {}),
        ...given, ...headers,
      },
    }).catch(cause => {
      if (signal?.aborted && !stream) throw signal.reason;
      throw new AgentChatError({ detail: 'the server could not be reached' }, { cause, transient: true });
    });
    if (response.type === 'opaqueredirect' || (response.status >= 300 && response.status < 400)) throw redirected(response);
    if (!response.ok) throw await errorOf(response);
    return response;
  }

  async #json(method, path, options) {
    const response = await this.request(method, path, options);
    if (!isOf(response, 'application/json')) throw redirected(response);
    return response.json();
  }

  // ---- files ----
  /**
   * Uploads a file. With onprogress, the browser reports the bytes that were sent.
   * @param {Blob|File} file
   * @param {{name?: string, thread_id?: string, signal?: AbortSignal, onprogress?: function({loaded: number, total: number}): void}} [options]
   * @returns {Promise<Object>} the file. @throws {AgentChatError}
   */
  async upload(file, { name = file.name ?? 'file', thread_id, signal, onprogress } = {}) {
    const given = typeof this.#headers === 'function' ? await this.#headers() : this.#headers;
    const headers = {
      Accept: 'application/json, application/problem+json',
      'Content-Type': 'application/octet-stream',
      'Content-Disposition': `attachment; filename*=UTF-8''${encodeURIComponent(name).replace(/['()*]/g, c => `%${c.charCodeAt(0).toString(16)}`)}`,
      ...(this.#key ? { 'X-API-Key': this.#key } : {}), ...given,
    };
    const url = `${this.#url}/files${query({ thread_id })}`;
    const sent = onprogress && globalThis.XMLHttpRequest ? sendWithProgress(url, headers, file, signal, onprogress)
      : this.#fetch(url, { method: 'POST', body: file, headers, signal, cache: 'no-store', redirect: this.#redirect });
    const response = await sent.catch(cause => {
      if (signal?.aborted) throw signal.reason;
      throw new AgentChatError({ detail: 'the server could not be reached' }, { cause, transient: true });
    });
    if (response.type === 'opaqueredirect') throw redirected(response);
    if (!response.ok) throw await errorOf(response);
    if (!isOf(response, 'application/json')) throw redirected(response);
    return response.json();
  }

  /** The caller, and what the server offers: docs/openapi.yaml has the members. */
  me(options) { return this.#json('GET', '/me', options); }

  /** The response with all that the caller has, as JSON lines; `after` is the position at which it continues. */
  exportMe({ after, ...options } = {}) {
    return this.request('GET', `/me/export${query({ after })}`, { headers: { Accept: '*/*' }, ...options });
  }

  /** Removes all that the caller has, for good. @returns {Promise<Object>} the receipt */
  forgetMe(options) { return this.#json('DELETE', '/me', { body: { confirm: 'delete everything' }, ...options }); }

  // ---- agents ----
  /** @returns {Promise<Object[]>} */
  async agents(options) { return (await this.#json('GET', '/agents', options)).data; }

  // ---- threads ----
  /** @param {{title?: string, agent_id?: string, metadata?: Object<string, string>}} [members] @returns {Promise<Thread>} */
  createThread(members = {}, options) { return this.#json('POST', '/threads', { body: members, ...options }); }

  /**
   * The newest first, or with `order` "updated" the most recently changed first.
   * @param {{limit?: number, after?: string, status?: string, agent_id?: string, order?: 'created'|'updated', pinned?: boolean,
   *          label?: string, q?: string}} [where] q: the words that are searched for
   * @returns {Promise<Page>}
   */
  threads(where = {}, options) { return this.#json('GET', `/threads${query(where)}`, options); }

  /** @returns {Promise<Thread>} */
  thread(id, options) { return this.#json('GET', `/threads/${encodeURIComponent(id)}`, options); }

  /** @param {{title?: string, status?: string, metadata?: Object<string, string>, leaf?: string}} members @returns {Promise<Thread>} */
  updateThread(id, members, options) {
    return this.#json('PATCH', `/threads/${encodeURIComponent(id)}`, { body: members, ...options });
  }

  renameThread(id, title, options) { return this.updateThread(id, { title }, options); }

  /** Hides the thread, so that restoreThread can restore it; with `hard` removes it permanently. */
  deleteThread(id, { hard = false, ...options } = {}) {
    return this.#json('DELETE', `/threads/${encodeURIComponent(id)}${hard ? '?hard_delete=true' : ''}`, options);
  }

  /** @returns {Promise<Thread>} */
  restoreThread(id, options) { return this.#json('POST', `/threads/${encodeURIComponent(id)}/restore`, options); }

  /** The current path becomes the one through this message, to the newest message below it. @returns {Promise<Thread>} */
  switchBranch(threadId, messageId, options) { return this.updateThread(threadId, { leaf: messageId }, options); }

  /**
   * Those of the current path in order, or with `all` those of all branches.
   * @param {{limit?: number, after?: number, before?: number, order?: 'asc'|'desc', all?: boolean}} [where] @returns {Promise<Page>}
   */
  messages(threadId, where = {}, options) {
    return this.#json('GET', `/threads/${encodeURIComponent(threadId)}/messages${query(where)}`, options);
  }

  // ---- runs ----
  /** The newest first. @param {{limit?: number, after?: string}} [where] @returns {Promise<Page>} */
  runs(threadId, where = {}, options) {
    return this.#json('GET', `/threads/${encodeURIComponent(threadId)}/runs${query(where)}`, options);
  }

  run(id, options) { return this.#json('GET', `/runs/${encodeURIComponent(id)}`, options); }

  /** The steps of the run. @returns {Promise<Object[]>} */
  async steps(id, options) { return (await this.#json('GET', `/runs/${encodeURIComponent(id)}/steps`, options)).data; }

  /** Stops a run. The partial answer is stored. */
  cancel(runId, options) { return this.#json('POST', `/runs/${encodeURIComponent(runId)}/cancel`, options); }

  /** Approves or refuses a tool call that awaits approval. @param {boolean} approve @param {string} [reason] */
  approve(runId, callId, approve, reason, { content, ...options } = {}) {
    const body = { call_id: callId, approve, reason, content };
    return this.#json('POST', `/runs/${encodeURIComponent(runId)}/approvals`, { body, ...options });
  }

  // ---- feedback ----
  /**
   * Rates an answer; a null rating takes it back.
   * @param {{rating: 'up'|'down'|null, reason?: string, comment?: string, thread_id?: string}} feedback
   */
  rate(messageId, feedback, options) {
    return this.#json('PUT', `/messages/${encodeURIComponent(messageId)}/feedback`, { body: feedback, ...options });
  }

  // ---- usage ----
  /**
   * What runs have used; days are UTC. An admin gets all owners.
   * @param {{from?: string, to?: string, by?: string, agent_id?: string, model?: string, owner?: string}} [where]
   *        by: of day, agent, model and owner, separated by commas
   */
  usage(where = {}, options) { return this.#json('GET', `/usage${query(where)}`, options); }

  /**
   * Sends a message and yields the events of its run, each once and in order, over as many connections as it takes. Ends with
   * `done` or `error`. Leaving the loop, or aborting, ends the watching only: the run continues, `cancel` stops it.
   * @param {string?} threadId null: a new thread; the first event, `run`, has its id
   * @param {string|Object[]} content a text, or parts: docs/files.md
   * @param {{agent_id?: string, metadata?: Object<string, string>, parent_id?: string?, idempotencyKey?: string, signal?: AbortSignal}} [options]
   *        agent_id: the agent of the new thread, by default the default agent; metadata: of the message, in an existing
   *        thread; parent_id: the message that it follows, by default the end of the current path, null: none; a message with
   *        the same idempotencyKey is not run again
   * @returns {AsyncGenerator<NativeEvent>}
   */
  async *send(threadId, content, { agent_id, metadata, parent_id, idempotencyKey = newKey(), signal } = {}) {
    if (!String(content ?? '').trim()) throw new AgentChatError({ status: 400, code: 'message_empty', detail: 'the message is empty' });
    if (threadId || agent_id) yield* this.#send(threadId, content, { agent_id, metadata, parent_id, idempotencyKey, signal });
    else yield* this.#sendFirst(content, { metadata, idempotencyKey, signal });
  }

  /** Puts a question differently: sends a sibling of this user's message. Options and events as of `send`. */
  edit(threadId, message, content, options = {}) {
    return this.send(threadId, content, { ...options, parent_id: message.parent_id });
  }

  /**
   * Has the question of this message answered once more. The message is an answer, or the question.
   * @param {string} threadId @param {string} messageId @param {{agent_id?: string, idempotencyKey?: string, signal?: AbortSignal}} [options]
   *        agent_id: the agent that answers, by default the thread's
   * @returns {AsyncGenerator<NativeEvent>} as of `send`
   */
  async *regenerate(threadId, messageId, { agent_id, idempotencyKey = newKey(), signal } = {}) {
    yield* this.#run(`/threads/${encodeURIComponent(threadId)}/messages`, { regenerate: messageId, agent_id, stream: true },
      { idempotencyKey, signal });
  }

  /** Sends to a new thread, and removes the thread if the message is refused. */
  async *#sendFirst(content, options) {
    const { id } = await this.createThread({}, { signal: options.signal });
    let began = false;
    try {
      for await (const event of this.#send(id, content, options)) {
        began = true;
        yield event;
      }
    } catch (error) {
      const nothingStored = !began && error instanceof AgentChatError && (error.status === 503 || (error.status >= 400 && error.status < 500));
      if (nothingStored) await this.deleteThread(id, { hard: true }).catch(() => {});
      throw error;
    }
  }

  async *#send(threadId, content, { agent_id, metadata, parent_id, idempotencyKey, signal }) {
    const path = threadId ? `/threads/${encodeURIComponent(threadId)}/messages` : `/agents/${encodeURIComponent(agent_id)}/chat`;
    const body = threadId ? { content, agent_id, metadata, parent_id, stream: true } : { message: content, stream: true };
    yield* this.#run(path, body, { idempotencyKey, signal });
  }

  async *#run(path, body, { idempotencyKey, signal }) {
    const first = connection => this.request('POST', path,
      { body, headers: { 'Idempotency-Key': idempotencyKey }, signal: connection.signal, stream: true });
    yield* this.#events(first, { signal });
  }

  /**
   * The events of a run from the start, or after an event's `id`, and then live to its end.
   * @param {string} runId @param {string|number} [after] @param {{signal?: AbortSignal}} [options]
   * @returns {AsyncGenerator<NativeEvent>}
   */
  follow(runId, after = '', { signal } = {}) { return this.#events(null, { runId, after: String(after), signal }); }

  async *#events(first, { runId = null, after = '', signal }) {
    const place = { runId, after, least: this.#backoff.min };
    for (let attempt = 0; ;) {
      const connection = new Connection(this.#silence, signal);
      let failure = null;
      try {
        signal?.throwIfAborted();
        const response = await this.#open(first, place, connection);
        if (response.status === 204) return;
        if (!isOf(response, 'text/event-stream')) throw redirected(response);
        for await (const event of this.#read(response, place, connection)) {
          attempt = 0;
          yield event;
          if (TERMINAL.has(event.type)) return;
        }
      } catch (error) {
        failure = error;
      } finally {
        connection.close();
      }
      if (signal?.aborted) throw signal.reason;
      if (failure instanceof AgentChatError && !failure.transient) throw failure;
      if (++attempt > this.#retries) throw failure instanceof AgentChatError ? failure
        : new AgentChatError({ detail: 'the connection was lost and did not come back' }, { cause: failure });
      const delay = failure?.retryAfter ?? this.#delay(attempt, place.least);
      this.#onretry?.({ attempt, delay, error: failure });
      await pause(delay, signal);
    }
  }

  #open(first, place, connection) {
    if (!place.runId) return first(connection);
    return this.request('GET', `/runs/${encodeURIComponent(place.runId)}/events`,
      { headers: place.after ? { 'Last-Event-ID': place.after } : {}, signal: connection.signal, stream: true });
  }

  /** Doubles; half of it is random, so that the clients of a restarted server do not all reconnect at once. */
  #delay(attempt, least) {
    const whole = Math.min(this.#backoff.max, least * 2 ** (attempt - 1));
    return whole / 2 + Math.random() * whole / 2;
  }

  async *#read(response, place, connection) {
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    const parser = new EventStreamParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      connection.heard();
      const found = parser.push(decoder.decode(value, { stream: true }));
      if (parser.retry !== null) place.least = Math.max(this.#backoff.min, Math.min(parser.retry, this.#backoff.max));
      for (const { data, id } of found) {
        const event = parseData(data);
        if (id) event.id = place.after = id;
        if (event.run_id) place.runId = event.run_id;
        if (event.type !== 'heartbeat') yield event;
      }
    }
  }
}

function parseData(data) {
  try {
    return JSON.parse(data);
  } catch (cause) {
    throw new AgentChatError({ code: 'bad_event', detail: 'the server sent an event that is not JSON' }, { cause });
  }
}
