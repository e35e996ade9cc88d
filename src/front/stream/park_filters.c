/* SPDX-License-Identifier: Apache-2.0 */
/* The output filters between a stream and its client. If a filter waits on the loop thread, as mod_ratelimit's and
 * mod_ext_filter's do, all streams of the child wait with it; so only filters that are known never to wait are
 * called there. */
#include "stream_internal.h"

APLOG_USE_MODULE(agentchat);

/* The filters of httpd, and those of its modules that change headers or text. */
static bool never_waits(const char *name)
{
    static const char *const known[] = {"core",
                                        "http_header",
                                        "http_outerror",
                                        "content_length",
                                        "byterange",
                                        "chunk",
                                        "eor_request",
                                        "ssl/tls filter",
                                        "ssl/tls coalescing filter",
                                        "log_input_output",
                                        "fixup_headers_out",
                                        "fixup_headers_err",
                                        "mod_expires",
                                        "deflate",
                                        "brotli_compress",
                                        "includes",
                                        "substitute",
                                        "sed",
                                        "session_out",
                                        "mod_session_out",
                                        "dumpio_out",
                                        "reqtimeout", /* on each connection: notes the end of a response */
                                        "agentchat_parked",
                                        "agentchat_problem",
                                        "no_output_cache"};
    if (ap_cstr_casecmpn(name, "bytype:", 7) == 0) {
        name += 7; /* AddOutputFilterByType */
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (ap_cstr_casecmp(known[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* The request's list of filters ends with the connection's. */
bool ac_park_filters_never_wait(const request_rec *r)
{
    for (const ap_filter_t *f = r->output_filters; f; f = f->next) {
        if (never_waits(f->frec->name)) {
            continue;
        }
        ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, "the stream keeps its thread: the output filter %s may wait",
                      f->frec->name);
        return false;
    }
    return true;
}
