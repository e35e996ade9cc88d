/* SPDX-License-Identifier: Apache-2.0 */
/* Floor 2: bytes to nouns and back. Pure: never waits, keeps no globals, every parser is fuzzed. */
#ifndef AC_WIRE_H
#define AC_WIRE_H

#include "base/base.h"

/* ---- sse.c: event streams in both directions ---- */
typedef struct ac_sse_reader_t {
    ac_buf_t line; /* an unfinished line */
    ac_buf_t data; /* data: lines of the event so far */
    char event[32];
    bool has_data, skip_lf, started;
    bool stopped; /* by the callback, or by an error: further bytes are dropped */
} ac_sse_reader_t;

/* One whole event. event is "" where none was named; data is len bytes, lines joined by \n, NOT terminated: mostly
 * it points into the bytes that were fed. Return false to stop reading (the rest of the bytes is dropped); the
 * reader must outlive the call. */
typedef bool ac_sse_event_fn(void *baton, const char *event, const char *data, size_t len);

void ac_sse_reader_init(ac_sse_reader_t *reader);
void ac_sse_reader_free(ac_sse_reader_t *reader);
/* Feed bytes as they come, cut anywhere; CR, LF and CRLF end lines; a leading BOM, comments and unknown fields are
 * skipped.
 * errors: model_error where a line or event is over AC_MAX_SSE_LINE. source: WHATWG HTML, 9.2.6. */
apr_status_t ac_sse_read(ac_sse_reader_t *reader, const char *bytes, size_t len, ac_sse_event_fn *fn, void *baton,
                         ac_err_t *err);
/* At the end of the body: an event that was not closed by an empty line is given all the same, as compatible servers
 * leave the last one open. */
void ac_sse_finish(ac_sse_reader_t *reader, ac_sse_event_fn *fn, void *baton);
/* Append one event: "id: 7\n" (seq > 0), "event: x\n" (name not NULL), "data: …\n" for each line of data, "\n". */
apr_status_t ac_sse_write(ac_buf_t *buf, uint64_t seq, const char *name, const char *data, size_t len);

/* ---- openai.c, openai_call.c, openai_quick.c, openai_request.c,
 *      openai_error.c, openai_document.c: chat completions ---- */
/* The request body as JSON text: model, messages, tools, stream, stream_options.include_usage and what the agent
 * and the model's params add. model may be NULL (Azure deployment URLs). A member of params replaces ours, null
 * removes it; messages and tools are always ours. A limit in params, under either of its names, decides the name
 * and is an upper bound. body: empty, its maximum set.
 * errors: context_length_exceeded (over body's maximum). */
apr_status_t ac_openai_request(ac_buf_t *body, const ac_model_ask_t *ask, const char *model, const json_t *params,
                               ac_err_t *err);

typedef struct ac_openai_call_t { /* a tool call being put together */
    int64_t index;                /* as the model numbered it; -1: not at all */
    char *id, *name;              /* id: ours, unique in the answer; either may be NULL so far */
    char *given_id;               /* as the model wrote it, or NULL */
    ac_buf_t arguments;
    bool announced; /* on_tool_start was called */
} ac_openai_call_t;

typedef struct ac_openai_answer_t { /* an answer being put together */
    const ac_model_cb_t *cb;
    void *baton;
    ac_openai_call_t *calls; /* in order of appearance: their place is the callbacks' index */
    ac_tool_call_t *list;    /* what ac_openai_end() gives */
    int n_calls;
    ac_finish_e finish;
    ac_usage_t usage;
    char model[80];
    bool done;    /* [DONE] was seen */
    bool started; /* something that counts as an answer has come: no retry any more */
    size_t text_len;
} ac_openai_answer_t;

void ac_openai_answer_init(ac_openai_answer_t *answer, const ac_model_cb_t *cb, void *baton);
void ac_openai_answer_free(ac_openai_answer_t *answer);
/* One event's data: a chunk, "[DONE]", or an error object. Calls on_text, on_tool_start, on_tool_args.
 * errors: model_error (garbage, error in mid-stream), model_throttled, content_filtered … as the error object says. */
apr_status_t ac_openai_chunk(ac_openai_answer_t *answer, const char *data, size_t len, ac_err_t *err);
/* A whole JSON answer (servers that ignore `stream`): the same callbacks, then as after the last chunk. */
apr_status_t ac_openai_whole(ac_openai_answer_t *answer, const char *body, size_t len, ac_err_t *err);
/* After the last byte: was it whole? errors: model_error "the answer was cut off" where neither finish_reason nor
 * [DONE] came.
 * out: end (calls point into answer), its status and err too. With finish CONTENT_FILTER there are no calls, as
 * none of them may be carried out; with LENGTH the last one may be unfinished. */
apr_status_t ac_openai_end(ac_openai_answer_t *answer, ac_model_end_t *end);
/* Reads an error answer of any of the servers in the protocol notes. Sets err's kind, detail (no user's words),
 * http_status.
 * out: *pretry whether the same request may be sent again (insufficient_quota may not). */
apr_status_t ac_openai_error(int http_status, const char *body, size_t len, bool *pretry, ac_err_t *err);

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

typedef struct ac_cosmos_ask_t { /* names as they are, not encoded; what a verb has no use for is NULL */
    ac_cosmos_verb_e verb;
    const char *database, *container, *id;
    const char *key; /* the partition key's value; NULL with a query: all partitions */
    const char *if_match, *continuation, *session;
    const char *throughput, *autoscale; /* of a database to be made, in request units */
    int max_items;                      /* a query's page; 0: not sent */
} ac_cosmos_ask_t;

const char *ac_cosmos_method(ac_cosmos_verb_e verb);
bool ac_cosmos_writes(ac_cosmos_verb_e verb);
/* Whether a name can be a database, container or id: no '/', '\\', '#', '?', control character, no space at the end. */
bool ac_cosmos_name_valid(const char *name);
/* The path of the URL, each name percent-encoded: "/dbs/chat/colls/messages/docs/a%20b". */
apr_status_t ac_cosmos_path(ac_buf_t *path, const ac_cosmos_ask_t *ask);
/* "Thu, 27 Apr 2017 00:51:12 GMT" for x-ms-date. */
void ac_cosmos_date(char date[AC_COSMOS_DATE_SIZE], apr_time_t when);
/* Whether this can be an account's master key: base64, or a connection string that holds it. */
bool ac_cosmos_key_valid(const char *key);
/* The authorization header's value, percent-encoded, from a master key (base64, or a connection string that holds one).
 * errors: invalid_request where the key is no base64. source: "Access control in the Azure Cosmos DB SQL API", master
 * key. */
apr_status_t ac_cosmos_auth_key(ac_buf_t *value, const ac_cosmos_ask_t *ask, const char *key, const char *date,
                                ac_err_t *err);
/* The same from a token of Entra ID. */
apr_status_t ac_cosmos_auth_bearer(ac_buf_t *value, const char *token);
/* All lines of a request; they point into text, which is empty and has its maximum set. */
apr_status_t ac_cosmos_request_headers(const char *lines[AC_COSMOS_HEADERS], ac_buf_t *text, const ac_cosmos_ask_t *ask,
                                       const char *date, const char *authorization);
/* A query's body; parameters: {"@name": value}, borrowed. */
apr_status_t ac_cosmos_request_query(ac_buf_t *body, const char *sql, const json_t *parameters);

/* A batch is put together operation by operation. `n` 0 and body empty at the beginning. */
typedef struct ac_cosmos_batch_t {
    ac_buf_t body;
    int n;
} ac_cosmos_batch_t;
void ac_cosmos_request_batch_init(ac_cosmos_batch_t *batch);
void ac_cosmos_request_batch_free(ac_cosmos_batch_t *batch);
/* verb: CREATE, UPSERT, REPLACE or DELETE; document is borrowed and NULL for DELETE; if_match may be NULL. */
apr_status_t ac_cosmos_request_batch_add(ac_cosmos_batch_t *batch, ac_cosmos_verb_e verb, const char *key,
                                         const char *id, const json_t *document, const char *if_match);
/* Closes the body. */
apr_status_t ac_cosmos_request_batch_end(ac_cosmos_batch_t *batch);

/* What an answer's status asks for. */
typedef enum ac_cosmos_next_e {
    AC_COSMOS_FINAL,     /* an answer: 2xx, 304, 404 (missing), 409, 412, or an error that stays */
    AC_COSMOS_THROTTLED, /* 429: as late as x-ms-retry-after-ms says */
    AC_COSMOS_CONTENDED, /* 449: soon */
    AC_COSMOS_BEHIND,    /* 404/1002: this replica has not caught up */
    AC_COSMOS_AGAIN,     /* 408, 410, 500, 502 … 504 */
    AC_COSMOS_REJECTED,  /* 401, 403/5300: once more with another token */
    AC_COSMOS_MOVED      /* 403/3, 403/1008: at another region */
} ac_cosmos_next_e;
ac_cosmos_next_e ac_cosmos_answer_next(int status, int substatus);
/* Whether the answer is one that a step can go on from: a success, 304, 404/0, 409, 412. */
bool ac_cosmos_answer_usable(int status, int substatus);
/* Sets err from an error answer: what it is, and what the operator can do. skew: how far this machine's clock is behind
 * the
 * service's, 0 where not known. Shows no more of the body than its code. */
apr_status_t ac_cosmos_answer_error(ac_err_t *err, int status, int substatus, apr_interval_time_t skew);
/* A batch's answer: the status of the operation that failed, or 200. errors: store_error where it is no such answer.
 * *pat: which one failed. */
apr_status_t ac_cosmos_answer_batch(int *pstatus, int *psubstatus, int *pat, const json_t *body, int n, ac_err_t *err);
/* The i-th operation's new ETag, or "". */
const char *ac_cosmos_answer_batch_etag(const json_t *body, int i);
/* Milliseconds of x-ms-retry-after-ms, also with a fraction; 0: none. */
apr_interval_time_t ac_cosmos_answer_retry_after(const char *text);

/* The newest session token of each partition range of a container. A plain block of memory, so that it can be
 * shared. */
#define AC_COSMOS_RANGES 64
#define AC_COSMOS_SESSION_TEXT (AC_COSMOS_RANGES * 170) /* room for all of them in a header */
typedef struct ac_cosmos_session_t {
    int n, oldest;
    struct {
        char range[16], token[144];
        int64_t version, lsn;
    } ranges[AC_COSMOS_RANGES];
} ac_cosmos_session_t;
/* Keeps what is newer of x-ms-session-token's value; what does not look like one is ignored. */
void ac_cosmos_session_note(ac_cosmos_session_t *session, const char *text);
/* All of them, as the header wants them; nothing where there is none. */
apr_status_t ac_cosmos_session_text(ac_buf_t *text, const ac_cosmos_session_t *session);

/* ---- template.c: URL and body templates of the HTTP tool ---- */
#define AC_TEMPLATE_SECRET "${secret}"
typedef enum ac_template_e { AC_TEMPLATE_URL, AC_TEMPLATE_JSON, AC_TEMPLATE_HEADER } ac_template_e;
/* {name} is a placeholder; a name is letters, digits, '_', '-' and '.', so that the braces of JSON itself are none.
 * NULL, or a sentence in p: braces that do not close, a name that schema does not have, a {name} in scheme or host,
 * an array or object where only text can stand, a body that would not be JSON. */
const char *ac_template_problem(const char *text, ac_template_e kind, const json_t *schema, apr_pool_t *p);
/* Fills {name} from args (scalars; absent or null → "").
 * URL: percent-encoded, RFC 3986 unreserved only; a value cannot make a path segment empty, "." or "..", also for a
 * server that decodes %2F. JSON: a bare {name} becomes the JSON value (any; absent → null), inside a string the
 * escaped text. HEADER: as it is, without control characters. errors: invalid_request at the argument. out is then
 * as before. */
apr_status_t ac_template_fill(ac_buf_t *out, const char *text, ac_template_e kind, const json_t *args, ac_err_t *err);
/* Fills a header's value, and puts secret where text says ${secret}. An argument never becomes a ${secret}: the
 * pieces of text between two of them are filled one by one. secret: NULL where text names none. errors: as above;
 * internal where text names a secret and there is none. out is then as before. */
apr_status_t ac_template_header(ac_buf_t *out, const char *text, const char *secret, const json_t *args, ac_err_t *err);

#endif
