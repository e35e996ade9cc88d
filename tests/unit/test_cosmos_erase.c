/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store erases an owner completely, and counts right, whichever request is the last one of a process; and
 * readers see nothing of it from the first one on. */
#include "cosmos_harness.h"

#define SECRET "daisies-7391"
#define BEFORE "0000-00-00T00:00:00.001Z"

static cosmos_server_t server;

static json_t *erase_in(void)
{
    char id[AC_ID_SIZE];
    ac_id_make(id, "erasure_");
    return json_pack("{s:s, s:o, s:s}", "id", id, "at", ac_time_json(apr_time_now()), "recent",
                     "2000-01-01T00:00:00.000Z");
}

static void file_make(const char *owner, const char *thread_id)
{
    char id[AC_ID_SIZE];
    ac_id_make(id, "file_");
    json_t *file = json_pack("{s:s, s:s, s:s, s:i, s:s, s:o, s:s?, s:s}", "id", id, "name", SECRET, "type",
                             "text/plain", "size", 3, "sha256",
                             "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "created_at",
                             ac_time_json(apr_time_now()), "thread_id", thread_id, "status", "uploaded");
    contract_done(contract_call(AC_STORE_FILE_PUT, owner, NULL,
                                json_pack("{s:o, s:{s:i, s:i, s:i, s:i}}", "file", file, "limits", "owner_files", 10,
                                          "owner_bytes", 1000, "thread_files", 10, "thread_bytes", 1000)));
}

/* Two threads of an owner: one with an answer, a file and an Idempotency-Key, one with an active run; and a file in no
 * thread. */
static void fill(contract_ids_t *ids)
{
    contract_ids_t second;
    char run[AC_ID_SIZE] = "", active[AC_ID_SIZE] = "";
    *ids = second = contract_ids();
    ac_id_make(second.thread, "thread_");
    contract_open(ids, run, SECRET, true);
    contract_close(ids, run, SECRET);
    file_make(ids->owner, ids->thread);
    file_make(ids->owner, NULL);
    ac_id_make(active, "run_");
    json_t *in = contract_open_in(&second, active, SECRET, true);
    json_object_set_new(in, "idempotency",
                        json_pack("{s:s, s:s, s:s}", "key", "k-1", "request_hash", "h", "since",
                                  "2000-01-01T00:00:00.000Z"));
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids->owner, second.thread, in));
    COSMOS_UNTIL(cosmos_uncounted(&server) == 0);
}

/* How many documents have this text. */
static int documents_with(const char *text)
{
    int n = 0;
    static const char *const orders[] = {"{\"dump\":\"messages\"}", "{\"dump\":\"threads\"}"};
    for (int i = 0; i < 2; i++) {
        json_t *answer = cosmos_server_tell(&server, orders[i]), *document;
        size_t k;
        json_array_foreach(json_object_get(answer, "documents"), k, document)
        {
            char *dump = json_dumps(document, 0);
            n += strstr(dump, text) != NULL;
            free(dump);
        }
        json_decref(answer);
    }
    return n;
}

/* Fails every request after the first n; n -1: none. */
static void fail_after(int n)
{
    char order[160] = "{\"clear\":true}";
    if (n >= 0) {
        snprintf(order, sizeof(order), "{\"faults\":[{\"match\":\".*\",\"skip\":%d,\"n\":100000,\"status\":400}]}", n);
    }
    cosmos_server_order(&server, order);
}

static json_t *purge_once(ac_kind_e *pkind)
{
    ac_store_op_t *op = contract_call(AC_STORE_PURGE, NULL, NULL, json_pack("{s:s}", "before", BEFORE));
    json_t *out = json_incref(op->out);
    *pkind = op->err.kind;
    ac_store_op_free(op);
    return out;
}

static bool end_once(const json_t *erasure)
{
    ac_store_op_t *op = contract_call(AC_STORE_OWNER_ERASED, ac_json_peek_string(erasure, "owner", ""), NULL,
                                      json_pack("{s:O}", "mark", json_object_get(erasure, "mark")));
    bool fine = op->status == APR_SUCCESS && json_is_true(json_object_get(op->out, "ended"));
    ac_store_op_free(op);
    return fine;
}

static void assert_counts(const json_t *erasure)
{
    assert_int_equal(ac_json_peek_int(erasure, "threads", -1), 2);
    assert_int_equal(ac_json_peek_int(erasure, "messages", -1), 3);
    assert_int_equal(ac_json_peek_int(erasure, "runs", -1), 2);
    assert_int_equal(ac_json_peek_int(erasure, "files", -1), 2);
    assert_int_equal(json_array_size(json_object_get(json_object_get(erasure, "traces"), "files")), 2);
    assert_int_equal(json_array_size(json_object_get(json_object_get(erasure, "traces"), "runs")), 2);
    assert_int_equal(json_array_size(json_object_get(json_object_get(erasure, "traces"), "threads")), 2);
}

/* What another process does: it continues the erasure, and ends it. */
static void continue_erasure(const contract_ids_t *ids)
{
    ac_kind_e kind;
    json_t *out = purge_once(&kind), *erasure = json_array_get(json_object_get(out, "erasures"), 0);
    assert_int_equal(kind, AC_OK);
    assert_int_equal(json_array_size(json_object_get(out, "erasures")), 1);
    assert_counts(erasure);
    assert_true(end_once(erasure));
    json_decref(out);
    assert_int_equal(documents_with(ids->owner), 0);
    assert_int_equal(documents_with(SECRET), 0);
}

/* Returns false when the process did all that it had to do within the n requests. */
static bool erase_within(int n, cosmos_child_t *dead)
{
    contract_ids_t ids;
    ac_kind_e kind;
    bool whole = false;
    cosmos_child_open(dead, &server, "");
    fill(&ids);
    fail_after(n);
    ac_store_op_t *op = contract_call(AC_STORE_OWNER_ERASE, ids.owner, NULL, erase_in());
    bool accepted = op->status == APR_SUCCESS;
    ac_store_op_free(op);
    if (accepted) {
        json_t *out = purge_once(&kind);
        const json_t *erasure = json_array_get(json_object_get(out, "erasures"), 0);
        whole = erasure && end_once(erasure);
        json_decref(out);
    }
    cosmos_child_kill(dead, &server);
    fail_after(-1);
    cosmos_child_t next;
    cosmos_child_open(&next, &server, "");
    if (whole) {
        assert_int_equal(documents_with(ids.owner), 0);
    } else if (accepted) {
        continue_erasure(&ids);
    } else { /* nothing has happened, or it was accepted without an answer */
        json_t *out = purge_once(&kind);
        json_t *erasure = json_array_get(json_object_get(out, "erasures"), 0);
        if (erasure) {
            assert_counts(erasure);
            assert_true(end_once(erasure));
            assert_int_equal(documents_with(ids.owner), 0);
        } else {
            contract_gapless(&ids, 2);
            contract_done(contract_call(AC_STORE_OWNER_ERASE, ids.owner, NULL, erase_in()));
            continue_erasure(&ids);
        }
        json_decref(out);
    }
    cosmos_child_stop(&next);
    return !whole;
}

static void test_a_kill_after_each_request(void **state)
{
    cosmos_child_t *dead = *state;
    for (int n = 0; erase_within(n, dead); n++) {
        assert_in_range(n, 0, 200);
    }
}

static void test_readers_see_nothing_from_the_first_write_on(void **state)
{
    cosmos_child_t *child = *state;
    contract_ids_t ids;
    cosmos_child_open(child, &server, "");
    fill(&ids);
    cosmos_server_order(&server, "{\"faults\":[{\"match\":\"PUT /dbs/.*/messages/.*\",\"n\":100000,\"status\":400}]}");
    json_t *erasure = contract_ok(contract_call(AC_STORE_OWNER_ERASE, ids.owner, NULL, erase_in()));
    assert_null(json_object_get(erasure, "threads")); /* not counted */
    json_decref(erasure);
    assert_true(documents_with(SECRET) > 0);
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, ids.owner, NULL, NULL);
    op->page.want_total = true;
    json_t *list = contract_ok(contract_wait(op));
    assert_int_equal(json_array_size(json_object_get(list, "data")), 0);
    assert_int_equal(ac_json_peek_int(list, "total", -1), 0);
    json_decref(list);
    list = contract_ok(contract_call(AC_STORE_FILE_LIST, ids.owner, NULL, NULL));
    assert_int_equal(json_array_size(json_object_get(list, "data")), 0);
    json_decref(list);
    contract_kind(contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_MESSAGE_LIST, ids.owner, ids.thread, NULL), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_RUN_LIST, ids.owner, ids.thread, NULL), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_THREAD_UPDATE, ids.owner, ids.thread, json_pack("{s:s}", "title", "x")),
                  AC_NOT_FOUND);
    fail_after(-1);
    continue_erasure(&ids);
    cosmos_child_stop(child);
}

/* The second machine reads the markers with its purge, or once in each lease. */
static void test_another_machine_hides_too(void **state)
{
    cosmos_child_t *child = *state, other;
    contract_ids_t ids;
    ac_kind_e kind;
    cosmos_child_open(&other, &server, "lease=5s");
    cosmos_child_open(child, &server, "");
    fill(&ids);
    cosmos_server_order(&server, "{\"faults\":[{\"match\":\"PUT /dbs/.*/messages/.*\",\"n\":100000,\"status\":400}]}");
    contract_done(contract_call(AC_STORE_OWNER_ERASE, ids.owner, NULL, erase_in()));
    contract_use(&other.store);
    for (kind = AC_OK; kind != AC_NOT_FOUND; apr_sleep(20000)) {
        ac_store_op_t *op = contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL);
        kind = op->err.kind;
        ac_store_op_free(op);
    }
    fail_after(-1);
    continue_erasure(&ids);
    cosmos_child_stop(child);
    cosmos_child_stop(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        COSMOS_TEST(test_readers_see_nothing_from_the_first_write_on),
        COSMOS_TEST(test_another_machine_hides_too),
        COSMOS_TEST(test_a_kill_after_each_request),
    };
    return cosmos_main(&server, "cosmos_erase", tests, sizeof(tests) / sizeof(*tests));
}
