/* SPDX-License-Identifier: Apache-2.0 */
/* One request of the API: what the client sent, and the answers that are no streams. */
#ifndef AC_REQUEST_H
#define AC_REQUEST_H

#include "front/auth/auth.h"
#include "wire/wire.h"

#include <openssl/evp.h>

typedef struct ac_param_t { /* of a query string, decoded */
    const char *name, *value;
} ac_param_t;
struct ac_request_t { /* in r->pool; used by the thread that handles r, or by the loop while r is parked */
    request_rec *r;
    const ac_mount_conf_t *mount;
    const ac_route_t *route;
    const char *path;                /* below the mount: "/threads/thread_…" */
    const char *args[2];             /* the values of {…} in the route's pattern, decoded */
    const apr_array_header_t *query; /* of ac_param_t; each name once */
    const ac_principal_t *principal; /* NULL where the route needs no owner */
    const char *owner;               /* the principal's */
    char request_id[64];             /* from X-Request-Id where it is valid, else made; answered as X-Request-Id */
    ac_run_summary_t *summary;       /* of the run it starts; freed with the pool; NULL: none */
    ac_audit_t audit;                /* set by handlers of what the audit log records */
    const char *followed;            /* the run whose events it gets, if it starts none; NULL: none */
    bool unstored;                   /* no store has that run */
    const ac_limits_t *key_limits;   /* limits.c: the key's; NULL: none, or not looked for */
    ac_quota_t *quota;               /* limits.c: of the run it starts; NULL: none */
    json_t *body;                    /* parsed; freed with the pool; NULL: none was sent, or it is used up */
    ac_files_memory_t *files;        /* those of the body, as ac_parts_read() finds them; NULL: none */
    bool body_read;                  /* to its end */
    int httpd_answer;                /* a status that only httpd can answer (408, AP_FILTER_ERROR); 0: none */
    const char *doing;               /* "reading the request" */
    ac_agents_t *agents;             /* set by ac_request_agents_load(); freed with the pool */
    ac_trace_t trace;                /* its own span, else that of the client or of mod_otel, or empty */
    ac_span_t *span;                 /* ends when the request is logged; NULL: none */
    const char *range;               /* Range, which httpd does not see; NULL: none */
    bool has_otel_span;              /* mod_otel makes a span of the request */
    bool streams;                    /* the answer is a stream of events */
    bool background;                 /* the answer is the run, as soon as it is stored */
    void *view;                      /* ac_request_view_make(); NULL: none */
    apr_interval_time_t store_time;  /* how long the request waited for the store */
    ac_err_t err;
};

/* ---- request.c ---- */
ac_request_t *ac_request_get(const request_rec *r); /* as ac_request_create() made it; NULL: it did not */
/* A new request in r->pool. Its request id is set in the headers of every answer from now on. */
ac_request_t *ac_request_create(request_rec *r);
/* Sets rq->principal and rq->owner. errors: those of ac_principal_find(). */
apr_status_t ac_request_owner(ac_request_t *rq);
/* errors: not_acceptable where Accept allows neither JSON, nor an event stream, nor a dialect of the route. */
apr_status_t ac_request_accept(ac_request_t *rq);
/* Whether Accept asks for a stream of the route's events; fallback where it does not say. */
bool ac_request_prefers_stream(const ac_request_t *rq, bool fallback);
/* Whether Accept allows this media type. */
bool ac_request_takes(const ac_request_t *rq, const char *type);
/* Whether Accept prefers CSV to JSON. */
bool ac_request_prefers_csv(const ac_request_t *rq);
/* The route's dialect that Accept prefers, of those that stream or of the documents; the first of them where Accept
 * does not say, and the route's first one where it has none of the kind. For routes with a dialect. */
const ac_dialect_t *ac_request_dialect(const ac_request_t *rq, bool stream);
/* Takes the next bytes of a body; an error ends the reading. */
typedef apr_status_t ac_request_piece_fn(void *baton, const char *bytes, size_t len, ac_err_t *err);
/* Reads a body of at most max bytes to its end, piece by piece; the input filters handle Content-Length, chunks and
 * Expect. errors: body_too_large, invalid_request, those of piece(). */
apr_status_t ac_request_body_pieces(ac_request_t *rq, int64_t max, ac_request_piece_fn *piece, void *baton);
/* Reads and drops a body that the route does not use. errors: body_too_large. */
apr_status_t ac_request_body_drop(ac_request_t *rq);
/* Reads the body, at most mount->max_body bytes, and parses it as a JSON object into rq->body. An empty body is an
 * error only where required. errors: body_too_large, unsupported_media_type, bad_json, invalid_request (not an
 * object). */
apr_status_t ac_request_body(ac_request_t *rq, bool required);
/* Frees rq->body before the request ends: a body may have many megabytes, and a stream may last long. */
void ac_request_body_free(ac_request_t *rq);

/* The summary that the run of this request shall fill; made at the first call. Owned by rq. */
ac_run_summary_t *ac_request_summary(ac_request_t *rq);

/* What the route's dialect needs to know of the request, `size` bytes, zeroed. Its stream takes it, to free it at its
 * end; else it is freed with the pool. Once for each request. */
void *ac_request_view_make(ac_request_t *rq, size_t size);
void *ac_request_view_take(ac_request_t *rq); /* NULL: none */

/* ---- query.c ---- */
/* Parses those parameters of the query string that are in names (NULL-terminated) into rq->query; ignores others.
 * errors: invalid_request. */
apr_status_t ac_query_read(ac_request_t *rq, const char *const *names);
/* A value of the query string, decoded; NULL where absent. errors of the typed forms: invalid_request that names the
 * parameter. */
const char *ac_query_get(ac_request_t *rq, const char *name);
apr_status_t ac_query_int(ac_request_t *rq, int64_t *pvalue, const char *name, int64_t fallback, int64_t min,
                          int64_t max);
/* "true" or "false". */
apr_status_t ac_query_bool(ac_request_t *rq, bool *pvalue, const char *name, bool fallback);
/* `limit` of a list: 1 to AC_MAX_PAGE, or 20. */
apr_status_t ac_query_limit(ac_request_t *rq, int *plimit);
/* Page of threads or runs: limit, and the cursor `after`. */
apr_status_t ac_query_page(ac_request_t *rq, ac_page_t *page);

/* ---- request_trace.c ---- */
/* Completes the context of the request, and begins its span, if it is recorded. rq->route is set. */
void ac_request_trace_begin(ac_request_t *rq);
/* Links the span to the run whose events the request gets. The handler's thread. */
void ac_request_trace_link(const ac_request_t *rq, const char *run_id);

/* ---- precondition.c ---- */
/* If-Match: *ptags of const char *, empty where every tag matches. errors: invalid_request, precondition_failed
 * where it has no strong tag. */
apr_status_t ac_precondition_if_match(ac_request_t *rq, const apr_array_header_t **ptags);
/* Whether If-None-Match names etag, so that a GET answers 304. */
bool ac_precondition_none_match(const ac_request_t *rq, const char *etag);

/* ---- request_thread.c ---- */
/* The thread of a conversation that its client names: `name` itself where it is the id of a thread, which must exist
 * then; else an id that is always the same for this owner and name, whichever protocol the client speaks. turn gets
 * thread_id and creates. pointer: of the name, for errors. errors: invalid_request: not 1 to AC_MAX_KEY bytes. */
apr_status_t ac_request_thread_of(ac_request_t *rq, ac_turn_t *turn, const char *name, const char *pointer);
/* The newest messages of that conversation's current path: *ploaded is as TURN_LOAD gives it, and is freed with the
 * request; NULL: the name has no thread yet. errors: as above, not_found (no thread with this id), the store's. */
apr_status_t ac_request_thread_load(ac_request_t *rq, const json_t **ploaded, const char *name, const char *pointer);
/* The member of a message's metadata with the id that its client has made. */
#define AC_REQUEST_MESSAGE_ID "client_message_id"
/* The loaded message with this id, which its client has made or the server; NULL: none, also for "". */
const json_t *ac_request_thread_message(const json_t *loaded, const char *id);
const json_t *ac_request_thread_last(const json_t *loaded); /* the end of the path; NULL: it is empty */
/* Where a request belongs in its thread; the texts live as long as the request. */
typedef struct ac_request_place_t {
    const char *parent; /* of the message; "": none; NULL: the current leaf */
    const char *again;  /* the message that is answered once more; NULL: none */
    const char *run_id; /* the run that is followed instead of a new one; NULL: none */
} ac_request_place_t;
/* The turn gets parent and regenerate. */
void ac_request_thread_enter(ac_turn_t *turn, const ac_request_place_t *place);

/* ---- response_format.c ---- */
/* The form of the answer that the body asks for, as chat completions write it; NULL: it says nothing. New reference.
 * errors: invalid_request. */
apr_status_t ac_response_format_read(json_t **pformat, ac_request_t *rq);

/* ---- request_agents.c ---- */
/* The agents, the same set to the request's end. With surely, agents made through the API are there even in a child
 * that has not yet read them: it asks the store. errors: the store's. */
apr_status_t ac_request_agents_load(ac_request_t *rq, const ac_agents_t **pagents, bool surely);
/* An agent by id or alias. pointer: of the member that names it, or "". active: an inactive agent is an error.
 * errors: not_found, invalid_request, the store's. */
apr_status_t ac_request_agents_find(ac_request_t *rq, const ac_agent_t **pagent, const char *id, const char *pointer,
                                    bool active);
/* The mount's default agent, else the server's; NULL: none. */
const ac_agent_t *ac_request_agents_default(const ac_request_t *rq);
/* The same. errors: invalid_request if there is none, or it is inactive. */
apr_status_t ac_request_agents_find_default(ac_request_t *rq, const ac_agent_t **pagent);

/* ---- upload.c: a file on its way to the storage and to the store ---- */
typedef struct ac_upload_t { /* zero it before use, and set id */
    ac_request_t *rq;
    ac_file_write_t *file; /* NULL: not open */
    EVP_MD_CTX *digest;
    ac_file_type_t type;
    char id[AC_ID_SIZE], name[AC_FILE_NAME_SIZE];
    const char *thread_id; /* that it is for; NULL: none */
} ac_upload_t;
/* size: of the file; -1: not known. Only where AgentChatFiles is on. errors: the storage's. */
apr_status_t ac_upload_begin(ac_upload_t *upload, ac_request_t *rq, const char *name, int64_t size);
/* errors: body_too_large, the storage's. */
apr_status_t ac_upload_add(ac_upload_t *upload, const char *bytes, size_t len, ac_err_t *err);
/* Makes the file durable, and puts it into the store: its document is (*presult)->out. errors:
 * unsupported_media_type, invalid_request, body_too_large, file_limit_exceeded, the storage's and the store's. */
apr_status_t ac_upload_end(ac_upload_t *upload, ac_store_op_t **presult);
void ac_upload_free(ac_upload_t *upload); /* drops a file that was not ended */

/* ---- parts.c: the content of a message in another protocol's form ---- */
typedef struct ac_part_t { /* strings are borrowed; NULL: not there */
    bool ignored;          /* a part of no meaning for an agent */
    const char *text;      /* of a text; the others are then not there */
    const char *url;       /* data:, or of a file of this server */
    const char *data;      /* base64 without a URL */
    const char *file_id;
    const char *name; /* of the file */
    bool image;       /* the file must be an image */
} ac_part_t;
/* Reads a part of a protocol into *part, which is zeroed. NULL, or an error message, constant or borrowed. */
typedef const char *ac_part_read_fn(ac_part_t *part, const json_t *value);
typedef struct ac_attachments_t {  /* the files of a message */
    json_t *list;                  /* [{file_id, name, type, size}], as a store has them; freed with the request; NULL:
                                     none */
    const char *member;            /* of the body that has their parts: "messages/3/content" */
    int parts[AC_MAX_ATTACHMENTS]; /* the index of each one's part */
} ac_attachments_t;
typedef struct ac_parts_t {
    const char *content; /* the texts, joined by empty lines; in the pool or borrowed from the body */
    ac_attachments_t attachments;
} ac_parts_t;
/* Reads a string, a list of parts, or nothing. A file of the body gets an id; its bytes are in rq->files. errors, with
 * the pointer of the part: invalid_request, not_found, the store's. */
apr_status_t ac_parts_read(ac_parts_t *parts, ac_request_t *rq, const json_t *content, const char *member,
                           ac_part_read_fn *read);

/* ---- attachments.c ---- */
/* Adds a file that was uploaded before. part: its index. errors: invalid_request, not_found, the store's. */
apr_status_t ac_attachments_find(ac_attachments_t *attachments, ac_request_t *rq, const char *id, bool image, int part);
/* Gives them to the turn, as those of its message. */
void ac_attachments_move(const ac_attachments_t *attachments, ac_turn_t *turn);
/* Stores those files of the turn that the body had, as POST /files does, unless the turn stores nothing. All are
 * stored, or none. errors: those of ac_upload_end(). */
apr_status_t ac_attachments_store(ac_request_t *rq, ac_turn_t *turn);

/* ---- timing.c ---- */
/* Adds Server-Timing, where the client may see it. quota: has the times of the request's run; NULL: it has none. The
 * owner of r, before the first byte. */
void ac_timing_add(request_rec *r, const ac_quota_t *quota);

/* ---- reply.c ---- */
/* The following return what the handler returns: OK, or SUSPENDED where a long answer waits for its client. */
/* Sends a JSON document with this status; consumes value. */
int ac_reply_json(ac_request_t *rq, int status, json_t *value);
/* Sends a text of this content type with 200; the text lives as long as rq->r. */
int ac_reply_text(ac_request_t *rq, const char *type, const char *text, size_t len);
/* Sends a file with 200, or not_found where it cannot be read. */
int ac_reply_file(ac_request_t *rq, const char *type, const char *path);
/* Sends no body: 204, 304. */
int ac_reply_empty(ac_request_t *rq, int status);
/* Sends rq->err (or err) in the form of the request's protocol, and logs it once; or returns rq->httpd_answer. */
int ac_reply_problem(ac_request_t *rq, const ac_err_t *err);
#define AC_REPLY_LINES_TYPE "application/x-ndjson"
typedef struct ac_reply_lines_t ac_reply_lines_t;
/* Adds the next lines, any number of them, and says whether more follow. errors: in rq->err. baton: as long as rq. */
typedef bool ac_reply_lines_fn(ac_reply_lines_t *lines, void *baton);
struct ac_reply_lines_t { /* an answer of JSON lines, of any length; `next` reads rq only */
    ac_request_t *rq;
    ac_reply_lines_fn *next;
    void *baton;
    ac_buf_t text;   /* what was added and is not sent */
    int64_t n_added; /* bytes that were added */
    bool over;       /* `next` has no more */
    bool begun;      /* the first lines were given to be sent */
    bool failed;     /* the line of the error was added */
};
/* Sends lines while they are made, as fast as the client reads: 64 KB and the lines of one call wait in memory. An
 * error becomes the answer if it comes before them, else a last line {object: "error", code, detail}. */
int ac_reply_lines(ac_request_t *rq, const char *type, ac_reply_lines_fn *next, void *baton);
/* For `next`. false: memory ran out. */
bool ac_reply_lines_text(ac_reply_lines_t *lines, const char *text, size_t len); /* any text, for other types */
bool ac_reply_lines_add(ac_reply_lines_t *lines, const json_t *value);           /* a line; also sets rq->err */
/* Waits for a store operation for this request; consumes op. The result is freed with the request's pool. errors: in
 * rq->err. */
apr_status_t ac_request_store(ac_request_t *rq, ac_store_op_t *op, ac_store_op_t **presult);
/* Frees a result earlier, for a request with many operations; NULL is allowed. */
void ac_request_store_free(ac_request_t *rq, ac_store_op_t *result);

/* ---- problem.c ---- */
/* The problem document of an error, for streams too; view is not used. New reference. Any thread. */
json_t *ac_problem_json(const ac_err_t *err, const char *request_id, const void *view);
/* The bytes of a problem: a document, or the text alone if it is a string. Consumes it; the caller frees the bytes.
 * NULL: out of memory. Any thread. */
char *ac_problem_text(json_t *problem, size_t *plen);
/* Sets r's status, content type, Cache-Control, Retry-After and WWW-Authenticate for this problem, and the fields of
 * the request's protocol. started: a run had begun. The owner of r. */
void ac_problem_headers(request_rec *r, const ac_err_t *err, bool started);
/* Hooks that make problem documents of httpd's own errors below a mount; called from register_hooks. */
void ac_problem_register(apr_pool_t *p);

#endif
