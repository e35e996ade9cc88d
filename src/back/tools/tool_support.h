/* SPDX-License-Identifier: Apache-2.0 */
/* Parts that the built-in tools share. */
#ifndef AC_TOOL_SUPPORT_H
#define AC_TOOL_SUPPORT_H

#include "io/io.h"
#include "tools.h"

/* Returns NULL, or an error message about the first option that is not in names (NULL-terminated). */
const char *ac_tool_support_check_options(const apr_table_t *options, const char *const *names, apr_pool_t *p);
/* Reads an option that is an absolute http or https URL without a query; a '/' at its end is removed. Returns NULL, or
 * an error message. */
const char *ac_tool_support_option_url(const char **purl, const ac_tool_conf_t *conf, const char *name,
                                       const char *fallback, apr_pool_t *p);
/* The time until deadline. errors: tool_timeout if the deadline has passed. */
apr_status_t ac_tool_support_time_left(apr_interval_time_t *pleft, apr_time_t now, apr_time_t deadline, ac_err_t *err);
/* Sets the error of a failed exchange for the model: "<who> could not be reached: …", as tool_error or tool_timeout. */
apr_status_t ac_tool_support_exchange_failed(ac_err_t *err, const char *who, const ac_err_t *cause);
/* Sets tool_error: "<who> answered 404", and the beginning of body if it is readable text. type: its media type. */
apr_status_t ac_tool_support_answer_refused(ac_err_t *err, const char *who, int status, const char *type,
                                            const char *body, size_t len);
/* Whether a Content-Type is JSON ("application/json", "application/problem+json; charset=…"), or any text. */
bool ac_tool_support_is_json(const char *type);
bool ac_tool_support_is_text(const char *type);
/* Parses JSON of a service; duplicate members are allowed. *pvalue: a new reference. Returns false if it is not JSON,
 * or nested too deeply. */
bool ac_tool_support_json(json_t **pvalue, const char *text, size_t len);
/* Whether a name has this form; '*' stands for any text. */
bool ac_tool_support_matches(const char *pattern, const char *name);

/* ---- tool_mask.c: secrets that a service repeats in its response ---- */
typedef struct ac_tool_mask_t ac_tool_mask_t;
/* Creates a mask for the secrets of these headers; secrets shorter than 6 bytes are not masked. Allocated in p. Any
 * thread may use it. */
const ac_tool_mask_t *ac_tool_mask_create(const apr_array_header_t *headers, apr_pool_t *p);
/* The same for one secret, such as a token. */
const ac_tool_mask_t *ac_tool_mask_secret(const char *secret, apr_pool_t *p);
/* Overwrites each secret in text with asterisks: in plain form, with characters escaped as in JSON, URLs and HTML, in
 * base64 and in hexadecimal digits. cut: the text was cut at its end, so the beginning of a secret there is hidden too.
 * Returns whether it found a secret. */
bool ac_tool_mask_text(const ac_tool_mask_t *mask, char *text, size_t len, bool cut);
/* The same for a document's strings, names and numbers. Consumes value; returns it or a replacement. */
json_t *ac_tool_mask_json(const ac_tool_mask_t *mask, json_t *value);

/* ---- tool_answer.c: responses as results ---- */
typedef struct ac_tool_answer_rules_t {
    const ac_tool_mask_t *mask; /* of secrets */
    const char *result;         /* a JSON Pointer to the part that is wanted; NULL: all */
    apr_size_t result_max;
} ac_tool_answer_rules_t;
/* A response while it is read. */
typedef struct ac_tool_answer_t {
    const ac_tool_answer_rules_t *rules;
    int status;
    char type[128];
    bool json, refused, cut; /* refused: the status is an error; cut: the body is longer than the kept part */
    ac_buf_t body;
} ac_tool_answer_t;

void ac_tool_answer_init(ac_tool_answer_t *answer, const ac_tool_answer_rules_t *rules);
void ac_tool_answer_free(ac_tool_answer_t *answer);
void ac_tool_answer_head(ac_tool_answer_t *answer, int status, const char *type);
/* Returns false when enough has been read. */
bool ac_tool_answer_body(ac_tool_answer_t *answer, const char *bytes, size_t len);
/* Makes the tool's result from a 2xx response: JSON unchanged, text as a string, {"status": 204} for an empty body. A
 * result longer than result_max becomes a string that says at its end that it was cut; for JSON {"truncated": true,
 * "text": …}. The tool's secrets are masked. errors: tool_error (a binary body; the pointer finds nothing). */
apr_status_t ac_tool_answer_result(json_t **presult, ac_tool_answer_t *answer, ac_err_t *err);

/* ---- tool_header.c: headers of requests as they are configured ---- */
typedef struct ac_tool_header_check_t {
    const char *directive, *url_directive; /* for error messages */
    const char *url;                       /* that the header is sent to */
    const json_t *parameters;              /* whose names its value may have in braces; NULL: none */
    bool insecure;                         /* secrets may be sent over plain http */
} ac_tool_header_check_t;
/* Checks a header's name, its template, its secret, and the way that a secret would take. Returns NULL, or an error
 * message. */
const char *ac_tool_header_problem(const ac_tool_header_t *header, const ac_tool_header_check_t *check, apr_pool_t *p);
/* As ac_tool_header_is_private(), of a host without brackets. */
bool ac_tool_header_host_is_private(const char *host);

#endif
