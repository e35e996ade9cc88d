/* SPDX-License-Identifier: Apache-2.0 */
/* Every metric of the module, and the values that its labels may have. docs/metrics.md is checked against this table.
 *
 * AC_METRIC_DOMAIN(ID, "label", kind): a set of values of one label, or of combined values of several. FIXED: the
 * module knows all of them. OPEN: the configuration names them, and all other values count as "other".
 *
 * AC_METRIC(ID, "name", TYPE, SCALE, BUCKETS, EXEMPLARS, D1, D2, D3, "since", "help")
 * TYPE      COUNTER, HISTOGRAM (of seconds), GAUGE (of a child; the value is the sum over the children that run)
 * SCALE     what is counted, in parts of the unit: 1, 1000 (thousandths) and so on
 * BUCKETS   of a histogram: a row of bounds in metrics.c
 * EXEMPLARS whether a bucket names the trace of its newest value
 * D1 to D3  the domains of its labels; NONE: no further label
 *
 * AC_METRIC_NAME(METRIC, "value", "name"): the name by which OpenTelemetry and Application Insights get a metric that
 * the conventions for generative AI define. All others have their own name there, with "agentchat." in front and
 * without the unit at the end. value: of the last label, if only the rows with it have this name; "": all rows. */
#ifndef AC_METRIC_NAME
#define AC_METRIC_NAME(...)
#endif
/* clang-format off */
AC_METRIC_DOMAIN(NONE,           "",          FIXED)
AC_METRIC_DOMAIN(ROUTE,          "protocol method route", FIXED)
AC_METRIC_DOMAIN(HTTP_STATUS,    "status",    FIXED)
AC_METRIC_DOMAIN(AGENT,          "agent",     OPEN)
AC_METRIC_DOMAIN(MODEL,          "model",     OPEN)
AC_METRIC_DOMAIN(TOOL,           "tool",      OPEN)
AC_METRIC_DOMAIN(CURRENCY,       "currency",  OPEN)
AC_METRIC_DOMAIN(STORE,          "store",     OPEN)
AC_METRIC_DOMAIN(OPERATION,      "operation", FIXED)
AC_METRIC_DOMAIN(PROTOCOL,       "protocol",  FIXED)
AC_METRIC_DOMAIN(RUN_STATUS,     "protocol status", FIXED)
AC_METRIC_DOMAIN(CAUSE,          "cause",     FIXED)
AC_METRIC_DOMAIN(OUTCOME,        "outcome",   FIXED)
AC_METRIC_DOMAIN(TOOL_OUTCOME,   "outcome",   FIXED)
AC_METRIC_DOMAIN(STREAM_OUTCOME, "outcome",   FIXED)
AC_METRIC_DOMAIN(DELIVERY,       "delivery",  FIXED)
AC_METRIC_DOMAIN(TOKEN_TYPE,     "type",      FIXED)
AC_METRIC_DOMAIN(BREAKER_STATE,  "state",     FIXED)
AC_METRIC_DOMAIN(LIMIT,          "limit",     FIXED)
AC_METRIC_DOMAIN(LIMIT_BY,       "by",        FIXED)
AC_METRIC_DOMAIN(CACHE_RESULT,   "result",    FIXED)
AC_METRIC_DOMAIN(SIGNAL,         "signal",    FIXED)
AC_METRIC_DOMAIN(HISTORY_CUT,    "what",      FIXED)
AC_METRIC_DOMAIN(RATING,         "rating",    FIXED)
AC_METRIC_DOMAIN(AFTER_RUN_OUTCOME, "outcome", FIXED)
AC_METRIC_DOMAIN(DEPTH,          "depth",     FIXED)
AC_METRIC_DOMAIN(WEBHOOK,        "webhook",   OPEN)
AC_METRIC_DOMAIN(WEBHOOK_OUTCOME, "outcome",  FIXED)

/* requests */
AC_METRIC(REQUESTS, "agentchat_requests_total", COUNTER, 1, NONE, 0, ROUTE, HTTP_STATUS, NONE, "0.1.0",
          "Requests that were answered, by route and status")
AC_METRIC(REQUEST_DURATION, "agentchat_request_duration_seconds", HISTOGRAM, 1, REQUEST, 1, ROUTE, NONE, NONE, "0.1.0",
          "Time from a request to the end of its answer, without event streams")
AC_METRIC(LIMITS_REFUSED, "agentchat_limits_refused_total", COUNTER, 1, NONE, 0, LIMIT, LIMIT_BY, NONE, "0.1.0",
          "Requests and runs that a limit of AgentChatLimit refused")

/* files */
AC_METRIC(FILES, "agentchat_files_total", COUNTER, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "Files that were uploaded and stored")
AC_METRIC(FILE_BYTES, "agentchat_file_bytes_total", COUNTER, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "Bytes of the files that were uploaded and stored")
AC_METRIC(FILES_REFUSED, "agentchat_files_refused_total", COUNTER, 1, NONE, 0, CAUSE, NONE, NONE, "0.1.0",
          "Uploads that failed, by the code of the error")
AC_METRIC(BLOB_REQUESTS, "agentchat_blob_requests_total", COUNTER, 1, NONE, 0, HTTP_STATUS, NONE, NONE, "0.1.0",
          "Requests to Azure Blob Storage, by the status of the answer; other: without an answer")

/* streams */
AC_METRIC(STREAMS, "agentchat_streams_total", COUNTER, 1, NONE, 0, DELIVERY, PROTOCOL, STREAM_OUTCOME, "0.1.0",
          "Answers of runs that have ended, streams and documents, by outcome")
AC_METRIC(STREAM_DURATION, "agentchat_stream_duration_seconds", HISTOGRAM, 1, RUN, 0, DELIVERY, PROTOCOL, NONE, "0.1.0",
          "Time from the beginning of an answer of a run to its end")
AC_METRIC(STREAMS_ACTIVE, "agentchat_streams_active", GAUGE, 1, NONE, 0, DELIVERY, PROTOCOL, NONE, "0.1.0",
          "Answers of runs that are being delivered")

/* runs */
AC_METRIC(RUNS, "agentchat_runs_total", COUNTER, 1, NONE, 0, AGENT, RUN_STATUS, CAUSE, "0.1.0",
          "Runs that have ended, by status and by the code of their error")
AC_METRIC(RUNS_STARTED, "agentchat_runs_started_total", COUNTER, 1, NONE, 0, PROTOCOL, NONE, NONE, "0.1.0",
          "Runs that were started, including those that limits or a full queue refused")
AC_METRIC(RUNS_ACTIVE, "agentchat_runs_active", GAUGE, 1, NONE, 0, PROTOCOL, NONE, NONE, "0.1.0",
          "Runs that have not ended, including queued ones")
AC_METRIC(RUNS_QUEUED, "agentchat_runs_queued", GAUGE, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "Runs that wait for a slot of their child")
AC_METRIC(RUNS_SUSPENDED, "agentchat_runs_suspended_total", COUNTER, 1, NONE, 0, AGENT, PROTOCOL, NONE, "0.1.0",
          "Runs that were suspended to await approval")
AC_METRIC(RUNS_RESUMED, "agentchat_runs_resumed_total", COUNTER, 1, NONE, 0, AGENT, PROTOCOL, NONE, "0.1.0",
          "Suspended runs that were resumed after the last decision")
AC_METRIC(HISTORY_CUTS, "agentchat_history_cuts_total", COUNTER, 1, NONE, 0, AGENT, HISTORY_CUT, NONE, "0.1.0",
          "Conversations that did not fit, by what was left out, or took the place of messages (summary)")
AC_METRIC(HANDOFFS, "agentchat_handoffs_total", COUNTER, 1, NONE, 0, AGENT, NONE, NONE, "0.1.0",
          "Runs that the agent has handed over to another agent")
AC_METRIC(NESTED_RUNS, "agentchat_nested_runs_total", COUNTER, 1, NONE, 0, AGENT, DEPTH, NONE, "0.1.0",
          "Runs of agents that other agents called as tools, by how deep they are below the turn")
AC_METRIC(FIRST_TOKEN, "agentchat_run_first_token_seconds", HISTOGRAM, 1, MODEL, 1, AGENT, MODEL, NONE, "0.1.0",
          "Time from the start of a run to the first token of its answer")
AC_METRIC(RUN_DURATION, "agentchat_run_duration_seconds", HISTOGRAM, 1, RUN, 1, AGENT, CAUSE, NONE, "0.1.0",
          "Time from the start of a run to its end, without the time of a suspension")
AC_METRIC(RUN_OVERHEAD, "agentchat_run_overhead_seconds", HISTOGRAM, 1, REQUEST, 1, AGENT, PROTOCOL, NONE, "0.1.0",
          "The part of a run's duration in which no model and no tool worked: queues, limits, the store, this module")

AC_METRIC(FEEDBACK, "agentchat_feedback_total", COUNTER, 1, NONE, 0, AGENT, MODEL, RATING, "0.1.0",
          "Ratings that owners gave answers, changed or removed")

AC_METRIC(TITLES, "agentchat_titles_total", COUNTER, 1, NONE, 0, AGENT, MODEL, AFTER_RUN_OUTCOME, "0.1.0",
          "Titles that models were to make for threads, by outcome")
AC_METRIC(SUMMARIES, "agentchat_summaries_total", COUNTER, 1, NONE, 0, AGENT, MODEL, AFTER_RUN_OUTCOME, "0.1.0",
          "Summaries that models were to make of old messages, by outcome")

/* webhooks */
AC_METRIC(WEBHOOK_ATTEMPTS, "agentchat_webhook_attempts_total", COUNTER, 1, NONE, 0, WEBHOOK, WEBHOOK_OUTCOME, NONE,
          "0.1.0", "Attempts to deliver an event to a webhook, by outcome")
AC_METRIC(WEBHOOKS_PENDING, "agentchat_webhook_deliveries_pending", GAUGE, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "Webhook deliveries that children know of and have not finished: they wait for an attempt or its answer")

/* models */
AC_METRIC(MODEL_CALLS, "agentchat_model_calls_total", COUNTER, 1, NONE, 0, MODEL, OUTCOME, NONE, "0.1.0",
          "Calls of a model that have ended, with their retries as one call")
AC_METRIC(MODEL_CALL_DURATION, "agentchat_model_call_duration_seconds", HISTOGRAM, 1, MODEL, 1, MODEL, OUTCOME, NONE,
          "0.1.0",
          "Time of a call of a model, with its retries")
AC_METRIC(MODEL_FIRST_TOKEN, "agentchat_model_first_token_seconds", HISTOGRAM, 1, MODEL, 1, MODEL, NONE, NONE, "0.1.0",
          "Time from a call of a model to the first part of its answer")
AC_METRIC(MODEL_CALLS_ACTIVE, "agentchat_model_calls_active", GAUGE, 1, NONE, 0, MODEL, NONE, NONE, "0.1.0",
          "Calls of a model that have not ended")
AC_METRIC(MODEL_RETRIES, "agentchat_model_retries_total", COUNTER, 1, NONE, 0, MODEL, NONE, NONE, "0.1.0",
          "Requests to a model that were sent again")
AC_METRIC(MODEL_FALLBACKS, "agentchat_model_fallbacks_total", COUNTER, 1, NONE, 0, MODEL, NONE, NONE, "0.1.0",
          "Calls that went to the fallback of this model")
AC_METRIC(MODEL_QUEUED, "agentchat_model_queued_runs", GAUGE, 1, NONE, 0, MODEL, NONE, NONE, "0.1.0",
          "Runs in the queue of a model")
AC_METRIC(BREAKERS, "agentchat_model_breakers", GAUGE, 1, NONE, 0, MODEL, BREAKER_STATE, NONE, "0.1.0",
          "Circuit breakers of a model in each state; each child that has called the model has one")
AC_METRIC(BREAKER_OPENED, "agentchat_model_breaker_opened_total", COUNTER, 1, NONE, 0, MODEL, NONE, NONE, "0.1.0",
          "Times that a circuit breaker of a model opened")
AC_METRIC(TOKENS, "agentchat_tokens_total", COUNTER, 1, NONE, 0, AGENT, MODEL, TOKEN_TYPE, "0.1.0",
          "Tokens of model calls, reported or estimated; input includes cached tokens, and output includes reasoning")
AC_METRIC(CACHED_TOKENS, "agentchat_cached_input_tokens_total", COUNTER, 1, NONE, 0, AGENT, MODEL, NONE, "0.1.0",
          "Input tokens that the model read from its cache; a part of agentchat_tokens_total")
AC_METRIC(REASONING_TOKENS, "agentchat_reasoning_output_tokens_total", COUNTER, 1, NONE, 0, AGENT, MODEL, NONE, "0.1.0",
          "Output tokens of reasoning; a part of agentchat_tokens_total")
AC_METRIC(COST, "agentchat_cost_total", COUNTER, 1000000000, NONE, 0, AGENT, MODEL, CURRENCY, "0.1.0",
          "Cost of model calls by the prices of AgentChatPrice, in units of the currency")

/* tools */
AC_METRIC(TOOL_CALLS, "agentchat_tool_calls_total", COUNTER, 1, NONE, 0, TOOL, TOOL_OUTCOME, NONE, "0.1.0",
          "Tool calls that have ended")
AC_METRIC(TOOL_CALL_DURATION, "agentchat_tool_call_duration_seconds", HISTOGRAM, 1, MODEL, 1, TOOL, TOOL_OUTCOME, NONE,
          "0.1.0",
          "Time of a tool call that was started")

/* the store */
AC_METRIC(STORE_OPERATIONS, "agentchat_store_operations_total", COUNTER, 1, NONE, 0, STORE, OPERATION, OUTCOME, "0.1.0",
          "Operations of the store that have ended")
AC_METRIC(STORE_OPERATION_DURATION, "agentchat_store_operation_duration_seconds", HISTOGRAM, 1, STORE, 0,
          STORE, OPERATION, NONE, "0.1.0",
          "Time of an operation of the store")
AC_METRIC(CACHE_LOOKUPS, "agentchat_cache_lookups_total", COUNTER, 1, NONE, 0, CACHE_RESULT, NONE, NONE, "0.1.0",
          "Threads that were looked for in the cache before the store")
AC_METRIC(SQLITE_GROUPS, "agentchat_sqlite_groups_total", COUNTER, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "Write transactions of the embedded store that were committed; each commits a group of operations")
AC_METRIC(SQLITE_GROUP_OPERATIONS, "agentchat_sqlite_group_operations_total", COUNTER, 1, NONE, 0, NONE, NONE, NONE,
          "0.1.0",
          "Operations in those transactions")
AC_METRIC(COSMOS_REQUESTS, "agentchat_cosmos_requests_total", COUNTER, 1, NONE, 0, OPERATION, HTTP_STATUS, NONE,
          "0.1.0",
          "Requests to Cosmos DB that were answered, by status; other: without an answer")
AC_METRIC(COSMOS_REQUEST_UNITS, "agentchat_cosmos_request_units_total", COUNTER, 1000, NONE, 0, OPERATION, NONE, NONE,
          "0.1.0",
          "Request units that Cosmos DB has charged")
AC_METRIC(COSMOS_THROTTLED, "agentchat_cosmos_throttled_total", COUNTER, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "Requests that Cosmos DB refused for lack of request units (429)")

/* Redis */
AC_METRIC(REDIS_COMMANDS, "agentchat_redis_commands_total", COUNTER, 1, NONE, 0, OUTCOME, NONE, NONE, "0.1.0",
          "Commands for Redis that were answered or given up")
AC_METRIC(REDIS_COMMAND_DURATION, "agentchat_redis_command_duration_seconds", HISTOGRAM, 1, STORE, 0, NONE, NONE, NONE,
          "0.1.0",
          "Time of a command for Redis that was answered")
AC_METRIC(REDIS_CONNECTIONS, "agentchat_redis_connections", GAUGE, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "Connections to Redis that can be used; each child has one")

/* event logs */
AC_METRIC(EVENT_LOG_WRITTEN, "agentchat_event_log_written_bytes_total", COUNTER, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "Bytes of event logs whose runs have ended")
AC_METRIC(EVENT_LOG_BYTES, "agentchat_event_log_bytes", GAUGE, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "Bytes that all event logs of the server occupy now")
AC_METRIC(EVENT_FOLLOWERS, "agentchat_event_log_followers", GAUGE, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "Followers that read a run's past from its event log or from the store")
AC_METRIC(STREAM_RESUMES, "agentchat_stream_resumes_total", COUNTER, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "Streams that continued a run behind an event that the client had")
AC_METRIC(STREAM_GAPS, "agentchat_stream_gaps_total", COUNTER, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "Streams that could not be continued, because the events are not kept any more")

/* telemetry */
AC_METRIC(TELEMETRY_EXPORTED, "agentchat_telemetry_exported_total", COUNTER, 1, NONE, 0, SIGNAL, NONE, NONE, "0.1.0",
          "Spans, data points and log records that a destination of AgentChatTelemetry has accepted")
AC_METRIC(TELEMETRY_DROPPED, "agentchat_telemetry_dropped_total", COUNTER, 1, NONE, 0, SIGNAL, NONE, NONE, "0.1.0",
          "Those that were lost: the queue was full, or the destination refused them or could not be reached")

/* the process */
AC_METRIC(LOOP_LAG, "agentchat_loop_lag_seconds", HISTOGRAM, 1, LAG, 0, NONE, NONE, NONE, "0.1.0",
          "The longest time in each five seconds that the loop thread of a child worked without looking for events")
AC_METRIC(CHILDREN, "agentchat_children", GAUGE, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "Children that run")
AC_METRIC(RESIDENT_MEMORY, "agentchat_resident_memory_bytes", GAUGE, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "Resident memory of all children, with what they share counted in each")
AC_METRIC(OPEN_DESCRIPTORS, "agentchat_open_descriptors", GAUGE, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "Open file descriptors of all children")
AC_METRIC(MAX_DESCRIPTORS, "agentchat_max_descriptors", GAUGE, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "File descriptors that all children together may have open")
AC_METRIC(START_TIME, "agentchat_start_time_seconds", GAUGE, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "When the counters began at zero, in seconds since 1970")
AC_METRIC(BUILD, "agentchat_build_info", INFO, 1, NONE, 0, NONE, NONE, NONE, "0.1.0",
          "Versions of the module and of httpd")

/* Source: semantic-conventions-genai of OpenTelemetry, of August 2026. */
AC_METRIC_NAME(RUN_DURATION,        "",       "gen_ai.invoke_agent.duration")
AC_METRIC_NAME(MODEL_CALL_DURATION, "",       "gen_ai.client.inference.duration")
AC_METRIC_NAME(MODEL_FIRST_TOKEN,   "",       "gen_ai.client.inference.time_to_first_chunk")
AC_METRIC_NAME(TOKENS,              "input",  "gen_ai.client.inference.usage.input_tokens")
AC_METRIC_NAME(TOKENS,              "output", "gen_ai.client.inference.usage.output_tokens")
AC_METRIC_NAME(CACHED_TOKENS,       "",       "gen_ai.client.inference.usage.cache_read.input_tokens")
AC_METRIC_NAME(REASONING_TOKENS,    "",       "gen_ai.client.inference.usage.reasoning.output_tokens")
AC_METRIC_NAME(TOOL_CALL_DURATION,  "",       "gen_ai.execute_tool.duration")
/* clang-format on */
#undef AC_METRIC_NAME
