/* SPDX-License-Identifier: Apache-2.0 */
/* What every store must do with threads; and the calls that tests of stores are written with. */
#include "store_contract.h"

static const ac_store_t *the_store;

void contract_use(const ac_store_t *store)
{
    the_store = store;
}

const ac_store_t *contract_store(void)
{
    return the_store;
}

/* ---- documents ---- */

contract_ids_t contract_ids(void)
{
    contract_ids_t ids;
    ac_id_make(ids.owner, "owner_");
    ac_id_make(ids.thread, "thread_");
    return ids;
}

const char *contract_time(char text[AC_TIME_SIZE], int number)
{
    snprintf(text, AC_TIME_SIZE, "2026-02-03T%02d:%02d:%02d.%03dZ", number / 3600000 % 24, number / 60000 % 60,
             number / 1000 % 60, number % 1000);
    return text;
}

json_t *contract_thread(const char *id, const char *title, int number)
{
    char at[AC_TIME_SIZE];
    json_t *thread = json_pack("{s:s, s:o, s:s, s:s, s:{s:s}, s:b, s:i, s:n, s:s, s:s}", "id", id, "title",
                               ac_json_text(title), "agent_id", "helper", "status", "active", "metadata", "from",
                               "café", "pinned", 0, "message_count", 0, "leaf", "created_at", contract_time(at, number),
                               "updated_at", at);
    return thread;
}

json_t *contract_message(const char *id, const char *role, const char *content, int number)
{
    char at[AC_TIME_SIZE];
    return json_pack("{s:s, s:s, s:s, s:n, s:n, s:s, s:n}", "id", id, "role", role, "content", content, "tool_calls",
                     "run_id", "timestamp", contract_time(at, number), "metadata");
}

json_t *contract_run(const char *id, const char *thread_id, const char *status, int number)
{
    char at[AC_TIME_SIZE];
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:n, s:n, s:i, s:n, s:n, s:n, s:s, s:s, s:n}", "id", id, "thread_id",
                     thread_id, "agent_id", "helper", "status", status, "model", "m-1", "usage", "cost", "rounds", 0,
                     "ttft_ms", "latency_ms", "error", "created_at", contract_time(at, number), "started_at", at,
                     "completed_at");
}

json_t *contract_step(const char *id, const char *run_id, int number)
{
    char at[AC_TIME_SIZE];
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:s}, s:f, s:n, s:n, s:s, s:s, s:i}", "id", id, "run_id", run_id,
                     "type", "tool_call", "status", "completed", "tool", "calculate", "arguments", "expression",
                     "85*0.15", "result", 12.75, "error", "usage", "started_at", contract_time(at, number),
                     "completed_at", at, "latency_ms", number);
}

/* ---- calls ---- */

ac_store_op_t *contract_op(ac_store_verb_e verb, const char *owner, const char *id, json_t *in)
{
    ac_store_op_t *op = ac_store_op_create(verb, owner, id);
    assert_non_null(op);
    op->in = in;
    op->page.limit = 20;
    return op;
}

ac_store_op_t *contract_wait(ac_store_op_t *op)
{
    ac_err_t err;
    ac_err_init(&err);
    apr_status_t status = ac_store_wait(the_store, &op, apr_time_from_sec(60), &err);
    if (!op) {
        fail_msg("no answer: %s", err.detail);
    }
    assert_int_equal(status, op->status);
    assert_int_equal(op->status == APR_SUCCESS, op->err.kind == AC_OK);
    return op;
}

ac_store_op_t *contract_call(ac_store_verb_e verb, const char *owner, const char *id, json_t *in)
{
    return contract_wait(contract_op(verb, owner, id, in));
}

json_t *contract_ok(ac_store_op_t *op)
{
    if (op->status != APR_SUCCESS) {
        fail_msg("%s: %s", ac_store_verb_name(op->verb), op->err.detail);
    }
    json_t *out = json_incref(op->out);
    assert_non_null(out);
    ac_store_op_free(op);
    return out;
}

void contract_done(ac_store_op_t *op)
{
    json_decref(contract_ok(op));
}

void contract_kind(ac_store_op_t *op, ac_kind_e kind)
{
    if (op->err.kind != kind) {
        fail_msg("%s: %s (%s) instead of %s", ac_store_verb_name(op->verb), ac_err_row(op->err.kind)->code,
                 op->err.detail, ac_err_row(kind)->code);
    }
    assert_int_equal(op->status, ac_err_row(kind)->status);
    ac_store_op_free(op);
}

void contract_equal(json_t *is, json_t *wanted)
{
    char *is_text = json_dumps(is, JSON_ENCODE_ANY | JSON_SORT_KEYS),
         *text = json_dumps(wanted, JSON_ENCODE_ANY | JSON_SORT_KEYS);
    assert_non_null(text);
    assert_non_null(is_text);
    assert_string_equal(is_text, text);
    free(is_text);
    free(text);
    json_decref(is);
    json_decref(wanted);
}

static void thread_make(const contract_ids_t *ids, const char *title)
{
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids->owner, NULL, contract_thread(ids->thread, title, 1)));
}

static json_t *thread_get(const contract_ids_t *ids)
{
    return contract_ok(contract_call(AC_STORE_THREAD_GET, ids->owner, ids->thread, NULL));
}

/* ---- threads ---- */

static void test_ping(void **state)
{
    (void)state;
    json_t *counted = contract_ok(contract_call(AC_STORE_PING, NULL, NULL, NULL)), *value;
    const char *name;
    assert_true(json_is_object(counted));
    json_object_foreach(counted, name, value)
    {
        assert_true(strcmp(name, "search") == 0 ? json_is_string(value)
                                                : json_is_number(value) && json_number_value(value) >= 0);
    }
    json_decref(counted);
}

static void test_thread_is_given_back_as_it_was_made(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    ac_store_op_t *op =
        contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "\"Ünïcode\" \n", 1));
    char etag[AC_ETAG_SIZE];
    snprintf(etag, sizeof(etag), "%s", op->etag);
    assert_int_equal(etag[0], '"');
    assert_int_equal(etag[strlen(etag) - 1], '"');
    contract_equal(contract_ok(op), contract_thread(ids.thread, "\"Ünïcode\" \n", 1));

    op = contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL);
    assert_string_equal(op->etag, etag);
    contract_equal(contract_ok(op), contract_thread(ids.thread, "\"Ünïcode\" \n", 1));
    contract_kind(contract_call(AC_STORE_THREAD_GET, "another owner", ids.thread, NULL), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_THREAD_GET, ids.owner, "thread_none", NULL), AC_NOT_FOUND);
}

static void test_thread_without_title_and_metadata(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    json_t *in = contract_thread(ids.thread, NULL, 1), *wanted = contract_thread(ids.thread, NULL, 1);
    json_object_set_new(in, "metadata", json_null());
    json_object_set_new(wanted, "metadata", json_object());
    contract_equal(contract_ok(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, in)), wanted);
}

static void test_thread_id_is_given_once(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    thread_make(&ids, "first");
    contract_kind(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "second", 2)),
                  AC_IDEMPOTENCY_CONFLICT);
    contract_kind(contract_call(AC_STORE_THREAD_CREATE, "thief", NULL, contract_thread(ids.thread, "theirs", 2)),
                  AC_IDEMPOTENCY_CONFLICT);
    contract_equal(thread_get(&ids), contract_thread(ids.thread, "first", 1));
}

static void test_update_changes_the_given_members(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char before[AC_ETAG_SIZE], at[AC_TIME_SIZE];
    ac_store_op_t *op = contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "a", 1));
    snprintf(before, sizeof(before), "%s", op->etag);
    contract_done(op);

    op = contract_call(AC_STORE_THREAD_UPDATE, ids.owner, ids.thread,
                       json_pack("{s:s, s:s}", "title", "b", "updated_at", contract_time(at, 2)));
    assert_string_not_equal(op->etag, before);
    json_t *wanted = contract_thread(ids.thread, "b", 1);
    json_object_set_new(wanted, "updated_at", json_string(at));
    contract_equal(contract_ok(op), json_incref(wanted));

    op = contract_call(AC_STORE_THREAD_UPDATE, ids.owner, ids.thread,
                       json_pack("{s:n, s:s, s:{s:s}, s:s}", "title", "status", "archived", "metadata", "k", "v",
                                 "updated_at", at));
    json_object_set_new(wanted, "title", json_null());
    json_object_set_new(wanted, "status", json_string("archived"));
    json_object_set_new(wanted, "metadata", json_pack("{s:s}", "k", "v"));
    contract_equal(contract_ok(op), json_incref(wanted));
    contract_equal(thread_get(&ids), wanted);

    contract_kind(contract_call(AC_STORE_THREAD_UPDATE, "another owner", ids.thread, json_pack("{s:s}", "title", "c")),
                  AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_THREAD_UPDATE, ids.owner, ids.thread, json_pack("{s:s}", "status", "deleted")),
                  AC_INVALID_REQUEST);
}

static ac_store_op_t *update_if(const contract_ids_t *ids, const char *if_match, const char *title)
{
    ac_store_op_t *op =
        contract_op(AC_STORE_THREAD_UPDATE, ids->owner, ids->thread, json_pack("{s:s}", "title", title));
    snprintf(op->if_match, sizeof(op->if_match), "%s", if_match);
    return contract_wait(op);
}

static void test_update_only_if_it_matches(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char first[AC_ETAG_SIZE], second[AC_ETAG_SIZE], list[AC_ETAG_SIZE + 16];
    ac_store_op_t *op = contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "a", 1));
    snprintf(first, sizeof(first), "%s", op->etag);
    contract_done(op);

    op = update_if(&ids, first, "b");
    snprintf(second, sizeof(second), "%s", op->etag);
    contract_done(op);
    contract_kind(update_if(&ids, first, "c"), AC_PRECONDITION_FAILED);
    contract_kind(update_if(&ids, "\"\"", "c"), AC_PRECONDITION_FAILED);
    snprintf(list, sizeof(list), "W/%s", second);
    contract_kind(update_if(&ids, list, "c"), AC_PRECONDITION_FAILED);
    json_t *thread = thread_get(&ids);
    assert_string_equal(ac_json_peek_string(thread, "title", ""), "b");
    json_decref(thread);
    snprintf(list, sizeof(list), "\"no\", %s", second);
    contract_done(update_if(&ids, list, "d"));
    contract_done(update_if(&ids, "*", "e"));
}

static void test_soft_deleted_thread_is_nowhere(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "", at[AC_TIME_SIZE];
    contract_open(&ids, run, "hello", true);
    contract_close(&ids, run, "hi");
    contract_done(
        contract_call(AC_STORE_THREAD_UPDATE, ids.owner, ids.thread, json_pack("{s:s}", "status", "archived")));
    contract_kind(contract_call(AC_STORE_THREAD_DELETE, "other", ids.thread,
                                json_pack("{s:s}", "deleted_at", contract_time(at, 9))),
                  AC_NOT_FOUND);
    contract_done(contract_call(AC_STORE_THREAD_DELETE, ids.owner, ids.thread, json_pack("{s:s}", "deleted_at", at)));

    static const ac_store_verb_e of_thread[] = {AC_STORE_THREAD_GET, AC_STORE_MESSAGE_LIST, AC_STORE_TURN_LOAD,
                                                AC_STORE_RUN_LIST};
    for (size_t i = 0; i < sizeof(of_thread) / sizeof(*of_thread); i++) {
        contract_kind(contract_call(of_thread[i], ids.owner, ids.thread, NULL), AC_NOT_FOUND);
    }
    contract_kind(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_STEP_LIST, ids.owner, run, NULL), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_THREAD_UPDATE, ids.owner, ids.thread, json_pack("{s:s}", "title", "x")),
                  AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_THREAD_DELETE, ids.owner, ids.thread, json_pack("{s:s}", "deleted_at", at)),
                  AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread,
                                contract_open_in(&ids, "run_x", "more", false)),
                  AC_NOT_FOUND);

    json_t *list = contract_ok(contract_call(AC_STORE_THREAD_LIST, ids.owner, NULL, NULL));
    assert_int_equal(json_array_size(json_object_get(list, "data")), 0);
    json_decref(list);
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, ids.owner, NULL, NULL);
    snprintf(op->page.status, sizeof(op->page.status), "deleted");
    list = contract_ok(contract_wait(op));
    assert_int_equal(json_array_size(json_object_get(list, "data")), 1);
    assert_string_equal(ac_json_peek_string(json_array_get(json_object_get(list, "data"), 0), "status", ""), "deleted");
    json_decref(list);

    contract_kind(contract_call(AC_STORE_THREAD_RESTORE, "other", ids.thread, json_pack("{s:s}", "updated_at", at)),
                  AC_NOT_FOUND);
    op = contract_call(AC_STORE_THREAD_RESTORE, ids.owner, ids.thread,
                       json_pack("{s:s}", "updated_at", contract_time(at, 10)));
    json_t *thread = contract_ok(op);
    assert_string_equal(ac_json_peek_string(thread, "status", ""), "archived");
    assert_string_equal(ac_json_peek_string(thread, "updated_at", ""), at);
    contract_equal(thread_get(&ids), thread);
    contract_gapless(&ids, 2);
}

static void test_restore_of_a_living_thread_changes_nothing(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char at[AC_TIME_SIZE];
    thread_make(&ids, "alive");
    json_t *in = json_pack("{s:s}", "updated_at", contract_time(at, 2));
    contract_equal(contract_ok(contract_call(AC_STORE_THREAD_RESTORE, ids.owner, ids.thread, in)),
                   contract_thread(ids.thread, "alive", 1));
}

static ac_store_op_t *hard_delete(const contract_ids_t *ids)
{
    char at[AC_TIME_SIZE];
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_DELETE, ids->owner, ids->thread,
                                    json_pack("{s:s}", "deleted_at", contract_time(at, 5)));
    op->hard = true;
    return contract_wait(op);
}

static void test_hard_delete_removes_everything(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), other = ids;
    char run[AC_ID_SIZE] = "", at[AC_TIME_SIZE];
    ac_id_make(other.owner, "owner_");
    contract_open(&ids, run, "hello", true);
    ac_store_op_t *op = hard_delete(&ids);
    assert_int_equal(op->err.kind, AC_RUN_IN_PROGRESS);
    assert_string_equal(ac_json_peek_string(op->out, "run_id", ""), run);
    ac_store_op_free(op);

    contract_close(&ids, run, "hi");
    contract_kind(hard_delete(&other), AC_NOT_FOUND);
    contract_gapless(&ids, 2);
    contract_equal(contract_ok(hard_delete(&ids)), json_object());
    contract_kind(hard_delete(&ids), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_THREAD_RESTORE, ids.owner, ids.thread,
                                json_pack("{s:s}", "updated_at", contract_time(at, 5))),
                  AC_NOT_FOUND);
    contract_equal(contract_ok(
                       contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, contract_close_in(&ids, run, "late"))),
                   json_pack("{s:n}", "message"));
    contract_kind(contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL), AC_NOT_FOUND);

    thread_make(&ids, "again"); /* nothing is left that would be in the way */
    contract_gapless(&ids, 0);
    contract_kind(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_STEP_LIST, ids.owner, run, NULL), AC_NOT_FOUND);
    contract_done(contract_call(AC_STORE_THREAD_DELETE, ids.owner, ids.thread, json_pack("{s:s}", "deleted_at", at)));
    contract_done(hard_delete(&ids));
}

int store_contract_run(const char *name, const ac_store_t *store)
{
    const struct CMUnitTest thread_tests[] = {
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_thread_is_given_back_as_it_was_made),
        cmocka_unit_test(test_thread_without_title_and_metadata),
        cmocka_unit_test(test_thread_id_is_given_once),
        cmocka_unit_test(test_update_changes_the_given_members),
        cmocka_unit_test(test_update_only_if_it_matches),
        cmocka_unit_test(test_soft_deleted_thread_is_nowhere),
        cmocka_unit_test(test_restore_of_a_living_thread_changes_nothing),
        cmocka_unit_test(test_hard_delete_removes_everything),
    };
    contract_use(store);
    return _cmocka_run_group_tests(name, thread_tests, sizeof(thread_tests) / sizeof(*thread_tests), NULL, NULL) +
        contract_lists(name) + contract_turns(name) + contract_callers(name) + contract_keys(name) +
        contract_agents(name) + contract_owners(name) + contract_approvals(name) + contract_queue(name) +
        contract_webhook(name) + contract_marks(name) + contract_deletion(name) + contract_usage(name) +
        contract_files(name) + contract_feedback(name) + contract_erase(name) + contract_branches(name) +
        contract_search(name);
}
