/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef AC_FRONT_MCP_INTERNAL_H
#define AC_FRONT_MCP_INTERNAL_H

#include "front/api/api.h"
#include "front/stream/stream.h"
#include "mcp.h"
#include "wire/wire.h"

#define AC_MCP_ID_SIZE 256 /* bytes of an id, or a progress token, as JSON */

/* Codes of errors beside those of wire.h: JSON-RPC 2.0, and one for what this server refuses. */
#define AC_MCP_PARSE_ERROR (-32700)
#define AC_MCP_INVALID_REQUEST (-32600)
#define AC_MCP_INTERNAL (-32603)
#define AC_MCP_REFUSED (-32000)

/* ---- mcp_envelope.c: a message of JSON-RPC, and the version that it speaks; pure ---- */
typedef struct ac_mcp_headers_t { /* the header fields of a message; NULL: not sent */
    const char *version, *method, *name;
} ac_mcp_headers_t;
typedef struct ac_mcp_error_t {
    int status; /* of HTTP */
    int code;
    char text[AC_ERR_DETAIL_SIZE];
    const char *requested; /* of AC_MCP_UNSUPPORTED_VERSION; borrowed from the body; else NULL */
} ac_mcp_error_t;
typedef struct ac_mcp_envelope_t { /* borrows from the body */
    ac_mcp_message_e kind;
    bool modern;
    const char *method;            /* NULL: a response */
    char id[AC_MCP_ID_SIZE];       /* as JSON; "null": none, or not known */
    const json_t *id_value;        /* NULL: none */
    const json_t *params, *meta;   /* objects; NULL: none */
    const json_t *result;          /* of a response; NULL: an error */
    char progress[AC_MCP_ID_SIZE]; /* the progress token, as JSON; "": none */
    ac_mcp_error_t error;
} ac_mcp_envelope_t;
/* false: the message is refused, as error says. */
bool ac_mcp_envelope_read(ac_mcp_envelope_t *message, const json_t *body, const ac_mcp_headers_t *headers);
/* Always false. */
bool ac_mcp_envelope_refuse(ac_mcp_envelope_t *message, int status, int code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* An id or a progress token as JSON: a string or an integer. false: another value, or too long. */
bool ac_mcp_envelope_token(char text[AC_MCP_ID_SIZE], const json_t *value);
/* Whether a legacy version is known. */
bool ac_mcp_envelope_knows(const char *version);

/* ---- mcp_problem.c: responses ---- */
#define AC_MCP_NOTE_CALL "agentchat-mcp-call" /* in r->notes: an error of the run is the result of a call */
/* What the dialect needs of the request. */
typedef struct ac_mcp_view_t {
    char id[AC_MCP_ID_SIZE], progress[AC_MCP_ID_SIZE]; /* of the message */
    bool modern;
    bool is_call;                                   /* errors are results of the call from now on */
    bool elicits;                                   /* the client can ask its user */
    apr_time_t began;                               /* apr_time_now() of the request */
    char thread_id[AC_ID_SIZE], run_id[AC_ID_SIZE]; /* of the run that is followed; "": not known */
} ac_mcp_view_t;
/* Replies with the result of a request; consumes it. Returns what the handler returns. */
int ac_mcp_problem_result(ac_request_t *rq, const ac_mcp_envelope_t *message, json_t *result);
/* Replies with message->error. */
int ac_mcp_problem_refusal(ac_request_t *rq, const ac_mcp_envelope_t *message);
/* The result of a call that failed: {content, isError, _meta}. New reference. */
json_t *ac_mcp_problem_failure(const ac_err_t *err);
/* Adds what each modern result has: resultType, and who answers. */
void ac_mcp_problem_complete(json_t *result);

/* ---- mcp_tools.c: agents as tools ---- */
#define AC_MCP_TOOL_SIZE 65
/* The name of an agent's tool: 1 to 64 letters, digits, "_" and "-", so that each host and model takes it. */
void ac_mcp_tools_name(char name[AC_MCP_TOOL_SIZE], const char *agent_id);
/* The active agent of this tool; NULL: there is none. errors: the store's. */
apr_status_t ac_mcp_tools_find(ac_request_t *rq, const ac_agent_t **pagent, const char *name);
int ac_mcp_tools_list(ac_request_t *rq, ac_mcp_envelope_t *message); /* tools/list */

/* ---- mcp_call.c ---- */
int ac_mcp_call_start(ac_request_t *rq, ac_mcp_envelope_t *message);  /* tools/call */
int ac_mcp_call_cancel(ac_request_t *rq, ac_mcp_envelope_t *message); /* notifications/cancelled */

/* ---- mcp_session.c: what the id of a legacy session says. No process keeps sessions ---- */
/* A new one. elicits: the client can ask its user. */
void ac_mcp_session_make(char id[AC_ID_SIZE], bool elicits);
/* Whether the client of this session can ask its user. id: as the client sent it; NULL: not sent. */
bool ac_mcp_session_elicits(const char *id);
/* The Idempotency-Key of a request of this session, in p. NULL: the client sends no session of this server. */
const char *ac_mcp_session_key(const char *id, const char *request_id, apr_pool_t *p);
/* Whether the capabilities of a client have questions to its user in the form that is used here. */
bool ac_mcp_session_can_elicit(const json_t *capabilities);

/* ---- mcp_approval.c: calls that need an approval ---- */
typedef struct ac_mcp_approval_t { /* a call as its event has it; borrowed */
    const char *call_id, *tool;
    const json_t *arguments;
} ac_mcp_approval_t;
/* Appends the parameters of elicitation/create. most: bytes of the arguments that are shown. */
void ac_mcp_approval_ask(const ac_mcp_approval_t *approval, size_t most, ac_buf_t *out);
/* Appends a content block that says what call awaits the owner's decision. */
void ac_mcp_approval_tell(const ac_mcp_approval_t *approval, size_t most, ac_buf_t *out);
/* Appends the content block after those: how to decide. */
void ac_mcp_approval_explain(const char *run_id, const char *thread_id, ac_buf_t *out);
/* The id of a legacy question about this call, as JSON. false: the call's id is too long for one. */
bool ac_mcp_approval_question(char id[AC_MCP_ID_SIZE], const char *run_id, const char *call_id);
/* The answer to such a question: stores the decision. */
int ac_mcp_approval_answer(ac_request_t *rq, ac_mcp_envelope_t *message);
/* The state with which a modern client sends its call again. seq: of the event before n questions. */
void ac_mcp_approval_state(char state[AC_MCP_ID_SIZE], const char *run_id, uint64_t seq, unsigned n);
/* Stores the decisions of a modern call that was sent again, and follows its run. */
int ac_mcp_approval_retry(ac_request_t *rq, ac_mcp_envelope_t *message, const ac_agent_t *agent, ac_mcp_view_t *view);

/* ---- mcp_resource.c ---- */
void ac_mcp_resource_challenge(request_rec *r); /* of the protocol */

#endif
