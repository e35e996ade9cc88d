// SPDX-License-Identifier: Apache-2.0
// The types of agentchat.js. Objects and events are those of docs/openapi.yaml; docs/clients.md explains the calls.

export type Metadata = Record<string, string>;

export interface Thread {
  id: string;
  title: string | null;
  agent_id: string | null;
  status: 'active' | 'archived' | 'deleted';
  metadata: Metadata;
  message_count: number;
  created_at: string;
  updated_at: string;
}

export interface ToolCall {
  id: string;
  tool: string;
  arguments: any;
  result: any;
  error: string | object | null;
  latency_ms: number | null;
}

export interface Message {
  id: string;
  thread_id: string;
  seq: number;
  role: 'user' | 'assistant' | 'tool';
  content: string;
  tool_calls: ToolCall[] | null;
  /** Of an answer with calls, what was said and called in its order. */
  parts?: Part[];
  run_id: string | null;
  timestamp: string;
  metadata: Record<string, any> | null;
}

/** A stretch of text, or the id of one of the message's `tool_calls`. */
export type Part = { type: 'text'; text: string } | { type: 'tool_call'; id: string };

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  cached_tokens: number;
  reasoning_tokens: number;
  estimated: boolean;
}

export interface Cost {
  amount: number;
  currency: string;
}

export interface Failure {
  code: string;
  message: string;
}

export interface Run {
  id: string;
  thread_id: string;
  agent_id: string | null;
  status: 'queued' | 'in_progress' | 'completed' | 'failed' | 'cancelled' | 'interrupted';
  model: string | null;
  usage: Usage | null;
  cost: Cost | null;
  rounds: number | null;
  ttft_ms: number | null;
  latency_ms: number | null;
  error: Failure | null;
  created_at: string;
  started_at: string | null;
  completed_at: string | null;
}

export interface Step {
  id: string;
  run_id: string;
  type: 'model_call' | 'tool_call';
  status: 'in_progress' | 'completed' | 'failed';
  model?: string | null;
  tool: string | null;
  arguments: any;
  result: any;
  error: string | object | null;
  approval?: 'required' | 'approved' | 'refused';
  usage: Usage | null;
  started_at: string;
  completed_at: string | null;
  latency_ms: number | null;
}

export interface Agent {
  id: string;
  name: string;
  description: string | null;
  instructions?: string | null;
  model: string;
  tools: string[];
  temperature: number | null;
  max_rounds: number;
  status: 'active' | 'inactive';
  source: 'config' | 'api';
  etag: string;
}

export interface Page<Item, Next = string> {
  data: Item[];
  has_more: boolean;
  next: Next | null;
}

export interface Deleted {
  id: string;
  deleted: true;
  message: string;
}

// ---- events ----
interface Told {
  timestamp: string;
  /** What `follow` goes on behind. */
  id?: string;
}

export interface RunEvent extends Told {
  type: 'run';
  run_id: string;
  thread_id: string;
  agent_id: string | null;
  message_id: string;
}

export interface TokenEvent extends Told {
  type: 'token';
  content: string;
}

export interface TraceStartEvent extends Told {
  type: 'trace_start';
  step_id: string;
  tool: string;
  call_id: string;
}

export interface TraceUpdateEvent extends Told {
  type: 'trace_update';
  step_id: string;
  arguments_delta?: string;
  approval_required?: true;
  call_id?: string;
  tool?: string;
  arguments?: any;
  expires_at?: string;
  approved?: boolean;
  progress?: any;
}

export interface TraceEndEvent extends Told {
  type: 'trace_end';
  step_id: string;
  tool: string;
  arguments?: any;
  result?: any;
  error?: string | object | null;
  latency_ms: number | null;
}

export interface ErrorEvent extends Told {
  type: 'error';
  code: string;
  message: string;
  retry_after_ms?: number;
  run_id?: string;
}

export interface DoneEvent extends Told {
  type: 'done';
  run_id: string;
  thread_id: string;
  message_id: string | null;
  tokens_used: number;
  usage: Usage | null;
  cost: Cost | null;
  status: 'completed' | 'cancelled';
  finish_reason: 'stop' | 'length' | 'content_filter' | 'cancelled' | 'interrupted' | 'error' | null;
}

/** An event of a run. `type` tells which one it is. */
export type NativeEvent = RunEvent | TokenEvent | TraceStartEvent | TraceUpdateEvent | TraceEndEvent | ErrorEvent | DoneEvent;

// ---- errors ----
export interface Problem {
  type?: string;
  title?: string;
  status?: number;
  detail?: string;
  code?: string;
  request_id?: string;
  errors?: { pointer: string; detail: string }[];
}

/** What went wrong: a problem document of the server, or (status 0) a connection that did not come back. */
export class AgentChatError extends Error {
  constructor(problem: Problem, more?: { cause?: unknown; retryAfter?: number | null; scheme?: string; transient?: boolean });
  /** The HTTP status; 0 where there was no answer. */
  readonly status: number;
  /** For programs; docs/errors.md lists them. */
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly requestId: string | null;
  /** Which members of the request were wrong. */
  readonly errors: { pointer: string; detail: string }[];
  /** Milliseconds after which the server would like to be asked again. */
  readonly retryAfter: number | null;
  /** The scheme of WWW-Authenticate, in small letters. */
  readonly scheme: string;
  /** Whether it was the way to the server that failed, not the server that refused. */
  readonly transient: boolean;
  /** Whether nobody has signed in, or not any more. */
  get wantsSignIn(): boolean;
}

// ---- the client ----
export interface AgentChatOptions {
  /** Where the API is mounted; default /api. */
  url?: string | URL;
  /** Sent as X-API-Key. */
  key?: string | null;
  /** Further headers of each request, or a function that gives them, as for a token that expires. */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
  /** How often in a row a stream is opened again in vain; default 10. */
  retries?: number;
  /** The pauses between, in milliseconds; `retry:` raises the least. */
  backoff?: { min: number; max: number };
  /** After how many milliseconds without a byte a stream counts as broken; default 45000. */
  silence?: number;
  /** Told before each pause. */
  onretry?: ((info: { attempt: number; delay: number; error: Error }) => void) | null;
  /** `manual`: a redirect is an error, `redirected`. */
  redirect?: 'follow' | 'manual';
  fetch?: typeof fetch;
}

export interface RequestOptions {
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

export class AgentChat {
  constructor(options?: AgentChatOptions);
  /** The key of the requests from now on. */
  set key(key: string | null);
  /** Any route: the whole answer. Throws an AgentChatError. */
  request(method: string, path: string, options?: RequestOptions & { body?: unknown; stream?: boolean }): Promise<Response>;

  agents(options?: RequestOptions): Promise<Agent[]>;

  createThread(members?: { title?: string | null; agent_id?: string | null; metadata?: Metadata | null },
    options?: RequestOptions): Promise<Thread>;
  threads(where?: { limit?: number; after?: string; status?: Thread['status']; agent_id?: string; order?: 'created' | 'updated' },
    options?: RequestOptions): Promise<Page<Thread>>;
  thread(id: string, options?: RequestOptions): Promise<Thread>;
  updateThread(id: string, members: { title?: string | null; status?: Thread['status']; metadata?: Metadata | null },
    options?: RequestOptions): Promise<Thread>;
  renameThread(id: string, title: string, options?: RequestOptions): Promise<Thread>;
  /** Hides it, so that restoreThread can bring it back; for good with `hard`. */
  deleteThread(id: string, options?: RequestOptions & { hard?: boolean }): Promise<Deleted>;
  restoreThread(id: string, options?: RequestOptions): Promise<Thread>;
  messages(threadId: string, where?: { limit?: number; after?: number; before?: number; order?: 'asc' | 'desc' },
    options?: RequestOptions): Promise<Page<Message, number>>;

  runs(threadId: string, where?: { limit?: number; after?: string }, options?: RequestOptions): Promise<Page<Run>>;
  run(id: string, options?: RequestOptions): Promise<Run>;
  steps(id: string, options?: RequestOptions): Promise<Step[]>;
  /** Stops a run. What had been said is stored. */
  cancel(runId: string, options?: RequestOptions): Promise<Run>;
  /** The owner's word on a tool call that waits for it. */
  approve(runId: string, callId: string, approve: boolean, reason?: string, options?: RequestOptions): Promise<Run>;

  /** Sends a message and gives the events of its run. With `threadId` null a new thread is made. */
  send(threadId: string | null, content: string,
    options?: { agent_id?: string; metadata?: Metadata; idempotencyKey?: string; signal?: AbortSignal }): AsyncGenerator<NativeEvent, void, undefined>;
  /** The events of a run from the start, or behind the event with the id `after`. */
  follow(runId: string, after?: string | number, options?: { signal?: AbortSignal }): AsyncGenerator<NativeEvent, void, undefined>;
}

/** Parses text/event-stream, whatever pieces it comes in. */
export class EventStreamParser {
  /** What the last `retry:` said, in milliseconds. */
  retry: number | null;
  /** The events that this piece completed. */
  push(text: string): { event: string; data: string; id: string }[];
}
