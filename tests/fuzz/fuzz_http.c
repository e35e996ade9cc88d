/* SPDX-License-Identifier: Apache-2.0 */
/* What an upstream decides about an exchange: its answer's head with Retry-After, and where it redirects to. Each line
 * of the input is
 * a line of the head; Location is followed with the hosts that the first line allows. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "io/io_internal.h"

#define ORIGIN "https://api.example.com:8443/v1/a?b=c"
#define LONGEST apr_time_from_sec(30 * 24 * 3600)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static char *take_line(const char **ptext, const char *end)
{
    const char *lf = memchr(*ptext, '\n', (size_t)(end - *ptext));
    char *line = strndup(*ptext, (size_t)((lf ? lf : end) - *ptext));
    *ptext = lf ? lf + 1 : end;
    return line;
}

/* A host that is allowed is one of the list's, or the first one; nothing that may be a secret goes to another
 * origin. */
static void check_redirect(const char *location, const char *pattern, int status)
{
    const char *const hosts[] = {pattern, NULL};
    const char *const headers[] = {"Accept: text/plain", "Authorization: secret", NULL};
    ac_http_request_t request = {.method = "POST",
                                 .url = ORIGIN,
                                 .headers = headers,
                                 .body = "x",
                                 .body_len = 1,
                                 .max_redirects = 1,
                                 .allow_hosts = hosts};
    ac_http_request_copy_t *copy;
    ac_err_t err;
    ac_err_init(&err);
    must(ac_http_request_copy(&copy, &request, &err) == APR_SUCCESS);
    apr_status_t followed = ac_http_request_redirect(copy, status, location, &err);
    must((followed == APR_SUCCESS) == (err.kind == AC_OK));
    if (followed == APR_SUCCESS) {
        must(ac_http_address_url_valid(copy->url) && ac_http_address_allowed(copy->url, hosts, ORIGIN));
        must(copy->request.max_redirects == 0 && ac_http_request_redirect(copy, status, ORIGIN, NULL) != APR_SUCCESS);
        bool kept = false;
        for (const struct curl_slist *header = copy->headers; header; header = header->next) {
            kept = kept || strncmp(header->data, "Authorization", 13) == 0;
        }
        must(kept == ac_http_address_same_origin(copy->url, ORIGIN));
    } else {
        must(strcmp(copy->url, ORIGIN) == 0);
    }
    ac_http_request_free(copy);
}

static void check_texts(const char *text)
{
    ac_http_address_near(text);
    must(!ac_http_address_same_origin(text, text) || ac_http_address_url_valid(text));
    must(ac_http_address_private(text) || !strpbrk(text, " /%"));
    apr_interval_time_t wait = ac_http_retry_after(text, NULL, 0),
                        other = ac_http_retry_after(NULL, text, apr_time_now());
    must(wait >= 0 && wait <= LONGEST && other >= 0 && other <= LONGEST);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *end = text + size;
    ac_http_answer_t answer;
    bool whole = false;
    char *pattern = take_line(&text, end);
    ac_http_answer_init(&answer, 1024);
    check_texts(pattern);
    while (text < end && !whole) {
        const char *line = text;
        char *copy = take_line(&text, end);
        check_texts(copy);
        must(ac_http_answer_header(&answer, line, (size_t)(text - line), &whole) == APR_SUCCESS || answer.head.failed);
        free(copy);
    }
    int status = size ? 300 + data[0] % 10 : 0;
    ac_http_answer_read_head(&answer, status);
    must(answer.retry_after >= 0 && answer.retry_after <= LONGEST);
    must(!answer.upstream_id || strlen(answer.upstream_id) < AC_UPSTREAM_ID_SIZE);
    if (ac_http_answer_redirects(&answer, size && data[0] & 16)) {
        check_redirect(ac_http_answer_find(&answer, "location"), pattern, status);
    }
    ac_http_answer_retries(&answer);
    ac_http_answer_free(&answer);
    free(pattern);
    return 0;
}
