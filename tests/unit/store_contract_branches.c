/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about branches: edited questions, further answers, the current path. */
#include "branches_world.h"

/* ---- lines ---- */

static void test_a_line_has_no_leaf_and_no_siblings(void **state)
{
    (void)state;
    world_t world = line(2);
    char run[AC_ID_SIZE];
    opens(&world, run, "without a parent", CURRENT);
    closes(&world, run, "answer", CURRENT);
    assert_leaf(&world, 0);
    assert_path(&world, "1 2 3 4 5 6");
    json_t *out = list_page(&world, true, (ac_page_t){.limit = 50}), *data = json_object_get(out, "data");
    assert_seqs(data, "1 2 3 4 5 6");
    for (size_t i = 0; i < 6; i++) {
        assert_parent(&world, data, i, (int64_t)i);
        assert_null(json_object_get(json_array_get(data, i), "siblings"));
    }
    json_decref(out);
    out = contract_ok(contract_call(AC_STORE_TURN_LOAD, world.ids.owner, world.ids.thread, NULL));
    assert_string_equal(ac_json_peek_string(out, "parent_id", ""), world.message[6]);
    assert_int_equal(ac_json_peek_int(out, "parent_seq", -1), 6);
    json_decref(out);
    contract_done(switches(&world, world.message[3]));
    assert_path(&world, "1 2 3 4 5 6");
    assert_leaf(&world, 0);
}

static void test_an_empty_thread_has_an_empty_path(void **state)
{
    (void)state;
    world_t world = {.ids = contract_ids()};
    contract_done(
        contract_call(AC_STORE_THREAD_CREATE, world.ids.owner, NULL, contract_thread(world.ids.thread, NULL, 1)));
    json_t *out = contract_ok(contract_call(AC_STORE_TURN_LOAD, world.ids.owner, world.ids.thread, NULL));
    assert_true(json_is_null(json_object_get(out, "parent_id")));
    assert_int_equal(ac_json_peek_int(out, "parent_seq", -1), 0);
    json_decref(out);
    assert_path(&world, "");
    contract_kind(switches(&world, "msg_none"), AC_NOT_FOUND);
}

/* ---- branches ---- */

static void test_an_edited_question_is_a_sibling(void **state)
{
    (void)state;
    world_t world = line(2);
    turn(&world, "put differently", 2);
    assert_path(&world, "1 2 5 6");
    assert_leaf(&world, 6);
    assert_list(&world, true, (ac_page_t){.limit = 50}, "1 2 3 4 5 6");
    json_t *out = list_page(&world, false, (ac_page_t){.limit = 50}), *data = json_object_get(out, "data");
    assert_parent(&world, data, 2, 2);
    assert_parent(&world, data, 3, 5);
    contract_equal(json_incref(json_object_get(json_array_get(data, 2), "siblings")),
                   json_pack("[s, s]", world.message[3], world.message[5]));
    assert_int_equal(ac_json_peek_int(json_array_get(data, 2), "sibling_index", -1), 1);
    assert_null(json_object_get(json_array_get(data, 3), "siblings"));
    assert_null(json_object_get(json_array_get(data, 0), "siblings"));
    json_decref(out);
}

static void test_the_first_question_edited_is_another_root(void **state)
{
    (void)state;
    world_t world = line(2);
    turn(&world, "another beginning", 0);
    assert_path(&world, "5 6");
    turn(&world, "on with it", 6);
    assert_path(&world, "5 6 7 8");
    json_t *out = list_page(&world, true, (ac_page_t){.limit = 50}), *data = json_object_get(out, "data");
    assert_seqs(data, "1 2 3 4 5 6 7 8");
    assert_parent(&world, data, 4, 0);
    assert_parent(&world, data, 2, 2);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(json_array_size(json_object_get(json_array_get(data, i), "siblings")), i % 4 == 0 ? 2 : 0);
    }
    json_decref(out);
}

static void test_a_further_answer(void **state)
{
    (void)state;
    world_t world = line(2);
    char run[AC_ID_SIZE];
    opens(&world, run, NULL, 1);
    assert_leaf(&world, 0); /* until there is an answer */
    closes(&world, run, "another", 1);
    assert_path(&world, "1 5");
    assert_leaf(&world, 5);
    answer(&world, 1);
    assert_path(&world, "1 6");
    json_t *out = list_page(&world, false, (ac_page_t){.limit = 50}), *data = json_object_get(out, "data");
    contract_equal(json_incref(json_object_get(json_array_get(data, 1), "siblings")),
                   json_pack("[s, s, s]", world.message[2], world.message[5], world.message[6]));
    assert_int_equal(ac_json_peek_int(json_array_get(data, 1), "sibling_index", -1), 2);
    json_decref(out);
    json_t *stored = contract_ok(contract_call(AC_STORE_RUN_GET, world.ids.owner, run, NULL));
    assert_string_equal(ac_json_peek_string(stored, "status", ""), "completed");
    json_decref(stored);
}

static void test_a_further_answer_that_fails_changes_nothing(void **state)
{
    (void)state;
    world_t world = line(2);
    char run[AC_ID_SIZE];
    opens(&world, run, NULL, 1);
    json_t *in = close_in(&world, run, NULL, 1);
    contract_equal(contract_ok(contract_call(AC_STORE_TURN_CLOSE, world.ids.owner, world.ids.thread, in)),
                   json_pack("{s:n}", "message"));
    assert_leaf(&world, 0);
    assert_path(&world, "1 2 3 4");
    turn(&world, "on", 4);
    assert_path(&world, "1 2 3 4 5 6");
}

static void test_an_opening_without_a_message_is_made_once(void **state)
{
    (void)state;
    world_t world = line(1);
    char run[AC_ID_SIZE], second[AC_ID_SIZE];
    ac_id_make(run, "run_");
    ac_id_make(second, "run_");
    for (int i = 0; i < 2; i++) {
        json_t *in = json_pack("{s:n, s:o, s:n, s:i, s:i}", "message", "run",
                               contract_run(run, world.ids.thread, "in_progress", 10), "title", "parent_seq", 1,
                               "after", 2);
        if (i > 0) {
            json_object_set_new(in, "retry", json_true());
        }
        contract_done(contract_call(AC_STORE_TURN_OPEN, world.ids.owner, world.ids.thread, in));
    }
    json_t *in = json_pack("{s:n, s:o, s:n, s:i, s:i}", "message", "run",
                           contract_run(second, world.ids.thread, "in_progress", 10), "title", "parent_seq", 1, "after",
                           2);
    ac_store_op_t *op = contract_call(AC_STORE_TURN_OPEN, world.ids.owner, world.ids.thread, in);
    assert_int_equal(op->err.kind, AC_RUN_IN_PROGRESS);
    assert_string_equal(ac_json_peek_string(op->out, "run_id", ""), run);
    ac_store_op_free(op);
    in = close_in(&world, run, "once", 1);
    contract_done(contract_call(AC_STORE_TURN_CLOSE, world.ids.owner, world.ids.thread, json_deep_copy(in)));
    json_t *out = contract_ok(contract_call(AC_STORE_TURN_CLOSE, world.ids.owner, world.ids.thread, in));
    note(&world, out, 1);
    assert_path(&world, "1 3");
    in = json_pack("{s:n, s:o, s:n, s:i, s:i}", "message", "run",
                   contract_run(second, world.ids.thread, "in_progress", 10), "title", "parent_seq", 1, "after", 2);
    contract_kind(contract_call(AC_STORE_TURN_OPEN, world.ids.owner, world.ids.thread, in), AC_PRECONDITION_FAILED);
}

/* ---- paths ---- */

/*  1 2 3 4 5 6, and below 2: 7 8 9 10, below 8: 11 12, below 7: 13 */
static world_t tree(void)
{
    world_t world = line(3);
    turn(&world, "edited", 2);
    turn(&world, "on", 8);
    turn(&world, "edited, too", 8);
    answer(&world, 7);
    return world;
}

static void test_switching(void **state)
{
    (void)state;
    world_t world = tree();
    assert_path(&world, "1 2 7 13");
    contract_done(switches(&world, world.message[3]));
    assert_path(&world, "1 2 3 4 5 6");
    assert_leaf(&world, 6);
    json_t *thread = contract_ok(switches(&world, world.message[8]));
    assert_string_equal(ac_json_peek_string(thread, "leaf", ""), world.message[12]);
    char at[AC_TIME_SIZE];
    assert_string_equal(ac_json_peek_string(thread, "updated_at", ""), contract_time(at, 30));
    json_decref(thread);
    assert_path(&world, "1 2 7 8 11 12");
    contract_done(switches(&world, world.message[1]));
    assert_path(&world, "1 2 7 13");
    contract_done(switches(&world, world.message[9]));
    turn(&world, "below 10", CURRENT);
    assert_path(&world, "1 2 7 8 9 10 14 15");
    world_t other = line(1);
    contract_kind(switches(&world, other.message[1]), AC_NOT_FOUND);
    ac_store_op_t *op = switches(&world, "msg_none");
    assert_string_equal(op->err.pointer, "/leaf");
    contract_kind(op, AC_NOT_FOUND);
    memcpy(world.ids.owner, other.ids.owner, sizeof(world.ids.owner));
    contract_kind(switches(&world, world.message[1]), AC_NOT_FOUND);
}

static void test_no_switch_while_a_run_is_active(void **state)
{
    (void)state;
    world_t world = tree();
    char run[AC_ID_SIZE];
    opens(&world, run, NULL, 1);
    ac_store_op_t *op = switches(&world, world.message[3]);
    assert_string_equal(ac_json_peek_string(op->out, "run_id", ""), run);
    contract_kind(op, AC_RUN_IN_PROGRESS);
    closes(&world, run, "done", 1);
    contract_done(switches(&world, world.message[3]));
    assert_path(&world, "1 2 3 4 5 6");
}

static void test_pages_of_a_path(void **state)
{
    (void)state;
    world_t world = tree();
    contract_done(switches(&world, world.message[11]));
    assert_path(&world, "1 2 7 8 11 12");
    assert_list(&world, false, (ac_page_t){.limit = 3}, "1 2 7");
    json_t *out = list_page(&world, false, (ac_page_t){.limit = 3});
    assert_true(json_is_true(json_object_get(out, "has_more")));
    assert_int_equal(ac_json_peek_int(out, "next", -1), 7);
    json_decref(out);
    assert_list(&world, false, (ac_page_t){.limit = 3, .after_seq = 7}, "8 11 12");
    out = list_page(&world, false, (ac_page_t){.limit = 3, .after_seq = 7});
    assert_false(json_is_true(json_object_get(out, "has_more")));
    json_decref(out);
    assert_list(&world, false, (ac_page_t){.limit = 3, .descending = true}, "12 11 8");
    assert_list(&world, false, (ac_page_t){.limit = 9, .descending = true, .before_seq = 8}, "7 2 1");
    assert_list(&world, false, (ac_page_t){.limit = 9, .after_seq = 1, .before_seq = 12}, "2 7 8 11");
    assert_list(&world, true, (ac_page_t){.limit = 4, .after_seq = 5}, "6 7 8 9");
    assert_list(&world, true, (ac_page_t){.limit = 3, .descending = true}, "13 12 11");
}

static json_t *load_in(const world_t *world, json_t *in, int limit)
{
    ac_store_op_t *op = contract_op(AC_STORE_TURN_LOAD, world->ids.owner, world->ids.thread, in);
    op->page.limit = limit;
    return contract_ok(contract_wait(op));
}

static void assert_load(const world_t *world, json_t *in, const char *wanted, int64_t parent)
{
    json_t *out = load_in(world, in, 4);
    assert_seqs(json_object_get(out, "messages"), wanted);
    assert_string_equal(ac_json_peek_string(out, "parent_id", ""), parent > 0 ? world->message[parent] : "");
    assert_int_equal(ac_json_peek_int(out, "parent_seq", -1), parent);
    assert_int_equal(ac_json_peek_int(json_object_get(out, "thread"), "message_count", -1), world->n);
    json_decref(out);
}

static void test_load_of_another_path(void **state)
{
    (void)state;
    world_t world = tree();
    assert_load(&world, NULL, "1 2 7 13", 13);
    assert_load(&world, json_pack("{s:n}", "parent_id"), "", 0);
    assert_load(&world, json_pack("{s:s}", "parent_id", world.message[6]), "3 4 5 6", 6);
    assert_load(&world, json_pack("{s:s}", "parent_id", world.message[10]), "7 8 9 10", 10);
    assert_load(&world, json_pack("{s:s}", "parent_id", world.message[7]), "1 2 7", 7);
    assert_load(&world, json_pack("{s:s}", "regenerate", world.message[12]), "2 7 8 11", 11);
    assert_load(&world, json_pack("{s:s}", "regenerate", world.message[11]), "2 7 8 11", 11);
    assert_load(&world, json_pack("{s:s}", "regenerate", world.message[2]), "1", 1);
    world_t other = line(1);
    static const char *const members[] = {"parent_id", "regenerate"};
    for (int i = 0; i < 2; i++) {
        ac_store_op_t *op = contract_call(AC_STORE_TURN_LOAD, world.ids.owner, world.ids.thread,
                                          json_pack("{s:s}", members[i], other.message[1]));
        assert_string_equal(op->err.pointer + 1, members[i]);
        contract_kind(op, AC_NOT_FOUND);
    }
}

/* A process died. Before its answer is stored, it has newer messages. */
static void test_a_late_answer_stays_below_its_question(void **state)
{
    (void)state;
    world_t world = line(2);
    char run[AC_ID_SIZE], at[AC_TIME_SIZE];
    opens(&world, run, NULL, 1);
    json_t *in = close_in(&world, run, "partial", 1);
    json_t *ended = contract_close_in(&world.ids, run, NULL);
    json_object_set_new(json_object_get(ended, "run"), "status", json_string("interrupted"));
    contract_done(contract_call(AC_STORE_TURN_CLOSE, world.ids.owner, world.ids.thread, ended));
    turn(&world, "on", 4);
    json_object_set_new(in, "late", json_true());
    json_object_set_new(json_object_get(in, "run"), "status", json_string("interrupted"));
    json_object_set_new(json_object_get(in, "run"), "completed_at", json_string(contract_time(at, 40)));
    note(&world, contract_ok(contract_call(AC_STORE_TURN_CLOSE, world.ids.owner, world.ids.thread, in)), 1);
    assert_path(&world, "1 2 3 4 5 6");
    assert_leaf(&world, 6);
    contract_done(switches(&world, world.message[7]));
    assert_path(&world, "1 7");
}

static void test_branches_are_moved(void **state)
{
    (void)state;
    world_t world = tree(), moved = world;
    json_t *records, *record = NULL, *out, *list, *message, *next = json_null();
    size_t i;
    contract_done(switches(&world, world.message[11]));
    do {
        ac_store_op_t *op = contract_op(AC_STORE_EXPORT_THREADS, NULL, NULL, json_pack("{s:o}", "after", next));
        op->page.limit = 50;
        records = contract_ok(contract_wait(op));
        json_array_foreach(json_object_get(records, "data"), i, message)
        {
            if (strcmp(ac_json_peek_string(message, "id", ""), world.ids.thread) == 0) {
                record = json_incref(message);
            }
        }
        next = json_incref(json_object_get(records, "next"));
        json_decref(records);
    } while (json_is_string(next));
    json_decref(next);
    assert_non_null(record);
    assert_true(json_is_object(json_object_get(record, "tree")));
    ac_store_op_t *op = contract_op(AC_STORE_EXPORT_MESSAGES, NULL, world.ids.thread, NULL);
    op->page.limit = 50;
    out = contract_ok(contract_wait(op));
    list = json_object_get(out, "data");
    assert_seqs(list, "1 2 3 4 5 6 7 8 9 10 11 12 13");
    assert_parent(&world, list, 6, 2);

    ac_id_make(moved.ids.thread, "thread_");
    for (i = 1; i <= 13; i++) {
        ac_id_make(moved.message[i], "msg_");
    }
    json_array_foreach(list, i, message)
    {
        json_object_set_new(message, "id", json_string(moved.message[i + 1]));
        for (size_t k = 1; k <= 13; k++) {
            if (strcmp(ac_json_peek_string(message, "parent_id", ""), world.message[k]) == 0) {
                json_object_set_new(message, "parent_id", json_string(moved.message[k]));
            }
        }
    }
    json_object_set_new(record, "id", json_string(moved.ids.thread));
    json_object_set_new(json_object_get(json_object_get(record, "tree"), "leaf"), "id", json_string(moved.message[12]));
    contract_done(contract_call(AC_STORE_IMPORT, NULL, moved.ids.thread,
                                json_pack("{s:o, s:O, s:[]}", "thread", record, "messages", list, "runs")));
    json_decref(out);
    assert_path(&moved, "1 2 7 8 11 12");
    assert_leaf(&moved, 12);
    out = list_page(&moved, true, (ac_page_t){.limit = 50});
    assert_parent(&moved, json_object_get(out, "data"), 0, 0);
    assert_parent(&moved, json_object_get(out, "data"), 12, 7);
    json_decref(out);
    turn(&moved, "on", 12);
    assert_path(&moved, "1 2 7 8 11 12 14 15");
}

static void test_branches_are_deleted_with_their_thread(void **state)
{
    (void)state;
    world_t world = tree();
    char at[AC_TIME_SIZE];
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_DELETE, world.ids.owner, world.ids.thread,
                                    json_pack("{s:s}", "deleted_at", contract_time(at, 50)));
    op->hard = true;
    contract_done(contract_wait(op));
    contract_done(
        contract_call(AC_STORE_THREAD_CREATE, world.ids.owner, NULL, contract_thread(world.ids.thread, "again", 1)));
    world.n = 0;
    assert_leaf(&world, 0);
    assert_list(&world, true, (ac_page_t){.limit = 50}, "");
}

/* Adds `earlier` to the `in` of an opening: n messages by turns, from this parent on. */
static void put_earlier(json_t *in, const char *parent_id, int n)
{
    char id[AC_ID_SIZE], before[AC_ID_SIZE];
    json_t *list = json_array(), *message = json_object_get(in, "message");
    snprintf(before, sizeof(before), "%s", parent_id);
    for (int i = 0; i < n; i++) {
        ac_id_make(id, "msg_");
        json_array_append_new(list, contract_message(id, i % 2 ? "assistant" : "user", "said before", 5));
        json_object_set_new(json_array_get(list, (size_t)i), "parent_id", *before ? json_string(before) : json_null());
        snprintf(before, sizeof(before), "%s", id);
    }
    json_object_set_new(message, "parent_id", json_string(before));
    json_object_set_new(in, "earlier", list);
}

/* The current path: its seqs in one text, and that each message follows the one before it. */
static void expect_path(const contract_ids_t *ids, const char *seqs)
{
    ac_store_op_t *op = contract_op(AC_STORE_MESSAGE_LIST, ids->owner, ids->thread, NULL);
    char found[256] = "", before[AC_ID_SIZE] = "";
    json_t *list, *message;
    size_t i;
    op->page.limit = AC_MAX_PAGE;
    list = contract_ok(contract_wait(op));
    json_array_foreach(json_object_get(list, "data"), i, message)
    {
        size_t len = strlen(found);
        snprintf(found + len, sizeof(found) - len, "%d ", (int)ac_json_peek_int(message, "seq", -1));
        assert_string_equal(ac_json_peek_string(message, "parent_id", ""), before);
        snprintf(before, sizeof(before), "%s", ac_json_peek_string(message, "id", ""));
    }
    assert_string_equal(found, seqs);
    json_decref(list);
}

static void test_messages_that_come_with_a_turn(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE], first[AC_ID_SIZE];
    ac_id_make(run, "run_");
    json_t *in = contract_open_in(&ids, run, "hello", true);
    put_earlier(in, "", 2);
    snprintf(first, sizeof(first), "%s",
             ac_json_peek_string(json_array_get(json_object_get(in, "earlier"), 0), "id", ""));
    json_t *out = contract_ok(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, in));
    assert_int_equal(ac_json_peek_int(json_object_get(out, "message"), "seq", -1), 3);
    assert_int_equal(ac_json_peek_int(json_object_get(out, "thread"), "message_count", -1), 3);
    json_decref(out);
    assert_int_equal(contract_close(&ids, run, "answer"), 4);
    expect_path(&ids, "1 2 3 4 ");

    /* On a branch below the first one. */
    ac_id_make(run, "run_");
    in = contract_open_in(&ids, run, "again", false);
    put_earlier(in, first, 3);
    json_object_set_new(in, "parent_seq", json_integer(1));
    json_object_set_new(in, "after", json_integer(4));
    json_t *again = json_deep_copy(in);
    out = contract_ok(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, in));
    assert_int_equal(ac_json_peek_int(json_object_get(out, "message"), "seq", -1), 8);
    json_decref(out);
    json_object_set_new(again, "retry", json_true());
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, again));
    assert_int_equal(contract_close(&ids, run, "other answer"), 9);
    expect_path(&ids, "1 5 6 7 8 9 ");

    /* Nothing of it is stored after an error. */
    ac_id_make(run, "run_");
    in = contract_open_in(&ids, run, "late", false);
    put_earlier(in, first, 2);
    json_object_set_new(in, "after", json_integer(4));
    contract_kind(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, in), AC_PRECONDITION_FAILED);
    expect_path(&ids, "1 5 6 7 8 9 ");
}

static void test_as_many_messages_as_may_come_with_a_turn(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE];
    ac_id_make(run, "run_");
    json_t *in = contract_open_in(&ids, run, "hello", true);
    put_earlier(in, "", AC_STORE_MAX_EARLIER);
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, in));
    contract_gapless(&ids, AC_STORE_MAX_EARLIER + 1);
}

static void test_messages_without_a_run(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE];
    ac_id_make(run, "run_");
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, contract_open_in(&ids, run, "hello", true)));
    json_t *in = contract_open_in(&ids, run, "more", false);
    put_earlier(in, "", 2);
    json_object_set_new(in, "run", json_null());
    json_object_set_new(json_object_get(in, "message"), "run_id", json_null());
    json_t *others = json_deep_copy(in), *busy = json_deep_copy(in);
    contract_kind(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, busy), AC_RUN_IN_PROGRESS);
    assert_int_equal(contract_close(&ids, run, "answer"), 2);
    contract_kind(contract_call(AC_STORE_TURN_OPEN, "another", ids.thread, others), AC_NOT_FOUND);
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, in));
    ac_id_make(run, "run_");
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, contract_open_in(&ids, run, "go", false)));
    assert_int_equal(contract_close(&ids, run, "end"), 7);
    expect_path(&ids, "1 2 3 4 5 6 7 ");
}

int contract_branches(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_that_come_with_a_turn),
        cmocka_unit_test(test_as_many_messages_as_may_come_with_a_turn),
        cmocka_unit_test(test_messages_without_a_run),
        cmocka_unit_test(test_a_line_has_no_leaf_and_no_siblings),
        cmocka_unit_test(test_an_empty_thread_has_an_empty_path),
        cmocka_unit_test(test_an_edited_question_is_a_sibling),
        cmocka_unit_test(test_the_first_question_edited_is_another_root),
        cmocka_unit_test(test_a_further_answer),
        cmocka_unit_test(test_a_further_answer_that_fails_changes_nothing),
        cmocka_unit_test(test_an_opening_without_a_message_is_made_once),
        cmocka_unit_test(test_switching),
        cmocka_unit_test(test_no_switch_while_a_run_is_active),
        cmocka_unit_test(test_pages_of_a_path),
        cmocka_unit_test(test_load_of_another_path),
        cmocka_unit_test(test_a_late_answer_stays_below_its_question),
        cmocka_unit_test(test_branches_are_moved),
        cmocka_unit_test(test_branches_are_deleted_with_their_thread),
    };
    return _cmocka_run_group_tests(name, tests, sizeof(tests) / sizeof(*tests), NULL, NULL);
}
