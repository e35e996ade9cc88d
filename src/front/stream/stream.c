/* SPDX-License-Identifier: Apache-2.0 */
/* One client of one run. Its events become bytes in its dialect, and its first event decides the kind of the response.
 * park.c and block.c bring the bytes to the client. */
#include "stream_internal.h"

#include <string.h>

#include "apr_atomic.h"
#include "apr_strings.h"

#define STOPPING_RETRY apr_time_from_sec(2)
#define WINDOW 32768 /* bytes that may wait before the stream stops reading the log */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* protects the two below */
static ac_stream_t *streams;                             /* all of this child */
static bool stopped;                                     /* no stream may begin */

/* ---- the object ---- */

apr_status_t ac_stream_init(ac_stream_t *stream, ac_request_t *rq, const ac_event_source_t *source,
                            const ac_dialect_t *dialect)
{
    apr_status_t status = ac_limits_stream(&stream->reservation, rq);
    if (status != APR_SUCCESS) {
        return status;
    }
    atomic_init(&stream->refs, 1);
    stream->child = ac_child();
    stream->source = *source;
    stream->heartbeat = rq->mount->heartbeat;
    stream->retry = rq->mount->retry;
    apr_cpystrn(stream->request_id, rq->request_id, sizeof(stream->request_id));
    ac_dialect_render_init(&stream->render, dialect);
    stream->render.follows = rq->followed != NULL;
    /* A document is rendered whole at its end: its length says nothing about how fast the client reads. */
    bool is_stream = dialect->stream && !dialect->document_type;
    stream->max_waiting = is_stream ? (size_t)rq->mount->stream_buffer : AC_MAX_JSON_TEXT;
    ac_buf_init(&stream->out, stream->max_waiting);
    pthread_mutex_lock(&lock);
    bool refused = stopped;
    if (!refused) {
        stream->next = streams;
        if (streams) {
            streams->prev = stream;
        }
        streams = stream;
    }
    pthread_mutex_unlock(&lock);
    if (refused) {
        ac_counters_release(&stream->child->counters, stream->reservation);
        return ac_err_set(&rq->err, AC_STOPPING, "this server process is stopping");
    }
    stream->protocol = ac_protocol_of(rq->r);
    stream->render.view = stream->view = ac_request_view_take(rq);
    stream->quota = rq->quota;
    ac_quota_ref(stream->quota);
    stream->began = ac_clock();
    stream->protocol_id = ac_protocol_id(rq->route);
    stream->activity = ac_activity_begin(stream->metric, (unsigned)(rq->route - ac_routes) + 1);
    ac_metrics_gauge_add(AC_METRIC_STREAMS_ACTIVE, AC_LABELS(stream->metric, stream->protocol_id), 1);
    return APR_SUCCESS;
}

/* Once: at its end, or when the process stops, since a parked stream may not see the end of its connection. */
static void stream_count(ac_stream_t *stream)
{
    if (stream->counted) {
        return;
    }
    stream->counted = true;
    ac_stream_outcome_e outcome = stream->stopped ? AC_STREAM_OUTCOME_STOPPED
        : stream->dropped                         ? AC_STREAM_OUTCOME_SLOW
        : !stream->eos_sent                       ? AC_STREAM_OUTCOME_DISCONNECTED
        : stream->response == AC_RESPONSE_PROBLEM ? AC_STREAM_OUTCOME_PROBLEM
                                                  : AC_STREAM_OUTCOME_SENT;
    ac_activity_end(stream->activity);
    ac_metrics_gauge_add(AC_METRIC_STREAMS_ACTIVE, AC_LABELS(stream->metric, stream->protocol_id), -1);
    ac_metrics_observe(AC_METRIC_STREAM_DURATION, AC_LABELS(stream->metric, stream->protocol_id),
                       ac_clock() - stream->began, NULL);
    ac_metrics_add(AC_METRIC_STREAMS, AC_LABELS(stream->metric, stream->protocol_id, outcome), 1);
}

void ac_stream_cleanup(ac_stream_t *stream)
{
    stream_count(stream);
    pthread_mutex_lock(&lock);
    if (stream->prev) {
        stream->prev->next = stream->next;
    } else {
        streams = stream->next;
    }
    if (stream->next) {
        stream->next->prev = stream->prev;
    }
    pthread_mutex_unlock(&lock);
    ac_counters_release(&stream->child->counters, stream->reservation);
    ac_quota_unref(stream->quota);
    ac_buf_free(&stream->out);
    ac_event_unref(stream->render.kept);
    free(stream->problem);
    free(stream->view);
    if (stream->render.state) {
        stream->render.dialect->free(stream->render.state);
    }
}

void ac_stream_ref(ac_stream_t *stream)
{
    atomic_fetch_add_explicit(&stream->refs, 1, memory_order_relaxed);
}

void ac_stream_unref(ac_stream_t *stream)
{
    if (atomic_fetch_sub_explicit(&stream->refs, 1, memory_order_acq_rel) == 1) {
        stream->free(stream);
    }
}

/* Adds a reference unless the last one is gone. */
static bool try_ref(ac_stream_t *stream)
{
    unsigned refs = atomic_load(&stream->refs);
    while (refs && !atomic_compare_exchange_weak(&stream->refs, &refs, refs + 1)) {
    }
    return refs;
}

/* ---- events to bytes ---- */

/* The bytes of out from `before` on are no event of the run, and no log has them. Before the first event after the
 * checkpoint they are only counted: a rewind keeps or omits them. */
static void note_unlogged(ac_stream_t *stream, size_t before)
{
    bool preamble = before == stream->preamble_len && !stream->bytes_written && !stream->bytes_to_skip;
    if (stream->out.len == before) {
        return;
    }
    if (preamble) {
        stream->preamble_len = stream->out.len;
    } else {
        stream->unlogged = true;
    }
}

static void open_stream(ac_stream_t *stream)
{
    size_t before = stream->out.len;
    stream->response = AC_RESPONSE_STREAM;
    stream->render.begun = true;
    if (stream->render.dialect->begin) {
        stream->render.dialect->begin(stream->retry, &stream->out);
    }
    note_unlogged(stream, before);
}

/* No byte is sent yet, so the error becomes a response with its own status. */
static void render_problem(ac_stream_t *stream, const ac_event_t *event)
{
    ac_err_t *err = ac_alloc(sizeof(*err));
    ac_err_set_at(err, event->kind, ac_json_peek_string(event->data, "pointer", ""), "%s",
                  ac_json_peek_string(event->data, "message", ""));
    err->retry_after = event->retry_after;
    size_t len = 0;
    char *text = ac_problem_text(stream->protocol->problem(err, stream->request_id, stream->view), &len);
    ac_buf_clear(&stream->out);
    if (text) {
        ac_buf_add(&stream->out, text, len);
    }
    free(text);
    stream->problem = err;
    stream->response = AC_RESPONSE_PROBLEM;
    stream->unlogged = true;
}

/* After a rewind: out has one event that is rendered again. Drops the part of it that the client has. */
static void skip_written(ac_stream_t *stream)
{
    if (stream->bytes_to_skip < stream->out.len) {
        stream->out_start = stream->bytes_written = stream->bytes_to_skip;
        stream->bytes_to_skip = 0;
        return;
    }
    stream->bytes_to_skip -= stream->out.len;
    ac_buf_clear(&stream->out);
    ac_follower_checkpoint(&stream->follower);
    stream->place = stream->render.place;
}

static void render_event(ac_stream_t *stream, const ac_event_t *event)
{
    const ac_dialect_t *dialect = stream->render.dialect;
    if (stream->response == AC_RESPONSE_OPEN && dialect->stream && !dialect->document_type) {
        open_stream(stream);
    }
    if (!event->seq && stream->bytes_to_skip) {
        /* The client has half of another event: bytes of the server itself would break it. */
        stream->overflow = true;
        return;
    }
    size_t before = stream->out.len;
    if (dialect->event(&stream->render, event, &stream->out) != APR_SUCCESS || stream->out.failed) {
        stream->overflow = true;
    }
    if (!event->seq) {
        note_unlogged(stream, before);
        return;
    }
    stream->last_seq = event->seq;
    if (stream->bytes_to_skip) {
        skip_written(stream);
    }
}

/* What an operator reads of the stream. Most events are tokens, and change nothing. */
static void show_activity(ac_stream_t *stream, const ac_event_t *event)
{
    static const ac_activity_e states[AC_N_EVENTS] = {
        [AC_EVENT_RUN] = AC_ACTIVITY_RUNNING,         [AC_EVENT_TOKEN] = AC_ACTIVITY_ANSWERING,
        [AC_EVENT_TRACE_START] = AC_ACTIVITY_CALLING, [AC_EVENT_TRACE_UPDATE] = AC_ACTIVITY_CALLING,
        [AC_EVENT_TRACE_END] = AC_ACTIVITY_RUNNING,   [AC_EVENT_ERROR] = AC_ACTIVITY_ENDED,
        [AC_EVENT_DONE] = AC_ACTIVITY_ENDED,          [AC_EVENT_NOTHING] = AC_ACTIVITY_ENDED,
        [AC_EVENT_LIVE] = AC_ACTIVITY_RUNNING,        [AC_EVENT_REASONING] = AC_ACTIVITY_RUNNING,
        [AC_EVENT_QUEUED] = AC_ACTIVITY_WAITING,
    };
    if (event->type == AC_EVENT_RUN) {
        ac_activity_set_agent(stream->activity,
                              ac_metrics_index(AC_DOMAIN_AGENT, ac_json_peek_string(event->data, "agent_id", "")));
    }
    stream->shown = states[event->type];
    ac_activity_set_state(stream->activity, stream->shown);
}

/* The client has all that is stored. What the dialect adds is in no log. */
static void report_live(ac_stream_t *stream)
{
    const ac_dialect_t *dialect = stream->render.dialect;
    size_t before = stream->out.len;
    if (!dialect->live || stream->bytes_to_skip) {
        return;
    }
    if (dialect->live(&stream->render, &stream->out) != APR_SUCCESS || stream->out.failed) {
        stream->overflow = true;
    }
    note_unlogged(stream, before);
    stream->ended = stream->render.ended;
}

/* What an answer is that was open before the last event. */
static void decide_response(ac_stream_t *stream)
{
    if (stream->response == AC_RESPONSE_OPEN && stream->render.begun) {
        stream->response = AC_RESPONSE_STREAM;
    } else if (stream->response == AC_RESPONSE_OPEN && stream->ended) {
        stream->response = AC_RESPONSE_DOCUMENT;
    }
}

void ac_stream_render(ac_stream_t *stream, const ac_event_t *event)
{
    if (event->type != AC_EVENT_TOKEN || stream->shown != AC_ACTIVITY_ANSWERING) {
        show_activity(stream, event);
    }
    bool terminal = event->type == AC_EVENT_ERROR || event->type == AC_EVENT_DONE;
    if (stream->ended) {
        return;
    }
    if (terminal && event->kind == AC_STOPPING && apr_atomic_read32(&stream->child->stopping)) {
        stream->stopped = true; /* its run ends before it does */
    }
    if (event->type == AC_EVENT_NOTHING) {
        stream->response = stream->response == AC_RESPONSE_OPEN ? AC_RESPONSE_EMPTY : stream->response;
        stream->ended = true;
        return;
    }
    if (event->type == AC_EVENT_LIVE) {
        /* The client gets the response head now, and not with the next event, which may be minutes away. */
        if (stream->response == AC_RESPONSE_OPEN && stream->render.dialect->stream &&
            !stream->render.dialect->document_type) {
            open_stream(stream);
        }
        report_live(stream);
        decide_response(stream);
        return;
    }
    /* If the run had begun, the error is an event, also for a client that comes later. Its number is above 1 then. */
    bool shown = stream->render.dialect->stream || stream->render.dialect->shows_failure;
    bool problem = event->type == AC_EVENT_ERROR && !(shown && event->seq > 1);
    if (problem && stream->response == AC_RESPONSE_OPEN) {
        render_problem(stream, event);
    } else {
        render_event(stream, event);
    }
    stream->ended = terminal || stream->render.ended;
    decide_response(stream);
}

bool ac_stream_has_room(const ac_stream_t *stream)
{
    size_t window = stream->max_waiting / 4;
    return stream->out.len - stream->out_start < (window < WINDOW ? window : WINDOW);
}

void ac_stream_checkpoint(ac_stream_t *stream)
{
    if (stream->bytes_to_skip) {
        return; /* skip_written() moves the checkpoint */
    }
    if (ac_follower_checkpoint(&stream->follower)) {
        stream->bytes_written = stream->preamble_len = 0;
        stream->unlogged = false;
        stream->place = stream->render.place;
    }
}

bool ac_stream_rewind(ac_stream_t *stream)
{
    if (stream->unlogged || !ac_follower_rewind(stream->child->engine, &stream->follower, stream->last_seq)) {
        return false;
    }
    stream->ended = stream->render.ended = false;
    stream->render.place = stream->place;
    if (stream->bytes_written < stream->preamble_len) {
        /* No event has begun: the rest of the preamble stays. */
        stream->out.len = stream->preamble_len - (stream->bytes_written - stream->out_start);
        stream->out.data[stream->out.len] = '\0';
        return true;
    }
    ac_buf_free(&stream->out);
    stream->bytes_to_skip += stream->bytes_written - stream->preamble_len;
    stream->out_start = stream->bytes_written = stream->preamble_len = 0;
    return true;
}

bool ac_stream_heartbeat(ac_stream_t *stream)
{
    const ac_dialect_t *dialect = stream->render.dialect;
    if (!dialect->stream || !dialect->heartbeat || stream->ended || stream->bytes_to_skip) {
        return false;
    }
    if (stream->response == AC_RESPONSE_OPEN && stream->out.len) {
        return false; /* a part of a document */
    }
    if (stream->response == AC_RESPONSE_OPEN) {
        open_stream(stream);
    }
    size_t before = stream->out.len;
    if (dialect->heartbeat(&stream->render, &stream->out) != APR_SUCCESS || stream->out.failed) {
        stream->overflow = true;
    }
    note_unlogged(stream, before);
    return true;
}

bool ac_stream_has_output(const ac_stream_t *stream)
{
    return stream->response != AC_RESPONSE_OPEN &&
        (stream->out.len > stream->out_start || (stream->ended && !stream->eos_sent));
}

/* ---- the end of the process ---- */

ac_event_t *ac_stream_stopping_event(void)
{
    json_t *data = json_object();
    ac_json_put(data, "code", json_string(ac_err_row(AC_STOPPING)->code));
    ac_json_put(data, "message", json_string("the server is stopping"));
    ac_json_put(data, "retry_after_ms", json_integer(apr_time_as_msec(STOPPING_RETRY)));
    ac_event_t *event = ac_event_create(AC_EVENT_ERROR, data, NULL, 0);
    if (event) {
        event->kind = AC_STOPPING;
        event->retry_after = STOPPING_RETRY;
    }
    return event;
}

/* Returns all streams, each with a reference; the caller frees the array. A stream that ends removes itself from
 * the list and needs the lock for it, so the callers work on a copy. */
static ac_stream_t **copy_list(int *pn, bool last)
{
    int n = 0;
    pthread_mutex_lock(&lock);
    stopped = stopped || last;
    for (ac_stream_t *stream = streams; stream; stream = stream->next) {
        n++;
    }
    ac_stream_t **list = ac_alloc(sizeof(*list) * (size_t)(n + 1));
    n = 0;
    for (ac_stream_t *stream = streams; stream; stream = stream->next) {
        if (try_ref(stream)) {
            list[n++] = stream;
        }
    }
    pthread_mutex_unlock(&lock);
    *pn = n;
    return list;
}

void ac_stream_shutdown_all(ac_shutdown_e stage)
{
    int n;
    ac_stream_t **list = copy_list(&n, false);
    for (int i = 0; i < n; i++) {
        list[i]->on_shutdown(list[i], stage);
        ac_stream_unref(list[i]);
    }
    free(list);
}

void ac_stream_stop_all(void)
{
    int n, n_live = 0;
    ac_stream_t **list = copy_list(&n, true);
    for (int i = 0; i < n; i++) {
        n_live += list[i]->stop(list[i]);
        if (list[i]->metric == AC_DELIVERY_PARKED) {
            stream_count(list[i]);
        }
        ac_stream_unref(list[i]);
    }
    free(list);
    if (n_live) {
        ac_log(AC_M612, APR_SUCCESS, "streams: %d ended while they were live, since the process is stopping", n_live);
    }
}
