/* SPDX-License-Identifier: Apache-2.0 */
/* How a stream gets to its client: parked, or with the thread of its handler. A new way is a row here and its file. */
#include "stream_internal.h"

#include "apr_strings.h"

/* The first one that is possible for a request delivers its stream. */
static const ac_delivery_t *const deliveries[] = {&ac_park_delivery, &ac_block_delivery};

int ac_delivery_start(ac_request_t *rq, const ac_event_source_t *source, bool stream)
{
    const ac_dialect_t *dialect = rq->background ? &ac_dialect_accepted : ac_request_dialect(rq, stream);
    const ac_delivery_t *const *delivery = deliveries;
    rq->streams = dialect->stream;
    if (dialect->stream) {
        /* Compression would hold events back. */
        apr_table_setn(rq->r->subprocess_env, "no-gzip", "1");
        apr_table_setn(rq->r->subprocess_env, "no-brotli", "1");
    }
    while ((*delivery)->is_possible && !(*delivery)->is_possible(rq)) {
        delivery++;
    }
    return (*delivery)->start(rq, source, dialect);
}

/* ---- a turn as the source of events ---- */

static void start_run(void *baton, ac_loop_t *loop, ac_follower_t *follower)
{
    (void)loop;
    ac_run_start(ac_child()->engine, baton, follower);
}

static void drop_turn(void *baton)
{
    ac_turn_free(baton);
}

int ac_delivery_run(ac_request_t *rq, ac_turn_t *turn, bool stream)
{
    ac_event_source_t source = {start_run, drop_turn, turn};
    return ac_delivery_start(rq, &source, stream);
}

/* ---- a run's log as the source ---- */

typedef struct follow_t {
    char run_id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
    uint64_t after;
    bool unstored;
} follow_t;

static void start_follow(void *baton, ac_loop_t *loop, ac_follower_t *follower)
{
    follow_t *follow = baton;
    (void)loop;
    follower->unstored = follow->unstored;
    ac_tail_start(ac_child()->engine, follow->run_id, follow->owner, follow->after, follower);
    free(follow);
}

static void drop_follow(void *baton)
{
    free(baton);
}

int ac_delivery_follow(ac_request_t *rq, const char *run_id, uint64_t after, bool stream)
{
    follow_t *follow = ac_alloc(sizeof(*follow));
    rq->followed = apr_pstrdup(rq->r->pool, run_id);
    ac_request_trace_link(rq, run_id);
    apr_cpystrn(follow->run_id, run_id, sizeof(follow->run_id));
    apr_cpystrn(follow->owner, rq->owner, sizeof(follow->owner));
    follow->after = after;
    follow->unstored = rq->unstored;
    ac_event_source_t source = {start_follow, drop_follow, follow};
    return ac_delivery_start(rq, &source, stream);
}

/* ---- hooks ---- */

void ac_delivery_register(apr_pool_t *p)
{
    (void)p;
    ac_park_hooks_register();
    ac_blocking_streams_register();
}
