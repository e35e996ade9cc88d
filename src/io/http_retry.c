/* SPDX-License-Identifier: Apache-2.0 */
/* The retry policy: which statuses, after which delay, and the meaning of curl's codes in error texts and for a
 * retry. */
#include "io_internal.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define FIRST_BACKOFF (APR_USEC_PER_SEC / 2)
#define LONGEST_BACKOFF (8 * APR_USEC_PER_SEC)
#define LONGEST_ASKED (30 * 24 * 3600.0) /* seconds; a server that asks for more is considered broken */

bool ac_http_retry_status(int status, const char *should_retry)
{
    if (should_retry && strcasecmp(should_retry, "true") == 0) {
        return status >= 400;
    }
    if (should_retry && strcasecmp(should_retry, "false") == 0) {
        return false;
    }
    return status == 408 || status == 429 || (status >= 500 && status <= 599);
}

apr_interval_time_t ac_http_retry_backoff(int n)
{
    apr_interval_time_t wait = n < 5 ? FIRST_BACKOFF << n : LONGEST_BACKOFF;
    if (wait > LONGEST_BACKOFF) {
        wait = LONGEST_BACKOFF;
    }
    return wait - (apr_interval_time_t)(ac_random() % (uint64_t)(wait / 4 + 1));
}

/* Reads a decimal number with no text after it; -1: invalid. */
static double http_retry_read_number(const char *text)
{
    if (!isdigit((unsigned char)*text) && *text != '.') {
        return -1;
    }
    if (text[strspn(text, "0123456789.")]) {
        return -1;
    }
    char *end;
    double value = strtod(text, &end);
    return *end || value > LONGEST_ASKED * 1000 ? -1 : value;
}

apr_interval_time_t ac_http_retry_after(const char *after_ms, const char *after, apr_time_t wall)
{
    double seconds = after_ms ? http_retry_read_number(after_ms) / 1000 : -1;
    if (seconds < 0 && after) {
        seconds = http_retry_read_number(after);
        if (seconds < 0) {
            time_t when = curl_getdate(after, NULL);
            bool near = when >= 0 && (double)when <= (double)apr_time_sec(wall) + LONGEST_ASKED;
            seconds = near ? (double)(apr_time_from_sec((apr_time_t)when) - wall) / APR_USEC_PER_SEC : -1;
        }
    }
    return seconds > 0 && seconds <= LONGEST_ASKED ? (apr_interval_time_t)(seconds * APR_USEC_PER_SEC) : 0;
}

static const char *connect_text(void *easy)
{
    long cause = 0;
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &cause);
    switch (cause) {
    case ECONNREFUSED: return "connection refused";
    case ENETUNREACH:
    case EHOSTUNREACH: return "the network or host cannot be reached";
    case EADDRNOTAVAIL: return "no local port left for a connection";
    default: return "could not connect";
    }
}

static void set_untrusted(ac_err_t *err, void *easy)
{
    long verified = 0;
    curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &verified);
    /* The host's name is compared after the chain, and has no result code of its own. */
    if (verified && verified != X509_V_ERR_UNSPECIFIED) {
        ac_err_set(err, AC_UPSTREAM_ERROR, "TLS certificate not trusted (%s)", X509_verify_cert_error_string(verified));
    } else {
        ac_err_set(err, AC_UPSTREAM_ERROR, "TLS certificate not trusted (it is another host's)");
    }
}

/* A resolver and a TLS library do not report why they could not open a file. A process without a free descriptor cannot
 * open this one. */
static int try_descriptor(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), cause = fd < 0 ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return cause;
}

static bool set_lack(ac_err_t *err, int code, int cause)
{
    bool opens = code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_SSL_CACERT_BADFILE ||
        code == CURLE_SSL_CONNECT_ERROR || code == CURLE_FAILED_INIT;
    if (opens) {
        cause = try_descriptor();
    } else if (code != CURLE_COULDNT_CONNECT) {
        return false;
    }
    return ac_err_set_lack(err, cause);
}

bool ac_http_retry_curl_error(ac_err_t *err, int code, void *easy, int cause, apr_interval_time_t connect_timeout)
{
    char text[AC_TIME_SIZE];
    if (set_lack(err, code, cause)) {
        return true;
    }
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST: ac_err_set(err, AC_UPSTREAM_ERROR, "the host's name was not found"); return true;
    case CURLE_COULDNT_CONNECT: ac_err_set(err, AC_UPSTREAM_ERROR, "%s", connect_text(easy)); return true;
    case CURLE_OPERATION_TIMEDOUT:
        ac_time_format_duration(text, connect_timeout);
        ac_err_set(err, AC_UPSTREAM_TIMEOUT, "no connection within %s", text);
        return true;
    case CURLE_SSL_CONNECT_ERROR: ac_err_set(err, AC_UPSTREAM_ERROR, "the TLS handshake failed"); return true;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR: set_untrusted(err, easy); return false;
    case CURLE_SSL_CACERT_BADFILE:
        ac_err_set(err, AC_UPSTREAM_ERROR, "the file of trusted certificates cannot be read");
        return false;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        ac_err_set(err, AC_UPSTREAM_ERROR, "the connection was closed before an answer");
        return true;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY: ac_err_set(err, AC_UPSTREAM_ERROR, "the answer is not HTTP"); return false;
    case CURLE_OUT_OF_MEMORY: ac_err_set(err, AC_INTERNAL, "out of memory"); return false;
    default: ac_err_set(err, AC_UPSTREAM_ERROR, "%s", curl_easy_strerror((CURLcode)code)); return false;
    }
}
