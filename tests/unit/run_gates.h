/* SPDX-License-Identifier: Apache-2.0 */
/* More of a run's world: several models with their gates, and several runs at once. */
#ifndef AC_RUN_GATES_H
#define AC_RUN_GATES_H

#include "run_world.h"

/* ---- a second and a third model; each has its price ---- */

typedef struct other_t {
    const ac_model_cb_t *cb;
    void *run;
    int n_asked, n_cancelled;
    size_t n_messages;
} other_t;

static other_t second, third;

static apr_status_t other_ask(void **pcall, void *self, const ac_model_ask_t *ask, const ac_model_cb_t *cb, void *baton,
                              ac_err_t *err)
{
    other_t *other = self;
    (void)err;
    other->cb = cb;
    other->run = baton;
    other->n_asked++;
    other->n_messages = json_array_size(ask->messages);
    *pcall = other;
    return APR_SUCCESS;
}

static void other_cancel(void *call)
{
    ((other_t *)call)->n_cancelled++;
}

static const ac_model_vt other_vt = {.name = "other", .ask = other_ask, .cancel = other_cancel};
static const ac_model_conf_t second_conf = {.id = "second", .price = {10.0, 10.0, 20.0, "USD"}};
static const ac_model_conf_t third_conf = {.id = "third"};
static const ac_model_t second_model = {.id = "second", .vt = &other_vt, .self = &second, .conf = &second_conf};
static const ac_model_t third_model = {.id = "third", .vt = &other_vt, .self = &third, .conf = &third_conf};

static void other_says(other_t *other, const char *text)
{
    other->cb->on_text(other->run, text, strlen(text));
    fake_turn();
}

static void other_ends(other_t *other, ac_kind_e kind)
{
    ac_model_end_t end = {.finish = AC_FINISH_STOP,
                          .usage = {.prompt = 10, .completion = 4, .total = 14, .known = true}};
    if (kind) {
        memset(&end, 0, sizeof end);
        end.status = ac_err_set(&end.err, kind, "the other model says so");
    }
    other->cb->on_end(other->run, &end);
    fake_turn();
}

static void break_down(ac_kind_e kind)
{
    ac_model_end_t end = {.finish = AC_FINISH_NONE};
    end.status = ac_err_set(&end.err, kind, "the fake model says so");
    model_end(end);
}

/* ---- the gates, as the test wants them ---- */

static ac_gate_conf_t first_gate, second_gate;

static int setup_gates(void **state)
{
    static apr_pool_t *pool;
    static apr_hash_t *gates;
    setup(state);
    if (!pool) {
        apr_pool_create(&pool, NULL);
        gates = apr_hash_make(pool);
        apr_hash_set(gates, "fake", APR_HASH_KEY_STRING, &first_gate);
        apr_hash_set(gates, "second", APR_HASH_KEY_STRING, &second_gate);
    }
    memset(&second, 0, sizeof second);
    memset(&third, 0, sizeof third);
    first_gate = (ac_gate_conf_t){.fallback = &second_model};
    second_gate = (ac_gate_conf_t){.fallback = NULL};
    registry.gates = gates;
    return 0;
}

/* Several runs at once, each with a follower of its own. */
static struct {
    ac_follower_t follower;
    int n_events;
    ac_event_type_e type;
    ac_kind_e kind;
    apr_interval_time_t retry_after;
    char id[AC_ID_SIZE];
} runs[8];

static void on_run_event(ac_follower_t *self, ac_event_t *event)
{
    typeof(&runs[0]) run = (void *)((char *)self - offsetof(typeof(runs[0]), follower));
    run->n_events++;
    run->type = event->type;
    run->kind = event->kind;
    run->retry_after = event->retry_after;
}

static void start_run(int i)
{
    memset(&runs[i], 0, sizeof runs[i]);
    runs[i].follower.on_event = on_run_event;
    ac_turn_t *turn = new_turn("x");
    apr_cpystrn(runs[i].id, turn->run_id, sizeof runs[i].id);
    ac_run_start(engine, turn, &runs[i].follower);
    fake_turn();
}

static void cancel_run(int i)
{
    assert_int_equal(ac_run_cancel(engine, runs[i].id, AC_CANCELLED), APR_SUCCESS);
    fake_turn();
}

static const char *step_text(const json_t *written, size_t i, const char *name)
{
    return json_string_value(json_object_get(json_array_get(json_object_get(written, "steps"), i), name));
}

static size_t count_steps(const json_t *written)
{
    return json_array_size(json_object_get(written, "steps"));
}

#endif
