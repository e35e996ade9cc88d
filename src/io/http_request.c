/* SPDX-License-Identifier: Apache-2.0 */
/* A request's copy, kept as long as it may be sent again; its options of a curl handle; and its change by a
 * redirect. */
#include "io_internal.h"

#include <ctype.h>
#include <curl/curl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define READ_BUFFER 2048L        /* for each active stream; 4096 is not faster, 1024 is slower for bursts */
#define READ_BUFFER_SHARED 1024L /* the same over HTTP/2, where a piece more costs no system call; curl's smallest */
#define UPLOAD_BUFFER 16384L     /* curl's smallest */
#define KEEPALIVE_IDLE 60L       /* seconds */
#define KEEPALIVE_INTERVAL 15L
#define CONNECTION_LIFETIME 600L /* seconds until the host's name is resolved again for new requests */
#define MAX_HEADERS 64
#define OWN_HEADERS 5 /* Expect, Content-Type, User-Agent, traceparent, tracestate */

static const char token_marks[] = "!#$%&'*+-.^_`|~";

static size_t token_len(const char *text)
{
    size_t len = 0;
    while (isalnum((unsigned char)text[len]) || (text[len] && strchr(token_marks, text[len]))) {
        len++;
    }
    return len;
}

/* Whether it is "Name: value" without a character that could begin another header. */
static bool header_valid(const char *header)
{
    size_t name = token_len(header);
    if (!name || header[name] != ':') {
        return false;
    }
    for (const unsigned char *c = (const unsigned char *)header + name; *c; c++) {
        if ((*c < ' ' && *c != '\t') || *c == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool header_is(const char *header, const char *name)
{
    size_t len = strlen(name);
    return strncasecmp(header, name, len) == 0 && (header[len] == ':' || header[len] == ';');
}

static bool has_header(const ac_http_request_t *request, const char *name)
{
    for (int i = 0; request->headers && request->headers[i]; i++) {
        if (header_is(request->headers[i], name)) {
            return true;
        }
    }
    return false;
}

static apr_status_t http_request_check(const ac_http_request_t *request, ac_err_t *err)
{
    size_t n = 0;
    if (!request->method || !*request->method || request->method[token_len(request->method)]) {
        return ac_err_set(err, AC_INVALID_REQUEST, "the method is no token");
    }
    if (!ac_http_address_url_valid(request->url)) {
        return ac_err_set(err, AC_INVALID_REQUEST, "the URL is no absolute http or https URL with a host");
    }
    if (request->body && request->body_len > AC_MAX_REQUEST) {
        return ac_err_set(err, AC_INVALID_REQUEST, "the request is over %d MB", AC_MAX_REQUEST / 1024 / 1024);
    }
    for (; request->headers && request->headers[n]; n++) {
        if (!header_valid(request->headers[n])) {
            return ac_err_set(err, AC_INVALID_REQUEST, "a header is not of the form \"Name: value\"");
        }
    }
    return n <= MAX_HEADERS ? APR_SUCCESS : ac_err_set(err, AC_INVALID_REQUEST, "more than %d headers", MAX_HEADERS);
}

/* ---- the block: copies of all parts, one after the other ---- */

typedef struct block_t {
    char *next; /* NULL: only measure */
    size_t size;
} block_t;

static void *http_request_put(block_t *block, const void *bytes, size_t len)
{
    char *at = block->next;
    block->size += len;
    if (!at) {
        return NULL;
    }
    if (bytes && len) {
        memcpy(at, bytes, len);
    }
    block->next = at + len;
    return at;
}

static const char *put_text(block_t *block, const char *text)
{
    return text ? http_request_put(block, text, strlen(text) + 1) : NULL;
}

/* Adds a header in curl's notation, in which "Name:" removes curl's own header and "Name;" is an empty one. */
static void put_header(block_t *block, struct curl_slist **ptail, const char *header)
{
    size_t name = strcspn(header, ":"), len = strlen(header);
    bool empty = header[name + strspn(header + name, ": \t")] == '\0';
    char *text = http_request_put(block, header, empty ? name : len);
    http_request_put(block, empty ? ";" : "", empty ? 2 : 1);
    if (text) {
        struct curl_slist *node = *ptail;
        node->data = text;
        node->next = node + 1;
        *ptail = node + 1;
    }
}

/* Headers that curl would add: none that makes curl wait for the server, none that the caller did not request. */
static void put_own_header(block_t *block, struct curl_slist **ptail, const char *text)
{
    char *copy = http_request_put(block, text, strlen(text) + 1);
    if (copy) {
        struct curl_slist *node = *ptail;
        node->data = copy;
        node->next = node + 1;
        *ptail = node + 1;
    }
}

/* The value of traceparent follows with each attempt. */
static void put_trace_headers(block_t *block, struct curl_slist **ptail, ac_http_request_copy_t *copy,
                              const ac_http_request_t *request)
{
    static const char room[AC_HTTP_TRACEPARENT_ROOM] = AC_HTTP_TRACEPARENT;
    char state[AC_MAX_TRACESTATE + 16];
    if (!request->trace || !*request->trace->trace_id || has_header(request, "traceparent")) {
        return;
    }
    struct curl_slist *node = *ptail;
    put_own_header(block, ptail, room);
    http_request_put(block, NULL, sizeof(room) - sizeof(AC_HTTP_TRACEPARENT));
    copy->traceparent = block->next ? node->data : NULL;
    if (ac_trace_state_valid(request->trace->state) && !has_header(request, "tracestate")) {
        snprintf(state, sizeof(state), "tracestate: %s", request->trace->state);
        put_own_header(block, ptail, state);
    }
}

static void put_headers(block_t *block, ac_http_request_copy_t *copy, const ac_http_request_t *request)
{
    int n = 0;
    while (request->headers && request->headers[n]) {
        n++;
    }
    struct curl_slist *first = http_request_put(block, NULL, (size_t)(n + OWN_HEADERS) * sizeof(*first)), *tail = first;
    for (int i = 0; i < n; i++) {
        put_header(block, &tail, request->headers[i]);
    }
    put_own_header(block, &tail, "Expect:");
    if (!has_header(request, "Content-Type")) {
        put_own_header(block, &tail, "Content-Type:");
    }
    if (!has_header(request, "User-Agent")) {
        put_own_header(block, &tail, "User-Agent: mod_agentchat/" AC_VERSION);
    }
    put_trace_headers(block, &tail, copy, request);
    if (first) {
        tail[-1].next = NULL;
        copy->headers = first;
    }
}

static void put_hosts(block_t *block, ac_http_request_t *into, const ac_http_request_t *request)
{
    size_t n = 0;
    if (!request->allow_hosts) {
        return;
    }
    while (request->allow_hosts[n]) {
        n++;
    }
    const char **hosts = http_request_put(block, NULL, (n + 1) * sizeof(*hosts));
    for (size_t i = 0; i < n; i++) {
        const char *host = put_text(block, request->allow_hosts[i]);
        if (hosts) {
            hosts[i] = host;
        }
    }
    if (hosts) {
        hosts[n] = NULL;
        into->allow_hosts = hosts;
    }
}

/* Pointer arrays come first, so that they are aligned. */
static void fill(block_t *block, ac_http_request_copy_t *copy, const ac_http_request_t *request)
{
    put_hosts(block, &copy->request, request);
    if (block->size % sizeof(void *)) {
        http_request_put(block, NULL, sizeof(void *) - block->size % sizeof(void *));
    }
    put_headers(block, copy, request);
    copy->request.method = put_text(block, request->method);
    copy->origin_url = put_text(block, request->url);
    copy->request.ca_file = put_text(block, request->ca_file);
    copy->request.body = request->body ? http_request_put(block, request->body, request->body_len) : NULL;
}

apr_status_t ac_http_request_copy(ac_http_request_copy_t **pcopy, const ac_http_request_t *request, ac_err_t *err)
{
    *pcopy = NULL;
    apr_status_t status = http_request_check(request, err);
    if (status) {
        return status;
    }
    ac_http_request_copy_t scratch = {.request = *request};
    block_t measure = {NULL, sizeof(scratch)};
    fill(&measure, &scratch, request);
    ac_http_request_copy_t *copy = malloc(measure.size);
    char *url = strdup(request->url);
    if (!copy || !url) {
        free(copy);
        free(url);
        return ac_err_set(err, AC_INTERNAL, "out of memory");
    }
    copy->request = *request;
    copy->request.url = copy->url = url;
    copy->request.headers = NULL;
    copy->traceparent = NULL;
    copy->send_body = request->body != NULL;
    block_t block = {(char *)copy + sizeof(*copy), sizeof(*copy)};
    fill(&block, copy, request);
    *pcopy = copy;
    return APR_SUCCESS;
}

void ac_http_request_free(ac_http_request_copy_t *copy)
{
    if (copy) {
        free(copy->url);
        free(copy);
    }
}

/* ---- into a curl handle ---- */

static long timeout_ms(apr_interval_time_t timeout)
{
    apr_interval_time_t ms = timeout > 0 ? (timeout + 999) / 1000 : INT_MAX; /* 0 would mean 300 s to curl */
    return ms > INT_MAX ? INT_MAX : (long)ms;
}

static void apply_method(const ac_http_request_copy_t *copy, CURL *easy)
{
    const char *method = copy->request.method;
    bool post = strcmp(method, "POST") == 0, get = strcmp(method, "GET") == 0;
    bool no_length = get || strcmp(method, "HEAD") == 0 || strcmp(method, "DELETE") == 0 ||
        strcmp(method, "OPTIONS") == 0;
    if (copy->send_body || !no_length) {
        /* The copy lives longer than the transfer needs it, so curl need not copy it. */
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(copy->send_body ? copy->request.body_len : 0));
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, copy->send_body ? copy->request.body : "");
    } else if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return;
    }
    if (copy->send_body ? !post : !post && !get) {
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
    }
}

bool ac_http_request_multiplexes(const ac_http_request_copy_t *copy)
{
    return strncasecmp(copy->url, "https:", 6) == 0 && copy->request.http_version != 1;
}

static void apply_connection(const ac_http_request_copy_t *copy, CURL *easy)
{
    const ac_http_request_t *request = &copy->request;
    bool http2 = ac_http_request_multiplexes(copy);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, timeout_ms(request->connect_timeout));
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, http2 ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, http2 ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL);
#if LIBCURL_VERSION_NUM >= 0x075000
    curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, CONNECTION_LIFETIME);
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
    /* Without it, the end of a transfer waits for a running name resolution. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
}

static bool apply_tls(const ac_http_request_copy_t *copy, CURL *easy)
{
    bool good = curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK;
    if (copy->request.ca_file) {
        /* Without this, curl would also use the system's directory. */
        good = good && curl_easy_setopt(easy, CURLOPT_CAINFO, copy->request.ca_file) == CURLE_OK;
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    return good;
}

static bool apply_limits(const ac_http_request_copy_t *copy, CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, ac_http_request_multiplexes(copy) ? READ_BUFFER_SHARED : READ_BUFFER);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
#if LIBCURL_VERSION_NUM >= 0x075500
    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
#else
    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS)) == CURLE_OK;
#endif
}

bool ac_http_request_apply(const ac_http_request_copy_t *copy, void *easy)
{
    apply_method(copy, easy);
    apply_connection(copy, easy);
    return apply_limits(copy, easy) && apply_tls(copy, easy) &&
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, copy->headers) == CURLE_OK &&
        curl_easy_setopt(easy, CURLOPT_URL, copy->url) == CURLE_OK;
}

void ac_http_request_forget(ac_http_request_copy_t *copy, void *easy)
{
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
    /* curl sends every body over HTTP/2 from a buffer, and keeps it to the end; setting its size frees it. */
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER);
    ac_http_request_free(copy);
}

/* ---- redirects ---- */

static void keep_headers(ac_http_request_copy_t *copy, bool same_origin)
{
    static const char *const harmless[] = {"Accept",           "Accept-Language", "Content-Type",
                                           "Content-Encoding", "User-Agent",      "Expect"};
    struct curl_slist **plink = &copy->headers;
    while (*plink) {
        const char *header = (*plink)->data;
        bool keep = same_origin;
        for (size_t i = 0; !keep && i < sizeof(harmless) / sizeof(harmless[0]); i++) {
            keep = header_is(header, harmless[i]);
        }
        /* The type of a body that is not sent any more; the header that removes curl's own stays. */
        if (!copy->send_body &&
            ((header_is(header, "Content-Type") && header[strlen("Content-Type:")]) ||
             header_is(header, "Content-Encoding"))) {
            keep = false;
        }
        if (keep) {
            plink = &(*plink)->next;
        } else {
            *plink = (*plink)->next;
        }
    }
}

static char *resolve(const char *base, const char *location)
{
    char *text = NULL, *url = NULL;
    CURLU *parts = curl_url();
    if (parts && curl_url_set(parts, CURLUPART_URL, base, 0) == CURLUE_OK &&
        curl_url_set(parts, CURLUPART_URL, location, 0) == CURLUE_OK &&
        curl_url_set(parts, CURLUPART_FRAGMENT, NULL, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_URL, &text, 0) == CURLUE_OK) {
        url = strdup(text);
    }
    curl_free(text);
    curl_url_cleanup(parts);
    return url;
}

apr_status_t ac_http_request_redirect(ac_http_request_copy_t *copy, int status, const char *location, ac_err_t *err)
{
    if (copy->request.max_redirects <= 0) {
        return ac_err_set(err, AC_UPSTREAM_ERROR, "too many redirects");
    }
    char *url = resolve(copy->url, location);
    if (!url || !ac_http_address_url_valid(url)) {
        free(url);
        return ac_err_set(err, AC_UPSTREAM_ERROR, "a redirect to a URL that is not http or https");
    }
    if (!ac_http_address_allowed(url, copy->request.allow_hosts, copy->origin_url)) {
        free(url);
        return ac_err_set(err, AC_UPSTREAM_ERROR, "a redirect to a host that is not allowed");
    }
    bool post = strcmp(copy->request.method, "POST") == 0;
    if ((status == 303 && strcmp(copy->request.method, "HEAD") != 0) || ((status == 301 || status == 302) && post)) {
        copy->request.method = "GET";
        copy->send_body = false;
    }
    keep_headers(copy, ac_http_address_same_origin(url, copy->url));
    copy->request.max_redirects--;
    free(copy->url);
    copy->request.url = copy->url = url;
    return APR_SUCCESS;
}
