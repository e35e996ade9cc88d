/* SPDX-License-Identifier: Apache-2.0 */
/* Followers from the middle, in their tests: a directory of logs, and visitors that note the events they get. */
#ifndef AC_TAIL_WORLD_H
#define AC_TAIL_WORLD_H

#include "run_world.h"
#include "agent/events/events_internal.h"
#include "agent/follow/tail.h"
#include "scratch.h"

#include <stdlib.h>

static char top[64];
static ac_event_dir_t *dir;

typedef struct visitor_t {
    ac_follower_t follower; /* first */
    char seen[512];
    uint64_t last_seq;
    ac_kind_e kind;
    json_t *message;
    bool full, slow; /* has no room; and cannot take what happens now either */
    int leave_after; /* events; 0: stays */
} visitor_t;

static void visit(ac_follower_t *self, ac_event_t *event)
{
    visitor_t *visitor = (visitor_t *)self;
    if (visitor->slow && ac_follower_rewind(engine, self, visitor->last_seq)) {
        visitor->full = true;
        return;
    }
    char *end = visitor->seen + strlen(visitor->seen);
    size_t room = sizeof visitor->seen - (size_t)(end - visitor->seen);
    if (ac_event_is_text(event->type)) {
        snprintf(end, room, "%s", event->text);
    } else {
        snprintf(end, room, "<%s>", ac_event_name(event->type));
    }
    if (event->seq) {
        visitor->last_seq = event->seq;
    }
    visitor->kind = event->kind;
    if (event->message && !visitor->message) {
        visitor->message = json_incref(event->message);
    }
    if (visitor->leave_after && --visitor->leave_after == 0) {
        ac_channel_leave(self);
    }
}

static bool visitor_has_room(ac_follower_t *self)
{
    return !((visitor_t *)self)->full;
}

static visitor_t visitors[4];

static visitor_t *follow(int i, const char *id, uint64_t after)
{
    visitor_t *visitor = &visitors[i];
    ac_channel_leave(&visitor->follower);
    json_decref(visitor->message);
    memset(visitor, 0, sizeof *visitor);
    visitor->follower.on_event = visit;
    visitor->follower.has_room = visitor_has_room;
    ac_tail_start(engine, id, "ann", after, &visitor->follower);
    assert_string_equal(visitor->seen, ""); /* never inside */
    return visitor;
}

static int setup_logged(void **state)
{
    setup(state);
    snprintf(top, sizeof top, "/tmp/tail-XXXXXX");
    assert_non_null(mkdtemp(top));
    assert_int_equal(ac_event_dir_open(&dir, top, 1024 * 1024, 0), APR_SUCCESS);
    engine->conf.log_keep = 60000000;
    ac_engine_use_dir(engine, dir);
    memset(visitors, 0, sizeof visitors);
    return 0;
}

static int teardown_logged(void **state)
{
    for (int i = 0; i < 4; i++) {
        ac_channel_leave(&visitors[i].follower);
        json_decref(visitors[i].message);
    }
    fake_turn();
    ac_follow_stop(engine);
    teardown(state);
    ac_event_dir_close(dir);
    return scratch_remove(top);
}

static void start_leaving(apr_interval_time_t leave)
{
    ac_turn_t *turn = new_turn("x");
    turn->leave = leave;
    ac_run_start(engine, turn, &follower);
    fake_turn();
    open_well();
    say("a");
}

static ac_trace_t logged_trace; /* of the run of the log that leave_log_with() makes */

/* Another child leaves its place and a log without an end, and is killed. */
static void leave_log_with(const char *id, const char *text, const json_t *closing)
{
    pid_t pid = fork();
    if (pid == 0) {
        ac_event_dir_t *own;
        ac_event_log_header_t head = {"", "thread_1", "msg_1", "ann"};
        apr_cpystrn(head.run_id, id, sizeof head.run_id);
        if (ac_event_dir_open(&own, top, 1024 * 1024, 0) != APR_SUCCESS) {
            _exit(1);
        }
        apr_status_t status;
        ac_event_log_t *log = ac_event_log_create(own, &head, &status);
        ac_event_log_set_trace(log, &logged_trace);
        ac_event_t *event = ac_event_create(AC_EVENT_RUN, json_object(), NULL, 0);
        event->seq = 1;
        ac_event_log_append(log, event);
        event = ac_event_create(AC_EVENT_TOKEN, NULL, text, strlen(text));
        event->seq = 2;
        ac_event_log_append(log, event);
        if (closing) {
            ac_event_log_write_closing(log, closing);
        }
        raise(SIGKILL);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void leave_log_of_the_dead(const char *id, const char *text)
{
    leave_log_with(id, text, NULL);
}

/* The outcome of a run in its log. */
static ac_log_outcome_e outcome_of(const char *id)
{
    ac_event_log_t *log = ac_event_log_find(dir, id);
    assert_non_null(log);
    ac_log_outcome_e outcome = ac_event_log_outcome(log);
    ac_event_log_close(log);
    return outcome;
}

#endif
