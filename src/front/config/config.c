/* SPDX-License-Identifier: Apache-2.0 */
/* The table of directives and their setter. A setting is named here and nowhere else.
 *
 * The columns of a row, which the checks of the manual read too:
 *     ROW("Name", WHERE, TYPE, field, "default" or NULL, "min", "max",
 *         "syntax", "one line")
 * WHERE is MOUNT (per directory), SERVER, or MODEL, TOOL, MCP, AGENT (inside of that container). ac_value_type_e
 * explains TYPE, min and max. A directive of keys has KEY rows with the same columns instead. The rows of MOUNT come
 * first: a row's index is its bit in ac_mount_conf_t.set, which has 64. */
#include "config_internal.h"

static const char *set_directive(cmd_parms *cmd, void *dir, const char *args);

#define STRUCT_MOUNT ac_mount_conf_t
#define STRUCT_SERVER ac_conf_t
#define STRUCT_MODEL ac_model_def_t
#define STRUCT_TOOL ac_tool_def_t
#define STRUCT_MCP ac_mcp_def_t
#define STRUCT_OPENAPI ac_openapi_def_t
#define STRUCT_AGENT ac_agent_def_t
#define ALLOW_MOUNT (RSRC_CONF | ACCESS_CONF)
#define ALLOW_SERVER RSRC_CONF
#define ALLOW_MODEL RSRC_CONF
#define ALLOW_TOOL RSRC_CONF
#define ALLOW_MCP RSRC_CONF
#define ALLOW_OPENAPI RSRC_CONF
#define ALLOW_AGENT RSRC_CONF

#define VALUE(where, type, field, fallback, min, max) \
    { \
        AC_VALUE_##type, offsetof(STRUCT_##where, field), sizeof(((STRUCT_##where *)0)->field), fallback, min, max \
    }
#define ROW(name, where, type, field, fallback, min, max, syntax, doc) \
    AP_INIT_RAW_ARGS(name, set_directive, \
                     (void *)(&(const ac_setting_t){name, AC_CONFIG_IN_##where, \
                                                    VALUE(where, type, field, fallback, min, max), NULL}), \
                     ALLOW_##where, syntax ": " doc)
#define KEY(name, where, type, field, fallback, min, max) \
    { \
        name, VALUE(where, type, field, fallback, min, max) \
    }
#define ROW_OF_KEYS(name, where, syntax, doc, ...) \
    AP_INIT_RAW_ARGS(name, set_directive, \
                     (void *)(&(const ac_setting_t){ \
                         name, \
                         AC_CONFIG_IN_##where, \
                         {AC_VALUE_KEYS, 0, 0, NULL, NULL, NULL}, \
                         (const ac_key_t[]){__VA_ARGS__, {NULL, {AC_VALUE_KEYS, 0, 0, NULL, NULL, NULL}}}}), \
                     ALLOW_##where, syntax ": " doc)
#define CONTAINER(name, where, syntax, doc) \
    AP_INIT_RAW_ARGS(name, ac_config_define_container, (void *)(&(const ac_container_t){name, AC_CONFIG_IN_##where}), \
                     RSRC_CONF, syntax ": " doc)

const command_rec ac_directives[] = {
    ROW("AgentChatAnonymous", MOUNT, FLAG, anonymous, "off", NULL, NULL, "on|off",
        "Whether clients without a sign-in may use the API, as the owner 'anonymous'"),
    ROW("AgentChatHeartbeat", MOUNT, DURATION, heartbeat, "15s", "1s", "1h", "DURATION",
        "How long an event stream may be silent before it sends a heartbeat"),
    ROW("AgentChatRetry", MOUNT, DURATION, retry, "2s", "0", "10min", "DURATION",
        "How long a browser's EventSource waits before it reconnects"),
    ROW("AgentChatMaxBody", MOUNT, SIZE, max_body, "1M", "1K", "64M", "SIZE", "Maximum size of a request body"),
    ROW("AgentChatStreamBuffer", MOUNT, SIZE, stream_buffer, "256K", "16K", "64M", "SIZE",
        "Maximum size of what waits for a slow client without an event log, before it is disconnected"),
    ROW("AgentChatOnDisconnect", MOUNT, LEAVE, on_disconnect, "continue", NULL, NULL,
        "continue|cancel|cancel-after=DURATION", "What happens to a run that no client follows"),
    ROW_OF_KEYS("AgentChatOnBusy", MOUNT, "reject|enqueue|interrupt [most=N] [wait=D]",
                "What happens to a message while its thread answers another one",
                KEY("", MOUNT, RANK, busy.policy, "reject", "reject|enqueue|interrupt", NULL),
                KEY("most", MOUNT, INT, busy.most, "10", "1", "100"),
                KEY("wait", MOUNT, DURATION, busy.wait, "1h", "1s", "1d")),
    ROW("AgentChatCORSOrigin", MOUNT, WORDS, cors_origins, NULL, NULL, NULL, "ORIGIN ...|*",
        "Origins of other sites whose pages may use the API"),
    ROW("AgentChatCORSCredentials", MOUNT, FLAG, cors_credentials, "off", NULL, NULL, "on|off",
        "Whether pages of these origins may use the visitor's cookies and passwords"),
    ROW("AgentChatCORSMaxAge", MOUNT, DURATION, cors_max_age, "10min", "0", "1d", "DURATION",
        "How long a browser may cache the answer to a preflight request"),
    ROW("AgentChatLimit", MOUNT, LIMITS, limits, "streams=1000 runs=1000 by=owner", NULL, NULL,
        "off | MEASURE=N[/WINDOW] ... [by=owner|key|agent|address]",
        "Rate limits and budgets, and who shares them; lines add up"),
    ROW("AgentChatDocs", MOUNT, PATH, docs, NULL, NULL, NULL, "PATH",
        "Directory of Swagger UI, which /docs shows the API with"),
    ROW("AgentChatDefaultAgent", MOUNT, WORD, default_agent_id, NULL, NULL, NULL, "AGENT",
        "Agent of requests that name no agent"),
    ROW("AgentChatKeys", MOUNT, PATH, keys_path, NULL, NULL, NULL, "PATH", "File of API keys for AuthType AgentChat"),
    ROW("AgentChatOwnerFrom", MOUNT, VARIABLE, owner_from, NULL, NULL, NULL, "env:NAME",
        "Variable in which the authentication module sets the user's identity"),
    ROW_OF_KEYS("AgentChatRolesFrom", MOUNT, "env:NAME [delimiter=comma|blank|semicolon] [ROLE=VALUE ...]",
                "Variable in which the authentication module sets the user's roles",
                KEY("", MOUNT, VARIABLE, roles_from, NULL, NULL, NULL),
                KEY("delimiter", MOUNT, RANK, roles_delimiter, "comma", "comma|blank|semicolon", NULL),
                KEY("*", MOUNT, PAIR, role_values, NULL, NULL, NULL)),
    ROW("AgentChatRole", MOUNT, ROLE, roles, NULL, NULL, NULL, "ROLE OWNER ...", "Owners that have a role"),
    ROW("AgentChatMetrics", MOUNT, RANK, metrics, "admin", "admin|all", NULL, "admin|all",
        "Who may read the metrics: the role admin, or every client that httpd lets in"),
    ROW("AgentChatServerTiming", MOUNT, RANK, server_timing, "off", "off|on|admin", NULL, "off|on|admin",
        "Whether answers say how long the store, the model and the server itself took"),
    ROW_OF_KEYS("AgentChatOpenAI", MOUNT,
                "on|off [client-tools=ignore|refuse|pass] [activity=none|reasoning|events] [threads=off|HEADER]",
                "Whether clients of OpenAI's API may use the agents as models, below /v1",
                KEY("", MOUNT, FLAG, openai.on, "off", NULL, NULL),
                KEY("client-tools", MOUNT, RANK, openai.client_tools, "ignore", "ignore|refuse|pass", NULL),
                KEY("activity", MOUNT, RANK, openai.activity, "none", "none|reasoning|events", NULL),
                KEY("threads", MOUNT, WORD, openai.threads, "off", NULL, NULL)),
    ROW_OF_KEYS("AgentChatAGUI", MOUNT, "on|off [client-tools=pass|ignore|refuse]",
                "Whether clients of AG-UI may talk with the agents, below /agui",
                KEY("", MOUNT, FLAG, agui.on, "off", NULL, NULL),
                KEY("client-tools", MOUNT, RANK, agui.client_tools, "pass", "pass|ignore|refuse", NULL)),
    ROW_OF_KEYS("AgentChatUI", MOUNT, "on|off [path=PATH] [approvals=parts|data]",
                "Whether the AI SDK's useChat may talk with the agents, at /ui/chat",
                KEY("", MOUNT, FLAG, ui.on, "off", NULL, NULL),
                KEY("path", MOUNT, WORD, ui.path, "/ui/chat", NULL, NULL),
                KEY("approvals", MOUNT, RANK, ui.approvals, "parts", "parts|data", NULL)),
    ROW_OF_KEYS("AgentChatMCPServer", MOUNT,
                "on|off [approvals=ask|refuse] [authorization-server=URL[,URL]] [scopes=SCOPE[,SCOPE]] [resource=URL]",
                "Whether hosts of the Model Context Protocol may use the agents as tools, at /mcp",
                KEY("", MOUNT, FLAG, mcp.on, "off", NULL, NULL),
                KEY("approvals", MOUNT, RANK, mcp.approvals, "ask", "ask|refuse", NULL),
                KEY("authorization-server", MOUNT, WORD, mcp.server, NULL, NULL, NULL),
                KEY("scopes", MOUNT, WORD, mcp.scopes, NULL, NULL, NULL),
                KEY("resource", MOUNT, WORD, mcp.resource, NULL, NULL, NULL)),

    ROW_OF_KEYS("AgentChatStore", SERVER, "PROVIDER:WHERE [key=value ...]", "Store of threads, messages and runs",
                KEY("", SERVER, WORD, store_spec, NULL, NULL, NULL),
                KEY("*", SERVER, PAIR, store_options, NULL, NULL, NULL)),
    ROW_OF_KEYS("AgentChatCache", SERVER, "auto|off|memory|redis [size=SIZE] [ttl=DURATION] [check=auto|on|off]",
                "Cache of recent messages, before the store",
                KEY("", SERVER, CHOICE, cache.backend, "auto", "auto|off|memory|redis", NULL),
                KEY("size", SERVER, SIZE, cache.size, "64M", "2M", "64G"),
                KEY("ttl", SERVER, DURATION, cache.ttl, "10min", "1s", "1d"),
                KEY("check", SERVER, CHOICE, cache.check, "auto", "auto|on|off", NULL)),
    ROW("AgentChatStateDir", SERVER, PATH, state_dir, "/var/lib/agentchat", NULL, NULL, "PATH",
        "Directory of the embedded store and of the tools' indexes"),
    ROW_OF_KEYS("AgentChatFiles", SERVER, "on|off|blob:URL [key=value ...]",
                "Whether clients may upload files, how many, and where they are kept",
                KEY("", SERVER, WORD, files.where, "off", NULL, NULL),
                KEY("max", SERVER, SIZE, files.max, "20M", "1", "4G"),
                KEY("thread", SERVER, SIZE, files.thread, "100M", "1", "1024G"),
                KEY("owner", SERVER, SIZE, files.owner, "1G", "1", "1024G"),
                KEY("thread-files", SERVER, INT, files.thread_files, "100", "1", "1000"),
                KEY("owner-files", SERVER, INT, files.owner_files, "1000", "1", "100000"),
                KEY("reserve", SERVER, SIZE, files.reserve, "256M", "0", "1024G"),
                KEY("types", SERVER, WORD, files.types_text, NULL, NULL, NULL),
                KEY("*", SERVER, PAIR, files.options, NULL, NULL, NULL)),
    ROW("AgentChatWorkThreads", SERVER, INT, work_threads, "4", "1", "256", "NUMBER",
        "Threads of each child for calls that block"),
    ROW("AgentChatMaxRuns", SERVER, INT, engine.max_runs, "10000", "1", "1000000", "NUMBER",
        "Maximum number of simultaneous runs in each child"),
    ROW("AgentChatMaxQueuedRuns", SERVER, INT, engine.max_queued, "1000", "0", "1000000", "NUMBER",
        "Maximum number of runs in each child that wait for another to end"),
    ROW("AgentChatRunTimeout", SERVER, DURATION, engine.run_timeout, "10min", "1s", "1h", "DURATION",
        "How long a run may take, with all its rounds and tool calls"),
    ROW("AgentChatQueueTimeout", SERVER, DURATION, engine.queue_timeout, "30s", "100ms", "10min", "DURATION",
        "How long a run may wait for another to end"),
    ROW("AgentChatStoreTimeout", SERVER, DURATION, engine.store_timeout, "10s", "100ms", "5min", "DURATION",
        "How long a request or a run waits for the store"),
    ROW("AgentChatMaxStreams", SERVER, INT, max_streams, "20000", "1", "1000000", "NUMBER",
        "Maximum number of event streams of each child that hold no thread"),
    ROW("AgentChatMaxBlockingStreams", SERVER, INT, max_blocking_streams, NULL, "0", "10000", "NUMBER",
        "Maximum number of event streams of each child that hold a thread of the server"),
    ROW("AgentChatMaxHTTP2Streams", SERVER, INT, max_http2_streams, NULL, "0", "10000", "NUMBER",
        "Maximum number of event streams of each child over HTTP/2; each holds a thread of mod_http2"),
    ROW("AgentChatMaxAnswer", SERVER, SIZE, engine.max_answer, "4M", "1K", "4M", "SIZE",
        "Maximum size of a run's answer, with all its rounds"),
    ROW("AgentChatAgentsRefresh", SERVER, DURATION, agents_refresh, "1s", "0", "1h", "DURATION",
        "How often each child reads the agents that were made through the API; 0: there are none"),
    ROW("AgentChatApprovalTimeout", SERVER, DURATION, engine.approval_timeout, "24h", "1s", "30d", "DURATION",
        "How long a tool call may await approval; then it is refused"),
    ROW("AgentChatPurgeAfter", SERVER, DURATION, purge_after, "30d", "0", "3650d", "DURATION",
        "How long after its deletion a thread is removed permanently; 0: never"),
    ROW("AgentChatDrain", SERVER, DURATION, drain, "2min", "0", "1d", "DURATION",
        "How long children of the previous generation continue their runs after a graceful restart or stop"),

    ROW("AgentChatEventLog", SERVER, WORD, event_logs.wanted, "auto", NULL, NULL, "auto|off|PATH",
        "Directory of the event logs of live runs, by which every child can continue a stream"),
    ROW("AgentChatEventLogMax", SERVER, SIZE, event_logs.max, "16M", "64K", "1G", "SIZE",
        "Maximum size of one run's event log"),
    ROW("AgentChatEventLogTotal", SERVER, SIZE, event_logs.total, "0", "0", "1024G", "SIZE",
        "Maximum size of all event logs; 0: a quarter of their file system"),
    ROW("AgentChatEventLogKeep", SERVER, DURATION, engine.log_keep, "5min", "0", "1d", "DURATION",
        "How long an event log is kept after its run has ended"),

    ROW("AgentChatLog", SERVER, WORD, log.target, "errorlog", NULL, NULL, "errorlog|PATH|PIPE",
        "Where the module's log messages go"),
    ROW("AgentChatAuditLog", SERVER, WORD, audit.target, NULL, NULL, NULL, "PATH|PIPE",
        "Where the audit log goes: who did what, one JSON object a line"),
    ROW_OF_KEYS("AgentChatAuditOwner", SERVER, "plain|hashed [secret=env:NAME|file:PATH]",
                "Whether the audit log shows owners, or a hash of them",
                KEY("", SERVER, CHOICE, audit.owner, "plain", "plain|hashed", NULL),
                KEY("secret", SERVER, SECRET, audit.secret, NULL, NULL, NULL)),
    ROW("AgentChatLogFormat", SERVER, CHOICE, log.format, "text", "text|json", NULL, "text|json",
        "Whether log messages are lines of text, or JSON objects"),

    ROW_OF_KEYS("AgentChatTitles", SERVER, "on|off [model=ID] [max-tokens=N] [timeout=D] [prompt=TEXT]",
                "Whether a model makes a thread's title after the first answer",
                KEY("", SERVER, FLAG, engine.titles.on, "off", NULL, NULL),
                KEY("model", SERVER, WORD, titles_model, NULL, NULL, NULL),
                KEY("max-tokens", SERVER, INT, engine.titles.max_tokens, "64", "8", "4096"),
                KEY("timeout", SERVER, DURATION, engine.titles.timeout, "30s", "1s", "10min"),
                KEY("prompt", SERVER, WORD, engine.titles.prompt, NULL, NULL, NULL)),
    ROW_OF_KEYS("AgentChatFeedback", SERVER, "words=on|off",
                "Whether GET /feedback shows the words: question, answer, reason and comment",
                KEY("words", SERVER, FLAG, feedback_words, "off", NULL, NULL)),

    ROW("AgentChatTelemetry", SERVER, TELEMETRY, telemetry, NULL, NULL, NULL,
        "otlp [URL] [key=value ...] | appinsights [STRING] [key=value ...] | off",
        "Where traces, metrics and log messages go: to a collector, or Application Insights; lines add up"),
    ROW_OF_KEYS("AgentChatTelemetryMetrics", SERVER, "[interval=D] [temporality=T] [histograms=H]",
                "How often metrics are sent, and in which form OpenTelemetry gets them",
                KEY("interval", SERVER, DURATION, telemetry.interval, NULL, "10ms", "1d"),
                KEY("temporality", SERVER, CHOICE, telemetry.temporality, NULL, "cumulative|delta", NULL),
                KEY("histograms", SERVER, CHOICE, telemetry.histograms, NULL, "explicit|exponential", NULL)),
    ROW("AgentChatTelemetryLogs", SERVER, CHOICE, telemetry.log_level, "warn", "error|warn|info|off", NULL,
        "error|warn|info|off", "The lowest level of log messages that are sent"),
    ROW("AgentChatTelemetryResource", SERVER, PAIR, telemetry.attributes, NULL, NULL, NULL, "NAME VALUE",
        "Attribute of the server that all its telemetry has, such as service.name"),
    ROW_OF_KEYS("AgentChatTelemetryBatch", SERVER, "[size=N] [delay=D] [queue=N] [bytes=SIZE]",
                "How much telemetry goes out at once, how long it may wait for that, and how much may wait",
                KEY("size", SERVER, INT, telemetry.batch, "512", "1", "10000"),
                KEY("delay", SERVER, DURATION, telemetry.delay, "5s", "10ms", "5min"),
                KEY("queue", SERVER, INT, telemetry.queue, "2048", "1", "1000000"),
                KEY("bytes", SERVER, SIZE, telemetry.bytes, "8M", "64K", "1G")),
    ROW("AgentChatTraceSampler", SERVER, WORD, telemetry.sampler_text, NULL, NULL, NULL,
        "always_on|always_off|traceidratio=N|parentbased_...", "Which traces are recorded"),
    ROW("AgentChatTraceContent", SERVER, RANK, trace.content, "none", "none|tools|all", NULL, "none|tools|all",
        "Which contents spans have: none, arguments and results of tools, or also prompts and answers"),
    ROW("AgentChatTraceNames", SERVER, RANK, trace.names, "new", "new|both", NULL, "new|both",
        "Whether spans have earlier names of their attributes, too"),

    ROW_OF_KEYS("AgentChatShared", SERVER, "redis:HOST:PORT [key=value ...]",
                "Redis server in which the servers of all machines count limits together, and follow each other's runs",
                KEY("", SERVER, WORD, shared.url, NULL, NULL, NULL),
                KEY("user", SERVER, WORD, shared.user, NULL, NULL, NULL),
                KEY("password", SERVER, SECRET, shared.password, NULL, NULL, NULL),
                KEY("tls", SERVER, FLAG, shared.tls, "off", NULL, NULL),
                KEY("ca", SERVER, PATH, shared.ca_file, NULL, NULL, NULL),
                KEY("insecure", SERVER, FLAG, shared.insecure, "off", NULL, NULL),
                KEY("db", SERVER, INT, shared.db, "0", "0", "1000"),
                KEY("timeout", SERVER, DURATION, shared.timeout, "50ms", "1ms", "10s"),
                KEY("on-error", SERVER, CHOICE, shared.on_error, "open", "open|closed", NULL),
                KEY("prefix", SERVER, WORD, shared.prefix, "agentchat:", NULL, NULL),
                KEY("events", SERVER, FLAG, shared.events, "on", NULL, NULL)),

    CONTAINER("<AgentChatModel", MODEL, "ID", "Defines a model"),
    ROW("AgentChatProvider", MODEL, WORD, conf.provider, NULL, NULL, NULL, "PROVIDER", "Provider of the model"),
    ROW_OF_KEYS("AgentChatEndpoint", MODEL, "URL [key=value ...]", "URL of the model; the keys are the provider's",
                KEY("", MODEL, WORD, conf.endpoint, NULL, NULL, NULL),
                KEY("*", MODEL, PAIR, conf.options, NULL, NULL, NULL)),
    ROW("AgentChatCredential", MODEL, CREDENTIAL, conf.auth, NULL, NULL, NULL,
        "env:NAME|file:PATH|keyvault:URL|identity[:WAY]|oauth:URL [key=value ...]",
        "Credential for requests to the model"),
    ROW_OF_KEYS("AgentChatPrice", MODEL, "input=N [cached=N] output=N currency=CODE", "Price of a million tokens",
                KEY("input", MODEL, NUMBER, conf.price.input, NULL, "0", "1000000"),
                KEY("cached", MODEL, NUMBER, conf.price.cached, NULL, "0", "1000000"),
                KEY("output", MODEL, NUMBER, conf.price.output, NULL, "0", "1000000"),
                KEY("currency", MODEL, CURRENCY, conf.price.currency, NULL, NULL, NULL)),
    ROW_OF_KEYS("AgentChatTimeouts", MODEL, "[connect=D] [first-byte=D] [idle=D] [total=D]",
                "Time limits of the parts of an answer",
                KEY("connect", MODEL, DURATION, conf.connect_timeout, "5s", "100ms", "1min"),
                KEY("first-byte", MODEL, DURATION, conf.first_byte_timeout, "60s", "100ms", "10min"),
                KEY("idle", MODEL, DURATION, conf.idle_timeout, "60s", "100ms", "10min"),
                KEY("total", MODEL, DURATION, conf.total_timeout, "10min", "1s", "1h")),
    ROW("AgentChatRetries", MODEL, INT, conf.retries, "2", "0", "10", "NUMBER",
        "How often a request that failed before its answer began is sent again"),
    ROW_OF_KEYS("AgentChatBreaker", MODEL, "off | [failures=P] [calls=N] [window=D] [open=D]",
                "When the circuit breaker of a failing model opens, and for how long at first",
                KEY("off", MODEL, SWITCH, gate.breaker.off, NULL, NULL, NULL),
                KEY("failures", MODEL, PERCENT, gate.breaker.failures, "50%", "1%", "100%"),
                KEY("calls", MODEL, INT, gate.breaker.calls, "10", "1", "100000"),
                KEY("window", MODEL, DURATION, gate.breaker.window, "30s", "1s", "1h"),
                KEY("open", MODEL, DURATION, gate.breaker.open, "10s", "100ms", "1h")),
    ROW_OF_KEYS("AgentChatModelLimit", MODEL, "[runs=N] [queue=N] [wait=D]",
                "Maximum number of runs of each child that use the model at once, and that wait for it",
                KEY("runs", MODEL, INT, gate.max_runs, "0", "0", "1000000"),
                KEY("queue", MODEL, INT, gate.max_queued, "100", "0", "1000000"),
                KEY("wait", MODEL, DURATION, gate.wait, "10s", "0", "10min")),
    ROW("AgentChatFallback", MODEL, WORD, fallback, NULL, NULL, NULL, "MODEL",
        "Model that is asked if this one fails before its answer began"),
    ROW_OF_KEYS("AgentChatVision", MODEL,
                "off|note|on [detail=default|auto|low|high] [images=N] [size=SIZE] [links=on|off]",
                "Whether the model takes images", KEY("", MODEL, RANK, conf.vision, "off", "off|note|on", NULL),
                KEY("detail", MODEL, RANK, conf.image_detail, "default", "default|auto|low|high", NULL),
                KEY("images", MODEL, INT, conf.max_images, "8", "1", "50"),
                KEY("size", MODEL, SIZE, conf.max_image, "5M", "1K", "16M"),
                KEY("links", MODEL, FLAG, conf.image_links, "off", NULL, NULL)),
    ROW("AgentChatReasoning", MODEL, FLAG, conf.reasoning, "on", NULL, NULL, "on|off",
        "Whether clients see what the model thinks before it answers"),
    ROW("AgentChatHTTPVersion", MODEL, RANK, conf.http_version, "auto", "auto|1.1|2", NULL, "auto|1.1|2",
        "HTTP version of requests to the model"),
    ROW("AgentChatCAFile", MODEL, PATH, conf.ca_file, NULL, NULL, NULL, "PATH",
        "CA certificates (PEM) for the model's certificate, instead of the system's"),
    ROW("AgentChatModelParameter", MODEL, MEMBER, conf.params, NULL, NULL, NULL, "NAME JSON",
        "Additional member of each request to the model"),

    CONTAINER("<AgentChatTool", TOOL, "ID", "Defines a tool"),
    ROW("AgentChatToolProvider", TOOL, WORD, conf.provider, NULL, NULL, NULL, "PROVIDER", "Provider of the tool"),
    ROW_OF_KEYS("AgentChatToolURL", TOOL, "URL [method=METHOD] [insecure=on]",
                "URL of the tool's requests; {name} is replaced by an argument",
                KEY("", TOOL, WORD, conf.url, NULL, NULL, NULL),
                KEY("method", TOOL, CHOICE, conf.method, NULL, "GET|POST|PUT|PATCH|DELETE", NULL),
                KEY("insecure", TOOL, FLAG, conf.insecure, "off", NULL, NULL)),
    ROW("AgentChatToolDescription", TOOL, TEXT, conf.description, NULL, NULL, NULL, "TEXT|file:PATH",
        "Description of the tool for the model"),
    ROW("AgentChatToolParameters", TOOL, DOCUMENT, conf.parameters, NULL, NULL, NULL, "file:PATH|JSON",
        "JSON Schema of the tool's arguments"),
    ROW("AgentChatToolHeader", TOOL, HEADER, conf.headers, NULL, NULL, NULL, "NAME VALUE [secret=env:NAME|file:PATH]",
        "Header of the tool's requests; %{secret} in VALUE is replaced by the secret"),
    ROW("AgentChatToolBody", TOOL, TEXT, conf.body, NULL, NULL, NULL, "TEXT|file:PATH",
        "JSON body of the tool's requests; {name} is replaced by an argument"),
    ROW("AgentChatToolAllowHost", TOOL, WORDS, conf.allow_hosts, NULL, NULL, NULL, "HOST ...",
        "Additional hosts that a redirect may lead to"),
    ROW("AgentChatToolAllowPrivate", TOOL, FLAG, conf.allow_private, "off", NULL, NULL, "on|off",
        "Whether the tool may reach loopback, link-local and private addresses"),
    ROW("AgentChatToolTimeout", TOOL, DURATION, conf.timeout, "30s", "100ms", "10min", "DURATION",
        "How long a call may take"),
    ROW("AgentChatToolResultMax", TOOL, SIZE, conf.result_max, "64K", "1K", "1M", "SIZE", "Maximum size of a result"),
    ROW("AgentChatToolApproval", TOOL, RANK, conf.approval, "none", "none|required", NULL, "none|required",
        "Whether each call awaits approval by the owner of the run"),
    ROW_OF_KEYS("AgentChatToolSources", TOOL,
                "off|LIST [title=PATH] [url=PATH] [place=PATH] [score=PATH] [snippet=PATH]",
                "Where the sources are that a result of the tool names",
                KEY("", TOOL, WORD, conf.sources.list, NULL, NULL, NULL),
                KEY("title", TOOL, WORD, conf.sources.title, NULL, NULL, NULL),
                KEY("url", TOOL, WORD, conf.sources.url, NULL, NULL, NULL),
                KEY("place", TOOL, WORD, conf.sources.place, NULL, NULL, NULL),
                KEY("score", TOOL, WORD, conf.sources.score, NULL, NULL, NULL),
                KEY("snippet", TOOL, WORD, conf.sources.snippet, NULL, NULL, NULL)),
    ROW("AgentChatToolOption", TOOL, PAIR, conf.options, NULL, NULL, NULL, "NAME VALUE",
        "Setting of the tool's provider"),
    ROW("AgentChatToolCredential", TOOL, CREDENTIAL, conf.auth, NULL, NULL, NULL,
        "env:NAME|file:PATH|keyvault:URL|identity[:WAY]|oauth:URL [key=value ...]",
        "Credential for the tool's requests, sent as a Bearer token"),
    ROW("AgentChatToolCAFile", TOOL, PATH, conf.ca_file, NULL, NULL, NULL, "PATH",
        "CA certificates (PEM) for the host's certificate, instead of the system's"),

    CONTAINER("<AgentChatMCP", MCP, "ID", "Defines an MCP server, whose tools agents can have"),
    ROW_OF_KEYS("AgentChatMCPURL", MCP, "URL [protocol=auto|2026-07-28|2025-11-25] [insecure=on]",
                "URL of the server's Streamable HTTP endpoint", KEY("", MCP, WORD, conf.url, NULL, NULL, NULL),
                KEY("protocol", MCP, RANK, conf.protocol, "auto", "auto|2026-07-28|2025-11-25", NULL),
                KEY("insecure", MCP, FLAG, conf.insecure, "off", NULL, NULL)),
    ROW("AgentChatMCPHeader", MCP, HEADER, conf.headers, NULL, NULL, NULL, "NAME VALUE [secret=env:NAME|file:PATH]",
        "Header of the requests to the server; %{secret} in VALUE is replaced by the secret"),
    ROW("AgentChatMCPCredential", MCP, CREDENTIAL, conf.auth, NULL, NULL, NULL,
        "env:NAME|file:PATH|keyvault:URL|identity[:WAY]|oauth:URL [key=value ...]",
        "Credential for requests to the server, sent as a Bearer token"),
    ROW("AgentChatMCPTools", MCP, WORDS, conf.tools, NULL, NULL, NULL, "[!]TOOL ...",
        "Which of the server's tools agents get; '*' stands for any text, '!' excludes"),
    ROW("AgentChatMCPPrefix", MCP, WORD, conf.prefix, NULL, NULL, NULL, "PREFIX",
        "Beginning of the tools' names, as models know them"),
    ROW_OF_KEYS("AgentChatMCPApproval", MCP, "destructive|write|required|none [TOOL=POLICY ...]",
                "Which calls await approval by the owner of the run",
                KEY("", MCP, RANK, conf.approval, "destructive", "destructive|write|required|none", NULL),
                KEY("*", MCP, PAIR, conf.approvals, NULL, NULL, NULL)),
    ROW("AgentChatMCPSession", MCP, RANK, conf.shared_session, "run", "run|shared", NULL, "run|shared",
        "Whether each run has a session of its own with the server"),
    ROW_OF_KEYS("AgentChatMCPTimeouts", MCP, "[connect=D] [list=D] [call=D]", "Time limits of requests to the server",
                KEY("connect", MCP, DURATION, conf.connect_timeout, "5s", "100ms", "1min"),
                KEY("list", MCP, DURATION, conf.list_timeout, "10s", "100ms", "1min"),
                KEY("call", MCP, DURATION, conf.call_timeout, "60s", "100ms", "10min")),
    ROW("AgentChatMCPRefresh", MCP, DURATION, conf.refresh, "5min", "1s", "1d", "DURATION",
        "How long a list of tools holds, if the server does not say it"),
    ROW("AgentChatMCPResultMax", MCP, SIZE, conf.result_max, "64K", "1K", "1M", "SIZE", "Maximum size of a result"),
    ROW("AgentChatMCPAllowPrivate", MCP, FLAG, conf.allow_private, "off", NULL, NULL, "on|off",
        "Whether the server may have a loopback, link-local or private address"),
    ROW("AgentChatMCPCAFile", MCP, PATH, conf.ca_file, NULL, NULL, NULL, "PATH",
        "CA certificates (PEM) for the server's certificate, instead of the system's"),

    CONTAINER("<AgentChatOpenAPI", OPENAPI, "ID",
              "Defines a service by its OpenAPI document, whose operations are tools"),
    ROW("AgentChatToolsFrom", OPENAPI, WORD, conf.from, NULL, NULL, NULL, "openapi:FILE|openapi:URL",
        "OpenAPI document of the service"),
    ROW("AgentChatOpenAPIOperations", OPENAPI, WORDS, conf.operations, NULL, NULL, NULL, "[!]OPERATION ...",
        "Which operations are tools, by operationId or method and path; '*' stands for any text, '!' excludes"),
    ROW_OF_KEYS("AgentChatOpenAPIServer", OPENAPI, "URL|document [insecure=on] [VARIABLE=VALUE ...]",
                "Base URL of the requests, instead of the document's, or the values of its variables",
                KEY("", OPENAPI, WORD, conf.server, "document", NULL, NULL),
                KEY("insecure", OPENAPI, FLAG, conf.insecure, "off", NULL, NULL),
                KEY("*", OPENAPI, PAIR, conf.variables, NULL, NULL, NULL)),
    ROW("AgentChatOpenAPICredential", OPENAPI, SCHEME, conf.credentials, NULL, NULL, NULL,
        "SCHEME|* env:NAME|file:PATH|keyvault:URL|identity[:WAY]|oauth:URL [key=value ...]",
        "Credential for a security scheme of the document; '*' stands for all others"),
    ROW("AgentChatOpenAPIHeader", OPENAPI, HEADER, conf.headers, NULL, NULL, NULL,
        "NAME VALUE [secret=env:NAME|file:PATH]",
        "Header of all requests to the service; %{secret} in VALUE is replaced by the secret"),
    ROW("AgentChatOpenAPIParameter", OPENAPI, PAIR, conf.fixed, NULL, NULL, NULL, "NAME VALUE",
        "Value of a parameter that models neither see nor give"),
    ROW("AgentChatOpenAPIPrefix", OPENAPI, WORD, conf.prefix, NULL, NULL, NULL, "PREFIX",
        "Beginning of the tools' names, as models know them"),
    ROW_OF_KEYS("AgentChatOpenAPIApproval", OPENAPI, "write|required|none [OPERATION=POLICY ...]",
                "Which calls await approval by the owner of the run",
                KEY("", OPENAPI, RANK, conf.approval, "write", "write|required|none", NULL),
                KEY("*", OPENAPI, PAIR, conf.approvals, NULL, NULL, NULL)),
    ROW_OF_KEYS("AgentChatOpenAPITimeouts", OPENAPI, "[connect=D] [load=D] [call=D]",
                "Time limits of requests to the service, and for its document",
                KEY("connect", OPENAPI, DURATION, conf.connect_timeout, "5s", "100ms", "1min"),
                KEY("load", OPENAPI, DURATION, conf.load_timeout, "20s", "100ms", "5min"),
                KEY("call", OPENAPI, DURATION, conf.call_timeout, "30s", "100ms", "10min")),
    ROW("AgentChatOpenAPIRefresh", OPENAPI, DURATION, conf.refresh, "1h", "1s", "30d", "DURATION",
        "How long a document that was fetched holds"),
    ROW("AgentChatOpenAPIResultMax", OPENAPI, SIZE, conf.result_max, "64K", "1K", "1M", "SIZE",
        "Maximum size of a result"),
    ROW("AgentChatOpenAPIAllowHost", OPENAPI, WORDS, conf.allow_hosts, NULL, NULL, NULL, "HOST ...",
        "Additional hosts that redirects, and the servers of a fetched document, may lead to"),
    ROW("AgentChatOpenAPIAllowPrivate", OPENAPI, FLAG, conf.allow_private, "off", NULL, NULL, "on|off",
        "Whether the service may have a loopback, link-local or private address"),
    ROW("AgentChatOpenAPICAFile", OPENAPI, PATH, conf.ca_file, NULL, NULL, NULL, "PATH",
        "CA certificates (PEM) for the service's certificate, instead of the system's"),

    CONTAINER("<AgentChatAgent", AGENT, "ID [ALIAS ...]", "Defines an agent"),
    ROW("AgentChatModel", AGENT, WORD, model, NULL, NULL, NULL, "MODEL", "Model of the agent"),
    ROW("AgentChatAlias", AGENT, WORDS, aliases, NULL, NULL, NULL, "ID ...", "Additional ids of the agent"),
    ROW("AgentChatName", AGENT, TEXT, agent.name, NULL, NULL, NULL, "TEXT", "Display name of the agent"),
    ROW("AgentChatDescription", AGENT, TEXT, agent.description, NULL, NULL, NULL, "TEXT|file:PATH",
        "Description of the agent"),
    ROW("AgentChatInstructions", AGENT, TEXT, agent.instructions, NULL, NULL, NULL, "TEXT|file:PATH",
        "Instructions for the model, before all messages"),
    ROW("AgentChatTools", AGENT, WORDS, tools, NULL, NULL, NULL, "TOOL ...", "Tools of the agent"),
    ROW("AgentChatMaxRounds", AGENT, INT, agent.max_rounds, "8", "1", "64", "NUMBER",
        "Maximum number of model calls of a run"),
    ROW("AgentChatMaxTotalRounds", AGENT, INT, agent.max_total_rounds, "50", "1", "1000", "NUMBER",
        "Maximum number of model calls of a run and of all agents that it calls"),
    ROW("AgentChatAgentHistory", AGENT, FLAG, agent.tells_history, "off", NULL, NULL, "on|off",
        "Whether agents that this one calls see the conversation"),
    ROW("AgentChatMaxToolCalls", AGENT, INT, agent.max_tool_calls, "32", "1", "32", "NUMBER",
        "Maximum number of tool calls in one answer of the model"),
    ROW("AgentChatMaxTokens", AGENT, INT, agent.max_tokens, "0", "0", "1000000", "NUMBER",
        "Maximum number of tokens of one answer; 0: the model's own limit"),
    ROW("AgentChatTemperature", AGENT, NUMBER, agent.temperature, "nan", "0", "2", "NUMBER",
        "Sampling temperature of the model"),
    ROW_OF_KEYS("AgentChatHistory", AGENT, "[messages=N] [tokens=N]", "How much of the conversation the model is shown",
                KEY("messages", AGENT, INT, agent.history_messages, "100", "0", "1000"),
                KEY("tokens", AGENT, INT, agent.history_tokens, "32000", "0", "10000000")),
    ROW("AgentChatStatus", AGENT, CHOICE, agent.status, "active", "active|inactive", NULL, "active|inactive",
        "Whether the agent can be used"),
    {NULL, {NULL}, NULL, 0, RAW_ARGS, NULL}};
#define N_DIRECTIVES (sizeof(ac_directives) / sizeof(ac_directives[0]) - 1)
_Static_assert(N_DIRECTIVES <= AC_CONFIG_ROWS, "`given` has too few places for the table");

/* The struct that this directive writes to, and where to note that it was given. A server's setting that is given
 * again replaces the first, as everywhere in httpd, so that an included file can change it. Inside a container that
 * is an error. */
static const char *find_target(void **ptarget, const ap_directive_t ***pgiven, cmd_parms *cmd,
                               const ac_setting_t *setting)
{
    if (setting->where == AC_CONFIG_IN_SERVER) {
        *ptarget = &ac_conf_mutable()->conf;
        *pgiven = &ac_conf_mutable()->given[ac_config_row_index(setting)];
        return NULL;
    }
    const char *problem = NULL;
    ac_definition_t *definition = ac_config_define_current(&problem, cmd, setting);
    if (!definition) {
        return problem;
    }
    *ptarget = definition;
    *pgiven = &definition->given[ac_config_row_index(setting)];
    bool adds = setting->value.type == AC_VALUE_WORDS || setting->value.type == AC_VALUE_PAIR ||
        setting->value.type == AC_VALUE_MEMBER || setting->value.type == AC_VALUE_HEADER ||
        setting->value.type == AC_VALUE_SCHEME;
    if (**pgiven && !adds) {
        return apr_psprintf(cmd->pool, "is given twice; first at %s", ac_config_define_where(**pgiven, cmd->pool));
    }
    return NULL;
}

/* The agent whose container this setting of a section is in; NULL: it is in no such container. */
static ac_agent_def_t *config_find_agent(const cmd_parms *cmd, const ac_setting_t *setting)
{
    const ap_directive_t *parent = cmd->directive->parent;
    bool inside = setting->value.type == AC_VALUE_LIMITS && parent && parent->data &&
        ap_cstr_casecmp(parent->directive, "<AgentChatAgent") == 0;
    return inside ? parent->data : NULL;
}

static const char *set_mount(cmd_parms *cmd, ac_mount_conf_t *mount, const ac_setting_t *setting, const char *args)
{
    ac_agent_def_t *agent = config_find_agent(cmd, setting);
    if (agent) {
        return ac_config_limit_set_agent(cmd, agent, args);
    }
    bool first = !(mount->set & UINT64_C(1) << ac_config_row_index(setting));
    const char *problem = setting->value.type == AC_VALUE_LIMITS ? ac_config_limit_set_mount(cmd, mount, args, first)
                                                                 : ac_config_args_set(setting, mount, args, cmd->pool);
    if (!problem) {
        problem = ac_config_section_problem(mount, cmd->pool);
    }
    if (problem) {
        return problem;
    }
    mount->set |= UINT64_C(1) << ac_config_row_index(setting);
    if (setting->value.offset == offsetof(ac_mount_conf_t, default_agent_id)) {
        APR_ARRAY_PUSH(ac_conf_mutable()->defs.default_agents, const ap_directive_t *) = cmd->directive;
    }
    if (setting->value.offset == offsetof(ac_mount_conf_t, keys_path)) {
        ac_config_keys_add(mount->keys_path, cmd->directive);
    }
    return NULL;
}

static const char *set_directive(cmd_parms *cmd, void *dir, const char *args)
{
    const ac_setting_t *setting = cmd->info;
    const ap_directive_t **given = NULL;
    void *target = NULL;
    const char *problem;
    if (setting->where == AC_CONFIG_IN_MOUNT) {
        problem = set_mount(cmd, dir, setting, args);
    } else {
        problem = find_target(&target, &given, cmd, setting);
        if (!problem) {
            problem = ac_config_args_set(setting, target, args, cmd->pool);
        }
        if (!problem) {
            *given = cmd->directive;
        }
    }
    return ac_reload_directive(cmd, problem ? apr_pstrcat(cmd->pool, setting->name, ": ", problem, NULL) : NULL);
}
