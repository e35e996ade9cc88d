/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events as the load client reads them: tokens, stamps, the end. */
#include "ssebench.h"

#include <string.h>

static bool contains(const char *line, size_t len, const char *text)
{
    return memmem(line, len, text, strlen(text)) != NULL;
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static void take_stamp(load_conn_t *conn, uint64_t stamp, uint64_t now, bool first)
{
    rig_hist_add(&load.tally.relay, now - stamp);
    if (first) {
        rig_hist_add(&load.tally.first, now - stamp);
    }
    if (stamp < conn->last_stamp) {
        load.tally.n_disordered++;
    }
    conn->last_stamp = stamp;
}

/* Records the stamps in a line: numbers of 16 to 19 digits that are a recent CLOCK_MONOTONIC time. Such a number covers
 * a
 * position divisible by 16. */
static unsigned take_stamps(load_conn_t *conn, const char *line, size_t len, uint64_t now)
{
    unsigned n = 0;
    for (size_t i = 15, end = 0; i < len; i += 16) {
        if (!is_digit(line[i]) || i < end) {
            continue;
        }
        size_t from = i;
        for (end = i + 1; end < len && is_digit(line[end]); end++) {
        }
        while (from > 0 && is_digit(line[from - 1])) {
            from--;
        }
        if (end - from < 16 || end - from > 19) {
            continue;
        }
        uint64_t stamp = 0;
        for (size_t k = from; k < end; k++) {
            stamp = stamp * 10 + (uint64_t)(line[k] - '0');
        }
        if (stamp > now || now - stamp > 600 * NS_PER_S) {
            continue;
        }
        take_stamp(conn, stamp, now, conn->n_tokens + n == 0);
        n++;
    }
    return n;
}

/* Whether the line has the token pattern, followed by something: an opening quote with the closing one right behind it
 * is an
 * empty token. */
static bool is_token(const char *line, size_t len)
{
    const char *pattern = load_options.token;
    size_t k = strlen(pattern);
    const char *at = memmem(line, len, pattern, k);
    return at && (pattern[k - 1] != '"' || (at + k < line + len && at[k] != '"'));
}

static bool is_done(const char *line, size_t len)
{
    for (unsigned i = 0; i < load_options.n_done; i++) {
        if (contains(line, len, load_options.done[i])) {
            return true;
        }
    }
    return false;
}

static bool is_error(const char *line, size_t len)
{
    return contains(line, len, "\"type\":\"error\"") || contains(line, len, "\"type\": \"error\"") ||
        contains(line, len, "{\"error\"");
}

static void take_line(load_conn_t *conn, const char *line, size_t len, uint64_t now)
{
    if (len && line[len - 1] == '\r') {
        len--;
    }
    if (len == 0) {
        return;
    }
    if (line[0] == ':') {
        load.tally.n_heartbeats++;
        return;
    }
    bool data = len > 5 && memcmp(line, "data:", 5) == 0;
    load.tally.n_events += data;
    if (is_done(line, len)) {
        conn->done = true;
        return;
    }
    if (!data) {
        return;
    }
    bool delta = contains(line, len, load_options.delta);
    unsigned n = delta ? take_stamps(conn, line + 5, len - 5, now) : 0;
    load.tally.n_stamped += n;
    if (!n && delta && is_token(line, len)) {
        n = 1;
    }
    if (!n) {
        conn->failed |= is_error(line, len);
        return;
    }
    if (conn->n_tokens == 0) {
        rig_hist_add(&load.tally.ttft, now - conn->start_ns);
    }
    conn->n_tokens += n;
    load.tally.n_tokens += n;
}

void load_events_take(load_conn_t *conn, const char *data, size_t len, uint64_t now)
{
    for (const char *end; (end = memchr(data, '\n', len));) {
        size_t n = (size_t)(end - data);
        if (conn->line.len) {
            rig_buf_add(&conn->line, data, n);
            take_line(conn, conn->line.data, conn->line.len, now);
            conn->line.len = 0;
        } else {
            take_line(conn, data, n, now);
        }
        len -= n + 1;
        data = end + 1;
    }
    rig_buf_add(&conn->line, data, len);
}
