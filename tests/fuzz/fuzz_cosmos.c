/* SPDX-License-Identifier: Apache-2.0 */
/* Cosmos DB's answers, and names and keys of a configuration: bytes of external origin. The first byte selects. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static void fuzz_batch(const char *text, size_t len)
{
    int status = 0, substatus = 0, at = 0;
    json_t *body = json_loadb(text, len, 0, NULL);
    ac_err_t err;

    for (int n = 0; body && n < 4; n++) {
        ac_err_init(&err);
        if (ac_cosmos_answer_batch(&status, &substatus, &at, body, n, &err) == APR_SUCCESS) {
            must(json_array_size(body) == (size_t)n, "results for other operations");
            must((status == 200) == (at < 0), "a failure without a place");
            must(at < n, "an invalid container");
            must(ac_cosmos_answer_batch_etag(body, at) != NULL, "no etag at all");
        } else {
            must(err.kind == AC_STORE_ERROR, "an error without a reason");
        }
    }
    json_decref(body);
}

static void fuzz_session(const char *text)
{
    ac_cosmos_session_t session = {0}, again = {0};
    ac_buf_t first, second;

    ac_cosmos_session_note(&session, text);
    must(session.n >= 0 && session.n <= AC_COSMOS_RANGES, "too many ranges");
    ac_buf_init(&first, 65536);
    ac_buf_init(&second, 65536);
    must(ac_cosmos_session_text(&first, &session) == APR_SUCCESS, "tokens that do not fit");
    ac_cosmos_session_note(&again, first.data);
    ac_cosmos_session_text(&second, &again);
    must(first.len == second.len && (!first.len || memcmp(first.data, second.data, first.len) == 0),
         "tokens do not come back");
    ac_buf_free(&first);
    ac_buf_free(&second);
}

/* A header is one line for any input. */
static void fuzz_request(const char *text)
{
    const char *lines[AC_COSMOS_HEADERS];
    char date[AC_COSMOS_DATE_SIZE];
    ac_buf_t path, head, value;

    ac_cosmos_date(date, apr_time_from_sec(1493254272));
    for (ac_cosmos_verb_e verb = 0; verb < AC_COSMOS_N_VERBS; verb++) {
        ac_cosmos_ask_t ask = {.verb = verb,
                               .database = text,
                               .container = text,
                               .id = text,
                               .key = text,
                               .if_match = text,
                               .continuation = text,
                               .session = text,
                               .throughput = text,
                               .autoscale = text};
        ac_buf_init(&path, 65536);
        ac_buf_init(&head, 65536);
        ac_buf_init(&value, 4096);
        if (ac_cosmos_path(&path, &ask) == APR_SUCCESS) {
            must(path.data[0] == '/' && strcspn(path.data, " \r\n\t?#\\\"<>") == path.len, "an invalid path");
        }
        if (ac_cosmos_request_headers(lines, &head, &ask, date, "x") == APR_SUCCESS) {
            for (int i = 0; lines[i]; i++) {
                must(strchr(lines[i], ':') && !strpbrk(lines[i], "\r\n"), "an invalid header");
            }
        }
        if (ac_cosmos_auth_key(&value, &ask, text, date, NULL) == APR_SUCCESS) {
            must(strcspn(value.data, " \r\n&=+/") == value.len, "a signature that is not encoded");
        }
        ac_buf_free(&path);
        ac_buf_free(&head);
        ac_buf_free(&value);
    }
}

static void fuzz_small(const char *text)
{
    ac_err_t err;
    int status = 0, substatus = 0;
    apr_interval_time_t wait = ac_cosmos_answer_retry_after(text);

    must(wait >= 0 && wait <= apr_time_from_sec(3600), "an invalid delay");
    if (sscanf(text, "%9d/%9d", &status, &substatus) == 2) {
        ac_cosmos_next_e next = ac_cosmos_answer_next(status, substatus);
        ac_err_init(&err);
        ac_cosmos_answer_error(&err, status, substatus, wait);
        must(next == AC_COSMOS_FINAL || !ac_cosmos_answer_usable(status, substatus), "an answer that is tried again");
        must(err.kind != AC_OK, "an error without a reason");
    }
    ac_cosmos_name_valid(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;

    if (size < 1 || size > 4096) {
        return 0;
    }
    text = strndup((const char *)data + 1, size - 1);
    switch (data[0]) {
    case 'b': fuzz_batch((const char *)data + 1, size - 1); break;
    case 's': fuzz_session(text); break;
    case 'r': fuzz_request(text); break;
    default: fuzz_small(text);
    }
    free(text);
    return 0;
}
