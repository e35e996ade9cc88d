/* SPDX-License-Identifier: Apache-2.0 */
/* The layer that converts between bytes and domain objects. It never waits and has no globals; every parser is
 * fuzzed. */
#ifndef AC_WIRE_H
#define AC_WIRE_H

#include "base/base.h"
#include "wire/upload.h"

/* ---- sse.c: event streams in both directions ---- */
typedef struct ac_sse_reader_t {
    ac_buf_t line; /* an unfinished line */
    ac_buf_t data; /* data: lines of the event so far */
    char event[32];
    bool has_data, skip_lf, started;
    bool stopped;       /* the callback or an error stopped it: further bytes are dropped */
    bool keeps_ids;     /* of the caller, after init: sets the two members below */
    char *id, *last_id; /* id: of the unfinished event. last_id: of the last event that ended; NULL: none */
    int64_t retry;      /* milliseconds, as the server wants it; -1: it has not said so */
} ac_sse_reader_t;

/* Receives one whole event. event is "" if the event has no name; data has len bytes, lines joined by
 * , and is NOT terminated: it usually points into the input. Returns false to stop reading (the rest of the bytes is
 * dropped). The reader must outlive the call. */
typedef bool ac_sse_event_fn(void *baton, const char *event, const char *data, size_t len);

void ac_sse_reader_init(ac_sse_reader_t *reader);
void ac_sse_reader_free(ac_sse_reader_t *reader);
/* Reads bytes in pieces of any size. CR, LF and CRLF end lines; a leading BOM, comments and unknown fields are skipped.
 * errors: model_error for a line or event longer than line.max, AC_MAX_SSE_LINE unless the caller changes it.
 * source: WHATWG HTML, 9.2.6. */
apr_status_t ac_sse_read(ac_sse_reader_t *reader, const char *bytes, size_t len, ac_sse_event_fn *fn, void *baton,
                         ac_err_t *err);
/* Ends the body. Also reports an event that no empty line has ended: compatible servers omit the last one. */
void ac_sse_finish(ac_sse_reader_t *reader, ac_sse_event_fn *fn, void *baton);
/* Appends one event: "id: 7
 * " (seq > 0), "event: x
 * " (name not NULL), "data: …
 * " for each line of data, "
 * ". */
apr_status_t ac_sse_write(ac_buf_t *buf, uint64_t seq, const char *name, const char *data, size_t len);

/* ---- openai.c, openai_call.c, openai_quick.c, openai_request.c,
 *      openai_error.c, openai_document.c: chat completions ---- */
/* Writes the request body as JSON: model, messages, tools, stream, stream_options.include_usage, the agent's settings
 * and the model's params. model may be NULL (Azure deployment URLs). A member of params replaces a generated one, null
 * removes it; messages and tools cannot be replaced. A token limit in params, under either of its names, decides the
 * name and is an upper bound. Images are written as data URLs, or as their URL. body: empty, with its maximum set.
 * errors: context_length_exceeded (body's maximum). */
apr_status_t ac_openai_request(ac_buf_t *body, const ac_model_ask_t *ask, const char *model, const json_t *params,
                               ac_err_t *err);

typedef struct ac_openai_call_t { /* a tool call while it is assembled */
    int64_t index;                /* the model's number; -1: none */
    char *id, *name;              /* id: unique in the answer, maybe generated; either may still be NULL */
    char *given_id;               /* the id from the model, or NULL */
    ac_buf_t arguments;
    bool announced; /* on_tool_start was called */
    bool approval;  /* a question of the service about a call of its own; never announced */
} ac_openai_call_t;

typedef struct ac_responses_place_t { /* a part of an output item */
    char kind;                        /* its kind of text; NUL: none */
    int64_t item, part;
} ac_responses_place_t;

typedef struct ac_responses_answer_t { /* what only the Responses API has */
    ac_responses_place_t last;         /* that was noted */
    json_t *noted;                     /* the parts that were reported; NULL: none */
    json_t *items;                     /* output items that have ended; NULL: none */
    json_t *carried;                   /* of ac_responses_end(); NULL: nothing */
    int64_t text_item;                 /* whose text came last */
    char id[AC_MODEL_RESPONSE_SIZE];   /* of the response, or "" */
} ac_responses_answer_t;

typedef struct ac_openai_answer_t { /* an answer while it is assembled */
    const ac_model_cb_t *cb;
    void *baton;
    ac_openai_call_t *calls; /* in order of appearance: their position is the callbacks' index */
    ac_tool_call_t *list;    /* the calls of ac_openai_end() */
    int n_calls;
    ac_finish_e finish;
    ac_usage_t usage;
    char model[80];
    bool done;    /* [DONE] has arrived */
    bool started; /* a part of the answer has been reported: no retry is possible */
    size_t text_len, reasoning_len;
    ac_responses_answer_t responses;
} ac_openai_answer_t;

void ac_openai_answer_init(ac_openai_answer_t *answer, const ac_model_cb_t *cb, void *baton);
void ac_openai_answer_free(ac_openai_answer_t *answer);
/* Handles one event's data: a chunk, "[DONE]", or an error object. Calls on_text, on_reasoning, on_tool_start,
 * on_tool_args. errors: model_error (invalid data, an error in mid-stream), model_throttled, content_filtered …
 * according to the error object. */
apr_status_t ac_openai_chunk(ac_openai_answer_t *answer, const char *data, size_t len, ac_err_t *err);
/* Handles a whole JSON answer (from servers that ignore `stream`): calls the same callbacks, then behaves as after the
 * last chunk. */
apr_status_t ac_openai_whole(ac_openai_answer_t *answer, const char *body, size_t len, ac_err_t *err);
/* Checks after the last byte whether the answer is complete, and fills end: its status, err, and calls, which point
 * into answer. errors: model_error "the answer was cut off" if neither finish_reason nor [DONE] came. With finish
 * CONTENT_FILTER there are no calls, because none may be carried out; with LENGTH the last call may be incomplete. */
apr_status_t ac_openai_end(ac_openai_answer_t *answer, ac_model_end_t *end);
/* Reads an error response of any server in the protocol notes. Sets err's kind, detail (without users' text) and
 * http_status. *pretry: whether the same request may be sent again (not after insufficient_quota). */
apr_status_t ac_openai_error(int http_status, const char *body, size_t len, bool *pretry, ac_err_t *err);

/* ---- responses.c, responses_hosted.c, responses_request.c: the Responses API towards a model. The conversation, the
 * tools and the answer have the forms of chat completions on our side. source: OpenAI's API reference, "Responses" and
 * "Streaming events"; agent_reference of Foundry Agent Service ---- */
typedef struct ac_responses_conf_t { /* of a model */
    const char *model;               /* NULL: the service chooses */
    const char *agent, *version;  /* an agent of Foundry, which has model, instructions and tools of its own; or NULL */
    const char *effort, *summary; /* of the reasoning; NULL: not sent */
    const json_t *params;         /* further members, as for ac_openai_request(); or NULL */
    bool store;                   /* the service stores its answers, and continues them by their ids */
} ac_responses_conf_t;

/* Writes the body. Messages that the model has answered have `carried`: what ac_responses_end() gave, and `approved`,
 * the decisions about the calls. *pchain: in, whether the service may know its earlier answers; out, whether the body
 * continues one of them, so that it has only what was said since. params cannot replace input and tools.
 * errors: context_length_exceeded (out's maximum). */
apr_status_t ac_responses_request(ac_buf_t *out, const ac_model_ask_t *ask, const ac_responses_conf_t *conf,
                                  bool *pchain, ac_err_t *err);

/* As ac_openai_chunk(): handles the data of one event. Unknown events are ignored; text, reasoning and arguments that
 * come without deltas are reported at their end. A terminal event sets answer->done. */
apr_status_t ac_responses_event(ac_openai_answer_t *answer, const char *data, size_t len, ac_err_t *err);
/* As ac_openai_whole(): a response that came as one document. */
apr_status_t ac_responses_whole(ac_openai_answer_t *answer, const char *body, size_t len, ac_err_t *err);
/* As ac_openai_end(), and sets end's `response` and `carried`, which belong to the answer. */
apr_status_t ac_responses_end(ac_openai_answer_t *answer, const ac_responses_conf_t *conf, ac_model_end_t *end);
/* Whether an error response says that the service does not know the answer that the request continues. */
bool ac_responses_is_unknown(int http_status, const char *body, size_t len);

/* ---- cosmos.c, cosmos_request.c, cosmos_answer.c: Azure Cosmos DB for NoSQL over REST ---- */
#define AC_COSMOS_VERSION "2020-07-15" /* x-ms-version */
#define AC_COSMOS_DATE_SIZE 32
#define AC_COSMOS_HEADERS 20    /* lines of a request, at most, with the NULL */
#define AC_COSMOS_BATCH_MAX 100 /* operations of a batch */

typedef enum ac_cosmos_verb_e {
    AC_COSMOS_ACCOUNT_READ,
    AC_COSMOS_DATABASE_READ,
    AC_COSMOS_DATABASE_CREATE,
    AC_COSMOS_CONTAINER_READ,
    AC_COSMOS_CONTAINER_CREATE,
    AC_COSMOS_READ,
    AC_COSMOS_CREATE,
    AC_COSMOS_UPSERT,
    AC_COSMOS_REPLACE,
    AC_COSMOS_PATCH,
    AC_COSMOS_DELETE,
    AC_COSMOS_QUERY,
    AC_COSMOS_BATCH,
    AC_COSMOS_N_VERBS
} ac_cosmos_verb_e;

typedef struct ac_cosmos_ask_t { /* names are not encoded; members that a verb does not use are NULL */
    ac_cosmos_verb_e verb;
    const char *database, *container, *id;
    const char *key; /* the partition key's value; NULL with a query: all partitions */
    const char *if_match, *continuation, *session;
    const char *throughput, *autoscale; /* of a database to be created, in request units */
    int max_items;                      /* a query's page; 0: not sent */
} ac_cosmos_ask_t;

const char *ac_cosmos_method(ac_cosmos_verb_e verb);
bool ac_cosmos_writes(ac_cosmos_verb_e verb);
/* Whether a name can be that of a database, container or document: no '/', '\\', '#', '?', control character, or space
 * at the end. */
bool ac_cosmos_name_valid(const char *name);
/* Writes the path of the URL, each name percent-encoded: "/dbs/chat/colls/messages/docs/a%20b". */
apr_status_t ac_cosmos_path(ac_buf_t *path, const ac_cosmos_ask_t *ask);
/* Writes "Thu, 27 Apr 2017 00:51:12 GMT", the form of x-ms-date. */
void ac_cosmos_date(char date[AC_COSMOS_DATE_SIZE], apr_time_t when);
/* Writes the percent-encoded value of the authorization header from a master key (base64, or a connection string with
 * one). errors: invalid_request (the key is not base64). source: "Access control in the Azure Cosmos DB SQL API",
 * master key. */
apr_status_t ac_cosmos_auth_key(ac_buf_t *value, const ac_cosmos_ask_t *ask, const char *key, const char *date,
                                ac_err_t *err);
/* The same with an Entra ID token. */
apr_status_t ac_cosmos_auth_bearer(ac_buf_t *value, const char *token);
/* Writes all header lines of a request. They point into text, which must be empty with its maximum set. */
apr_status_t ac_cosmos_request_headers(const char *lines[AC_COSMOS_HEADERS], ac_buf_t *text, const ac_cosmos_ask_t *ask,
                                       const char *date, const char *authorization);
/* Writes a query's body. parameters: {"@name": value}, borrowed. */
apr_status_t ac_cosmos_request_query(ac_buf_t *body, const char *sql, const json_t *parameters);

/* A batch, assembled from its operations. At the beginning `n` is 0 and body is empty. */
typedef struct ac_cosmos_batch_t {
    ac_buf_t body;
    int n;
} ac_cosmos_batch_t;
void ac_cosmos_request_batch_init(ac_cosmos_batch_t *batch);
void ac_cosmos_request_batch_free(ac_cosmos_batch_t *batch);
/* Adds an operation. verb: CREATE, UPSERT, REPLACE or DELETE. document is borrowed, and NULL for DELETE; if_match may
 * be NULL. */
apr_status_t ac_cosmos_request_batch_add(ac_cosmos_batch_t *batch, ac_cosmos_verb_e verb, const char *key,
                                         const char *id, const json_t *document, const char *if_match);
/* Closes the body. */
apr_status_t ac_cosmos_request_batch_end(ac_cosmos_batch_t *batch);

/* The reaction to a response's status. */
typedef enum ac_cosmos_next_e {
    AC_COSMOS_FINAL,     /* a result: 2xx, 304, 404 (missing), 409, 412, or a permanent error */
    AC_COSMOS_THROTTLED, /* 429: retry after x-ms-retry-after-ms */
    AC_COSMOS_CONTENDED, /* 449: retry soon */
    AC_COSMOS_BEHIND,    /* 404/1002: this replica does not have the session's writes yet */
    AC_COSMOS_AGAIN,     /* 408, 410, 500, 502 … 504: retry */
    AC_COSMOS_REJECTED,  /* 401, 403/5300: retry once with another token */
    AC_COSMOS_MOVED      /* 403/3, 403/1008: retry in another region */
} ac_cosmos_next_e;
ac_cosmos_next_e ac_cosmos_answer_next(int status, int substatus);
/* Whether a step can continue from this response: success, 304, 404/0, 409, 412. */
bool ac_cosmos_answer_usable(int status, int substatus);
/* Sets err from an error response: its cause, and what the operator can do. skew: how far this machine's clock is
 * behind the service's; 0: unknown. Of the body only the code is shown. */
apr_status_t ac_cosmos_answer_error(ac_err_t *err, int status, int substatus, apr_interval_time_t skew);
/* Reads a batch's response: the status of the operation that failed, or 200. *pat: the index of that operation. errors:
 * store_error (not a batch's response). */
apr_status_t ac_cosmos_answer_batch(int *pstatus, int *psubstatus, int *pat, const json_t *body, int n, ac_err_t *err);
/* The new ETag of the i-th operation, or "". */
const char *ac_cosmos_answer_batch_etag(const json_t *body, int i);
/* Microseconds from the milliseconds of x-ms-retry-after-ms, which may have a fraction; 0: none. */
apr_interval_time_t ac_cosmos_answer_retry_after(const char *text);

/* The newest session token of each partition range of a container. A plain block of memory, so that processes can share
 * it. */
#define AC_COSMOS_RANGES 64
#define AC_COSMOS_SESSION_TEXT (AC_COSMOS_RANGES * 170) /* room for all tokens in a header */
typedef struct ac_cosmos_session_t {
    int n, oldest;
    struct {
        char range[16], token[144];
        int64_t version, lsn;
    } ranges[AC_COSMOS_RANGES];
} ac_cosmos_session_t;
/* Stores newer tokens of an x-ms-session-token header; malformed ones are ignored. */
void ac_cosmos_session_note(ac_cosmos_session_t *session, const char *text);
/* Writes all tokens in the header's form; writes nothing without tokens. */
apr_status_t ac_cosmos_session_text(ac_buf_t *text, const ac_cosmos_session_t *session);

/* ---- content.c: the content of a user's message ---- */
typedef struct ac_content_file_t {
    const char *file_id; /* borrowed from the JSON */
    bool image;          /* of a part {"type": "image"}; else {"type": "file"} */
    int part;            /* the index of the part */
} ac_content_file_t;
typedef struct ac_content_t {
    ac_buf_t text; /* all texts, joined by an empty line; at most AC_MAX_CONTENT bytes */
    ac_content_file_t files[AC_MAX_ATTACHMENTS];
    int n_files;
} ac_content_t;
/* Reads a string, or a list of {type: text, text} and {type: image|file, file_id}: the member `name` of a request. The
 * caller frees content after APR_SUCCESS; it is empty after an error. errors, with the pointer of the wrong member:
 * invalid_request; not_found: not the id of a file. */
apr_status_t ac_content_read(ac_content_t *content, const json_t *value, const char *name, ac_err_t *err);
void ac_content_free(ac_content_t *content);

/* ---- data_url.c: RFC 2397 ---- */
bool ac_data_url_is(const char *url);
/* Appends the bytes of a data: URL, base64 or percent-encoded. out: with its maximum set. errors: invalid_request,
 * body_too_large (out's maximum). */
apr_status_t ac_data_url_read(ac_buf_t *out, const char *url, ac_err_t *err);
/* The same for base64 alone: either alphabet of RFC 4648, with or without padding; white space is skipped. */
apr_status_t ac_data_url_base64(ac_buf_t *out, const char *text, size_t len, ac_err_t *err);

/* ---- sources.c: what a tool found, or a model names, and an answer rests on: {id, title, url or place or neither,
 * score?, snippet?}. url: http or https. place: of other documents, such as a file's name. The texts are others'
 * words: one line each, with a maximum ---- */
/* The sources in a tool's result, with empty ids; at most AC_MAX_SOURCES. New reference. */
json_t *ac_sources_read(const ac_sources_map_t *map, const json_t *result);
/* The same of an annotation of a model's answer, {type: "url_citation", url, title}, also within `url_citation`. */
json_t *ac_sources_annotation(const json_t *annotation);
/* Adds those that an answer's list has not yet, with their numbers as ids: "1", "2" and so on. Consumes found.
 * *plist: NULL without any. Returns those that were added, or NULL; new reference. */
json_t *ac_sources_add(json_t **plist, json_t *found);
/* The sources with a URL as annotations of the Responses API: {type: "url_citation", url, title, start_index,
 * end_index}. The indexes are those of the number in the text, as in "[2]", or its end, in characters. New
 * reference. */
json_t *ac_sources_citations(const json_t *sources, const char *text, size_t len);

/* ---- template.c: URL and body templates of the HTTP tool ---- */
#define AC_TEMPLATE_SECRET "${secret}"
typedef enum ac_template_e { AC_TEMPLATE_URL, AC_TEMPLATE_JSON, AC_TEMPLATE_HEADER } ac_template_e;
/* {name} is a placeholder; a name has letters, digits, '_', '-' and '.', so the braces of JSON are not placeholders.
 * Returns NULL for a valid template, or an error message allocated in p: an open brace without its end, a name that
 * schema does not have, a {name} in scheme or host, an array or object where only text is possible, a body that would
 * not be JSON. */
const char *ac_template_problem(const char *text, ac_template_e kind, const json_t *schema, apr_pool_t *p);
/* Fills {name} from args (scalars; absent or null → ""). URL: percent-encoded, RFC 3986 unreserved only; a value cannot
 * make a path segment empty, "." or "..", also for a server that decodes %2F. JSON: a bare {name} becomes the JSON
 * value (any; absent → null), inside a string the escaped text. HEADER: unchanged, without control characters. errors:
 * invalid_request at the argument; out then stays unchanged. */
apr_status_t ac_template_fill(ac_buf_t *out, const char *text, ac_template_e kind, const json_t *args, ac_err_t *err);
/* Fills a header's value, and replaces ${secret} by secret. An argument never becomes a ${secret}: the pieces of text
 * between two of them are filled separately. secret: NULL if the text does not contain it. errors: as above; internal
 * if the text contains ${secret} and secret is NULL. out then stays unchanged. */
apr_status_t ac_template_header(ac_buf_t *out, const char *text, const char *secret, const json_t *args, ac_err_t *err);
/* ---- otlp_json.c, otlp_protobuf.c, otlp_answer.c: telemetry ---- */
#include "wire/blob.h"
#include "wire/mcp.h"
#include "wire/openapi.h"
#include "wire/otlp.h"
#include "wire/otlp_metrics.h"
/* ---- appinsights.c and others: Application Insights ---- */
#include "wire/appinsights.h"
/* ---- mcp_….c: the Model Context Protocol ---- */
#include "wire/mcp.h"
#include "wire/openapi.h"

/* ---- webhook_signature.c: signatures of webhooks ---- */
#define AC_WEBHOOK_KEY_MAX 64
typedef struct ac_webhook_key_t {
    unsigned char bytes[AC_WEBHOOK_KEY_MAX];
    size_t len;
} ac_webhook_key_t;
typedef struct ac_webhook_signed_t { /* what is signed: id "." timestamp "." body */
    const char *id;
    int64_t timestamp; /* seconds since 1970 */
    const char *body;
    size_t len;
} ac_webhook_signed_t;
/* Reads a secret: "whsec_" and the base64 of 24 to 64 bytes. Returns false if it has another form. Any thread. */
bool ac_webhook_signature_key(ac_webhook_key_t *key, const char *secret);
/* Appends "v1,BASE64", after a blank if signatures of other keys stand before. errors: APR_ENOMEM. Any thread. */
apr_status_t ac_webhook_signature_add(ac_buf_t *out, const ac_webhook_key_t *key, const ac_webhook_signed_t *of);

#endif
