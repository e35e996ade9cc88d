/* SPDX-License-Identifier: Apache-2.0 */
/* llmsim's requests: HTTP/1.1 in, one at a time on a connection. */
#include "llmsim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { MAX_HEAD = 65536, MAX_BODY = 64 << 20 };

void sim_put_stats(void)
{
    const sim_stats_t *stats = &sim.stats;
    rig_buf_t text = {0};
    rig_buf_printf(&text,
                   "{\"connections\":%llu,\"requests\":%llu,\"streams\":%llu,\"active\":%u,\"active_max\":%u,"
                   "\"chunks\":%llu,\"writes\":%llu,\"bytes\":%llu,\"faults\":%llu,\"aborted\":%llu,\"lag_us\":",
                   (unsigned long long)stats->n_connections, (unsigned long long)stats->n_requests,
                   (unsigned long long)stats->n_streams, stats->active, stats->active_max,
                   (unsigned long long)stats->n_chunks, (unsigned long long)stats->n_writes,
                   (unsigned long long)stats->bytes, (unsigned long long)stats->n_faults,
                   (unsigned long long)stats->n_aborted);
    rig_hist_json(&text, &stats->lag);
    rig_buf_str(&text, "}\n");
    sim_put_response(200, "", text.data, text.len);
    rig_buf_free(&text);
    sim.stats.lag = (rig_hist_t){0}; /* each reading starts the lag afresh */
}

static bool path_ends(const sim_request_t *request, const char *suffix)
{
    const char *query = memchr(request->path, '?', request->path_len);
    size_t n = query ? (size_t)(query - request->path) : request->path_len, k = strlen(suffix);
    return n >= k && memcmp(request->path + n - k, suffix, k) == 0;
}

static void handle_request(sim_conn_t *conn, const sim_request_t *request)
{
    sim.stats.n_requests++;
    conn->close_after = !request->keep_alive;
    if (sim.verbose) {
        fprintf(stderr, "%.*s %.*s\n", (int)request->path_len, request->path, (int)request->body_len, request->body);
    }
    if (!request->post && request->path_len == 6 && path_ends(request, "/stats")) {
        sim_put_stats();
        return;
    }
    bool responses = path_ends(request, "/responses");
    if (!request->post || !(responses || path_ends(request, "/chat/completions"))) {
        sim_put_error(404, "", "invalid_request_error", "not_found");
        return;
    }
    json_t *root = json_loadb(request->body, request->body_len, 0, NULL);
    bool streams = json_is_true(json_object_get(root, "stream"));
    if (json_is_array(json_object_get(root, responses ? "input" : "messages")) && (streams || !responses)) {
        sim_stream_start(conn, request, root);
    } else {
        sim_put_error(400, "", "invalid_request_error", "bad_json");
    }
    json_decref(root);
}

/* Undoes chunked coding in place. Returns the bytes it spans, 0 if more is needed, -1 if malformed. */
static ssize_t dechunk(char *data, size_t len, size_t *pbody_len)
{
    size_t at = 0, out = 0;
    for (;;) {
        char *line_end = memchr(data + at, '\n', len - at);
        if (!line_end) {
            return 0;
        }
        size_t size = strtoul(data + at, NULL, 16);
        at = (size_t)(line_end - data) + 1;
        if (size > len || at + size + 2 > len) {
            return size > MAX_BODY ? -1 : 0;
        }
        memmove(data + out, data + at, size);
        out += size;
        at += size + 2;
        if (size == 0) { /* no trailers expected */
            *pbody_len = out;
            return (ssize_t)at;
        }
    }
}

/* Reads the header fields between line and end; returns the value of Content-Length. */
static size_t parse_fields(sim_request_t *request, const char *line, const char *end)
{
    size_t length = 0;
    while (line < end) {
        if (strncasecmp(line, "content-length:", 15) == 0) {
            length = strtoul(line + 15, NULL, 10);
        } else if (strncasecmp(line, "transfer-encoding:", 18) == 0) {
            request->chunked = true;
        } else if (strncasecmp(line, "connection:", 11) == 0) {
            const char *value = line + 11 + strspn(line + 11, " ");
            request->keep_alive = strncasecmp(value, "close", 5) != 0 && request->keep_alive;
        } else if (strncasecmp(line, "expect:", 7) == 0) {
            request->expect_continue = true;
        }
        const char *line_end = memchr(line, '\n', (size_t)(end - line));
        line = line_end ? line_end + 1 : end;
    }
    return length;
}

/* Takes one request off data: bytes used, 0 if incomplete, -1 if bad. */
static ssize_t parse_request(const sim_conn_t *conn, sim_request_t *request, char *data, size_t len)
{
    char *end = memmem(data, len, "\r\n\r\n", 4);
    if (!end) {
        return len > MAX_HEAD ? -1 : 0;
    }
    size_t head = (size_t)(end - data) + 4;
    char *line_end = memchr(data, '\r', head), *path = memchr(data, ' ', head);
    char *version = path ? memchr(path + 1, ' ', head - (size_t)(path + 1 - data)) : NULL;
    if (!version || version > line_end || line_end - version != 9) {
        return -1;
    }
    *request = (sim_request_t){
        .path = path + 1,
        .path_len = (size_t)(version - path) - 1,
        .body = data + head,
        .post = memcmp(data, "POST ", 5) == 0,
        .http10 = line_end[-1] == '0',
        .keep_alive = line_end[-1] != '0',
    };
    size_t length = parse_fields(request, line_end + 2, end + 2);
    if (request->chunked) {
        ssize_t span = dechunk(data + head, len - head, &request->body_len);
        if (span != 0) {
            return span < 0 ? -1 : (ssize_t)head + span;
        }
    } else if (len - head >= length) {
        request->body_len = length;
        return (ssize_t)(head + length);
    }
    if (request->expect_continue && len == head) {
        send(conn->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL);
    }
    return 0;
}

void sim_requests_read(sim_conn_t *conn)
{
    while (conn->state == SIM_READING && conn->in.len && !conn->out.len) {
        sim_request_t request;
        rig_buf_t in = conn->in;
        ssize_t used = parse_request(conn, &request, in.data, in.len);
        if (used == 0) {
            return;
        }
        if (used < 0) {
            sim_conn_close(conn);
            return;
        }
        conn->in = (rig_buf_t){0}; /* the request's text stays put while it is handled */
        if ((size_t)used < in.len) {
            rig_buf_add(&conn->in, in.data + used, in.len - (size_t)used);
        }
        handle_request(conn, &request);
        rig_buf_free(&in);
        if (sim.scratch.len == 0) {
            return; /* streaming sends for itself, and may have freed conn */
        }
        if (!sim_conn_send_scratch(conn) || (conn->close_after && !conn->out.len)) {
            sim_conn_close(conn);
            return;
        }
    }
}

void sim_request_on_readable(sim_conn_t *conn)
{
    static char bytes[65536];
    ssize_t n = recv(conn->fd, bytes, sizeof bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return;
    }
    if (n <= 0 || conn->in.len > MAX_BODY) {
        sim_conn_close(conn);
        return;
    }
    rig_buf_add(&conn->in, bytes, (size_t)n);
    sim_requests_read(conn);
}
