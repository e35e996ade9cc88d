/* SPDX-License-Identifier: Apache-2.0 */
/* What the ingestion endpoint of Application Insights answers. The bytes are foreign. Source: what the vendor's
 * exporters make of it. */
#include "appinsights.h"

#include <string.h>
#include <strings.h>

static bool is_for_later(int64_t status)
{
    switch (status) {
    case 206:
    case 401:
    case 403: /* a role that was given takes a while to count */
    case 408:
    case 429:
    case 439: /* the quota of the day is used up */
    case 500:
    case 502:
    case 503:
    case 504: return true;
    default: return false;
    }
}

static void appinsights_set_message(ac_appinsights_answer_t *answer, const char *text)
{
    size_t n = 0;
    for (; text[n] && n < sizeof answer->message - 1; n++) {
        unsigned char c = (unsigned char)text[n];
        answer->message[n] = c >= ' ' && c < 0x7f ? (char)c : '?';
    }
    answer->message[n] = '\0';
}

/* Marks the envelopes to send again, and returns their number; *pn_errors: the envelopes that were not accepted. */
static int read_errors(ac_appinsights_answer_t *answer, const json_t *document, bool *again, int n, int *pn_errors)
{
    const json_t *errors = json_object_get(document, "errors");
    int n_again = 0;
    size_t n_listed = json_array_size(errors);
    *pn_errors = n_listed < (size_t)n ? (int)n_listed : n;
    for (size_t i = 0; i < n_listed; i++) {
        const json_t *error = json_array_get(errors, i);
        int64_t index = ac_json_peek_int(error, "index", -1), status = ac_json_peek_int(error, "statusCode", 0);
        const char *message = ac_json_peek_string(error, "message", "");
        if (!*answer->message) {
            appinsights_set_message(answer, message);
        }
        if (index >= 0 && index < n && is_for_later(status) && !again[index] &&
            strcasecmp(message, "Telemetry sampled out.") != 0) {
            again[index] = true;
            n_again++;
        }
    }
    return n_again;
}

static void read_partial(ac_appinsights_answer_t *answer, const char *body, size_t len, bool *again, int n)
{
    json_t *document = NULL;
    int n_errors = 0;
    if (ac_json_parse(&document, body, len, NULL) != APR_SUCCESS || !json_is_object(document)) {
        json_decref(document);
        answer->result = AC_APPINSIGHTS_REFUSED; /* it is not known which of them it has */
        answer->rejected = n;
        return;
    }
    int n_again = read_errors(answer, document, again, n, &n_errors);
    answer->result = n_again ? AC_APPINSIGHTS_SOME : AC_APPINSIGHTS_ACCEPTED;
    answer->rejected = n_errors > n_again ? n_errors - n_again : 0;
    json_decref(document);
}

static void read_message(ac_appinsights_answer_t *answer, const char *body, size_t len, int n)
{
    json_t *document = NULL;
    if (ac_json_parse(&document, body, len, NULL) != APR_SUCCESS) {
        return;
    }
    const json_t *first = json_array_get(json_object_get(document, "errors"), 0);
    appinsights_set_message(answer, ac_json_peek_string(first, "message", ""));
    int64_t received = ac_json_peek_int(document, "itemsReceived", 0),
            accepted = ac_json_peek_int(document, "itemsAccepted", received);
    if (answer->result == AC_APPINSIGHTS_ACCEPTED && received > accepted && accepted >= 0) {
        answer->rejected = received - accepted < n ? (int)(received - accepted) : n;
    }
    json_decref(document);
}

void ac_appinsights_answer_read(ac_appinsights_answer_t *answer, int status, const char *body, size_t len, bool *again,
                                int n)
{
    *answer = (ac_appinsights_answer_t){.result = AC_APPINSIGHTS_REFUSED};
    if (status == 206) {
        read_partial(answer, body, len, again, n);
        return;
    }
    if (status >= 200 && status < 300) {
        answer->result = AC_APPINSIGHTS_ACCEPTED;
    } else if (status == 307 || status == 308) {
        answer->result = AC_APPINSIGHTS_ELSEWHERE;
    } else if (is_for_later(status)) {
        answer->result = AC_APPINSIGHTS_AGAIN;
    } else {
        answer->rejected = n;
    }
    read_message(answer, body, len, n);
}

/* ---- redirects ---- */

/* The host of an https or http address, with its port if there is one; false: it has none, or a user. */
static bool read_host(const char **phost, size_t *phost_len, const char **pport, const char *url)
{
    bool https = strncasecmp(url, "https://", 8) == 0;
    if (!https && strncasecmp(url, "http://", 7) != 0) {
        return false;
    }
    const char *at = url + (https ? 8 : 7);
    size_t len = strcspn(at, "/?#");
    const char *end = *at == '[' ? memchr(at, ']', len) : NULL,
               *colon = memchr(end ? end : at, ':', end ? len - (size_t)(end - at) : len);
    *phost = at;
    *phost_len = colon ? (size_t)(colon - at) : len;
    *pport = colon ? colon + 1 : https ? "443" : "80";
    return *phost_len > 0 && !memchr(at, '@', len);
}

static bool ends_with(const char *host, size_t len, const char *end)
{
    size_t n = strlen(end);
    return len > n && strncasecmp(host + len - n, end, n) == 0;
}

bool ac_appinsights_answer_may_redirect(const char *from, const char *to)
{
    /* The domains of a cloud; several lines of one group belong together. */
    static const struct {
        int group;
        const char *domain;
    } domains[] = {{0, ".applicationinsights.azure.com"},
                   {0, ".monitor.azure.com"},
                   {0, ".services.visualstudio.com"},
                   {1, ".applicationinsights.azure.cn"},
                   {1, ".monitor.azure.cn"},
                   {2, ".applicationinsights.azure.us"},
                   {2, ".monitor.azure.us"}};
    const char *host[2], *port[2];
    size_t len[2];
    bool secure = strncasecmp(to, "https://", 8) == 0;
    if (!read_host(&host[0], &len[0], &port[0], from) || !read_host(&host[1], &len[1], &port[1], to)) {
        return false;
    }
    size_t digits[2] = {strspn(port[0], "0123456789"), strspn(port[1], "0123456789")};
    bool same_port = digits[0] == digits[1] && memcmp(port[0], port[1], digits[0]) == 0;
    if (len[0] == len[1] && strncasecmp(host[0], host[1], len[0]) == 0) {
        return same_port && (secure || strncasecmp(from, "http://", 7) == 0);
    }
    if (!secure || !same_port || digits[0] != 3 || memcmp(port[0], "443", 3) != 0) {
        return false;
    }
    unsigned groups[2] = {0, 0};
    for (size_t i = 0; i < sizeof domains / sizeof *domains; i++) {
        for (int k = 0; k < 2; k++) {
            groups[k] |= ends_with(host[k], len[k], domains[i].domain) ? 1u << domains[i].group : 0;
        }
    }
    return (groups[0] & groups[1]) != 0;
}
