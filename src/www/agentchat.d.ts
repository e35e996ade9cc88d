// SPDX-License-Identifier: Apache-2.0
// The types of agentchat.js. Objects and events are those of docs/openapi.yaml; docs/clients.md explains the calls.

export type Metadata = Record<string, string>;

/** `labels` are those of `threads({ label })`. */
export type ThreadMetadata = { [name: string]: string | string[] | undefined; labels?: string[] | string };

export interface Thread {
  id: string;
  title: string | null;
  agent_id: string | null;
  status: 'active' | 'archived' | 'deleted';
  pinned: boolean;
  metadata: ThreadMetadata;
  message_count: number;
  /** How many of these are deleted; missing: none. */
  deleted_messages?: number;
  /** The message with which the current path ends; null, the newest one, in a thread that has never branched. */
  leaf: string | null;
  created_at: string;
  updated_at: string;
  /** With `q`: the newest message with the words, or null for the title; places in the snippet, in code points. */
  match?: { message_id: string | null; seq: number | null; snippet: string; highlights: { start: number; end: number }[] };
}

export interface ToolCall {
  id: string;
  tool: string;
  arguments: any;
  result: any;
  error: string | object | null;
  latency_ms: number | null;
  /** The client carries the call out; the next message has the result. */
  client?: true;
  hosted?: true;
  /** The id of the agent that the call hands the conversation over to. */
  hands_over_to?: string;
}

export interface Message {
  id: string;
  thread_id: string;
  /** The message that it follows; null if none. */
  parent_id: string | null;
  /** All messages with the same parent, in order, if there are several; and the place of this one among them. */
  siblings?: string[];
  sibling_index?: number;
  seq: number;
  role: 'user' | 'assistant' | 'tool';
  content: string;
  tool_calls: ToolCall[] | null;
  /** The files of a question. */
  attachments?: { file_id: string; name: string; type: string; size: number }[];
  /** Text and tool calls of an answer, in order. */
  parts?: Part[];
  /** What an answer rests on, in the order of its numbers. */
  sources?: Source[];
  run_id: string | null;
  timestamp: string;
  metadata: Record<string, any> | null;
  /** Of the conversation up to this message, with AgentChatHistorySummary. */
  summary?: { text: string; model: string; created_at: string };
  /** It is deleted: it keeps its place, and says nothing. */
  deleted?: true;
  /** Of an answer that its owner has rated. */
  feedback?: Feedback;
}

/** A text, or a file that was uploaded before, in a message that is sent. */
export type ContentPart = { type: 'text'; text: string } | { type: 'image' | 'file'; file_id: string };

/** A piece of text, or the id of one of the message's `tool_calls`. */
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

export interface UsageReport {
  from: string;
  to: string;
  scope: 'all' | 'own';
  data: UsageSum[];
  totals: UsageSum;
}

/** Has those of day, agent_id, model and owner that are groups. */
export interface UsageSum {
  day?: string;
  agent_id?: string;
  model?: string;
  owner?: string;
  runs: number;
  status: { completed: number; failed: number; cancelled: number; interrupted: number };
  errors: Record<string, number>;
  usage: Omit<Usage, 'estimated'>;
  estimated_runs: number;
  /** Calls of models that made titles. */
  titles: number;
  /** Calls of models that made summaries of old messages. */
  summaries: number;
  cost: UsageCost[];
  first_token: Durations | null;
  duration: Durations | null;
}

export interface UsageCost {
  amount: number;
  currency: string;
}

export interface Feedback {
  rating: 'up' | 'down';
  reason: string | null;
  comment: string | null;
  at: string;
}

export interface Durations {
  count: number;
  mean_ms: number;
  p50_ms: number;
  p95_ms: number;
}

export interface Failure {
  code: string;
  message: string;
}

/** The message of a queued run. */
export interface QueuedInput {
  content?: string | null;
  parent_id?: string | null;
  regenerate?: string;
  metadata?: Record<string, unknown>;
  attachments?: unknown[];
  response_format?: ResponseFormat;
}

/** The form of an answer, as in chat completions; null: the agent's own, or text. */
export type ResponseFormat = { type: "text" | "json_object" | "json_schema"; json_schema?: Record<string, unknown> } | null;

export interface Run {
  id: string;
  thread_id: string;
  /** The message that it answers. */
  parent_id?: string;
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
  /** Of a queued run: how long it waits. */
  expires_at?: string;
  input?: QueuedInput;
  /** What is notified of the end of the run. */
  webhook?: RunWebhook;
  /** Its answer is deleted, and its steps with it. */
  deleted?: true;
}

export type WebhookType = 'run.completed' | 'run.failed' | 'run.cancelled' | 'run.approval_required';

export interface RunWebhook {
  name: string;
  /** Those that it wants; missing: all. */
  events?: WebhookType[];
  /** In an answer about one run: the oldest one first. */
  deliveries?: WebhookDelivery[];
}

export interface WebhookDelivery {
  /** The field `webhook-id` of all its requests. */
  id: string;
  type: WebhookType;
  /** failed: given up; gone: the receiver answered 410. */
  state: 'pending' | 'delivered' | 'failed' | 'gone';
  created_at: string;
  attempts: number;
  last_attempt_at: string | null;
  last_status: number | null;
  last_error: string | null;
  delivered_at: string | null;
  next_attempt_at: string | null;
}

export interface Step {
  id: string;
  run_id: string;
  /** Of an agent that another agent has asked: which one, how deep below that of the run, and by which tool call. */
  agent_id?: string;
  depth?: number;
  parent_step_id?: string;
  /** Of a tool call. */
  call_id?: string;
  type: 'model_call' | 'tool_call';
  status: 'in_progress' | 'completed' | 'failed';
  model?: string | null;
  /** Of a model call: the beginning of what the model thought, if it showed that. */
  reasoning?: string;
  /** Those that this step has added to the answer's. */
  sources?: Source[];
  tool: string | null;
  arguments: any;
  result: any;
  error: string | object | null;
  approval?: 'required' | 'approved' | 'refused';
  client?: true;
  hosted?: true;
  /** The id of the agent that the call hands the conversation over to. */
  hands_over_to?: string;
  requested_at?: string;
  usage: Usage | null;
  cost?: Cost | null;
  round?: number;
  retries?: number;
  fallback_of?: string | null;
  queued_ms?: number;
  ttft_ms?: number | null;
  started_at: string;
  completed_at: string | null;
  latency_ms: number | null;
}

export interface UploadedFile {
  id: string;
  object: 'file';
  name: string;
  type: string;
  size: number;
  sha256: string;
  created_at: string;
  thread_id: string | null;
  status: 'uploaded' | 'attached';
}

export interface Erasure {
  object: 'erasure';
  id: string;
  at: string;
  status: 'done' | 'continuing';
  threads: number | null;
  messages: number | null;
  runs: number | null;
  files: number | null;
}

export interface Me {
  object: 'me';
  owner: string;
  admin: boolean;
  /** Whether a model makes the title of a thread after its first answer. */
  titles: boolean;
  /** The limits of files; null where clients may upload none. */
  files: { max_bytes: number; thread_bytes: number; owner_bytes: number; thread_files: number; owner_files: number;
    message_files: number; types: string[] } | null;
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
interface EventBase {
  timestamp: string;
  /** The position after which `follow` continues. */
  id?: string;
}

export interface RunEvent extends EventBase {
  type: 'run';
  run_id: string;
  thread_id: string;
  agent_id: string | null;
  message_id: string;
  missing_tools?: { source: string; detail: string }[];
}

/** The message waits for its turn; `run` follows. */
export interface QueuedEvent extends EventBase {
  type: 'queued';
  run_id: string;
  thread_id: string;
  agent_id: string | null;
  message_id: string | null;
  place?: number;
}

export interface TokenEvent extends EventBase {
  type: 'token';
  content: string;
}

/** A part of what the model thinks before it answers or calls a tool. */
export interface ReasoningEvent extends EventBase {
  type: 'reasoning';
  content: string;
}

/** What an answer rests on: a page, a document, or just its title. */
export interface Source {
  /** The number of its note: "1", "2" and so on. */
  id: string;
  title: string;
  /** http or https. */
  url?: string;
  /** Of a document without a URL, such as a file's name. */
  place?: string;
  score?: number;
  snippet?: string;
}

/** Sources that a tool found, or that the model named. */
export interface SourcesEvent extends EventBase {
  type: 'sources';
  /** Of the tool call. */
  step_id?: string;
  call_id?: string;
  sources: Source[];
}

export interface TraceStartEvent extends EventBase {
  type: 'trace_start';
  step_id: string;
  agent_id?: string;
  depth?: number;
  parent_step_id?: string;
  tool: string;
  call_id: string;
  /** The id of the agent that the call asks. */
  asks?: string;
  /** The id of the agent that the call hands the conversation over to. */
  hands_over_to?: string;
  /** The tool is called only with an approval. */
  needs_approval?: true;
  /** The client carries the call out; its place among these calls. */
  client?: true;
  hosted?: true;
  index?: number;
}

export interface TraceUpdateEvent extends EventBase {
  type: 'trace_update';
  step_id: string;
  agent_id?: string;
  depth?: number;
  parent_step_id?: string;
  arguments_delta?: string;
  approval_required?: true;
  call_id?: string;
  tool?: string;
  arguments?: any;
  expires_at?: string;
  approved?: boolean;
  more?: boolean;
  /** With the last request: all calls that await approval, and those of the client that wait with them. */
  awaiting?: { call_id: string; tool: string; question?: ToolQuestion }[];
  /** With the last request: the calls that ask agents and are open because a call of the agent awaits approval. */
  asking?: { call_id: string; arguments: any }[];
  client_calls?: string[];
  progress?: { progress: number; total?: number; message?: string };
  question?: ToolQuestion;
  client?: true;
  hosted?: true;
  index?: number;
}

/** What a tool of an MCP server asks. `form` is a JSON Schema of what the approval may bring as `content`. */
export interface ToolQuestion {
  message: string;
  server: string | null;
  form?: { type: 'object'; properties: Record<string, any>; required?: string[] };
  problem?: string;
}

export interface TraceEndEvent extends EventBase {
  type: 'trace_end';
  step_id: string;
  agent_id?: string;
  depth?: number;
  parent_step_id?: string;
  call_id?: string | null;
  approved?: boolean;
  tool: string;
  arguments?: any;
  result?: any;
  error?: string | object | null;
  latency_ms: number | null;
  client?: true;
  hosted?: true;
  hands_over_to?: string;
  index?: number;
}

export interface ErrorEvent extends EventBase {
  type: 'error';
  code: string;
  message: string;
  retry_after_ms?: number;
  run_id?: string;
}

export interface DoneEvent extends EventBase {
  type: 'done';
  run_id: string;
  thread_id: string;
  message_id: string | null;
  tokens_used: number;
  usage: Usage | null;
  cost: Cost | null;
  status: 'completed' | 'cancelled';
  finish_reason: 'stop' | 'length' | 'content_filter' | 'tool_calls' | 'cancelled' | 'interrupted' | 'error' | null;
  client_calls?: { id: string; tool: string; arguments: any }[];
  /** The agent that ended the run, if the one that began it has handed over. */
  agent_id?: string;
  /** All sources of the answer. */
  sources?: Source[];
}

/** An event of a run. `type` identifies its kind. */
export type NativeEvent = RunEvent | QueuedEvent | TokenEvent | ReasoningEvent | SourcesEvent | TraceStartEvent | TraceUpdateEvent | TraceEndEvent | ErrorEvent | DoneEvent;

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

/** A failure: a problem document of the server, or (status 0) a lost connection that could not be restored. */
export class AgentChatError extends Error {
  constructor(problem: Problem, more?: { cause?: unknown; retryAfter?: number | null; scheme?: string; transient?: boolean });
  /** The HTTP status; 0 without an answer. */
  readonly status: number;
  /** For programs; docs/errors.md lists them. */
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly requestId: string | null;
  /** The wrong members of the request. */
  readonly errors: { pointer: string; detail: string }[];
  /** The delay in milliseconds that the server asks for before the next attempt. */
  readonly retryAfter: number | null;
  /** The scheme of WWW-Authenticate, in lower case. */
  readonly scheme: string;
  /** True if the connection to the server failed; false if the server refused. */
  readonly transient: boolean;
  /** True if the request had no valid authentication, or its authentication has expired. */
  get wantsSignIn(): boolean;
}

// ---- the client ----
export interface AgentChatOptions {
  /** The mount of the API; default /api. */
  url?: string | URL;
  /** Sent as X-API-Key. */
  key?: string | null;
  /** Additional headers of each request, or a function that returns them, for example for a token that expires. */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
  /** The maximum number of failed reconnections of a stream in a row; default 10. */
  retries?: number;
  /** The delays between attempts, in milliseconds; `retry:` raises the minimum. */
  backoff?: { min: number; max: number };
  /** A stream without a byte for this number of milliseconds counts as broken; default 45000. */
  silence?: number;
  /** Called before each delay. */
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

  upload(file: Blob, options?: { name?: string; thread_id?: string; signal?: AbortSignal;
    onprogress?: (progress: { loaded: number; total: number }) => void }): Promise<UploadedFile>;
  /** The caller, and what the server offers. */
  me(options?: RequestOptions): Promise<Me>;
  /** The response with all that the caller has, as JSON lines; `after` is the position at which it continues. */
  exportMe(options?: RequestOptions & { after?: string }): Promise<Response>;
  /** Removes all that the caller has, for good. */
  forgetMe(options?: RequestOptions): Promise<Erasure>;
  agents(options?: RequestOptions): Promise<Agent[]>;

  createThread(members?: { title?: string | null; agent_id?: string | null; metadata?: ThreadMetadata | null; pinned?: boolean },
    options?: RequestOptions): Promise<Thread>;
  threads(where?: { limit?: number; after?: string; status?: Thread['status']; agent_id?: string; order?: 'created' | 'updated';
    pinned?: boolean; label?: string; q?: string },
    options?: RequestOptions): Promise<Page<Thread>>;
  thread(id: string, options?: RequestOptions): Promise<Thread>;
  updateThread(id: string, members: { title?: string | null; status?: Thread['status']; leaf?: string; metadata?: ThreadMetadata | null; pinned?: boolean },
    options?: RequestOptions): Promise<Thread>;
  renameThread(id: string, title: string, options?: RequestOptions): Promise<Thread>;
  /** Hides the thread, so that restoreThread can restore it; with `hard` removes it permanently. */
  deleteThread(id: string, options?: RequestOptions & { hard?: boolean }): Promise<Deleted>;
  restoreThread(id: string, options?: RequestOptions): Promise<Thread>;
  /** The current path becomes the one through this message, to the newest message below it. */
  switchBranch(threadId: string, messageId: string, options?: RequestOptions): Promise<Thread>;
  /** The messages of the current path, or with `all` of all branches. */
  messages(threadId: string, where?: { limit?: number; after?: number; before?: number; order?: 'asc' | 'desc'; all?: boolean },
    options?: RequestOptions): Promise<Page<Message, number>>;

  runs(threadId: string, where?: { limit?: number; after?: string }, options?: RequestOptions): Promise<Page<Run>>;
  run(id: string, options?: RequestOptions): Promise<Run>;
  steps(id: string, options?: RequestOptions): Promise<Step[]>;
  /** Stops a run. The partial answer is stored. */
  cancel(runId: string, options?: RequestOptions): Promise<Run>;
  /** Approves or refuses a tool call that awaits approval. `content`: what is filled in, where the question has a form. */
  approve(runId: string, callId: string, approve: boolean, reason?: string, options?: RequestOptions & { content?: object }): Promise<Run>;

  /** Rates an answer; a null rating takes it back. */
  rate(messageId: string, feedback: { rating: 'up' | 'down' | null; reason?: string; comment?: string; thread_id?: string },
    options?: RequestOptions): Promise<Omit<Feedback, 'rating'> & { message_id: string; thread_id: string; rating: 'up' | 'down' | null }>;
  /** What runs have used; days are UTC. `by` has day, agent, model and owner, separated by commas. */
  usage(where?: { from?: string; to?: string; by?: string; agent_id?: string; model?: string; owner?: string },
    options?: RequestOptions): Promise<UsageReport>;

  /** Sends a message and yields the events of its run. With `threadId` null it creates a new thread. */
  send(threadId: string | null, content: string | ContentPart[],
    options?: { agent_id?: string; metadata?: Metadata; parent_id?: string | null; idempotencyKey?: string; signal?: AbortSignal }): AsyncGenerator<NativeEvent, void, undefined>;
  /** Puts a question differently: sends a sibling of this user's message. */
  edit(threadId: string, message: { id: string; parent_id: string | null }, content: string | ContentPart[],
    options?: { agent_id?: string; metadata?: Metadata; idempotencyKey?: string; signal?: AbortSignal }): AsyncGenerator<NativeEvent, void, undefined>;
  /** Has the question of this message answered once more, by another agent if `agent_id` is given. */
  regenerate(threadId: string, messageId: string,
    options?: { agent_id?: string; idempotencyKey?: string; signal?: AbortSignal }): AsyncGenerator<NativeEvent, void, undefined>;
  /** The events of a run from the start, or after the event with the id `after`. */
  follow(runId: string, after?: string | number, options?: { signal?: AbortSignal }): AsyncGenerator<NativeEvent, void, undefined>;
}

/** Parses text/event-stream, in pieces of any size. */
export class EventStreamParser {
  /** The value of the last `retry:`, in milliseconds. */
  retry: number | null;
  /** The events that this piece completed. */
  push(text: string): { event: string; data: string; id: string }[];
}
