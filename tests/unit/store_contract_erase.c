/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about OWNER_ERASE: nothing that the owner had is left, and nothing else is missing. */
#include "store_contract.h"

static json_t *erase_in(void)
{
    char id[AC_ID_SIZE];
    ac_id_make(id, "erasure_");
    return json_pack("{s:s, s:o}", "id", id, "at", ac_time_json(apr_time_now()));
}

/* Continues all erasures. Returns this owner's, if the store has nothing left of it; else NULL. */
static json_t *purged(const char *owner)
{
    json_t *out = contract_ok(
        contract_call(AC_STORE_PURGE, NULL, NULL, json_pack("{s:s}", "before", "0000-00-00T00:00:00.001Z")));
    json_t *erasure, *found = NULL;
    size_t i;
    json_array_foreach(json_object_get(out, "erasures"), i, erasure)
    {
        if (strcmp(ac_json_peek_string(erasure, "owner", ""), owner) == 0) {
            found = json_incref(erasure);
        }
    }
    json_decref(out);
    return found;
}

/* Ends the erasure; returns whether it was the current one. */
static bool ended(const json_t *erasure)
{
    json_t *in = json_pack("{s:O, s:O}", "mark", json_object_get(erasure, "mark"), "threads",
                           json_object_get(json_object_get(erasure, "traces"), "threads"));
    json_t *out =
        contract_ok(contract_call(AC_STORE_OWNER_ERASED, ac_json_peek_string(erasure, "owner", ""), NULL, in));
    bool was = json_is_true(json_object_get(out, "ended"));
    json_decref(out);
    return was;
}

static void purge(const char *owner)
{
    json_t *erasure = purged(owner);
    assert_non_null(erasure);
    assert_true(ended(erasure));
    json_decref(erasure);
    assert_null(purged(owner));
}

static void assert_counts(const json_t *erasure, int threads, int messages, int runs, int files)
{
    assert_int_equal(ac_json_peek_int(erasure, "threads", -1), threads);
    assert_int_equal(ac_json_peek_int(erasure, "messages", -1), messages);
    assert_int_equal(ac_json_peek_int(erasure, "runs", -1), runs);
    assert_int_equal(ac_json_peek_int(erasure, "files", -1), files);
}

static void turn(const contract_ids_t *ids, char run[AC_ID_SIZE], bool fresh)
{
    *run = '\0';
    contract_open(ids, run, "what?", fresh);
    contract_close(ids, run, "that");
}

static size_t n_threads(const char *owner)
{
    json_t *list = contract_ok(contract_call(AC_STORE_THREAD_LIST, owner, NULL, NULL));
    size_t n = json_array_size(json_object_get(list, "data"));
    json_decref(list);
    return n;
}

static void test_all_of_one_owner(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), second = contract_ids(), other = contract_ids();
    char run[AC_ID_SIZE], active[AC_ID_SIZE] = "", theirs[AC_ID_SIZE];
    snprintf(second.owner, sizeof(second.owner), "%s", ids.owner);
    turn(&ids, run, true);
    turn(&other, theirs, true);
    contract_open(&second, active, "and?", true);
    json_t *out = contract_ok(contract_call(AC_STORE_OWNER_ERASE, ids.owner, NULL, erase_in()));
    assert_string_equal(json_string_value(json_array_get(json_object_get(out, "active"), 0)), active);
    assert_counts(out, 2, 3, 2, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(n_threads(ids.owner), 0);
        contract_kind(contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL), AC_NOT_FOUND);
        contract_kind(contract_call(AC_STORE_MESSAGE_LIST, ids.owner, second.thread, NULL), AC_NOT_FOUND);
        contract_kind(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL), AC_NOT_FOUND);
        contract_kind(contract_call(AC_STORE_STEP_LIST, ids.owner, run, NULL), AC_NOT_FOUND);
        contract_kind(contract_call(AC_STORE_THREAD_RESTORE, ids.owner, ids.thread,
                                    json_pack("{s:s}", "updated_at", "2026-02-03T04:05:06.789Z")),
                      AC_NOT_FOUND);
        /* What the process of the active run still wants to store is dropped. */
        json_t *closed = contract_ok(
            contract_call(AC_STORE_TURN_CLOSE, ids.owner, second.thread, contract_close_in(&second, active, "late")));
        assert_true(json_is_null(json_object_get(closed, "message")));
        json_decref(closed);
        if (i == 0) {
            json_t *done = purged(ids.owner);
            assert_string_equal(ac_json_peek_string(done, "id", ""), ac_json_peek_string(out, "id", "?"));
            assert_string_equal(ac_json_peek_string(done, "at", ""), ac_json_peek_string(out, "at", "?"));
            assert_counts(done, 2, 3, 2, 0);
            assert_true(ended(done));
            json_decref(done);
        }
    }
    json_decref(out);
    assert_null(purged(ids.owner));
    assert_int_equal(n_threads(other.owner), 1);
    contract_gapless(&other, 2);
    contract_ids_t fresh = contract_ids();
    snprintf(fresh.owner, sizeof(fresh.owner), "%s", ids.owner);
    turn(&fresh, run, true);
    assert_null(purged(ids.owner));
    assert_int_equal(n_threads(ids.owner), 1);
    contract_gapless(&fresh, 2);
}

static void test_usage_loses_its_owner(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE];
    json_t *out;
    turn(&ids, run, true);
    contract_done(contract_call(AC_STORE_OWNER_ERASE, ids.owner, NULL, erase_in()));
    out = contract_ok(contract_call(AC_STORE_USAGE_SUM, ids.owner, NULL,
                                    json_pack("{s:s, s:s, s:[]}", "from", "2000-01-01", "to", "2999-01-01", "by")));
    assert_int_equal(ac_json_peek_int(json_object_get(out, "totals"), "runs", -1), 0);
    json_decref(out);
    out = contract_ok(contract_call(AC_STORE_USAGE_SUM_ALL, NULL, NULL,
                                    json_pack("{s:s, s:s, s:[], s:s}", "from", "2000-01-01", "to", "2999-01-01", "by",
                                              "owner", " erased")));
    assert_true(ac_json_peek_int(json_object_get(out, "totals"), "runs", -1) > 0);
    json_decref(out);
    purge(ids.owner);
}

static json_t *file_make(const char *owner, char id[AC_ID_SIZE], const char *thread_id)
{
    ac_id_make(id, "file_");
    json_t *file = json_pack("{s:s, s:s, s:s, s:i, s:s, s:o, s:s?, s:s}", "id", id, "name", "a.txt", "type",
                             "text/plain", "size", 3, "sha256",
                             "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "created_at",
                             ac_time_json(apr_time_now()), "thread_id", thread_id, "status", "uploaded");
    return contract_ok(contract_call(AC_STORE_FILE_PUT, owner, NULL,
                                     json_pack("{s:o, s:{s:i, s:i, s:i, s:i}}", "file", file, "limits", "owner_files",
                                               10, "owner_bytes", 1000, "thread_files", 10, "thread_bytes", 1000)));
}

static size_t n_files(const char *owner)
{
    json_t *list = contract_ok(contract_call(AC_STORE_FILE_LIST, owner, NULL, NULL));
    size_t n = json_array_size(json_object_get(list, "data"));
    json_decref(list);
    return n;
}

static void test_files_go_too(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE], loose[AC_ID_SIZE], part[AC_ID_SIZE];
    turn(&ids, run, true);
    json_decref(file_make(ids.owner, loose, NULL));
    json_decref(file_make(ids.owner, part, ids.thread));
    json_t *out = contract_ok(contract_call(AC_STORE_OWNER_ERASE, ids.owner, NULL, erase_in())), *again;
    assert_counts(out, 1, 2, 1, 2);
    assert_int_equal(json_array_size(json_object_get(json_object_get(out, "traces"), "files")), 2);
    assert_string_equal(json_string_value(
                            json_array_get(json_object_get(json_object_get(out, "traces"), "threads"), 0)),
                        ids.thread);
    assert_int_equal(n_files(ids.owner), 0);
    contract_kind(contract_call(AC_STORE_FILE_GET, ids.owner, loose, NULL), AC_NOT_FOUND);
    again = contract_ok(contract_call(AC_STORE_OWNER_ERASE, ids.owner, NULL, erase_in())); /* the same erasure */
    assert_string_equal(ac_json_peek_string(again, "id", ""), ac_json_peek_string(out, "id", "?"));
    assert_string_equal(ac_json_peek_string(again, "at", ""), ac_json_peek_string(out, "at", "?"));
    assert_counts(again, 1, 2, 1, 2);
    assert_false(ended(out)); /* the earlier mark */
    json_decref(again);
    json_decref(out);
    purge(ids.owner);
    contract_kind(contract_call(AC_STORE_FILE_GET, ids.owner, part, NULL), AC_NOT_FOUND);
    json_decref(file_make(ids.owner, loose, NULL));
    assert_int_equal(n_files(ids.owner), 1);
}

static json_t *turn_at(const contract_ids_t *ids, char run[AC_ID_SIZE], const char *created)
{
    ac_id_make(run, "run_");
    json_t *in = contract_open_in(ids, run, "new", true);
    json_object_set_new(json_object_get(in, "thread"), "created_at", json_string(created));
    return in;
}

/* A conversation that begins while an erasure continues is not part of it; erasing once more adds it. */
static void test_new_conversations_stay(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), fresh = contract_ids();
    char run[AC_ID_SIZE], later[AC_TIME_SIZE], id[AC_ID_SIZE];
    snprintf(fresh.owner, sizeof(fresh.owner), "%s", ids.owner);
    turn(&ids, run, true);
    json_t *first = contract_ok(contract_call(AC_STORE_OWNER_ERASE, ids.owner, NULL, erase_in())), *second, *done;
    ac_time_format(later, apr_time_now() + apr_time_from_sec(1));
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, fresh.thread, turn_at(&fresh, run, later)));
    contract_close(&fresh, run, "that");
    done = purged(ids.owner);
    assert_non_null(done);
    assert_int_equal(n_threads(ids.owner), 1);
    contract_gapless(&fresh, 2);
    ac_id_make(id, "erasure_");
    ac_time_format(later, apr_time_now() + apr_time_from_sec(2));
    second = contract_ok(
        contract_call(AC_STORE_OWNER_ERASE, ids.owner, NULL, json_pack("{s:s, s:s}", "id", id, "at", later)));
    assert_string_equal(ac_json_peek_string(second, "id", ""), ac_json_peek_string(first, "id", "?"));
    assert_counts(second, 2, 4, 2, 0);
    assert_false(ended(done));
    assert_int_equal(n_threads(ids.owner), 0);
    json_decref(first);
    json_decref(second);
    json_decref(done);
    purge(ids.owner);
    contract_kind(contract_call(AC_STORE_THREAD_GET, ids.owner, fresh.thread, NULL), AC_NOT_FOUND);
}

int contract_erase(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_of_one_owner),
        cmocka_unit_test(test_usage_loses_its_owner),
        cmocka_unit_test(test_files_go_too),
        cmocka_unit_test(test_new_conversations_stay),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
