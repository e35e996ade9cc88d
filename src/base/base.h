/* SPDX-License-Identifier: Apache-2.0 */
/* The lowest layer: errors, JSON, ids, time, bounded memory, logging, and all limits of the module in one list. It uses
 * APR, jansson and OpenSSL, and does not know httpd. */
#ifndef AC_BASE_H
#define AC_BASE_H

#include "agentchat.h"

#include <stdlib.h>

#ifndef __LP64__
#error "mod_agentchat needs a 64-bit system"
#endif

/* ---- limits: everything that clients or upstreams can make grow has its maximum here ---- */
#define AC_MAX_JSON_DEPTH 32                   /* of any body we parse */
#define AC_MAX_BODY_DEFAULT (1024 * 1024)      /* AgentChatMaxBody */
#define AC_MAX_CONTENT (256 * 1024)            /* a user's message, bytes */
#define AC_MAX_FEEDBACK_REASON 200             /* characters */
#define AC_MAX_FEEDBACK_COMMENT 4000           /* characters */
#define AC_MAX_TITLE 60                        /* characters of an automatic title */
#define AC_MAX_TITLE_SET 200                   /* characters of a title that is set */
#define AC_MAX_TITLE_ANSWER (16 * 1024)        /* bytes of a model's answer that is a title */
#define AC_MAX_TITLE_PART 2000                 /* bytes of the question, and of the answer, that a title is made of */
#define AC_MAX_SUMMARY_ANSWER (128 * 1024)     /* bytes of a model's answer that is a summary */
#define AC_MAX_SUMMARY_TEXT (1024 * 1024)      /* bytes of the messages of one summary; later ones wait for the next */
#define AC_MAX_SUMMARY_RESULT 2000             /* bytes of a tool's arguments, and of its result, for a summary */
#define AC_MAX_AFTER_RUNS 16                   /* titles and summaries that models make at once in a child */
#define AC_MAX_METADATA 16                     /* members */
#define AC_MAX_METADATA_KEY 64                 /* characters */
#define AC_MAX_METADATA_VALUE 512              /* characters */
#define AC_MAX_SEARCH 200                      /* characters of GET /threads?q= */
#define AC_MAX_LABELS 32                       /* of a thread */
#define AC_MAX_LABEL 64                        /* characters */
#define AC_MAX_ANSWER (4 * 1024 * 1024)        /* bytes of one answer */
#define AC_MAX_REASONING (32 * 1024)           /* bytes of a model call's reasoning that are stored */
#define AC_MAX_TOOL_CALLS 32                   /* of one round */
#define AC_MAX_TOOL_ARGUMENTS (256 * 1024)     /* bytes of one call's arguments */
#define AC_MAX_CLIENT_TOOLS 128                /* of the client, with one run */
#define AC_MAX_CLIENT_TOOL_NAME 64             /* characters */
#define AC_MAX_CLIENT_TOOLS_BYTES (256 * 1024) /* of their descriptions and schemas together */
#define AC_MAX_TOOL_RESULT (64 * 1024)         /* AgentChatToolResultMax default */
#define AC_MAX_TOOL_ANSWER (2 * 1024 * 1024)   /* bytes of a tool's upstream, before the relevant part is cut out */
#define AC_MAX_SSE_LINE (1024 * 1024)          /* of an upstream's event */
#define AC_MAX_RESPONSE (16 * 1024 * 1024)     /* of an upstream's answer, streamed */
#define AC_MAX_ERROR_BODY (64 * 1024)          /* of an upstream's error */
#define AC_MAX_HEAD (64 * 1024)                /* of an upstream's answer: status line and headers */
#define AC_MAX_WAITING_EVENTS 4096             /* of a run without a log, kept for a worker with a slow client */
#define AC_MAX_OPENINGS 1                      /* retries of a run's opening write that was not answered in time */
#define AC_MAX_CLOSINGS 5                      /* retries of a run's closing write, 0.1 to 1.6 s apart */
#define AC_MAX_STATIC_FILE (16 * 1024 * 1024)  /* bytes of the page that shows the API contract */
#define AC_MAX_PAGE 100                        /* rows of a list */
#define AC_MAX_BRANCHES 1000                   /* branch points of a thread */
#define AC_MAX_SHOWN_MESSAGES 10000            /* of a thread that is returned with its history */
#define AC_MAX_SHOWN_BYTES (16 * 1024 * 1024)  /* of their contents, approximately */
#define AC_MAX_REQUEST (32 * 1024 * 1024)      /* of a request to an upstream */
#define AC_MAX_STORE_QUEUE 8192                /* operations in the queue of the embedded store */
#define AC_MAX_JSON_TEXT (64 * 1024 * 1024)    /* of anything we write as JSON */

#define AC_MAX_AGENTS 500                         /* created through the API */
#define AC_MAX_AGENT_ID 64                        /* characters */
#define AC_MAX_AGENT_NAME 200                     /* bytes */
#define AC_MAX_AGENT_DESCRIPTION 2000             /* bytes */
#define AC_MAX_INSTRUCTIONS (100 * 1024)          /* bytes, of an agent created through the API */
#define AC_MAX_ROUNDS 64                          /* AgentChatMaxRounds */
#define AC_ROUNDS_DEFAULT 8                       /* default of AgentChatMaxRounds */
#define AC_MAX_TEMPERATURE 2                      /* AgentChatTemperature */
#define AC_MAX_REASON 1000                        /* bytes of the reason for a refused call */
#define AC_MAX_FORM_CONTENT (16 * 1024)           /* bytes of what an approval brings for a form */
#define AC_MAX_KEY 255                            /* characters of an Idempotency-Key */
#define AC_KEY_HASH_SIZE 65                       /* SHA-256 in hexadecimal, and a NUL */
#define AC_KEY_LIFE apr_time_from_sec(86400)      /* how long an Idempotency-Key leads to its run */
#define AC_MAX_LIMITS 16                          /* of one scope: a section, an agent, a key */
#define AC_MAX_LIMIT INT64_C(1000000000000000000) /* in a limit's unit: 10^9 units of money */
#define AC_MAX_USAGE INT64_C(1000000000000) /* most tokens that one answer counts as, whatever the model reports */
#define AC_RESERVED_ANSWER 1000             /* tokens reserved for an answer without AgentChatMaxTokens */
#define AC_MAX_USAGE_ROWS 10000             /* of an answer of GET /usage */
#define AC_MAX_COUNTS 65536                 /* counters of all limits, owners and windows; a power of two */
#define AC_MAX_HOLDS 131072                 /* reservations of streams and active runs; a power of two */
#define AC_MAX_HOLDERS 1024                 /* processes that share these reservations */
#define AC_MAX_CACHED (256 * 1024)          /* bytes of a conversation in the cache; larger ones are not cached */
#define AC_MAX_CACHED_PARTS 24             /* of such an entry: what was read, and writes since then; more are merged */
#define AC_MAX_KEYRING (4 * 1024 * 1024)   /* bytes of a file of API keys */
#define AC_MAX_API_KEY 256                 /* bytes of an API key in a request */
#define AC_MAX_REDIS_CALLS 16384           /* of a child, not answered yet */
#define AC_MAX_REDIS_OUT (8 * 1024 * 1024) /* bytes for Redis that are not sent yet */
#define AC_MAX_REDIS_REPLY (64 * 1024 * 1024) /* bytes of an incomplete reply of Redis */
#define AC_MAX_MIRROR_ENTRY (4 * 1024 * 1024) /* bytes of an entry of the mirror; a longer event ends the copy */
#define AC_MAX_RECOVERIES 16                  /* runs of dead children that are closed at the same time */

/* files in messages */
#define AC_MAX_CONTENT_PARTS 64                /* of a user's message: texts, images and files */
#define AC_MAX_ATTACHMENTS 20                  /* images and files of a message */
#define AC_MAX_FILE_TEXT (1024 * 1024)         /* bytes of a file's text that a model is shown */
#define AC_MAX_IMAGES_BYTES (16 * 1024 * 1024) /* of the images of a model call */
#define AC_MAX_HELD_IMAGES (256 * 1024 * 1024) /* bytes of the images of all runs of a child */
#define AC_IMAGE_TOKENS 1000                   /* of an image, as an estimate */

/* MCP servers */
#define AC_MAX_MCP_TOOLS 128                    /* of a server */
#define AC_MAX_AGENT_DEPTH 8                    /* of agents that call each other */
#define AC_MAX_TOTAL_ROUNDS 50                  /* of a run and its nested runs, unless configured */
#define AC_MAX_RUN_TOOLS 128                    /* of a run, with those of MCP servers: models refuse more */
#define AC_MAX_MCP_PAGES 64                     /* of a list of tools */
#define AC_MAX_MCP_LIST_BYTES (2 * 1024 * 1024) /* of all pages of such a list */
#define AC_MAX_MCP_STREAM \
    (8 * 1024 * 1024)                  /* of the answer to one call, with progress and all that the model gets not */
#define AC_MAX_MCP_DEPTH 64            /* of a message */
#define AC_MAX_TOOL_DESCRIPTION 4096   /* bytes of the description of another service's tool that the model is shown */
#define AC_MAX_TOOL_SCHEMA (32 * 1024) /* bytes of its schema as the model gets it */
#define AC_MAX_MCP_PROGRESS 1000       /* events of one call's progress */
#define AC_MAX_MCP_QUESTIONS 4         /* of a server, during one call */

/* OpenAPI documents */
#define AC_MAX_OPENAPI_DOCUMENT (32 * 1024 * 1024) /* bytes */
#define AC_MAX_OPENAPI_TOOLS 128                   /* of a document */
#define AC_MAX_OPENAPI_PARAMETERS 64               /* of an operation */
#define AC_MAX_OPENAPI_KEYS 4                      /* credentials of a request */
#define AC_MAX_OPENAPI_SCHEMA (16 * 1024)          /* bytes of a tool's schema as the model gets it */
#define AC_MAX_YAML_DEPTH 100
#define AC_MAX_YAML_NODES 2000000 /* values of a document; the largest known ones have half a million */

/* sources of an answer */
#define AC_MAX_SOURCES 50
#define AC_MAX_SOURCE_TITLE 200   /* bytes */
#define AC_MAX_SOURCE_PLACE 1000  /* bytes, also of a URL */
#define AC_MAX_SOURCE_SNIPPET 300 /* bytes */

#define AC_ANONYMOUS "anonymous" /* the owner of all requests without authentication; it has no role */

/* ---- err.c: the table of error kinds ---- */
typedef struct ac_err_row_t {
    ac_kind_e kind;
    const char *code;    /* "not_found": stable, in the API */
    const char *title;   /* a few words for people */
    int http;            /* status of a problem response */
    apr_status_t status; /* what our functions return */
    bool retry;          /* the same request may succeed later */
    const char *fault;   /* "client", "operator", "upstream", "us" */
} ac_err_row_t;

const ac_err_row_t *ac_err_row(ac_kind_e kind);
/* The kind with this code, or AC_OK. */
ac_kind_e ac_err_kind_by_code(const char *code);
void ac_err_init(ac_err_t *err);
/* Sets kind and detail unless err is NULL or already set. Returns the kind's apr_status_t, so that
 * `return ac_err_set(err, AC_NOT_FOUND, "no thread with this id");` reads well. Any thread. */
apr_status_t ac_err_set(ac_err_t *err, ac_kind_e kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* As ac_err_set(), for a member of a JSON document. pointer: a JSON Pointer ("/metadata/a"). */
apr_status_t ac_err_set_at(ac_err_t *err, ac_kind_e kind, const char *pointer, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Sets overloaded, with Retry-After, if the errno `cause` says that this process or machine has no file descriptor or
 * memory left. Returns false, and leaves err unchanged, for any other errno. err must not be set before. Any thread. */
bool ac_err_set_lack(ac_err_t *err, int cause);
/* A copy on the heap, for free(). Any thread. */
ac_err_t *ac_err_copy(const ac_err_t *err);
/* Appends " while <doing>" to the detail, at most once. */
void ac_err_while(ac_err_t *err, const char *doing);

/* ---- json.c: strict reading, typed getters that name the path ---- */
/* Parses a whole document: UTF-8, no duplicate member, no NUL, depth at most AC_MAX_JSON_DEPTH, no text after the
 * value. *pvalue: a new reference. errors: bad_json (with line and column). Any thread. */
apr_status_t ac_json_parse(json_t **pvalue, const char *text, size_t len, ac_err_t *err);
/* These read a member of an object by name. *pvalue is borrowed; it is NULL if the member is absent or null and not
 * required. errors: invalid_request with the member's pointer. */
apr_status_t ac_json_string(const char **pvalue, const json_t *object, const char *name, bool required, ac_err_t *err);
apr_status_t ac_json_bool(bool *pvalue, const json_t *object, const char *name, bool fallback, ac_err_t *err);
apr_status_t ac_json_int(int64_t *pvalue, const json_t *object, const char *name, int64_t fallback, ac_err_t *err);
/* Checks that object has no other members than names (NULL-terminated). errors: invalid_request with the pointer of the
 * first other member. */
apr_status_t ac_json_only(const json_t *object, const char *const *names, ac_err_t *err);
/* Lenient getters for documents of other programs: they return the fallback instead of an error. */
const char *ac_json_peek_string(const json_t *object, const char *name, const char *fallback);
int64_t ac_json_peek_int(const json_t *object, const char *name, int64_t fallback);
/* A number without its fraction. Returns the fallback if value is not a number, or is too large. */
int64_t ac_json_whole_part(const json_t *value, int64_t fallback);
/* Sets a member. Consumes value, also on failure; value may be NULL. Returns false if memory ran out or value is
 * NULL. */
bool ac_json_put(json_t *object, const char *name, json_t *value);
/* A JSON string, or JSON null if text is NULL; invalid UTF-8 becomes U+FFFD. Returns a new reference. */
json_t *ac_json_text(const char *text);
/* Compact JSON text on the heap; the caller frees it with free(). Returns NULL if memory ran out. plen may be NULL. */
char *ac_json_dump(const json_t *value, size_t *plen);
/* Whether arrays and objects are nested in value more than depth times. */
bool ac_json_is_deeper(const json_t *value, int depth);
bool ac_utf8_valid(const char *text, size_t len);
/* The number of bytes, of the first len, that are whole characters: less than len if the end cuts a character. */
size_t ac_utf8_whole(const char *text, size_t len);
/* The number of bytes of the character at text: 1 to 4, for len >= 1. If *pvalid is false: the number of bytes to
 * replace by one U+FFFD. */
size_t ac_utf8_next(const char *text, size_t len, bool *pvalid);
/* The number of characters of valid UTF-8. */
size_t ac_utf8_count(const char *text, size_t len);
/* Appends "/" and name to a JSON Pointer, escaped by RFC 6901. A part that does not fit is left out. */
void ac_json_pointer_add(char pointer[AC_ERR_POINTER_SIZE], const char *name);

/* ---- schema.c: the part of JSON Schema that tools and answers use ---- */
/* Checks value against schema. Keywords: type (also lists of types), enum, const, properties, required,
 * additionalProperties, items, minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, minLength, maxLength,
 * minItems, maxItems, allOf, anyOf, oneOf, $ref within the schema; pattern is ignored. errors: invalid_request with the
 * pointer inside value. Any thread. */
apr_status_t ac_schema_check(const json_t *schema, const json_t *value, ac_err_t *err);
/* Removes each member of value that is null, that schema's properties do not allow to be null, and that schema does not
 * require. Members of members stay. Any thread. */
void ac_schema_drop_nulls(const json_t *schema, json_t *value);
/* Checks whether schema can describe an object, such as a tool's parameters. Returns NULL if it can, or an error
 * message allocated in p. */
const char *ac_schema_problem(const json_t *schema, apr_pool_t *p);

/* A small zeroed object on the heap, for free(). Without memory the process aborts, as httpd's pools do: no useful
 * answer is possible. Data whose size a client decides goes into an ac_buf_t instead. */
static inline void *ac_alloc(size_t size)
{
    void *object = calloc(1, size);
    if (!object) {
        abort();
    }
    return object;
}

/* ---- buf.c: bounded growing bytes, on the heap ---- */
typedef struct ac_buf_t {
    char *data; /* NUL-terminated unless NULL */
    size_t len, size, max;
    bool failed; /* an append exceeded max, or memory ran out; it appended nothing */
} ac_buf_t;

void ac_buf_init(ac_buf_t *buf, size_t max);
void ac_buf_free(ac_buf_t *buf);  /* returns to the state after init */
void ac_buf_clear(ac_buf_t *buf); /* keeps the memory */
/* Append to the buffer. errors: ENOSPC (over max), ENOMEM; the contents then stay unchanged and `failed` is set. */
apr_status_t ac_buf_add(ac_buf_t *buf, const char *data, size_t len);
apr_status_t ac_buf_str(ac_buf_t *buf, const char *text);
apr_status_t ac_buf_printf(ac_buf_t *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Appends text as a JSON string with its quotes. Control characters are escaped; invalid UTF-8 becomes U+FFFD. */
apr_status_t ac_buf_json(ac_buf_t *buf, const char *text, size_t len);
/* Makes room for len more bytes, as far as the maximum allows, so that they need no further memory. */
void ac_buf_reserve(ac_buf_t *buf, size_t len);
/* Drops the first n bytes. */
void ac_buf_shift(ac_buf_t *buf, size_t n);

/* ---- id.c ---- */
/* Makes "thread_" and a UUIDv7 in 26 lower-case characters of Crockford base32. The ids of one process sort by
 * creation. Any thread. */
void ac_id_make(char id[AC_ID_SIZE], const char *prefix);
/* The id that sorts before all others of this millisecond. */
void ac_id_first(char id[AC_ID_SIZE], const char *prefix, apr_time_t when);
#define AC_ID_BITS 16 /* bytes */
/* The id of these bits, always the same one. */
void ac_id_of_bits(char id[AC_ID_SIZE], const char *prefix, const unsigned char bits[AC_ID_BITS]);
/* Whether id is prefix and 26 characters of that alphabet. */
bool ac_id_valid(const char *id, const char *prefix);

/* ---- time.c ---- */
#define AC_TIME_SIZE 32
/* Writes "2026-11-21T05:25:46.123Z". */
void ac_time_format(char text[AC_TIME_SIZE], apr_time_t when);
void ac_time_format_micro(char text[AC_TIME_SIZE], apr_time_t when); /* the same with six digits of the second */
/* Reads "2027-01-31T12:00:00Z", with or without milliseconds, or "2027-01-31" (its first moment). Returns false for
 * other text. */
bool ac_time_parse(apr_time_t *pwhen, const char *text);
json_t *ac_time_json(apr_time_t when); /* JSON null for 0 */
/* Reads "250ms", "15s", "10min", "2h", "30d" or "0". Returns false for other text, also for a number without a unit. */
bool ac_time_parse_duration(apr_interval_time_t *pvalue, const char *text);
void ac_time_format_duration(char text[AC_TIME_SIZE], apr_interval_time_t value);

/* ---- text.c; any thread ---- */
/* Reads "64K", "1M", "2G" or a plain number of bytes. Returns false for other text. */
bool ac_text_parse_size(apr_int64_t *pvalue, const char *text);
/* Writes n bytes as 2 * n lower-case hexadecimal digits and a NUL. */
void ac_text_hex(char *text, const unsigned char *bytes, size_t n);
#define AC_AMOUNT_SIZE 32
/* Writes an amount of money with at most eight decimal places, at least one: "0.00123". Any thread. */
void ac_text_amount(char text[AC_AMOUNT_SIZE], double amount);
/* The value of a hexadecimal digit of either case, or -1. */
static inline int ac_hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
/* Text of a document for the log: at most 60 characters, control characters masked. buf: 64 bytes. Returns buf. */
const char *ac_text_printable(char *buf, const char *text);

/* ---- clock.c, random.c, file.c; any thread ---- */
/* Monotonic time in microseconds, for deadlines and durations; it is never shown. */
apr_time_t ac_clock(void);
/* 64 random bits from the kernel. Ends the process if the kernel supplies none. */
uint64_t ac_random(void);
/* Creates an empty file that only its owner can read and write, independent of the umask. Returns an errno; EEXIST: the
 * file exists and stays unchanged. */
int ac_file_make(const char *path);
/* Reads a file of at most max bytes. *pbytes: on the heap, NUL-terminated; the caller frees it with free(). Blocks.
 * errors: an errno; APR_ENOSPC: the file is longer; APR_EINVAL: not a regular file. */
apr_status_t ac_file_read(char **pbytes, size_t *plen, const char *path, size_t max);

/* ---- limit.c: limits as written in the configuration ---- */
typedef enum ac_measure_e {
    AC_LIMIT_REQUESTS,
    AC_LIMIT_TOKENS,
    AC_LIMIT_STREAMS,
    AC_LIMIT_COST,
    AC_LIMIT_RUNS,
    AC_N_MEASURES
} ac_measure_e;
typedef enum ac_by_e { AC_BY_OWNER, AC_BY_KEY, AC_BY_AGENT, AC_BY_ADDRESS, AC_N_BYS } ac_by_e;
#define AC_COST_PLACES 9 /* money is counted in billionths: the price of one token is then a whole number */
#define AC_COST_ONE INT64_C(1000000000)
typedef struct ac_limit_t {
    ac_measure_e measure;
    ac_by_e by;                 /* whose requests share one counter */
    int64_t most;               /* 1 to AC_MAX_LIMIT; COST: in billionths */
    apr_interval_time_t window; /* length of the window; 0: concurrent ones (STREAMS, RUNS) */
    bool standard;              /* a default: the first limit with this measure in the same scope replaces it */
} ac_limit_t;
typedef struct ac_limits_t { /* of one scope */
    const char *scope;       /* separates the counters of scopes; the caller of the parser sets it and label */
    const char *label;       /* prefix of the names of its policies, "agent-"; NULL: none. Constant */
    int n;
    ac_limit_t list[AC_MAX_LIMITS + 1]; /* with room for a default */
} ac_limits_t;
/* Adds the limits in text: words of requests=N/WINDOW, tokens=N/WINDOW, streams=N, runs=N, cost=AMOUNT/WINDOW and at
 * most one by=WAY. N may end in k or M; WINDOW is s, min, hour or day. by: used if text has no by=; with AC_BY_KEY (the
 * text of an API key) by= is refused. errors: invalid_request, whose detail shows the given and the accepted text;
 * limits then stay unchanged. Any thread. */
apr_status_t ac_limit_parse(ac_limits_t *limits, const char *text, ac_by_e by, ac_err_t *err);
const char *ac_limit_measure_name(ac_measure_e measure);      /* "requests" */
const char *ac_limit_by_name(ac_by_e by);                     /* "owner" */
const char *ac_limit_window_name(apr_interval_time_t window); /* "min"; "" for 0 */

/* ---- record.c: domain objects as JSON, in the form that the API and the store share ---- */
json_t *ac_record_usage(const ac_usage_t *usage);
json_t *ac_record_cost(const ac_usage_t *usage, const ac_price_t *price); /* JSON null without a price */
/* The amount of ac_record_cost(). false: no price is set. */
bool ac_record_amount(double *pamount, const ac_usage_t *usage, const ac_price_t *price);
json_t *ac_record_error(const ac_err_t *err); /* {code, message} */
/* Checks a request's metadata object: at most 16 members, all strings. errors: invalid_request with the member's
 * pointer. */
apr_status_t ac_record_check_metadata(const json_t *metadata, ac_err_t *err);
/* The same for a thread's metadata, whose member "labels" may also be an array of strings. */
apr_status_t ac_record_check_labels(const json_t *metadata, ac_err_t *err);
/* The id of the run's answer, which clients of other protocols want to know before there is one. */
void ac_record_answer_id(char id[AC_ID_SIZE], const char *run_id);
bool ac_record_is_answer(const json_t *message); /* not a user's, and no results of tools. NULL: false */
bool ac_record_is_active(const json_t *run);     /* whether the run is queued or in progress. NULL: false */
/* The order of an answer's text and tool calls. A message's metadata stores it as `parts`: the number of bytes of each
 * stretch of text, and the ids of the calls between them. Zero it before use; one thread at a time may use it. */
typedef struct ac_record_parts_t {
    json_t *list;  /* NULL: no call yet */
    size_t listed; /* bytes of text before the last call of the list */
} ac_record_parts_t;
void ac_record_parts_add_call(ac_record_parts_t *parts, size_t at,
                              const char *id); /* adds a call that follows `at` bytes of text */
json_t *ac_record_parts_list(const ac_record_parts_t *parts,
                             size_t len); /* of a text of len bytes; NULL without calls. New reference */
void ac_record_parts_read(ac_record_parts_t *parts,
                          json_t *list); /* continues after this list; consumes it, may be NULL */
void ac_record_parts_free(ac_record_parts_t *parts);
/* The texts and calls of a stored answer in their order: a list of {type: "text", text} and {type: "tool_call", id}. An
 * answer without a list of it, or with one that does not match, has the calls first. New reference. */
json_t *ac_record_parts_of(const json_t *message);
/* The call with this id of a stored message; NULL: none, as for a NULL message. */
const json_t *ac_record_call(const json_t *message, const char *id);
/* Changes a stored message into its form of the API: moves `parts` and `sources` out of its metadata, and replaces byte
 * counts of parts by text. A list of parts that does not match the message is dropped. */
void ac_record_show_parts(json_t *message);
/* The same for its feedback: without what only the server needs to know. */
void ac_record_show_feedback(json_t *message);
/* ---- words.c: words of texts, for searching ---- */
#define AC_WORDS_MAX 32 /* words to find; more are ignored */
/* Words are runs of letters and digits; a character of a script without blanks between words (Chinese, Japanese,
 * Korean, Thai) is a word of its own. */
/* Appends the words of the text, with a blank after each. errors: those of ac_buf_add(). */
apr_status_t ac_words_put(ac_buf_t *buf, const char *text, size_t len);
typedef struct ac_words_query_t { /* phrases, each of one or more words that follow one another; all must be there */
    char words[AC_WORDS_MAX][64];
    struct {
        int first, n;
        size_t start, end; /* its bytes in the text that was read */
    } phrases[AC_WORDS_MAX];
    int n_words, n_phrases;
    bool open; /* the last word may go on */
} ac_words_query_t;
/* Reads what a person types: words, and phrases in quotes. Every text is valid; one without words has no phrases. */
void ac_words_query(ac_words_query_t *query, const char *text);
/* Whether the text has all phrases. */
bool ac_words_match(const ac_words_query_t *query, const char *text);
/* Puts `snippet`, the text around the first place, as one line, and `highlights`, the places in it as {start, end} in
 * characters, into match. */
void ac_words_snippet(json_t *match, const ac_words_query_t *query, const char *text);

/* The first line of the text, cut between words, at most AC_MAX_TITLE characters, "…" at a cut. Control characters
 * count as blanks. NULL: the text is blank. New reference. */
json_t *ac_record_title_cut(const char *text);
json_t *ac_record_title(const char *content); /* the same of a message; blank: "New conversation" */

/* ---- trace.c: W3C trace context ---- */
/* Reads a traceparent header. false: it is not valid, and trace is empty. NULL is allowed. state becomes NULL. Any
 * thread. */
bool ac_trace_parse(ac_trace_t *trace, const char *traceparent);
/* Sets the context of what this thread calls until it sets another one; NULL: none. It is borrowed. */
void ac_trace_enter(const ac_trace_t *trace);
const ac_trace_t *ac_trace_here(void); /* the one that this thread has set, or NULL */

/* ---- log.c ---- */
typedef enum ac_level_e { AC_ERROR, AC_WARNING, AC_NOTICE, AC_INFO, AC_DEBUG, AC_TRACE } ac_level_e;
typedef void ac_log_sink_fn(ac_level_e level, const char *file, int line, apr_status_t status, const char *text);
/* Messages at info and above have a row in base/messages.h and an entry in docs/log-messages.md. */
typedef enum ac_log_id_e {
#define AC_MESSAGE(number, level, meaning, remedy) AC_M##number = number,
#include "messages.h"
#undef AC_MESSAGE
} ac_log_id_e;

typedef struct ac_log_fields_t {        /* what a line is about; NULL and 0: not known */
    const char *run, *thread, *request; /* ids */
    const char *route;                  /* its pattern */
    const char *protocol;               /* ac_metrics_protocol() */
    const char *agent, *model, *tool;   /* ids */
    const char *status;                 /* of the run */
    const char *error;                  /* the code of an error kind */
    int http_status;
    int rounds, tool_calls;
    apr_interval_time_t latency, first_token, store;
    const ac_usage_t *usage;
    const char *currency; /* of cost; NULL or "": the cost is not known */
    double cost;
    const ac_trace_t *trace;
} ac_log_fields_t;

void ac_log_install(ac_log_sink_fn *sink, ac_level_e threshold);
bool ac_log_on(ac_level_e level);
void ac_log_message(ac_log_id_e number, const char *file, int line, apr_status_t status, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void ac_log_detail(ac_level_e level, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* As ac_log_message(), with fields for sinks that write more than the text. */
void ac_log_message_about(ac_log_id_e number, const ac_log_fields_t *fields, const char *file, int line,
                          apr_status_t status, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
void ac_log_detail_about(ac_level_e level, const ac_log_fields_t *fields, const char *file, int line, const char *fmt,
                         ...) __attribute__((format(printf, 5, 6)));
/* Inside of a sink: the fields of the line, or NULL. */
const ac_log_fields_t *ac_log_fields(void);
typedef struct ac_log_row_t {
    int number;
    ac_level_e level;
    const char *meaning, *remedy;
} ac_log_row_t;
/* The whole table, ended by number 0. The check of the documentation reads it. */
const ac_log_row_t *ac_log_rows(void);
/* ac_log(AC_M0101, status, "store %s: …", …): the row supplies number and level. */
#define ac_log(number, status, ...) ac_log_message(number, __FILE__, __LINE__, status, __VA_ARGS__)
/* The same, with what the line is about. */
#define ac_log_about(number, fields, status, ...) \
    ac_log_message_about(number, fields, __FILE__, __LINE__, status, __VA_ARGS__)
#define ac_debug_about(fields, ...) ac_log_detail_about(AC_DEBUG, fields, __FILE__, __LINE__, __VA_ARGS__)
#define ac_debug(...) \
    do { \
        if (ac_log_on(AC_DEBUG)) \
            ac_log_detail(AC_DEBUG, __FILE__, __LINE__, __VA_ARGS__); \
    } while (0)
#define ac_trace(...) \
    do { \
        if (ac_log_on(AC_TRACE)) \
            ac_log_detail(AC_TRACE, __FILE__, __LINE__, __VA_ARGS__); \
    } while (0)

/* ---- metrics.c, metrics_read.c, metrics_text.c: what the module counts ---- */
#include "base/metrics.h"
/* ---- span.c: the spans of traces ---- */
#include "base/span.h"
/* ---- log_record.c: a log message for other systems ---- */
#include "base/log_record.h"
/* ---- log_line.c: a log line as a JSON object; any thread ---- */
#define AC_LOG_LINE_SIZE 4096 /* PIPE_BUF of Linux: a line of this size gets into a pipe whole */
typedef struct ac_log_line_t {
    size_t len; /* the line's, with its newline */
    bool truncated;
    char text[AC_LOG_LINE_SIZE];
} ac_log_line_t;
/* Begins the object with the member "time". */
void ac_log_line_begin(ac_log_line_t *line, apr_time_t when);
/* These add a member. Any bytes are allowed in a text: control characters are escaped, invalid UTF-8 becomes U+FFFD. A
 * text without a character is left out; one of more than 254 bytes is cut. A member that does not fit is left out. */
void ac_log_line_text(ac_log_line_t *line, const char *name, const char *text);
void ac_log_line_int(ac_log_line_t *line, const char *name, int64_t value);
void ac_log_line_fields(ac_log_line_t *line, const ac_log_fields_t *fields); /* those that are known */
/* The member "message", in all the room that is left; the last one. */
void ac_log_line_message(ac_log_line_t *line, const char *text);
/* Ends the object and the line. If a text was cut, or a member left out, the last member is "truncated": true. */
void ac_log_line_end(ac_log_line_t *line);

#endif
