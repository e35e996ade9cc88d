/* SPDX-License-Identifier: Apache-2.0 */
/* One client of one run: its events become bytes in its dialect, and its first event decides what kind of answer it
 * is. How the bytes get to the client is park.c's or block.c's. */
#include "stream_internal.h"

#include <string.h>

#include "apr_strings.h"

#define STOPPING_RETRY apr_time_from_sec(2)
#define WINDOW 32768 /* bytes that may wait before no more of the log is told */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of these two */
static ac_stream_t *streams;
static bool stopped;

/* ---- the object ---- */

apr_status_t ac_stream_init(ac_stream_t *stream, ac_request_t *rq, const ac_event_source_t *source,
                            const ac_dialect_t *dialect)
{
    apr_status_t status = ac_limits_stream(&stream->takes, rq);
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
    /* A document is written whole at its end and is no measure of how fast its client reads. */
    stream->max_waiting = dialect->stream ? (size_t)rq->mount->stream_buffer : AC_MAX_JSON_TEXT;
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
        ac_counters_release(&stream->child->counters, stream->takes);
        return ac_err_set(&rq->err, AC_STOPPING, "this server process is stopping");
    }
    stream->quota = rq->quota;
    ac_quota_ref(stream->quota);
    return APR_SUCCESS;
}

void ac_stream_cleanup(ac_stream_t *stream)
{
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
    ac_counters_release(&stream->child->counters, stream->takes);
    ac_quota_unref(stream->quota);
    ac_buf_free(&stream->out);
    free(stream->problem);
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

/* A reference where the last one is not already gone. */
static bool try_ref(ac_stream_t *stream)
{
    unsigned refs = atomic_load(&stream->refs);
    while (refs && !atomic_compare_exchange_weak(&stream->refs, &refs, refs + 1)) {
    }
    return refs;
}

/* ---- events to bytes ---- */

/* What was rendered since `before` is no event of the run. In front of all events it is only counted. */
static void note_unlogged(ac_stream_t *stream, size_t before)
{
    if (stream->out.len == before) {
        return;
    }
    if (before == stream->lead && !stream->passed && !stream->skip) {
        stream->lead = stream->out.len;
    } else {
        stream->unlogged = true;
    }
}

static void open_stream(ac_stream_t *stream)
{
    size_t before = stream->out.len;
    stream->head = AC_RESPONSE_STREAM;
    if (stream->retry > 0) {
        /* A line of the first event's block: some clients take each block for an event. */
        ac_buf_printf(&stream->out, "retry: %" APR_INT64_T_FMT "\n", (apr_int64_t)apr_time_as_msec(stream->retry));
    }
    note_unlogged(stream, before);
}

/* Nothing was sent yet: the error can have its own status. */
static void take_problem(ac_stream_t *stream, const ac_event_t *event)
{
    ac_err_t *err = ac_alloc(sizeof(*err));
    ac_err_set(err, event->kind, "%s", ac_json_peek_string(event->data, "message", ""));
    err->retry_after = event->retry_after;
    json_t *problem = ac_problem_json(err, stream->request_id);
    size_t len = 0;
    char *text = ac_json_dump(problem, &len);
    json_decref(problem);
    ac_buf_clear(&stream->out);
    if (text) {
        ac_buf_add(&stream->out, text, len);
    }
    free(text);
    stream->problem = err;
    stream->head = AC_RESPONSE_PROBLEM;
    stream->unlogged = true;
}

/* An event that is told again was rendered, into an empty out: what of it was handed on before has gone already. */
static void skip_told(ac_stream_t *stream)
{
    if (stream->skip < stream->out.len) {
        stream->sent = stream->passed = stream->skip;
        stream->skip = 0;
        return;
    }
    stream->skip -= stream->out.len;
    ac_buf_clear(&stream->out);
    ac_follower_mark(&stream->follower);
}

static void take_event(ac_stream_t *stream, const ac_event_t *event)
{
    const ac_dialect_t *dialect = stream->render.dialect;
    if (stream->head == AC_RESPONSE_OPEN && dialect->stream) {
        open_stream(stream);
    }
    if (!event->seq && stream->skip) {
        /* In the middle of another event there is no place for it. */
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
    stream->told = event->seq;
    if (stream->skip) {
        skip_told(stream);
    }
}

void ac_stream_render(ac_stream_t *stream, const ac_event_t *event)
{
    bool terminal = event->type == AC_EVENT_ERROR || event->type == AC_EVENT_DONE;
    if (stream->ended) {
        return;
    }
    if (event->type == AC_EVENT_NOTHING) {
        stream->head = stream->head == AC_RESPONSE_OPEN ? AC_RESPONSE_EMPTY : stream->head;
        stream->ended = true;
        return;
    }
    if (event->type == AC_EVENT_LIVE) {
        /* Its client learns now that it is in the right place, and not when the next word is said. */
        if (stream->head == AC_RESPONSE_OPEN && stream->render.dialect->stream) {
            open_stream(stream);
        }
        return;
    }
    /* The end of a run that had begun is told as it was told to those who were there: its number is never 1. */
    bool problem = event->type == AC_EVENT_ERROR && !(stream->render.dialect->stream && event->seq > 1);
    if (problem && stream->head == AC_RESPONSE_OPEN) {
        take_problem(stream, event);
    } else {
        take_event(stream, event);
        if (terminal && stream->head == AC_RESPONSE_OPEN) {
            stream->head = AC_RESPONSE_DOCUMENT;
        }
    }
    stream->ended = terminal;
}

bool ac_stream_has_room(const ac_stream_t *stream)
{
    size_t window = stream->max_waiting / 4;
    return stream->out.len - stream->sent < (window < WINDOW ? window : WINDOW);
}

void ac_stream_checkpoint(ac_stream_t *stream)
{
    if (stream->skip) {
        return; /* its mark moves with what is told again */
    }
    if (ac_follower_mark(&stream->follower)) {
        stream->passed = stream->lead = 0;
        stream->unlogged = false;
    }
}

bool ac_stream_rewind(ac_stream_t *stream)
{
    if (stream->unlogged || !ac_follower_back(stream->child->engine, &stream->follower, stream->told)) {
        return false;
    }
    stream->ended = stream->render.ended = false;
    if (stream->passed < stream->lead) {
        /* No event was begun; what stands before them stays. */
        stream->out.len = stream->lead - (stream->passed - stream->sent);
        stream->out.data[stream->out.len] = '\0';
        return true;
    }
    ac_buf_free(&stream->out);
    stream->skip += stream->passed - stream->lead;
    stream->sent = stream->passed = stream->lead = 0;
    return true;
}

bool ac_stream_heartbeat(ac_stream_t *stream)
{
    const ac_dialect_t *dialect = stream->render.dialect;
    if (!dialect->stream || !dialect->heartbeat || stream->ended || stream->skip) {
        return false;
    }
    if (stream->head == AC_RESPONSE_OPEN) {
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
    return stream->head != AC_RESPONSE_OPEN &&
        (stream->out.len > stream->sent || (stream->ended && !stream->eos_passed));
}

/* ---- delivery ---- */

static void start_run(void *baton, ac_loop_t *loop, ac_follower_t *follower)
{
    (void)loop;
    ac_run_start(ac_child()->engine, baton, follower);
}

static void drop_turn(void *baton)
{
    ac_turn_free(baton);
}

int ac_delivery_start(ac_request_t *rq, const ac_event_source_t *source, const ac_dialect_t *dialect)
{
    if (dialect->stream) {
        /* Compression would hold events back. */
        apr_table_setn(rq->r->subprocess_env, "no-gzip", "1");
        apr_table_setn(rq->r->subprocess_env, "no-brotli", "1");
    }
    return ac_park_possible(rq) ? ac_park_deliver(rq, source, dialect) : ac_block_deliver(rq, source, dialect);
}

typedef struct past_t { /* a run that is followed again */
    char run_id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
    uint64_t after;
} past_t;

static void start_past(void *baton, ac_loop_t *loop, ac_follower_t *follower)
{
    past_t *past = baton;
    (void)loop;
    ac_tail_start(ac_child()->engine, past->run_id, past->owner, past->after, follower);
    free(past);
}

static void drop_past(void *baton)
{
    free(baton);
}

int ac_delivery_follow(ac_request_t *rq, const char *run_id, uint64_t after, const ac_dialect_t *dialect)
{
    past_t *past = ac_alloc(sizeof(*past));
    apr_cpystrn(past->run_id, run_id, sizeof(past->run_id));
    apr_cpystrn(past->owner, rq->owner, sizeof(past->owner));
    past->after = after;
    ac_event_source_t source = {start_past, drop_past, past};
    return ac_delivery_start(rq, &source, dialect);
}

int ac_delivery_run(ac_request_t *rq, ac_turn_t *turn, const ac_dialect_t *dialect)
{
    ac_event_source_t source = {start_run, drop_turn, turn};
    return ac_delivery_start(rq, &source, dialect);
}

/* ---- the end of the process ---- */

ac_event_t *ac_stream_stopping_event(void)
{
    json_t *data = json_object();
    ac_json_put(data, "code", json_string(ac_kind_row(AC_STOPPING)->code));
    ac_json_put(data, "message", json_string("the server is stopping"));
    ac_json_put(data, "retry_after_ms", json_integer(apr_time_as_msec(STOPPING_RETRY)));
    ac_event_t *event = ac_event_create(AC_EVENT_ERROR, data, NULL, 0);
    if (event) {
        event->kind = AC_STOPPING;
        event->retry_after = STOPPING_RETRY;
    }
    return event;
}

/* All streams, each with a reference. Ending one takes it off the list, whose lock it needs: so they are picked out first. */
static ac_stream_t **pick_all(int *pn, bool last)
{
    int n = 0;
    pthread_mutex_lock(&lock);
    stopped = stopped || last;
    for (ac_stream_t *stream = streams; stream; stream = stream->next) {
        n++;
    }
    ac_stream_t **picked = ac_alloc(sizeof(*picked) * (size_t)(n + 1));
    n = 0;
    for (ac_stream_t *stream = streams; stream; stream = stream->next) {
        if (try_ref(stream)) {
            picked[n++] = stream;
        }
    }
    pthread_mutex_unlock(&lock);
    *pn = n;
    return picked;
}

void ac_stream_shutdown_all(ac_shutdown_e what)
{
    int n;
    ac_stream_t **picked = pick_all(&n, false);
    for (int i = 0; i < n; i++) {
        picked[i]->ending(picked[i], what);
        ac_stream_unref(picked[i]);
    }
    free(picked);
}

void ac_stream_stop_all(void)
{
    int n, n_live = 0;
    ac_stream_t **picked = pick_all(&n, true);
    for (int i = 0; i < n; i++) {
        n_live += picked[i]->stop(picked[i]);
        ac_stream_unref(picked[i]);
    }
    free(picked);
    if (n_live) {
        ac_log(AC_M612, APR_SUCCESS, "streams: %d ended while they were live, since the process is stopping", n_live);
    }
}
