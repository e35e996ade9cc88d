/* SPDX-License-Identifier: Apache-2.0 */
/* A thread with branches, for the contract of all stores. */
#ifndef BRANCHES_WORLD_H
#define BRANCHES_WORLD_H

#include "store_contract.h"

typedef struct world_t { /* a thread, and the ids of its messages by seq */
    contract_ids_t ids;
    char message[64][AC_ID_SIZE];
    int64_t n;
} world_t;

#define CURRENT (-1) /* as the parent: the caller does not say it */

static void put_parent(json_t *in, const world_t *world, int64_t parent)
{
    json_t *message = json_object_get(in, "message");
    if (parent == CURRENT) {
        return;
    }
    json_object_set_new(in, "parent_seq", json_integer(parent));
    if (json_is_object(message)) {
        json_object_set_new(message, "parent_id", ac_json_text(parent > 0 ? world->message[parent] : NULL));
    }
}

static void note(world_t *world, json_t *out, int64_t parent)
{
    json_t *message = json_object_get(out, "message");
    assert_int_equal(ac_json_peek_int(message, "seq", -1), ++world->n);
    snprintf(world->message[world->n], AC_ID_SIZE, "%s", ac_json_peek_string(message, "id", ""));
    if (parent != CURRENT) {
        assert_string_equal(ac_json_peek_string(message, "parent_id", ""), parent > 0 ? world->message[parent] : "");
    }
    json_decref(out);
}

/* Opens a turn: text is the user's message, NULL: none. Returns in `run` the id of the run. */
static void opens(world_t *world, char run[AC_ID_SIZE], const char *text, int64_t parent)
{
    ac_id_make(run, "run_");
    json_t *in = contract_open_in(&world->ids, run, text ? text : "", world->n == 0);
    if (!text) {
        json_object_set_new(in, "message", json_null());
    }
    put_parent(in, world, parent);
    if (world->n > 0) {
        json_object_set_new(in, "after", json_integer(world->n));
    }
    json_t *out = contract_ok(contract_call(AC_STORE_TURN_OPEN, world->ids.owner, world->ids.thread, in));
    if (text) {
        note(world, out, parent);
    } else {
        assert_true(json_is_null(json_object_get(out, "message")));
        assert_int_equal(ac_json_peek_int(json_object_get(out, "thread"), "message_count", -1), world->n);
        json_decref(out);
    }
}

static json_t *close_in(const world_t *world, const char *run, const char *text, int64_t parent)
{
    json_t *in = contract_close_in(&world->ids, run, text);
    put_parent(in, world, parent);
    json_object_set_new(in, "after", json_integer(world->n));
    return in;
}

static void closes(world_t *world, const char *run, const char *text, int64_t parent)
{
    json_t *in = close_in(world, run, text, parent);
    note(world, contract_ok(contract_call(AC_STORE_TURN_CLOSE, world->ids.owner, world->ids.thread, in)), parent);
}

/* A whole turn below this message. */
static void turn(world_t *world, const char *text, int64_t parent)
{
    char run[AC_ID_SIZE];
    opens(world, run, text, parent);
    closes(world, run, "answer", world->n);
}

/* A further answer to this message. */
static void answer(world_t *world, int64_t question)
{
    char run[AC_ID_SIZE];
    opens(world, run, NULL, question);
    closes(world, run, "another answer", question);
}

static world_t line(int n_turns)
{
    world_t world = {.ids = contract_ids()};
    for (int i = 0; i < n_turns; i++) {
        turn(&world, "question", world.n);
    }
    return world;
}

/* The seqs of these messages as text: "1 2 5". Consumes list. */
static void assert_seqs(json_t *list, const char *wanted)
{
    char text[512] = "";
    json_t *message;
    size_t i;
    json_array_foreach(list, i, message)
    {
        size_t len = strlen(text);
        snprintf(text + len, sizeof(text) - len, "%s%d", i > 0 ? " " : "", (int)ac_json_peek_int(message, "seq", -1));
    }
    assert_string_equal(text, wanted);
}

static json_t *list_page(const world_t *world, bool all, ac_page_t page)
{
    ac_store_op_t *op = contract_op(AC_STORE_MESSAGE_LIST, world->ids.owner, world->ids.thread,
                                    all ? json_pack("{s:b}", "all", 1) : NULL);
    op->page = page;
    return contract_ok(contract_wait(op));
}

static void assert_list(const world_t *world, bool all, ac_page_t page, const char *wanted)
{
    json_t *out = list_page(world, all, page);
    assert_seqs(json_object_get(out, "data"), wanted);
    json_decref(out);
}

static void assert_path(const world_t *world, const char *wanted)
{
    assert_list(world, false, (ac_page_t){.limit = 50}, wanted);
    json_t *out = contract_ok(contract_call(AC_STORE_TURN_LOAD, world->ids.owner, world->ids.thread, NULL));
    assert_seqs(json_object_get(out, "messages"), wanted);
    json_decref(out);
}

/* leaf 0: null. */
static void assert_leaf(const world_t *world, int64_t leaf)
{
    json_t *thread = contract_ok(contract_call(AC_STORE_THREAD_GET, world->ids.owner, world->ids.thread, NULL));
    assert_non_null(json_object_get(thread, "leaf"));
    assert_string_equal(ac_json_peek_string(thread, "leaf", ""), leaf ? world->message[leaf] : "");
    assert_int_equal(ac_json_peek_int(thread, "message_count", -1), world->n);
    json_decref(thread);
}

static ac_store_op_t *switches(const world_t *world, const char *id)
{
    char at[AC_TIME_SIZE];
    return contract_call(AC_STORE_THREAD_UPDATE, world->ids.owner, world->ids.thread,
                         json_pack("{s:s, s:s}", "leaf", id, "updated_at", contract_time(at, 30)));
}

static void assert_parent(const world_t *world, const json_t *list, size_t i, int64_t parent)
{
    const json_t *message = json_array_get(list, i);
    assert_non_null(json_object_get(message, "parent_id"));
    assert_string_equal(ac_json_peek_string(message, "parent_id", ""), parent > 0 ? world->message[parent] : "");
}

#endif
