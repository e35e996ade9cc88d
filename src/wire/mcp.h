/* SPDX-License-Identifier: Apache-2.0 */
/* The Model Context Protocol: messages in both directions, tools and their results. Pure functions; any thread.
 * Source: modelcontextprotocol.io/specification, revisions 2025-06-18, 2025-11-25 and 2026-07-28. */
#ifndef AC_MCP_H
#define AC_MCP_H

#include "wire/tool.h"

#define AC_MCP_MODERN "2026-07-28" /* the first version without a session: each request describes itself */
#define AC_MCP_ELICITATION "elicitation/create"
#define AC_MCP_LEGACY "2025-11-25" /* the newest version that begins with `initialize` */

/* ---- mcp_message.c: JSON-RPC ---- */
typedef enum ac_mcp_message_e { AC_MCP_RESULT, AC_MCP_ERROR, AC_MCP_REQUEST, AC_MCP_NOTIFICATION } ac_mcp_message_e;

/* Codes of errors; the last three are those of modern servers only. */
#define AC_MCP_METHOD_NOT_FOUND (-32601)
#define AC_MCP_INVALID_PARAMS (-32602)
#define AC_MCP_HEADER_MISMATCH (-32020)
#define AC_MCP_MISSING_CAPABILITY (-32021)
#define AC_MCP_UNSUPPORTED_VERSION (-32022)

typedef struct ac_mcp_message_t { /* all but `document` are borrowed from it */
    json_t *document;
    ac_mcp_message_e type;
    const json_t *id; /* a string or an integer; NULL: none */
    const char *method;
    const json_t *params, *result, *data;
    int64_t code;
    const char *text; /* of an error, or "" */
} ac_mcp_message_t;
/* Reads one message. false: it is not one, or is nested deeper than AC_MAX_MCP_DEPTH. */
bool ac_mcp_message_read(ac_mcp_message_t *message, const char *text, size_t len);
void ac_mcp_message_free(ac_mcp_message_t *message); /* all zero is allowed, and is left */
/* Whether the message is the response to the request with this id. */
bool ac_mcp_message_answers(const ac_mcp_message_t *message, int64_t id);
/* Text for free(). Each consumes params, which may be NULL, as result may. */
char *ac_mcp_message_request(int64_t id, const char *method, json_t *params);
char *ac_mcp_message_notification(const char *method, json_t *params);
/* The answer to a request of the server: its result, or, if that is NULL, the error "method not found". */
char *ac_mcp_message_response(const json_t *id, json_t *result);
/* The members that each request of a modern version has in params._meta. elicits: this client can put questions to a
 * person. trace: NULL or empty: none. */
json_t *ac_mcp_message_meta(const char *version, bool elicits, const ac_trace_t *trace);
/* The params of `initialize`, with the newest version of that era. */
json_t *ac_mcp_message_initialize(void);
/* Whether this is a version of the time before AC_MCP_MODERN that this client speaks. */
bool ac_mcp_message_is_legacy(const char *version);

/* ---- mcp_tool.c: a tool of tools/list ---- */
typedef struct ac_mcp_tool_t {
    char id[AC_TOOL_NAME_SIZE]; /* the name for the model */
    char *name;                 /* the server's */
    char *description;          /* without characters that a person would not see */
    json_t *parameters;         /* the schema of the arguments, as models accept it */
    json_t *headers; /* parameters that are sent as headers, too: [{name, path: [member, …]}]; NULL: none */
    /* What the server says about it, and what holds if it says nothing. */
    bool read_only, destructive, idempotent;
} ac_mcp_tool_t;
/* Reads an entry of `tools`; the id is left empty. modern: with headers. Returns NULL, or why the tool cannot be used,
 * a constant; the tool is then empty. */
const char *ac_mcp_tool_read(ac_mcp_tool_t *tool, const json_t *entry, bool modern);
void ac_mcp_tool_free(ac_mcp_tool_t *tool);

/* ---- mcp_header.c: x-mcp-header, and values of headers ---- */
/* Finds the annotations of an inputSchema. *pheaders: a new reference, or NULL for none. Returns false if one of them
 * is not valid. Source: 2026-07-28, "Custom Headers from Tool Parameters". */
bool ac_mcp_header_find(json_t **pheaders, const json_t *schema);
/* Appends a value of a header: as it is, or in base64 where it would not survive. */
void ac_mcp_header_add_value(ac_buf_t *line, const char *text);
/* Sets *pline to "Mcp-Param-…: value", for free(); NULL: the arguments have no value. entry: of `headers`. errors:
 * tool_error (the value is too long, or no integer that every server reads in the same way). */
apr_status_t ac_mcp_header_line(char **pline, const json_t *entry, const json_t *arguments, ac_err_t *err);

/* ---- mcp_result.c: what a call returned ---- */
typedef struct ac_mcp_result_t {
    json_t *value; /* for the model: a string, or JSON */
    bool failed;   /* isError: value is a string that says what went wrong */
} ac_mcp_result_t;
/* Reads the result of tools/call. Bytes of images and other files are replaced by their type and number. errors:
 * tool_error: it is no such result. */
apr_status_t ac_mcp_result_read(ac_mcp_result_t *result, const json_t *given, ac_err_t *err);

/* ---- mcp_question.c: input_required, and elicitation/create ---- */
/* What a server wants to know before it finishes a call: {message, form?, state?, answers: {key: result}}. The message
 * is for the owner of the run, whose approval is the answer; `answers` are what the server then gets, `state` is its
 * own. form: a JSON Schema of what the owner may write, of at most 20 fields; without it a yes is the answer. */
/* *pquestion: a new reference; NULL: the server asks nothing, and only wants the call again with `state`, which is then
 * in *pstate, a new reference or NULL. errors: tool_error: it asks what an approval cannot answer. */
apr_status_t ac_mcp_question_read(json_t **pquestion, json_t **pstate, const json_t *result, ac_err_t *err);
/* Takes what the owner wrote, the member `content`, into the answers; without it the defaults of the form are the
 * answer. errors: invalid_request: it does not fit the form, or the form has no defaults. */
apr_status_t ac_mcp_question_answer(json_t *question, ac_err_t *err);

#endif
