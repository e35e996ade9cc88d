/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about files: owners, limits, threads, sweeps, moving. */
#include "store_contract.h"

static json_t *document(char id[AC_ID_SIZE], int size, const char *thread_id)
{
    char time[AC_TIME_SIZE];
    ac_id_make(id, "file_");
    return json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:s?, s:s}", "id", id, "name", "caf\xc3\xa9.txt", "type",
                     "text/plain", "size", size, "sha256", "00", "created_at", contract_time(time, 1), "thread_id",
                     thread_id, "status", "uploaded");
}

static json_t *limits(int files, int bytes)
{
    return json_pack("{s:i, s:i, s:i, s:i}", "owner_files", files, "owner_bytes", bytes, "thread_files", 2,
                     "thread_bytes", 100);
}

static ac_store_op_t *put_as(const char *owner, json_t *file, json_t *most)
{
    return contract_call(AC_STORE_FILE_PUT, owner, NULL, json_pack("{s:o, s:o}", "file", file, "limits", most));
}

void contract_file(char id[AC_ID_SIZE], const char *owner, int size, const char *thread_id)
{
    contract_done(put_as(owner, document(id, size, thread_id), limits(100, 1000)));
}

static void make_thread(const contract_ids_t *ids)
{
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids->owner, NULL, contract_thread(ids->thread, "t", 1)));
}

static void test_a_file_is_its_owners(void **state)
{
    contract_ids_t ids = contract_ids(), other = contract_ids();
    char id[AC_ID_SIZE];
    (void)state;
    json_t *file = document(id, 10, NULL);
    contract_equal(contract_ok(put_as(ids.owner, json_incref(file), limits(1, 10))), json_incref(file));
    contract_equal(contract_ok(put_as(ids.owner, json_incref(file), limits(1, 10))), json_incref(file)); /* again */
    contract_equal(contract_ok(contract_call(AC_STORE_FILE_GET, ids.owner, id, NULL)), file);
    contract_kind(contract_call(AC_STORE_FILE_GET, other.owner, id, NULL), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_FILE_DELETE, other.owner, id, NULL), AC_NOT_FOUND);
    contract_done(contract_call(AC_STORE_FILE_DELETE, ids.owner, id, NULL));
    contract_kind(contract_call(AC_STORE_FILE_GET, ids.owner, id, NULL), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_FILE_DELETE, ids.owner, id, NULL), AC_NOT_FOUND);
}

static void test_limits_of_files_are_exact(void **state)
{
    contract_ids_t ids = contract_ids();
    char id[AC_ID_SIZE];
    (void)state;
    make_thread(&ids);
    contract_file(id, ids.owner, 60, ids.thread);
    contract_kind(put_as(ids.owner, document(id, 1, NULL), limits(1, 1000)), AC_FILE_LIMIT);
    contract_kind(put_as(ids.owner, document(id, 41, NULL), limits(9, 100)), AC_FILE_LIMIT);
    contract_kind(put_as(ids.owner, document(id, 41, ids.thread), limits(9, 1000)), AC_FILE_LIMIT);
    contract_file(id, ids.owner, 40, ids.thread);
    contract_kind(put_as(ids.owner, document(id, 0, ids.thread), limits(9, 1000)), AC_FILE_LIMIT);
    contract_kind(put_as(contract_ids().owner, document(id, 1, ids.thread), limits(9, 9)), AC_NOT_FOUND);
}

static json_t *list(const char *owner, int limit, const char *after)
{
    ac_store_op_t *op = contract_op(AC_STORE_FILE_LIST, owner, NULL, NULL);
    op->page.limit = limit;
    snprintf(op->page.after, sizeof(op->page.after), "%s", after);
    return contract_ok(contract_wait(op));
}

static void test_files_are_listed_newest_first(void **state)
{
    contract_ids_t ids = contract_ids();
    char id[3][AC_ID_SIZE];
    (void)state;
    for (int i = 0; i < 3; i++) {
        contract_file(id[i], ids.owner, 1, NULL);
    }
    json_t *page = list(ids.owner, 2, "");
    assert_true(json_is_true(json_object_get(page, "has_more")));
    assert_string_equal(ac_json_peek_string(json_array_get(json_object_get(page, "data"), 0), "id", ""), id[2]);
    json_t *rest = list(ids.owner, 2, ac_json_peek_string(page, "next", ""));
    assert_int_equal(json_array_size(json_object_get(rest, "data")), 1);
    assert_string_equal(ac_json_peek_string(json_array_get(json_object_get(rest, "data"), 0), "id", ""), id[0]);
    json_decref(page);
    json_decref(rest);
}

json_t *contract_files_in(const contract_ids_t *ids, bool fresh, json_t *files)
{
    char run_id[AC_ID_SIZE];
    ac_id_make(run_id, "run_");
    json_t *in = contract_open_in(ids, run_id, "q", fresh), *attachments = json_array(), *id;
    size_t i;
    json_array_foreach(files, i, id)
    {
        json_array_append_new(attachments, json_pack("{s:O, s:s}", "file_id", id, "name", "caf\xc3\xa9.txt"));
    }
    ac_json_put(json_object_get(in, "message"), "attachments", attachments);
    ac_json_put(in, "files", json_pack("{s:o, s:o}", "ids", files, "limits", limits(100, 1000)));
    return in;
}

static ac_store_op_t *attach(const contract_ids_t *ids, bool fresh, const char *id)
{
    return contract_call(AC_STORE_TURN_OPEN, ids->owner, ids->thread,
                         contract_files_in(ids, fresh, json_pack("[s]", id)));
}

static void attach_done(const contract_ids_t *ids, bool fresh, const char *id)
{
    char run_id[AC_ID_SIZE];
    json_t *in = contract_files_in(ids, fresh, json_pack("[s]", id));
    snprintf(run_id, sizeof(run_id), "%s", ac_json_peek_string(json_object_get(in, "run"), "id", ""));
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids->owner, ids->thread, in));
    contract_close(ids, run_id, "a");
}

static void attach_fails(ac_store_op_t *op, ac_kind_e kind, const char *pointer)
{
    assert_string_equal(op->err.pointer, pointer);
    contract_kind(op, kind);
}

static void imported(char id[AC_ID_SIZE], const contract_ids_t *ids)
{
    json_t *file = document(id, 1, ids->thread);
    ac_json_put(file, "owner", json_string(ids->owner));
    ac_json_put(file, "status", json_string("attached"));
    contract_done(contract_call(AC_STORE_IMPORT_FILES, NULL, NULL, json_pack("{s:[o]}", "files", file)));
}

static void shown(const contract_ids_t *ids, const char *id, const char *thread_id, const char *status)
{
    json_t *file = contract_ok(contract_call(AC_STORE_FILE_GET, ids->owner, id, NULL));
    assert_string_equal(ac_json_peek_string(file, "thread_id", "-"), thread_id);
    assert_string_equal(ac_json_peek_string(file, "status", ""), status);
    json_decref(file);
}

static bool known(const char *owner, const char *id)
{
    ac_store_op_t *op = contract_call(AC_STORE_FILE_GET, owner, id, NULL);
    bool is = op->status == APR_SUCCESS;
    ac_store_op_free(op);
    return is;
}

/* Sweeps until nothing is left. Returns whether `id` is among the ids without a file. */
static bool sweep(const char *id)
{
    bool more = true, unknown = false;
    while (more) {
        ac_store_op_t *op = contract_op(AC_STORE_FILE_SWEEP, NULL, NULL,
                                        json_pack("{s:s, s:[s]}", "before", "2099-01-01T00:00:00.000Z", "ids", id));
        op->page.limit = 50;
        json_t *out = contract_ok(contract_wait(op));
        more = json_is_true(json_object_get(out, "more"));
        unknown = json_array_size(json_object_get(out, "unknown")) == 1;
        json_decref(out);
    }
    return unknown;
}

static void test_a_sweep_removes_what_belongs_to_nothing(void **state)
{
    contract_ids_t ids = contract_ids(), never = contract_ids();
    char loose[AC_ID_SIZE], kept[AC_ID_SIZE], lost[AC_ID_SIZE];
    (void)state;
    make_thread(&ids);
    contract_file(loose, ids.owner, 1, ids.thread);
    contract_file(kept, ids.owner, 1, NULL);
    imported(lost, &never);
    attach_done(&ids, false, kept);
    attach_done(&ids, false, kept); /* another message has it too */
    attach_fails(attach(&never, true, kept), AC_NOT_FOUND, "/files/0");
    assert_false(sweep(kept));
    assert_true(sweep(loose));
    assert_true(known(ids.owner, kept) && !known(ids.owner, loose) && !known(never.owner, lost));
    shown(&ids, kept, ids.thread, "attached");
}

static void test_a_file_belongs_to_one_thread(void **state)
{
    contract_ids_t ids = contract_ids(), other = contract_ids();
    char id[AC_ID_SIZE], free[AC_ID_SIZE];
    (void)state;
    make_thread(&ids);
    contract_file(id, ids.owner, 1, ids.thread);
    contract_file(free, ids.owner, 1, NULL);
    memcpy(other.owner, ids.owner, sizeof(other.owner));
    attach_fails(contract_call(AC_STORE_TURN_OPEN, other.owner, other.thread,
                               contract_files_in(&other, true, json_pack("[s, s]", free, id))),
                 AC_INVALID_REQUEST, "/files/1");
    contract_kind(contract_call(AC_STORE_THREAD_GET, other.owner, other.thread, NULL), AC_NOT_FOUND);
    shown(&ids, free, "-", "uploaded"); /* nothing of the refused turn is stored */
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_DELETE, ids.owner, ids.thread, json_object());
    op->hard = true;
    json_t *out = contract_ok(contract_wait(op));
    contract_equal(json_incref(json_object_get(out, "files")), json_pack("[s]", id)); /* their bytes are elsewhere */
    json_decref(out);
    assert_false(known(ids.owner, id));
}

static void test_a_purge_names_the_files_it_removed(void **state)
{
    contract_ids_t ids = contract_ids();
    char id[AC_ID_SIZE];
    bool named = false;
    json_t *file;
    size_t i;
    (void)state;
    make_thread(&ids);
    contract_file(id, ids.owner, 1, ids.thread);
    contract_done(contract_call(AC_STORE_THREAD_DELETE, ids.owner, ids.thread,
                                json_pack("{s:s}", "deleted_at", "2001-01-01T00:00:00.000Z")));
    assert_true(known(ids.owner, id));
    json_t *out = contract_ok(
        contract_call(AC_STORE_PURGE, NULL, NULL, json_pack("{s:s}", "before", "2002-01-01T00:00:00.000Z")));
    json_array_foreach(json_object_get(out, "files"), i, file)
    {
        named = named || strcmp(json_string_value(file), id) == 0;
    }
    assert_true(named && !known(ids.owner, id));
    json_decref(out);
}

static void test_a_file_limit_of_a_thread_holds_for_turns(void **state)
{
    contract_ids_t ids = contract_ids();
    char id[3][AC_ID_SIZE];
    (void)state;
    for (int i = 0; i < 3; i++) {
        contract_file(id[i], ids.owner, 1, NULL);
    }
    attach_fails(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread,
                               contract_files_in(&ids, true, json_pack("[s, s, s]", id[0], id[1], id[2]))),
                 AC_FILE_LIMIT, "/files/2");
    attach_done(&ids, true, id[0]);
    attach_done(&ids, false, id[1]);
    attach_fails(attach(&ids, false, id[2]), AC_FILE_LIMIT, "/files/0");
}

/* A process ended after it had attached the file, and before it stored the thread. */
static void test_a_file_of_a_thread_that_was_never_stored_is_free(void **state)
{
    contract_ids_t never = contract_ids(), ids = contract_ids(), third = contract_ids();
    char id[AC_ID_SIZE];
    (void)state;
    memcpy(ids.owner, never.owner, sizeof(ids.owner));
    memcpy(third.owner, never.owner, sizeof(third.owner));
    imported(id, &never);
    attach_done(&ids, true, id);
    shown(&ids, id, ids.thread, "attached");
    attach_fails(attach(&third, true, id), AC_INVALID_REQUEST, "/files/0");
    ac_store_op_t *op = attach(&never, true, id); /* the late write of that process */
    assert_true(op->err.kind == AC_INVALID_REQUEST || op->err.kind == AC_IDEMPOTENCY_CONFLICT);
    ac_store_op_free(op);
    contract_kind(contract_call(AC_STORE_THREAD_GET, never.owner, never.thread, NULL), AC_NOT_FOUND);
}

/* A process ended after it had attached the file, and before it stored the message; the thread lives on. */
static void test_a_file_of_a_message_that_was_never_stored_is_free(void **state)
{
    contract_ids_t ids = contract_ids(), other = contract_ids();
    char taken[AC_ID_SIZE], again[AC_ID_SIZE], lost[AC_ID_SIZE], kept[AC_ID_SIZE];
    (void)state;
    memcpy(other.owner, ids.owner, sizeof(other.owner));
    make_thread(&ids);
    imported(taken, &ids);
    imported(again, &ids);
    attach_done(&other, true, taken);
    shown(&ids, taken, other.thread, "attached");
    attach_done(&ids, false, again);
    attach_fails(attach(&other, false, again), AC_INVALID_REQUEST, "/files/0"); /* now a message has it */
    imported(lost, &ids);
    contract_done(contract_call(AC_STORE_FILE_DELETE, ids.owner, again, NULL)); /* the thread has two at most */
    contract_file(kept, ids.owner, 1, ids.thread);
    attach_fails(attach(&other, false, kept), AC_INVALID_REQUEST, "/files/0"); /* it was uploaded for the thread */
    sweep(lost);
    assert_true(!known(ids.owner, lost) && !known(ids.owner, kept));
    shown(&ids, taken, other.thread, "attached");
}

static void test_files_are_moved(void **state)
{
    contract_ids_t ids = contract_ids();
    char id[AC_ID_SIZE];
    json_t *found = NULL, *after = json_null();
    (void)state;
    contract_file(id, ids.owner, 7, NULL);
    while (after) {
        ac_store_op_t *op = contract_op(AC_STORE_EXPORT_FILES, NULL, NULL, json_pack("{s:o}", "after", after));
        op->page.limit = 3;
        json_t *out = contract_ok(contract_wait(op)), *file;
        size_t i;
        json_array_foreach(json_object_get(out, "data"), i, file)
        {
            if (strcmp(ac_json_peek_string(file, "id", ""), id) == 0) {
                found = json_deep_copy(file);
            }
        }
        const char *next = ac_json_peek_string(out, "next", NULL);
        after = next ? json_string(next) : NULL;
        json_decref(out);
    }
    assert_string_equal(ac_json_peek_string(found, "owner", ""), ids.owner);
    contract_done(contract_call(AC_STORE_FILE_DELETE, ids.owner, id, NULL));
    for (int i = 0; i < 2; i++) {
        contract_done(contract_call(AC_STORE_IMPORT_FILES, NULL, NULL, json_pack("{s:[O]}", "files", found)));
    }
    json_object_del(found, "owner");
    contract_equal(contract_ok(contract_call(AC_STORE_FILE_GET, ids.owner, id, NULL)), found);
}

int contract_files(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_is_its_owners),
        cmocka_unit_test(test_limits_of_files_are_exact),
        cmocka_unit_test(test_files_are_listed_newest_first),
        cmocka_unit_test(test_a_sweep_removes_what_belongs_to_nothing),
        cmocka_unit_test(test_a_file_belongs_to_one_thread),
        cmocka_unit_test(test_a_purge_names_the_files_it_removed),
        cmocka_unit_test(test_a_file_limit_of_a_thread_holds_for_turns),
        cmocka_unit_test(test_a_file_of_a_thread_that_was_never_stored_is_free),
        cmocka_unit_test(test_a_file_of_a_message_that_was_never_stored_is_free),
        cmocka_unit_test(test_files_are_moved),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
