/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about usage: each run is counted once, when it ends. */
#include "store_contract.h"

#include <math.h>

#define DAY "2026-02-03" /* of contract_run() */

/* ---- runs with figures ---- */

static json_t *usage_run(const char *id, const char *thread, const char *status, int n)
{
    json_t *run = contract_run(id, thread, status, 10);
    json_object_set_new(run, "usage",
                        json_pack("{s:i, s:i, s:i, s:i, s:i, s:b}", "prompt_tokens", 10 * n, "completion_tokens", n,
                                  "total_tokens", 11 * n, "cached_tokens", 2 * n, "reasoning_tokens", n / 2,
                                  "estimated", n % 2));
    json_object_set_new(run, "cost", json_pack("{s:f, s:s}", "amount", n * 0.00000123, "currency", "EUR"));
    json_object_set_new(run, "ttft_ms", json_integer(100));
    json_object_set_new(run, "latency_ms", json_integer(1000 * n));
    if (strcmp(status, "failed") == 0 || strcmp(status, "interrupted") == 0) {
        json_object_set_new(run, "error", json_pack("{s:s, s:s}", "code", "model_timeout", "message", "late"));
    }
    return run;
}

static ac_store_op_t *usage_close(const contract_ids_t *ids, const char *id, const char *status, int n, bool late)
{
    json_t *in = contract_close_in(ids, id, strcmp(status, "completed") == 0 ? "answer" : NULL);
    json_object_set_new(in, "run", usage_run(id, ids->thread, status, n));
    if (late) {
        json_object_set_new(in, "late", json_true());
    }
    return contract_call(AC_STORE_TURN_CLOSE, ids->owner, ids->thread, in);
}

/* A turn from its beginning to its end; the thread is made with the first. */
static void usage_turn(const contract_ids_t *ids, char id[AC_ID_SIZE], const char *status, int n, bool fresh)
{
    *id = '\0';
    contract_open(ids, id, "q", fresh);
    contract_done(usage_close(ids, id, status, n, false));
}

static json_t *usage_in(const char *by)
{
    json_t *in = json_pack("{s:s, s:s, s:[]}", "from", DAY, "to", DAY, "by");
    if (*by) {
        json_array_append_new(json_object_get(in, "by"), json_string(by));
    }
    return in;
}

static json_t *sum_of(const char *owner, json_t *in)
{
    return contract_ok(contract_call(AC_STORE_USAGE_SUM, owner, NULL, in));
}

/* {runs, completed, prompt_tokens, cost in 10^-8} of the owner's day. */
static void check_totals(const char *owner, int runs, int completed, int prompt, int cost_e8)
{
    json_t *out = sum_of(owner, usage_in("")), *totals = json_object_get(out, "totals");
    json_t *cost = json_array_get(json_object_get(totals, "cost"), 0);
    assert_int_equal(ac_json_peek_int(totals, "runs", -1), runs);
    assert_int_equal(ac_json_peek_int(json_object_get(totals, "status"), "completed", -1), completed);
    assert_int_equal(ac_json_peek_int(json_object_get(totals, "usage"), "prompt_tokens", -1), prompt);
    assert_int_equal(llround(json_number_value(json_object_get(cost, "amount")) * 1e8), cost_e8);
    json_decref(out);
}

/* ---- counting ---- */

static void test_an_ended_run_is_counted_once(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char id[AC_ID_SIZE] = "";
    contract_open(&ids, id, "q", true);
    check_totals(ids.owner, 0, 0, 0, 0);
    json_t *in = contract_close_in(&ids, id, "answer");
    json_object_set_new(in, "run", usage_run(id, ids.thread, "completed", 3));
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, json_deep_copy(in)));
    check_totals(ids.owner, 1, 1, 30, 369);
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, in)); /* its caller got no answer */
    check_totals(ids.owner, 1, 1, 30, 369);
    usage_turn(&ids, id, "completed", 5, false);
    check_totals(ids.owner, 2, 2, 80, 984);
}

static void test_the_sums_have_all_figures(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char id[AC_ID_SIZE];
    usage_turn(&ids, id, "completed", 1, true);
    usage_turn(&ids, id, "completed", 2, false);
    usage_turn(&ids, id, "failed", 3, false);
    usage_turn(&ids, id, "cancelled", 4, false);
    json_t *wanted = json_pack("{s:i, s:{s:i, s:i, s:i, s:i}, s:{s:i}, s:{s:i, s:i, s:i, s:i, s:i}, s:i, s:i, s:i, "
                               "s:[{s:f, s:s}]}",
                               "runs", 4, "status", "completed", 2, "failed", 1, "cancelled", 1, "interrupted", 0,
                               "errors", "model_timeout", 1, "usage", "prompt_tokens", 100, "completion_tokens", 10,
                               "total_tokens", 110, "cached_tokens", 20, "reasoning_tokens", 4, "estimated_runs", 2,
                               "titles", 0, "summaries", 0, "cost", "amount", 0.0000123, "currency", "EUR");
    json_object_set_new(wanted, "first_token",
                        json_pack("{s:i, s:i, s:i, s:i}", "count", 4, "mean_ms", 100, "p50_ms", 105, "p95_ms", 105));
    json_t *out = sum_of(ids.owner, usage_in("")), *totals = json_object_get(out, "totals");
    json_t *duration = json_incref(json_object_get(totals, "duration"));
    json_object_del(totals, "duration");
    assert_int_equal(ac_json_peek_int(duration, "mean_ms", 0), 2500);
    assert_in_range(ac_json_peek_int(duration, "p50_ms", 0), 1800, 2200);
    assert_in_range(ac_json_peek_int(duration, "p95_ms", 0), 3600, 4400);
    json_decref(duration);
    contract_equal(json_incref(totals), json_deep_copy(wanted));
    json_decref(wanted);
    json_decref(out);
}

/* Another process closed the run as interrupted before its own end was stored. */
static void test_a_late_end_replaces_the_first(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char id[AC_ID_SIZE] = "";
    contract_open(&ids, id, "q", true);
    contract_done(usage_close(&ids, id, "interrupted", 0, false));
    check_totals(ids.owner, 1, 0, 0, 0);
    contract_done(usage_close(&ids, id, "completed", 7, true));
    check_totals(ids.owner, 1, 1, 70, 861);
    json_t *out = sum_of(ids.owner, usage_in("day"));
    assert_int_equal(json_array_size(json_object_get(out, "data")), 1);
    json_decref(out);
}

static void test_a_suspended_run_is_counted_at_its_end(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char id[AC_ID_SIZE] = "";
    contract_open(&ids, id, "q", true);
    contract_done(contract_call(AC_STORE_RUN_SUSPEND, ids.owner, ids.thread,
                                json_pack("{s:o, s:[], s:[], s:s, s:{s:n}, s:{}}", "run",
                                          usage_run(id, ids.thread, "in_progress", 2), "steps", "asks", "until",
                                          "2026-05-05T00:00:00.000Z", "calls", "c1", "state")));
    check_totals(ids.owner, 0, 0, 0, 0);
    contract_done(contract_call(AC_STORE_APPROVAL_DECIDE, ids.owner, id, json_pack("{s:b}", "cancel", 1)));
    contract_done(usage_close(&ids, id, "completed", 5, false));
    check_totals(ids.owner, 1, 1, 50, 615);
}

/* ---- titles and summaries ---- */

static json_t *call_made(const char *made, const char *model, int n)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:{s:i, s:i, s:i}, s:{s:f, s:s}}", "made", made, "created_at",
                     DAY "T00:00:11.000Z", "agent_id", "helper", "model", model, "usage", "prompt_tokens", 10 * n,
                     "completion_tokens", n, "total_tokens", 11 * n, "cost", "amount", n * 0.00000123, "currency",
                     "EUR");
}

static void test_calls_after_a_run_are_counted_beside_it(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char id[AC_ID_SIZE];
    usage_turn(&ids, id, "completed", 3, true);
    contract_done(contract_call(AC_STORE_USAGE_ADD, ids.owner, id, call_made("title", "small", 2)));
    contract_done(contract_call(AC_STORE_USAGE_ADD, ids.owner, id, call_made("summary", "small", 1)));
    check_totals(ids.owner, 1, 1, 60, 738);
    contract_done(contract_call(AC_STORE_USAGE_ADD, "another owner", id, call_made("title", "small", 2)));
    contract_done(contract_call(AC_STORE_USAGE_ADD, ids.owner, "run_none", call_made("title", "small", 2)));
    contract_kind(contract_call(AC_STORE_USAGE_ADD, ids.owner, id, json_object()), AC_INVALID_REQUEST);
    check_totals(ids.owner, 1, 1, 60, 738);
    check_totals("another owner", 0, 0, 0, 0);

    json_t *out = sum_of(ids.owner, usage_in("model")), *data = json_object_get(out, "data"), *row;
    int titles = 0;
    size_t i;
    assert_int_equal(json_array_size(data), 2);
    json_array_foreach(data, i, row)
    {
        bool small = strcmp(ac_json_peek_string(row, "model", ""), "small") == 0;
        assert_int_equal(ac_json_peek_int(row, "runs", -1), !small);
        assert_int_equal(ac_json_peek_int(row, "titles", -1), small);
        assert_int_equal(ac_json_peek_int(row, "summaries", -1), small);
        titles += small;
    }
    assert_int_equal(titles, 1);
    assert_int_equal(ac_json_peek_int(json_object_get(out, "totals"), "titles", -1), 1);
    assert_int_equal(ac_json_peek_int(json_object_get(out, "totals"), "summaries", -1), 1);
    json_decref(out);
}

static ac_store_op_t *title_set(const contract_ids_t *ids, const char *title, const char *was)
{
    return contract_call(AC_STORE_THREAD_UPDATE, ids->owner, ids->thread,
                         json_pack("{s:s, s:s?}", "title", title, "title_was", was));
}

static void test_a_title_is_set_only_in_place_of_the_one_that_was_seen(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char id[AC_ID_SIZE];
    usage_turn(&ids, id, "completed", 1, true);
    json_t *out = contract_ok(contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL));
    char *was = strdup(ac_json_peek_string(out, "title", ""));
    json_decref(out);
    contract_kind(title_set(&ids, "Made", "another"), AC_PRECONDITION_FAILED);
    contract_kind(title_set(&ids, "Made", NULL), AC_PRECONDITION_FAILED);
    out = contract_ok(title_set(&ids, "Made", was));
    assert_string_equal(ac_json_peek_string(out, "title", ""), "Made");
    json_decref(out);
    contract_kind(title_set(&ids, "Made again", was), AC_PRECONDITION_FAILED);
    free(was);
}

/* ---- what stays ---- */

static void test_usage_outlives_its_thread(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), other = ids;
    char id[AC_ID_SIZE], at[AC_TIME_SIZE];
    usage_turn(&ids, id, "completed", 3, true);
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_DELETE, ids.owner, ids.thread,
                                    json_pack("{s:s}", "deleted_at", contract_time(at, 20)));
    op->hard = true;
    contract_done(contract_wait(op));
    check_totals(ids.owner, 1, 1, 30, 369);

    ac_id_make(other.thread, "thread_"); /* a run that its thread's purge ends */
    *id = '\0';
    contract_open(&other, id, "q", true);
    contract_done(
        contract_call(AC_STORE_THREAD_DELETE, other.owner, other.thread, json_pack("{s:s}", "deleted_at", at)));
    contract_done(contract_call(AC_STORE_PURGE, NULL, NULL, json_pack("{s:s}", "before", contract_time(at, 30))));
    check_totals(ids.owner, 2, 1, 30, 369);
}

/* ---- who sees what ---- */

static void test_owners_see_their_own_usage(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), other = contract_ids();
    char id[AC_ID_SIZE];
    usage_turn(&ids, id, "completed", 3, true);
    usage_turn(&other, id, "completed", 4, true);
    check_totals(ids.owner, 1, 1, 30, 369);
    check_totals("another owner", 0, 0, 0, 0);
    json_t *in = usage_in("owner");
    json_object_set_new(in, "owner", json_string(other.owner));
    json_t *out = contract_ok(contract_call(AC_STORE_USAGE_SUM_ALL, NULL, NULL, in));
    json_t *data = json_object_get(out, "data");
    assert_int_equal(json_array_size(data), 1);
    assert_string_equal(ac_json_peek_string(json_array_get(data, 0), "owner", ""), other.owner);
    assert_int_equal(ac_json_peek_int(json_object_get(json_array_get(data, 0), "usage"), "prompt_tokens", 0), 40);
    json_decref(out);
    out = contract_ok(contract_call(AC_STORE_USAGE_SUM_ALL, NULL, NULL, usage_in("owner")));
    assert_true(json_array_size(json_object_get(out, "data")) >= 2);
    json_decref(out);
}

static void test_groups_and_range(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char id[AC_ID_SIZE] = "";
    usage_turn(&ids, id, "completed", 3, true);
    contract_open(&ids, (*id = '\0', id), "q", false);
    json_t *in = contract_close_in(&ids, id, "a"), *run = usage_run(id, ids.thread, "completed", 1);
    json_object_set_new(run, "agent_id", json_string("writer"));
    json_object_set_new(run, "created_at", json_string("2026-02-05T23:59:59.999Z"));
    json_object_set_new(run, "cost", json_null());
    json_object_set_new(in, "run", run);
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, in));
    in = json_pack("{s:s, s:s, s:[s, s]}", "from", DAY, "to", "2026-02-05", "by", "agent_id", "day");
    json_t *out = sum_of(ids.owner, json_deep_copy(in)), *data = json_object_get(out, "data");
    assert_int_equal(json_array_size(data), 2);
    assert_string_equal(ac_json_peek_string(json_array_get(data, 0), "day", ""), DAY);
    assert_string_equal(ac_json_peek_string(json_array_get(data, 0), "agent_id", ""), "helper");
    assert_string_equal(ac_json_peek_string(json_array_get(data, 1), "day", ""), "2026-02-05");
    assert_string_equal(ac_json_peek_string(json_array_get(data, 1), "agent_id", ""), "writer");
    assert_int_equal(json_array_size(json_object_get(json_array_get(data, 1), "cost")), 0);
    assert_null(json_object_get(json_array_get(data, 1), "model"));
    json_decref(out);
    json_object_set_new(in, "agent_id", json_string("writer"));
    out = sum_of(ids.owner, in);
    assert_int_equal(ac_json_peek_int(json_object_get(out, "totals"), "runs", 0), 1);
    json_decref(out);
    check_totals(ids.owner, 1, 1, 30, 369); /* of the first day only */
}

/* ---- moving ---- */

/* The owner's rows of an export. */
static json_t *export_of(const char *owner)
{
    json_t *rows = json_array(), *after = json_null(), *row;
    size_t i;
    while (after) {
        ac_store_op_t *op = contract_op(AC_STORE_EXPORT_USAGE, NULL, NULL, json_pack("{s:o}", "after", after));
        op->page.limit = 3;
        json_t *out = contract_ok(contract_wait(op)), *next = json_object_get(out, "next");
        json_array_foreach(json_object_get(out, "data"), i, row)
        {
            if (strcmp(ac_json_peek_string(row, "owner", ""), owner) == 0) {
                json_array_append(rows, row);
            }
        }
        after = json_is_string(next) ? json_incref(next) : NULL;
        json_decref(out);
    }
    return rows;
}

static void test_usage_is_moved(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char id[AC_ID_SIZE];
    usage_turn(&ids, id, "completed", 3, true);
    usage_turn(&ids, id, "failed", 2, false);
    json_t *rows = export_of(ids.owner), *row;
    size_t i;
    assert_int_equal(json_array_size(rows), 2);
    contract_done(contract_call(AC_STORE_IMPORT_USAGE, NULL, NULL, json_pack("{s:O}", "rows", rows)));
    check_totals(ids.owner, 2, 1, 50, 615); /* its own rows, come back */
    json_array_foreach(rows, i, row)
    {
        assert_true(*ac_json_peek_string(row, "source", ""));
        json_object_set_new(row, "source", json_string("store_other"));
    }
    for (int n = 0; n < 2; n++) { /* the same again changes nothing */
        contract_done(contract_call(AC_STORE_IMPORT_USAGE, NULL, NULL, json_pack("{s:O}", "rows", rows)));
        check_totals(ids.owner, 4, 2, 100, 1230);
    }
    json_decref(rows);
    rows = export_of(ids.owner);
    assert_int_equal(json_array_size(rows), 4);
    json_decref(rows);
    contract_kind(contract_call(AC_STORE_IMPORT_USAGE, NULL, NULL, json_pack("{s:[{s:s}]}", "rows", "day", DAY)),
                  AC_INVALID_REQUEST);
}

static void test_an_imported_run_is_counted_only_if_no_store_has(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    for (int n = 0; n < 3; n++) {
        json_t *record = contract_thread(ids.thread, "moved", 1), *item;
        json_object_set_new(record, "owner", json_string(ids.owner));
        json_object_set_new(record, "deleted_at", json_null());
        json_object_set_new(record, "restore_status", json_null());
        item = json_pack("{s:o, s:[]}", "run", usage_run("run_moved", ids.thread, "interrupted", 2), "steps");
        json_object_set_new(json_object_get(item, "run"), "id", json_sprintf("run_%s", ids.owner));
        if (n > 0) {
            json_object_set_new(json_object_get(item, "run"), "id", json_sprintf("run_2%s", ids.owner));
            json_object_set_new(item, "uncounted", json_true());
        }
        contract_done(contract_call(AC_STORE_IMPORT, NULL, ids.thread,
                                    json_pack("{s:o, s:[], s:[o]}", "thread", record, "messages", "runs", item)));
        check_totals(ids.owner, n > 0, 0, n > 0 ? 20 : 0, n > 0 ? 246 : 0);
    }
}

int contract_usage(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_ended_run_is_counted_once),
        cmocka_unit_test(test_the_sums_have_all_figures),
        cmocka_unit_test(test_a_late_end_replaces_the_first),
        cmocka_unit_test(test_a_suspended_run_is_counted_at_its_end),
        cmocka_unit_test(test_calls_after_a_run_are_counted_beside_it),
        cmocka_unit_test(test_a_title_is_set_only_in_place_of_the_one_that_was_seen),
        cmocka_unit_test(test_usage_outlives_its_thread),
        cmocka_unit_test(test_owners_see_their_own_usage),
        cmocka_unit_test(test_groups_and_range),
        cmocka_unit_test(test_usage_is_moved),
        cmocka_unit_test(test_an_imported_run_is_counted_only_if_no_store_has),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
