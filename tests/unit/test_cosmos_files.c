/* SPDX-License-Identifier: Apache-2.0 */
/* Files of messages in the Cosmos DB store, when the turn that attached them dies or fails, or two turns want one
 * file. */
#include "cosmos_harness.h"

#include <pthread.h>

#define LATER "2099-01-01T00:00:00.000Z"

static cosmos_server_t server;

static void make_threads(contract_ids_t *ids, size_t n)
{
    ids[0] = contract_ids();
    for (size_t i = 0; i < n; i++) {
        ids[i] = ids[0];
        ac_id_make(ids[i].thread, "thread_");
        contract_done(
            contract_call(AC_STORE_THREAD_CREATE, ids[0].owner, NULL, contract_thread(ids[i].thread, "T", 1)));
    }
}

/* Whether a message of the thread has the file. */
static bool has_file(const contract_ids_t *ids, const char *file)
{
    json_t *list = contract_ok(contract_call(AC_STORE_MESSAGE_LIST, ids->owner, ids->thread, NULL)), *message;
    bool has = false;
    size_t i;
    json_array_foreach(json_object_get(list, "data"), i, message)
    {
        const json_t *first = json_array_get(json_object_get(message, "attachments"), 0);
        has = has || strcmp(ac_json_peek_string(first, "file_id", ""), file) == 0;
    }
    json_decref(list);
    return has;
}

/* The thread that the file belongs to, "" for none; false: there is no such file. */
static bool file_thread(char thread[AC_ID_SIZE], const char *owner, const char *file)
{
    ac_store_op_t *op = contract_call(AC_STORE_FILE_GET, owner, file, NULL);
    bool found = op->err.kind == AC_OK;
    snprintf(thread, AC_ID_SIZE, "%s", ac_json_peek_string(op->out, "thread_id", ""));
    ac_store_op_free(op);
    return found;
}

static ac_kind_e attach(const contract_ids_t *ids, const char *file)
{
    return contract_try(NULL, AC_STORE_TURN_OPEN, ids, contract_files_in(ids, false, json_pack("[s]", file)));
}

static void sweep(void)
{
    ac_store_op_t *op = contract_op(AC_STORE_FILE_SWEEP, NULL, NULL, json_pack("{s:s, s:[]}", "before", LATER, "ids"));
    op->page.limit = 50;
    contract_done(contract_wait(op));
}

/* ---- processes that die ---- */

/* The process dies after its n-th request of a turn with a file. repeats: the message is sent again, in another thread.
 * Returns whether the turn was opened. */
static bool die_after(cosmos_child_t *living, int n, bool repeats)
{
    cosmos_child_t dead;
    contract_ids_t ids[2];
    char file[AC_ID_SIZE], order[64], thread[AC_ID_SIZE];
    cosmos_child_open(&dead, &server, "");
    make_threads(ids, 2);
    contract_file(file, ids[0].owner, 1, NULL);
    snprintf(order, sizeof(order), "{\"stop_after\":%d}", n);
    cosmos_server_order(&server, order);
    ac_kind_e kind = attach(&ids[0], file);
    cosmos_child_kill(&dead, &server);

    contract_use(&living->store);
    bool stored = has_file(&ids[0], file);
    assert_true(stored || kind != AC_OK);
    if (repeats) {
        assert_int_equal(attach(&ids[1], file), stored ? AC_INVALID_REQUEST : AC_OK);
        assert_true(has_file(&ids[1], file) == !stored);
    }
    sweep();
    assert_true(file_thread(thread, ids[0].owner, file) == (stored || repeats));
    assert_string_equal(thread, stored ? ids[0].thread : repeats ? ids[1].thread : "");
    return kind == AC_OK;
}

static void test_a_process_dies_at_any_request_of_a_turn_with_a_file(void **state)
{
    cosmos_child_open(*state, &server, "");
    for (int repeats = 0; repeats <= 1; repeats++) {
        for (int n = 0; !die_after(*state, n, repeats); n++) {
            assert_in_range(n, 0, 20);
        }
    }
}

/* ---- a turn that fails, and turns at the same time ---- */

typedef struct turn_t {
    pthread_t thread;
    contract_ids_t ids;
    const char *file;
    ac_kind_e kind;
} turn_t;

static void *turn_main(void *baton)
{
    turn_t *turn = baton;
    turn->kind = attach(&turn->ids, turn->file);
    return NULL;
}

/* One turn has the file, and it is the one whose message does. */
static void assert_one_has_it(turn_t *turns, size_t n, const char *file)
{
    char thread[AC_ID_SIZE];
    int n_have = 0;
    sweep();
    assert_true(file_thread(thread, turns[0].ids.owner, file));
    for (size_t i = 0; i < n; i++) {
        bool has = has_file(&turns[i].ids, file);
        n_have += has;
        assert_int_equal(turns[i].kind, has ? AC_OK : AC_INVALID_REQUEST);
        assert_true(!has || strcmp(thread, turns[i].ids.thread) == 0);
    }
    assert_int_equal(n_have, 1);
}

static void turn_start(turn_t *turn, const contract_ids_t *ids, const char *file)
{
    *turn = (turn_t){.ids = *ids, .file = file};
    assert_int_equal(pthread_create(&turn->thread, NULL, turn_main, turn), 0);
}

/* The first turn has attached the file and cannot store its message. Another thread takes the file meanwhile. */
static void test_a_file_is_taken_over_from_a_turn_under_way(void **state)
{
    turn_t turns[2];
    contract_ids_t ids[2];
    char file[AC_ID_SIZE], thread[AC_ID_SIZE] = "";
    cosmos_child_open(*state, &server, "");
    make_threads(ids, 2);
    contract_file(file, ids[0].owner, 1, NULL);
    cosmos_server_order(
        &server, "{\"faults\":[{\"match\":\"POST .*/messages/docs\",\"batch\":true,\"n\":100000,\"status\":503}]}");
    for (int i = 0; i < 2; i++) {
        turn_start(&turns[i], &ids[i], file);
        COSMOS_UNTIL(file_thread(thread, ids[0].owner, file) && strcmp(thread, ids[i].thread) == 0);
    }
    cosmos_server_order(&server, "{\"clear\":true}");
    for (int i = 0; i < 2; i++) {
        pthread_join(turns[i].thread, NULL);
    }
    assert_one_has_it(turns, 2, file);
}

static void test_many_turns_want_one_file(void **state)
{
    enum { THREADS = 4, ROUNDS = 5 };
    cosmos_child_open(*state, &server, "");
    for (int round = 0; round < ROUNDS; round++) {
        turn_t turns[THREADS];
        contract_ids_t ids[THREADS];
        char file[AC_ID_SIZE];
        make_threads(ids, THREADS);
        contract_file(file, ids[0].owner, 1, NULL);
        cosmos_server_order(&server, "{\"chaos\":{\"throttle\":0.1,\"contended\":0.1,\"cut\":0.05}}");
        for (int i = 0; i < THREADS; i++) {
            turn_start(&turns[i], &ids[i], file);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(turns[i].thread, NULL);
        }
        cosmos_server_order(&server, "{\"clear\":true}");
        assert_one_has_it(turns, THREADS, file);
    }
}

/* The turn gets an error, and its client sends the file in another thread. */
static void test_a_file_of_a_failed_turn_is_free(void **state)
{
    contract_ids_t ids[2];
    char file[AC_ID_SIZE];
    cosmos_child_open(*state, &server, "");
    make_threads(ids, 2);
    contract_file(file, ids[0].owner, 1, NULL);
    cosmos_server_order(
        &server, "{\"faults\":[{\"match\":\"POST .*/messages/docs\",\"batch\":true,\"n\":100000,\"status\":400}]}");
    assert_int_equal(attach(&ids[0], file), AC_STORE_ERROR);
    cosmos_server_order(&server, "{\"clear\":true}");
    assert_int_equal(attach(&ids[1], file), AC_OK);
    assert_int_equal(attach(&ids[0], file), AC_INVALID_REQUEST);
    assert_true(!has_file(&ids[0], file) && has_file(&ids[1], file));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        COSMOS_TEST(test_a_file_of_a_failed_turn_is_free),
        COSMOS_TEST(test_a_file_is_taken_over_from_a_turn_under_way),
        COSMOS_TEST(test_many_turns_want_one_file),
        COSMOS_TEST(test_a_process_dies_at_any_request_of_a_turn_with_a_file),
    };
    return cosmos_main(&server, "cosmos_files", tests, sizeof(tests) / sizeof(*tests));
}
