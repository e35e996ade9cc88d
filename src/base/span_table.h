/* SPDX-License-Identifier: Apache-2.0 */
/* Every span of the module, and every attribute that it may have. docs/traces.md is checked against this table.
 *
 * AC_SPAN(ID, KIND, "name", "since", "help")
 * KIND      SERVER, CLIENT or INTERNAL, as OpenTelemetry defines them
 * name      its pattern; a part in braces is an attribute, or a part of one
 *
 * AC_ATTRIBUTE(ID, "name", TYPE, "old name", "spans", "since", "help")
 * ID        the name in capitals, with _ for each other character
 * TYPE      TEXT, INTEGER, NUMBER, FLAG, LIST (of texts: a JSON array)
 * old name  an earlier name, for `AgentChatTraceNames both`; "": it has none
 * spans     the ids of the spans that may have it
 *
 * Sources: OpenTelemetry semantic conventions 1.44.0 (HTTP, database); semantic-conventions-genai of August 2026. */
/* clang-format off */
AC_SPAN(REQUEST, SERVER, "{http.request.method} {http.route}", "0.1.0",
        "A request of the API, until the end of its answer or stream")
AC_SPAN(AGENT, INTERNAL, "invoke_agent {gen_ai.agent.name}", "0.1.0",
        "A run, from its start, or from its resumption after an approval, until its end or suspension")
AC_SPAN(CHAT, CLIENT, "chat {gen_ai.request.model}", "0.1.0", "One attempt of a call of a model")
AC_SPAN(TOOL, INTERNAL, "execute_tool {gen_ai.tool.name}", "0.1.0", "A call of a tool")
AC_SPAN(STORE, CLIENT, "{db.operation.name} {db.collection.name}", "0.1.0", "An operation of a store")
AC_SPAN(HTTP, CLIENT, "{http.request.method}", "0.1.0", "One attempt of an outgoing request, other than to a model")

/* the request */
AC_ATTRIBUTE(HTTP_REQUEST_METHOD, "http.request.method", TEXT, "http.method", "REQUEST HTTP", "0.1.0",
             "The method; _OTHER for one that is not known")
AC_ATTRIBUTE(HTTP_ROUTE, "http.route", TEXT, "", "REQUEST", "0.1.0",
             "The location of the handler, and the pattern of the route")
AC_ATTRIBUTE(HTTP_RESPONSE_STATUS_CODE, "http.response.status_code", INTEGER, "http.status_code",
             "REQUEST CHAT HTTP STORE", "0.1.0",
             "The status of the answer")
AC_ATTRIBUTE(HTTP_REQUEST_RESEND_COUNT, "http.request.resend_count", INTEGER, "http.resend_count",
             "CHAT HTTP STORE", "0.1.0",
             "The number of attempts before this one; not at the first attempt")
AC_ATTRIBUTE(HTTP_RESPONSE_BODY_SIZE, "http.response.body.size", INTEGER, "http.response_content_length",
             "REQUEST", "0.1.0",
             "Bytes of the body that were sent")
AC_ATTRIBUTE(URL_PATH, "url.path", TEXT, "http.target", "REQUEST", "0.1.0", "The path, without its query")
AC_ATTRIBUTE(URL_SCHEME, "url.scheme", TEXT, "http.scheme", "REQUEST", "0.1.0", "http or https")
AC_ATTRIBUTE(URL_FULL, "url.full", TEXT, "http.url", "HTTP", "0.1.0",
             "The URL, without its query and without credentials")
AC_ATTRIBUTE(URL_TEMPLATE, "url.template", TEXT, "", "HTTP", "0.1.0",
             "The URL's path as the configuration has it, with its parameters in braces")
AC_ATTRIBUTE(NETWORK_PROTOCOL_VERSION, "network.protocol.version", TEXT, "http.flavor", "REQUEST HTTP", "0.1.0",
             "1.0, 1.1 or 2")
AC_ATTRIBUTE(USER_AGENT_ORIGINAL, "user_agent.original", TEXT, "http.user_agent", "REQUEST", "0.1.0",
             "The User-Agent of the request")
AC_ATTRIBUTE(SERVER_ADDRESS, "server.address", TEXT, "", "REQUEST CHAT HTTP STORE", "0.1.0",
             "The name or address of the server that the request is for")
AC_ATTRIBUTE(SERVER_PORT, "server.port", INTEGER, "", "REQUEST CHAT HTTP STORE", "0.1.0", "Its port")
AC_ATTRIBUTE(AGENTCHAT_REQUEST_ID, "agentchat.request.id", TEXT, "", "REQUEST AGENT", "0.1.0",
             "The id that the response has as X-Request-Id")
AC_ATTRIBUTE(AGENTCHAT_PROTOCOL, "agentchat.protocol", TEXT, "", "REQUEST AGENT", "0.1.0",
             "The API: native, chat_completions, responses, ui, agui or mcp")
AC_ATTRIBUTE(AGENTCHAT_STREAM_OUTCOME, "agentchat.stream.outcome", TEXT, "", "REQUEST", "0.1.0",
             "Of a stream of events: sent, or disconnected if the client has left before its end")
AC_ATTRIBUTE(AGENTCHAT_RUN_ID, "agentchat.run.id", TEXT, "", "REQUEST AGENT CHAT TOOL", "0.1.0", "The run")

/* agents, models and tools */
AC_ATTRIBUTE(GEN_AI_OPERATION_NAME, "gen_ai.operation.name", TEXT, "", "AGENT CHAT TOOL", "0.1.0",
             "invoke_agent, chat or execute_tool")
AC_ATTRIBUTE(GEN_AI_PROVIDER_NAME, "gen_ai.provider.name", TEXT, "gen_ai.system", "AGENT CHAT", "0.1.0",
             "Who offers the model: azure.ai.openai, openai and so on")
AC_ATTRIBUTE(GEN_AI_AGENT_ID, "gen_ai.agent.id", TEXT, "", "AGENT CHAT TOOL", "0.1.0", "The agent's id")
AC_ATTRIBUTE(GEN_AI_AGENT_NAME, "gen_ai.agent.name", TEXT, "", "AGENT CHAT TOOL", "0.1.0", "The agent's name")
AC_ATTRIBUTE(GEN_AI_CONVERSATION_ID, "gen_ai.conversation.id", TEXT, "", "REQUEST AGENT CHAT TOOL", "0.1.0",
             "The thread")
AC_ATTRIBUTE(GEN_AI_REQUEST_MODEL, "gen_ai.request.model", TEXT, "", "AGENT CHAT", "0.1.0",
             "The model that was asked for")
AC_ATTRIBUTE(GEN_AI_REQUEST_MAX_TOKENS, "gen_ai.request.max_tokens", INTEGER, "", "CHAT", "0.1.0",
             "The most tokens that the answer may have")
AC_ATTRIBUTE(GEN_AI_REQUEST_TEMPERATURE, "gen_ai.request.temperature", NUMBER, "", "CHAT", "0.1.0", "The temperature")
AC_ATTRIBUTE(GEN_AI_REQUEST_REASONING_LEVEL, "gen_ai.request.reasoning.level", TEXT, "", "CHAT", "0.1.0",
             "The effort of reasoning that was asked for")
AC_ATTRIBUTE(GEN_AI_REQUEST_STREAM, "gen_ai.request.stream", FLAG, "", "CHAT", "0.1.0",
             "Whether the answer was asked for as a stream")
AC_ATTRIBUTE(GEN_AI_RESPONSE_MODEL, "gen_ai.response.model", TEXT, "", "AGENT CHAT", "0.1.0", "The model that answered")
AC_ATTRIBUTE(GEN_AI_RESPONSE_FINISH_REASONS, "gen_ai.response.finish_reasons", LIST, "", "AGENT CHAT", "0.1.0",
             "Why the model stopped: stop, length, tool_calls or content_filter")
AC_ATTRIBUTE(GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, "gen_ai.response.time_to_first_chunk", NUMBER, "",
             "AGENT CHAT", "0.1.0",
             "Seconds until the first part of the answer")
AC_ATTRIBUTE(GEN_AI_USAGE_INPUT_TOKENS, "gen_ai.usage.input_tokens", INTEGER, "gen_ai.usage.prompt_tokens",
             "AGENT CHAT", "0.1.0",
             "Tokens of the prompt, with cached ones; of a run: the sum")
AC_ATTRIBUTE(GEN_AI_USAGE_OUTPUT_TOKENS, "gen_ai.usage.output_tokens", INTEGER,
             "gen_ai.usage.completion_tokens", "AGENT CHAT", "0.1.0",
             "Tokens of the answer, with those of reasoning; of a run: the sum")
AC_ATTRIBUTE(GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, "gen_ai.usage.cache_read.input_tokens", INTEGER, "",
             "AGENT CHAT", "0.1.0",
             "The part of the prompt's tokens that came out of the model's cache")
AC_ATTRIBUTE(GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, "gen_ai.usage.reasoning.output_tokens", INTEGER, "",
             "AGENT CHAT", "0.1.0",
             "The part of the answer's tokens that were spent on reasoning")
AC_ATTRIBUTE(GEN_AI_TOOL_NAME, "gen_ai.tool.name", TEXT, "", "TOOL", "0.1.0", "The tool's name")
AC_ATTRIBUTE(GEN_AI_TOOL_TYPE, "gen_ai.tool.type", TEXT, "", "TOOL", "0.1.0",
             "function")
AC_ATTRIBUTE(GEN_AI_TOOL_CALL_ID, "gen_ai.tool.call.id", TEXT, "", "TOOL", "0.1.0", "The call's id")
AC_ATTRIBUTE(AGENTCHAT_PURPOSE, "agentchat.purpose", TEXT, "", "CHAT", "0.1.0",
             "title, summary: the call makes it for a thread, after a run; otherwise it is part of a run")
AC_ATTRIBUTE(AGENTCHAT_TOOL_OUTCOME, "agentchat.tool.outcome", TEXT, "", "TOOL", "0.1.0",
             "ok, error, timeout, invalid, refused or abandoned")
AC_ATTRIBUTE(AGENTCHAT_RUN_STATUS, "agentchat.run.status", TEXT, "", "AGENT", "0.1.0",
             "completed, failed, cancelled, interrupted, awaiting_approval; attached: its request gets an earlier run")
AC_ATTRIBUTE(AGENTCHAT_AGENT_DEPTH, "agentchat.agent.depth", INTEGER, "", "AGENT", "0.1.0",
             "How deep the agent is below that of the turn, if another agent has asked it; from 1 on")
AC_ATTRIBUTE(AGENTCHAT_RUN_ROUNDS, "agentchat.run.rounds", INTEGER, "", "AGENT", "0.1.0",
             "The number of rounds of model calls")
AC_ATTRIBUTE(AGENTCHAT_RUN_TOOL_CALLS, "agentchat.run.tool_calls", INTEGER, "", "AGENT", "0.1.0",
             "The number of tool calls")
AC_ATTRIBUTE(AGENTCHAT_COST, "agentchat.cost", NUMBER, "", "AGENT CHAT", "0.1.0", "The cost, if the model has a price")
AC_ATTRIBUTE(AGENTCHAT_COST_CURRENCY, "agentchat.cost.currency", TEXT, "", "AGENT CHAT", "0.1.0", "Its currency")
AC_ATTRIBUTE(AGENTCHAT_REQUEST_CHARGE, "agentchat.request_charge", NUMBER, "", "AGENT", "0.1.0",
             "Request units of Cosmos DB that the operations of the run have cost")

/* contents, which only AgentChatTraceContent allows */
AC_ATTRIBUTE(GEN_AI_SYSTEM_INSTRUCTIONS, "gen_ai.system_instructions", TEXT, "", "CHAT", "0.1.0",
             "With AgentChatTraceContent all: the agent's instructions, as JSON")
AC_ATTRIBUTE(GEN_AI_INPUT_MESSAGES, "gen_ai.input.messages", TEXT, "", "CHAT", "0.1.0",
             "With AgentChatTraceContent all: the messages of the prompt, as JSON")
AC_ATTRIBUTE(GEN_AI_OUTPUT_MESSAGES, "gen_ai.output.messages", TEXT, "", "CHAT", "0.1.0",
             "With AgentChatTraceContent all: the answer, as JSON")
AC_ATTRIBUTE(GEN_AI_TOOL_CALL_ARGUMENTS, "gen_ai.tool.call.arguments", TEXT, "", "TOOL", "0.1.0",
             "With AgentChatTraceContent tools or all: the arguments, as JSON")
AC_ATTRIBUTE(GEN_AI_TOOL_CALL_RESULT, "gen_ai.tool.call.result", TEXT, "", "TOOL", "0.1.0",
             "With AgentChatTraceContent tools or all: the result")

/* stores */
AC_ATTRIBUTE(DB_SYSTEM_NAME, "db.system.name", TEXT, "db.system", "STORE", "0.1.0", "azure.cosmosdb, sqlite or redis")
AC_ATTRIBUTE(DB_OPERATION_NAME, "db.operation.name", TEXT, "db.operation", "STORE", "0.1.0", "The operation")
AC_ATTRIBUTE(DB_NAMESPACE, "db.namespace", TEXT, "db.name", "STORE", "0.1.0", "The database")
AC_ATTRIBUTE(DB_COLLECTION_NAME, "db.collection.name", TEXT, "db.cosmosdb.container", "STORE", "0.1.0", "The container")
AC_ATTRIBUTE(DB_QUERY_SUMMARY, "db.query.summary", TEXT, "", "STORE", "0.1.0",
             "The operation of the store's interface, such as turn_open")
AC_ATTRIBUTE(DB_OPERATION_BATCH_SIZE, "db.operation.batch.size", INTEGER, "", "STORE", "0.1.0",
             "The number of operations that were sent together, from two on")
AC_ATTRIBUTE(DB_RESPONSE_STATUS_CODE, "db.response.status_code", TEXT, "", "STORE", "0.1.0",
             "The status of the answer, as text")
AC_ATTRIBUTE(DB_RESPONSE_RETURNED_ROWS, "db.response.returned_rows", INTEGER, "", "STORE", "0.1.0",
             "The number of documents in the answer")
AC_ATTRIBUTE(AZURE_COSMOSDB_CONNECTION_MODE, "azure.cosmosdb.connection.mode", TEXT,
             "db.cosmosdb.connection_mode", "STORE", "0.1.0",
             "gateway")
AC_ATTRIBUTE(AZURE_COSMOSDB_OPERATION_REQUEST_CHARGE, "azure.cosmosdb.operation.request_charge", NUMBER,
             "db.cosmosdb.request_charge", "STORE", "0.1.0",
             "Request units of the operation")
AC_ATTRIBUTE(AZURE_COSMOSDB_RESPONSE_SUB_STATUS_CODE, "azure.cosmosdb.response.sub_status_code", INTEGER,
             "db.cosmosdb.sub_status_code", "STORE", "0.1.0",
             "The substatus of an answer that failed")
AC_ATTRIBUTE(AZURE_RESOURCE_PROVIDER_NAMESPACE, "azure.resource_provider.namespace", TEXT, "az.namespace",
             "STORE CHAT", "0.1.0",
             "Microsoft.DocumentDB or Microsoft.CognitiveServices")
/* clang-format on */
