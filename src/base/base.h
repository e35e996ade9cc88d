/* SPDX-License-Identifier: Apache-2.0 */
/* Floor 1: what everything stands on. Errors, JSON, ids, time, bounded memory, logging,
 * and every limit of the module in one list. Knows APR, jansson and OpenSSL; no httpd. */
#ifndef AC_BASE_H
#define AC_BASE_H

#include "agentchat.h"

#include <stdlib.h>

/* ---- limits: whatever clients, upstreams or their number make grow has its maximum here ---- */
#define AC_MAX_JSON_DEPTH 32                  /* of any body we parse */
#define AC_MAX_BODY_DEFAULT (1024 * 1024)     /* AgentChatMaxBody */
#define AC_MAX_CONTENT (256 * 1024)           /* a user's message, bytes */
#define AC_MAX_TITLE 60                       /* characters of an automatic title */
#define AC_MAX_TITLE_SET 200                  /* characters of a title that is set */
#define AC_MAX_METADATA 16                    /* members */
#define AC_MAX_METADATA_KEY 64                /* characters */
#define AC_MAX_METADATA_VALUE 512             /* characters */
#define AC_MAX_ANSWER (4 * 1024 * 1024)       /* bytes of one answer */
#define AC_MAX_TOOL_CALLS 32                  /* of one round */
#define AC_MAX_TOOL_ARGUMENTS (256 * 1024)    /* bytes of one call's arguments */
#define AC_MAX_TOOL_RESULT (64 * 1024)        /* AgentChatToolResultMax default */
#define AC_MAX_TOOL_ANSWER (2 * 1024 * 1024)  /* of a tool's upstream, before the part that counts is taken */
#define AC_MAX_SSE_LINE (1024 * 1024)         /* of an upstream's event */
#define AC_MAX_RESPONSE (16 * 1024 * 1024)    /* of an upstream's answer, streamed */
#define AC_MAX_ERROR_BODY (64 * 1024)         /* of an upstream's error */
#define AC_MAX_HEAD (64 * 1024)               /* of an upstream's answer: status line and headers */
#define AC_MAX_WAITING_EVENTS 4096            /* of a run without a log, for a worker that waits for its slow client */
#define AC_MAX_OPENINGS 1                     /* further tries of a run's opening write that was not answered in time */
#define AC_MAX_CLOSINGS 5                     /* further tries of a run's closing write, 0.1 to 1.6 s apart */
#define AC_MAX_STATIC_FILE (16 * 1024 * 1024) /* of the page that shows the contract */
#define AC_MAX_PAGE 100                       /* rows of a list */
#define AC_MAX_SHOWN_MESSAGES 10000           /* of a thread that is shown with its history */
#define AC_MAX_SHOWN_BYTES (16 * 1024 * 1024) /* of their contents, about */
#define AC_MAX_REQUEST (32 * 1024 * 1024)     /* of a request to an upstream */
#define AC_MAX_STORE_QUEUE 8192               /* operations that wait for the embedded store */
#define AC_MAX_JSON_TEXT (64 * 1024 * 1024)   /* of anything we write as JSON */

#define AC_MAX_AGENTS 500                         /* that were made through the API */
#define AC_MAX_AGENT_ID 64                        /* characters */
#define AC_MAX_AGENT_NAME 200                     /* bytes */
#define AC_MAX_AGENT_DESCRIPTION 2000             /* bytes */
#define AC_MAX_INSTRUCTIONS (100 * 1024)          /* bytes, of an agent that is made through the API */
#define AC_MAX_ROUNDS 64                          /* AgentChatMaxRounds */
#define AC_ROUNDS_DEFAULT 8                       /* of the same */
#define AC_MAX_TEMPERATURE 2                      /* AgentChatTemperature */
#define AC_MAX_REASON 1000                        /* bytes of why a call is not approved */
#define AC_MAX_KEY 255                            /* characters of an Idempotency-Key */
#define AC_KEY_HASH_SIZE 65                       /* SHA-256 in hexadecimal, and a NUL */
#define AC_KEY_LIFE apr_time_from_sec(86400)      /* how long an Idempotency-Key leads to its run */
#define AC_MAX_LIMITS 16                          /* of one place: a section, an agent, a key */
#define AC_MAX_LIMIT INT64_C(1000000000000000000) /* in a limit's unit: a billion of money */
#define AC_MAX_USAGE \
    INT64_C(1000000000000)         /* tokens that one answer of a model counts as, whatever it says of itself */
#define AC_RESERVED_ANSWER 1000    /* tokens that an answer is taken to have before it comes: no AgentChatMaxTokens */
#define AC_MAX_COUNTS 65536        /* that limits keep at once, of all owners and windows; a power of two */
#define AC_MAX_HOLDS 131072        /* of counts, by streams and runs under way; a power of two */
#define AC_MAX_HOLDERS 1024        /* processes that share them */
#define AC_MAX_CACHED (256 * 1024) /* bytes of a conversation that the cache keeps; of a larger one it keeps nothing */
#define AC_MAX_CACHED_PARTS 24 /* of it: what was read, and what was written since then, before it is made one again */
#define AC_MAX_KEYRING (4 * 1024 * 1024)      /* bytes of a file of API keys */
#define AC_MAX_API_KEY 256                    /* bytes of one that a client shows */
#define AC_MAX_REDIS_CALLS 16384              /* of a child, not answered */
#define AC_MAX_REDIS_OUT (8 * 1024 * 1024)    /* bytes for Redis that it has not taken */
#define AC_MAX_REDIS_REPLY (64 * 1024 * 1024) /* bytes of its answers that are not complete */
#define AC_MAX_RECOVERIES 16                  /* runs of dead children that are closed at once */

#define AC_ANONYMOUS "anonymous" /* the owner where nobody signed in: not one person, and without a role */

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
/* The same for a member of a JSON document; pointer is a JSON Pointer ("/metadata/a"). */
apr_status_t ac_err_set_at(ac_err_t *err, ac_kind_e kind, const char *pointer, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Sets overloaded, with Retry-After, where the errno `cause` says that this process or machine has no descriptor or
 * no memory left. false: it says something else, and err stays as it is. err is not set before. Any thread. */
bool ac_err_set_lack(ac_err_t *err, int cause);
/* Appends " while <doing>" to the detail, once. */
void ac_err_while(ac_err_t *err, const char *doing);

/* ---- json.c: strict reading, typed getters that name the path ---- */
/* Parse a whole document: UTF-8, no duplicate member, no NUL, depth at most AC_MAX_JSON_DEPTH, nothing after it.
 * out: *pvalue, a new reference. errors: bad_json (with line and column). Any thread. */
apr_status_t ac_json_parse(json_t **pvalue, const char *text, size_t len, ac_err_t *err);
/* A member of an object by name. *pvalue is borrowed and NULL where the member is absent or null and not required.
 * errors: invalid_request at the member's pointer. */
apr_status_t ac_json_string(const char **pvalue, const json_t *object, const char *name, bool required, ac_err_t *err);
apr_status_t ac_json_bool(bool *pvalue, const json_t *object, const char *name, bool fallback, ac_err_t *err);
apr_status_t ac_json_int(int64_t *pvalue, const json_t *object, const char *name, int64_t fallback, ac_err_t *err);
/* errors: invalid_request naming the first member of object that is not in names (NULL-terminated). */
apr_status_t ac_json_only(const json_t *object, const char *const *names, ac_err_t *err);
/* Lenient readers for foreign documents: a fallback instead of an error. */
const char *ac_json_peek_string(const json_t *object, const char *name, const char *fallback);
int64_t ac_json_peek_int(const json_t *object, const char *name, int64_t fallback);
/* A number without its fraction; the fallback where value is none, or is too large. */
int64_t ac_json_whole_part(const json_t *value, int64_t fallback);
/* Takes value (also on failure and when NULL). Returns false where memory ran out. */
bool ac_json_put(json_t *object, const char *name, json_t *value);
/* A string value, or null for NULL; invalid UTF-8 becomes U+FFFD. New reference. */
json_t *ac_json_text(const char *text);
/* Compact JSON text on the heap, caller frees with free(); NULL: out of memory. *plen may be NULL. */
char *ac_json_dump(const json_t *value, size_t *plen);
bool ac_utf8_valid(const char *text, size_t len);
/* How many of the first len bytes are whole characters: len, or less where the end cuts a character. */
size_t ac_utf8_whole(const char *text, size_t len);
/* Bytes of the character at text, 1 to 4, for len >= 1; with *pvalid false those that one U+FFFD stands for. */
size_t ac_utf8_next(const char *text, size_t len, bool *pvalid);
/* How many characters valid UTF-8 has. */
size_t ac_utf8_count(const char *text, size_t len);
/* Appends "/" and name, escaped as RFC 6901 says, to a JSON Pointer; what does not fit is left out. */
void ac_json_pointer_add(char pointer[AC_ERR_POINTER_SIZE], const char *name);

/* ---- schema.c: the part of JSON Schema that tools use ---- */
/* Checks value against schema: type (also lists of types), enum, const, properties, required, additionalProperties,
 * items, minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, minLength, maxLength, minItems, maxItems,
 * pattern is ignored. errors: invalid_request with the pointer inside value. Any thread. */
apr_status_t ac_schema_check(const json_t *schema, const json_t *value, ac_err_t *err);
/* Whether schema itself is usable as a tool's parameters. NULL, or a sentence in p. */
const char *ac_schema_problem(const json_t *schema, apr_pool_t *p);

/* A small zeroed object on the heap, for free(). Where there is no memory the process aborts, as httpd's pools do:
 * there is nothing sensible to say, and nobody to say it to. Anything whose size a client decides goes into an
 * ac_buf_t instead. */
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
    char *data; /* NUL-terminated where not NULL */
    size_t len, size, max;
    bool failed; /* an append went over max or memory ran out; nothing was appended */
} ac_buf_t;

void ac_buf_init(ac_buf_t *buf, size_t max);
void ac_buf_free(ac_buf_t *buf);  /* and back to the state after init */
void ac_buf_clear(ac_buf_t *buf); /* keeps the memory */
/* ENOSPC over max, ENOMEM; the buffer is then as before, with failed set. */
apr_status_t ac_buf_add(ac_buf_t *buf, const char *data, size_t len);
apr_status_t ac_buf_str(ac_buf_t *buf, const char *text);
apr_status_t ac_buf_printf(ac_buf_t *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Appends text as a JSON string with its quotes; control characters escaped, invalid UTF-8 as U+FFFD. */
apr_status_t ac_buf_json(ac_buf_t *buf, const char *text, size_t len);
/* Drops the first n bytes. */
void ac_buf_shift(ac_buf_t *buf, size_t n);

/* ---- id.c ---- */
/* "thread_" + UUIDv7 in 26 characters of Crockford base32, lower case; ids of one process sort by creation. Any
 * thread. */
void ac_id_make(char id[AC_ID_SIZE], const char *prefix);
/* Whether id is prefix + 26 characters of that alphabet. */
bool ac_id_valid(const char *id, const char *prefix);

/* ---- time.c ---- */
#define AC_TIME_SIZE 32
/* "2026-11-21T05:25:46.123Z" */
void ac_time_format(char text[AC_TIME_SIZE], apr_time_t when);
/* "2027-01-31T12:00:00Z", with or without milliseconds, or "2027-01-31", its first moment. false: neither. */
bool ac_time_parse(apr_time_t *pwhen, const char *text);
json_t *ac_time_json(apr_time_t when); /* null for 0 */
/* "250ms", "15s", "10min", "2h", "30d"; a bare number is refused, but "0" is allowed. false: not a duration. */
bool ac_time_parse_duration(apr_interval_time_t *pvalue, const char *text);
void ac_time_format_duration(char text[AC_TIME_SIZE], apr_interval_time_t value);

/* ---- text.c; any thread ---- */
/* Decimal digits without a sign; *pend: the first character that is no digit. false: no digit, or out of range. */
bool ac_text_parse_digits(int64_t *pvalue, const char **pend, const char *text);
/* "64K", "1M", "2G" or a plain number of bytes. */
bool ac_text_parse_size(apr_int64_t *pvalue, const char *text);
/* n bytes as 2 * n hexadecimal digits, lower case, and a NUL. */
void ac_text_hex(char *text, const unsigned char *bytes, size_t n);
/* The value of a hexadecimal digit of either case, or -1. */
static inline int ac_hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
/* A document's text for the log: at most 60 characters, control characters masked. buf: 64 bytes. */
const char *ac_text_printable(char *buf, const char *text);

/* ---- clock.c, random.c, file.c; any thread ---- */
/* Monotonic, microseconds; for deadlines and durations, never shown. */
apr_time_t ac_clock(void);
/* 64 random bits from the kernel. Ends the process if there are none. */
uint64_t ac_random(void);
/* Makes an empty file that only its owner can read and write, whatever the umask. Returns an errno; EEXIST: the file
 * exists and stays as it is. */
int ac_file_make(const char *path);

/* ---- limit.c: limits as people write them ---- */
typedef enum ac_measure_e {
    AC_LIMIT_REQUESTS,
    AC_LIMIT_TOKENS,
    AC_LIMIT_STREAMS,
    AC_LIMIT_COST,
    AC_LIMIT_RUNS,
    AC_N_MEASURES
} ac_measure_e;
typedef enum ac_by_e { AC_BY_OWNER, AC_BY_KEY, AC_BY_AGENT, AC_BY_ADDRESS, AC_N_BYS } ac_by_e;
#define AC_COST_PLACES 9 /* money is counted in billionths, so that one token's price is a whole number */
#define AC_COST_ONE INT64_C(1000000000)
typedef struct ac_limit_t {
    ac_measure_e measure;
    ac_by_e by;                 /* who shares one count */
    int64_t most;               /* 1 to AC_MAX_LIMIT; of COST in billionths */
    apr_interval_time_t window; /* of time that it is for; 0: at once (STREAMS, RUNS) */
    bool standard;              /* a default, which holds until a line of its place has this measure */
} ac_limit_t;
typedef struct ac_limits_t { /* of one place */
    const char *scope;       /* which place, so that each counts for itself; with label: not the parser's */
    const char *label;       /* begins the names of its policies, "agent-"; NULL: nothing. Constant */
    int n;
    ac_limit_t list[AC_MAX_LIMITS + 1]; /* with a default */
} ac_limits_t;
/* Adds what text says: words of requests=N/WINDOW, tokens=N/WINDOW, streams=N, runs=N, cost=AMOUNT/WINDOW and at
 * most one by=WAY; N may end in k or M, WINDOW is s, min, hour or day. by: where text does not say it; AC_BY_KEY:
 * the text of a key, which may not. errors: invalid_request, with a sentence that says what was given and what is
 * accepted; limits is as before. Any thread. */
apr_status_t ac_limit_parse(ac_limits_t *limits, const char *text, ac_by_e by, ac_err_t *err);
const char *ac_limit_measure_name(ac_measure_e measure);      /* "requests" */
const char *ac_limit_by_name(ac_by_e by);                     /* "owner" */
const char *ac_limit_window_name(apr_interval_time_t window); /* "min"; "" for 0 */

/* ---- record.c: nouns to their JSON, in the shape of the API and the store ---- */
json_t *ac_record_usage(const ac_usage_t *usage);
json_t *ac_record_cost(const ac_usage_t *usage, const ac_price_t *price); /* null where no price is set */
json_t *ac_record_error(const ac_err_t *err);                             /* {code, message} */
/* A metadata object of a request: at most 16 string values. errors: invalid_request at its pointer. */
apr_status_t ac_record_check_metadata(const json_t *metadata, ac_err_t *err);
bool ac_record_is_active(const json_t *run); /* a run that has not ended: queued or in progress. NULL: false */
/* The order of an answer's text and calls. A message's metadata keeps it as `parts`: the bytes of each stretch of
 * text, and the ids of the calls between them. Zero it before use; it belongs to one thread at a time. */
typedef struct ac_record_parts_t {
    json_t *list; /* NULL: no call yet */
    size_t told;  /* bytes of text in the list */
} ac_record_parts_t;
void ac_record_parts_add_call(ac_record_parts_t *parts, size_t at,
                              const char *id); /* a call that stands behind `at` bytes of text */
json_t *ac_record_parts_list(const ac_record_parts_t *parts,
                             size_t len); /* of a text of this length; NULL without calls. New reference */
void ac_record_parts_read(ac_record_parts_t *parts, json_t *list); /* goes on behind this list; takes it, may be NULL */
void ac_record_parts_free(ac_record_parts_t *parts);
/* Makes of a message as it is stored one as the API shows it: `parts` out of its metadata, each text in full. A list
 * that does not fit the message is left out. */
void ac_record_show_parts(json_t *message);
/* First line of content, cut at a word, at most AC_MAX_TITLE characters, "…" where cut. New reference. */
json_t *ac_record_title(const char *content);

/* ---- log.c ---- */
typedef enum ac_level_e { AC_ERROR, AC_WARNING, AC_INFO, AC_DEBUG, AC_TRACE } ac_level_e;
typedef void ac_log_sink_fn(ac_level_e level, const char *file, int line, apr_status_t status, const char *text);
/* Messages at info and above have a row in base/messages.h and a page in docs/log-messages.md. */
typedef enum ac_log_id_e {
#define AC_MESSAGE(number, level, meaning, remedy) AC_M##number = number,
#include "messages.h"
#undef AC_MESSAGE
} ac_log_id_e;

void ac_log_install(ac_log_sink_fn *sink, ac_level_e threshold);
bool ac_log_on(ac_level_e level);
void ac_log_message(ac_log_id_e number, const char *file, int line, apr_status_t status, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void ac_log_detail(ac_level_e level, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
typedef struct ac_log_row_t {
    int number;
    ac_level_e level;
    const char *meaning, *remedy;
} ac_log_row_t;
/* The whole table, for the docs check; ends with number 0. */
const ac_log_row_t *ac_log_rows(void);
/* ac_log(AC_M0101, status, "store %s: …", …): the row gives number and level. */
#define ac_log(number, status, ...) ac_log_message(number, __FILE__, __LINE__, status, __VA_ARGS__)
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

#endif
