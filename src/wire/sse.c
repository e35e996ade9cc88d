/* SPDX-License-Identifier: Apache-2.0 */
/* Event streams: splits incoming bytes into events, and writes outgoing ones. An event that is complete in the incoming
 * bytes is passed on without a copy. */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

#define MAX_ID 1024
#define MAX_RETRY_DIGITS 9

/* The next line ends in the given bytes. Each kind is searched for once, whatever the lines look like. */
typedef struct feed_t {
    const char *at, *end;
    const char *lf, *cr; /* the first of each kind at or after `at`, or end */
} feed_t;

void ac_sse_reader_init(ac_sse_reader_t *reader)
{
    memset(reader, 0, sizeof(*reader));
    ac_buf_init(&reader->line, AC_MAX_SSE_LINE);
    ac_buf_init(&reader->data, AC_MAX_SSE_LINE);
    reader->retry = -1;
}

void ac_sse_reader_free(ac_sse_reader_t *reader)
{
    ac_buf_free(&reader->line);
    ac_buf_free(&reader->data);
    free(reader->id);
    free(reader->last_id);
    reader->id = reader->last_id = NULL;
}

static apr_status_t sse_too_long(ac_sse_reader_t *reader, ac_err_t *err)
{
    reader->stopped = true;
    return ac_err_set(err, AC_MODEL_ERROR, "an event of the stream is longer than %" APR_SIZE_T_FMT " bytes",
                      reader->line.max);
}

static const char *sse_find(const char *at, const char *end, char c)
{
    const char *found = at < end ? memchr(at, c, (size_t)(end - at)) : NULL;
    return found ? found : end;
}

static feed_t feed_make(const char *bytes, size_t len)
{
    const char *end = bytes + len;
    return (feed_t){bytes, end, sse_find(bytes, end, '\n'), sse_find(bytes, end, '\r')};
}

/* The end of the line at feed->at: its CR or LF, or the end of the bytes. */
static const char *line_end(feed_t *feed)
{
    if (feed->lf < feed->at) {
        feed->lf = sse_find(feed->at, feed->end, '\n');
    }
    if (feed->cr < feed->at) {
        feed->cr = sse_find(feed->at, feed->end, '\r');
    }
    return feed->lf < feed->cr ? feed->lf : feed->cr;
}

/* Moves past the line end at `stop`. The LF of a CR that is the last byte may come with the next bytes. */
static void step_over(ac_sse_reader_t *reader, feed_t *feed, const char *stop)
{
    feed->at = stop + 1;
    if (*stop == '\r') {
        if (feed->at < feed->end && *feed->at == '\n') {
            feed->at++;
        } else if (feed->at == feed->end) {
            reader->skip_lf = true;
        }
    }
}

static void sse_dispatch(ac_sse_reader_t *reader, ac_sse_event_fn *fn, void *baton)
{
    if (reader->id) {
        free(reader->last_id);
        reader->last_id = reader->id;
        reader->id = NULL;
    }
    if (reader->has_data && !fn(baton, reader->event, reader->data.data ? reader->data.data : "", reader->data.len)) {
        reader->stopped = true;
    }
    ac_buf_clear(&reader->data);
    reader->has_data = false;
    reader->event[0] = '\0';
}

/* The value of a line with this field, or NULL. One space after the colon does not belong to the value. */
static const char *field(const char *line, size_t len, const char *name, size_t *pvalue_len)
{
    size_t n = strlen(name);
    if (len < n || memcmp(line, name, n) != 0 || (len > n && line[n] != ':')) {
        return NULL;
    }
    n += len > n;
    n += len > n && line[n] == ' ' && line[n - 1] == ':';
    *pvalue_len = len - n;
    return line + n;
}

/* An id that is too long for a header, or has a NUL, is ignored, as is a time that is no number. */
static void sse_take_id(ac_sse_reader_t *reader, const char *line, size_t len)
{
    size_t value_len;
    const char *value = field(line, len, "id", &value_len);
    if (value && value_len <= MAX_ID && !memchr(value, '\0', value_len)) {
        free(reader->id);
        reader->id = memcpy(ac_alloc(value_len + 1), value, value_len);
    }
    value = field(line, len, "retry", &value_len);
    if (!value || !value_len || value_len > MAX_RETRY_DIGITS) {
        return;
    }
    int64_t retry = 0;
    for (size_t i = 0; i < value_len; i++) {
        if (value[i] < '0' || value[i] > '9') {
            return;
        }
        retry = retry * 10 + (value[i] - '0');
    }
    reader->retry = retry;
}

static apr_status_t sse_take_line(ac_sse_reader_t *reader, const char *line, size_t len, ac_err_t *err)
{
    size_t value_len;
    const char *value = field(line, len, "data", &value_len);
    if (value) {
        bool joined = !reader->has_data || ac_buf_add(&reader->data, "\n", 1) == APR_SUCCESS;
        reader->has_data = true;
        if (!joined || ac_buf_add(&reader->data, value, value_len) != APR_SUCCESS) {
            return sse_too_long(reader, err);
        }
        return APR_SUCCESS;
    }
    value = field(line, len, "event", &value_len);
    if (value) {
        size_t n = value_len < sizeof(reader->event) ? value_len : sizeof(reader->event) - 1;
        memcpy(reader->event, value, n);
        reader->event[n] = '\0';
    }
    if (reader->keeps_ids) {
        sse_take_id(reader, line, len);
    }
    return APR_SUCCESS;
}

/* Handles a line without its end; an empty line ends the event. */
static apr_status_t end_line(ac_sse_reader_t *reader, const char *line, size_t len, ac_sse_event_fn *fn, void *baton,
                             ac_err_t *err)
{
    if (!reader->started) {
        reader->started = true;
        if (len >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
            line += 3;
            len -= 3;
        }
    }
    if (len > reader->line.max) {
        return sse_too_long(reader, err);
    }
    if (!len) {
        sse_dispatch(reader, fn, baton);
        return APR_SUCCESS;
    }
    return sse_take_line(reader, line, len, err);
}

/* Whether a data line that ends at `stop` is the event's only one and an empty line follows; moves past both if so. */
static bool closes_event(ac_sse_reader_t *reader, feed_t *feed, const char *stop)
{
    const char *next = stop + (*stop == '\r' && stop + 1 < feed->end && stop[1] == '\n' ? 2 : 1);
    if (next >= feed->end || (*next != '\n' && *next != '\r')) {
        return false;
    }
    step_over(reader, feed, next);
    return true;
}

/* Passes on the event at feed->at without a copy if it is complete there. Returns false if it is not. */
static bool take_whole(ac_sse_reader_t *reader, feed_t *feed, const char *stop, ac_sse_event_fn *fn, void *baton)
{
    if (!reader->started || reader->has_data || reader->event[0] || reader->line.len || reader->id) {
        return false;
    }
    size_t value_len, len = (size_t)(stop - feed->at);
    const char *value = len > reader->line.max ? NULL : field(feed->at, len, "data", &value_len);
    if (!value || !closes_event(reader, feed, stop)) {
        return false;
    }
    reader->stopped = !fn(baton, "", value, value_len);
    return true;
}

apr_status_t ac_sse_read(ac_sse_reader_t *reader, const char *bytes, size_t len, ac_sse_event_fn *fn, void *baton,
                         ac_err_t *err)
{
    if (!len) {
        return APR_SUCCESS;
    }
    feed_t feed = feed_make(bytes, len);
    if (*bytes != '\xef' && !reader->line.len) {
        reader->started = true; /* no BOM */
    }
    if (reader->skip_lf && *bytes == '\n') {
        feed.at++;
    }
    reader->skip_lf = false;
    apr_status_t status = APR_SUCCESS;
    while (status == APR_SUCCESS && !reader->stopped && feed.at < feed.end) {
        const char *stop = line_end(&feed);
        if (stop == feed.end) {
            status = ac_buf_add(&reader->line, feed.at, (size_t)(stop - feed.at));
            return status == APR_SUCCESS ? status : sse_too_long(reader, err);
        }
        if (take_whole(reader, &feed, stop, fn, baton)) {
            continue;
        }
        const char *line = feed.at;
        size_t line_len = (size_t)(stop - line);
        if (reader->line.len) {
            if (ac_buf_add(&reader->line, line, line_len) != APR_SUCCESS) {
                return sse_too_long(reader, err);
            }
            line = reader->line.data;
            line_len = reader->line.len;
        }
        step_over(reader, &feed, stop);
        status = end_line(reader, line, line_len, fn, baton, err);
        ac_buf_clear(&reader->line);
    }
    return status;
}

void ac_sse_finish(ac_sse_reader_t *reader, ac_sse_event_fn *fn, void *baton)
{
    if (reader->line.len && !reader->stopped) {
        end_line(reader, reader->line.data, reader->line.len, fn, baton, NULL);
        ac_buf_clear(&reader->line);
    }
    if (!reader->stopped) {
        sse_dispatch(reader, fn, baton);
    }
    reader->stopped = true;
}

/* ---- writing ---- */

static void add_seq(ac_buf_t *buf, uint64_t seq)
{
    char text[32];
    char *at = text + sizeof(text);
    *--at = '\n';
    do {
        *--at = (char)('0' + seq % 10);
        seq /= 10;
    } while (seq);
    at -= 4;
    memcpy(at, "id: ", 4);
    ac_buf_add(buf, at, (size_t)(text + sizeof(text) - at));
}

/* Every line end of the data, also a lone CR, would end the field, so each line becomes a field. */
static void add_data(ac_buf_t *buf, const char *data, size_t len)
{
    feed_t feed = feed_make(data, len);
    for (;;) {
        const char *stop = line_end(&feed);
        ac_buf_add(buf, "data: ", 6);
        ac_buf_add(buf, feed.at, (size_t)(stop - feed.at));
        ac_buf_add(buf, "\n", 1);
        if (stop == feed.end) {
            return;
        }
        feed.at = stop + (*stop == '\r' && stop + 1 < feed.end && stop[1] == '\n' ? 2 : 1);
    }
}

apr_status_t ac_sse_write(ac_buf_t *buf, uint64_t seq, const char *name, const char *data, size_t len)
{
    size_t before = buf->len;
    bool failed = buf->failed;
    if (name && strpbrk(name, "\r\n")) {
        return APR_EINVAL;
    }
    buf->failed = false;
    if (seq) {
        add_seq(buf, seq);
    }
    if (name) {
        ac_buf_add(buf, "event: ", 7);
        ac_buf_str(buf, name);
        ac_buf_add(buf, "\n", 1);
    }
    add_data(buf, data ? data : "", data ? len : 0);
    ac_buf_add(buf, "\n", 1);
    if (buf->failed) {
        buf->len = before;
        if (buf->data) {
            buf->data[before] = '\0';
        }
        return APR_ENOSPC;
    }
    buf->failed = failed;
    return APR_SUCCESS;
}
