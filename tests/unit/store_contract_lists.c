/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about lists of threads: their orders, page by page. */
#include "store_contract.h"

enum { LISTED = 13 };

/* Threads of two agents, every third archived; oldest first. */
static void listed_make(contract_ids_t *ids, char made[LISTED][AC_ID_SIZE])
{
    for (int i = 0; i < LISTED; i++) {
        ac_id_make(ids->thread, "thread_");
        memcpy(made[i], ids->thread, AC_ID_SIZE);
        json_t *thread = contract_thread(ids->thread, "t", i);
        json_object_set_new(thread, "agent_id", json_string(i % 2 ? "odd" : "even"));
        json_object_set_new(thread, "status", json_string(i % 3 ? "active" : "archived"));
        contract_done(contract_call(AC_STORE_THREAD_CREATE, ids->owner, NULL, thread));
    }
}

/* The next one from i on that belongs into such a list. */
static int skip_others(const int order[LISTED], int i, const ac_page_t *page)
{
    for (; i < LISTED; i++) {
        bool of_agent = !*page->agent_id || order[i] % 2;
        bool of_status = !*page->status || (order[i] % 3 == 0) == (strcmp(page->status, "archived") == 0);
        if (of_agent && of_status) {
            break;
        }
    }
    return i;
}

/* Walks a list to its end in pages; checks that it gives exactly those made[order[i]] that belong. */
static void walk(const contract_ids_t *ids, char made[LISTED][AC_ID_SIZE], const int order[LISTED],
                 const ac_page_t *page)
{
    ac_page_t at = *page;
    int i = 0, n_pages = 0;
    bool more;
    do {
        ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, ids->owner, NULL, NULL);
        op->page = at;
        json_t *list = contract_ok(contract_wait(op)), *thread, *data = json_object_get(list, "data");
        size_t k;
        json_array_foreach(data, k, thread)
        {
            i = skip_others(order, i, page);
            assert_true(i < LISTED);
            assert_string_equal(ac_json_peek_string(thread, "id", ""), made[order[i++]]);
        }
        more = json_is_true(json_object_get(list, "has_more"));
        assert_int_equal(json_is_null(json_object_get(list, "next")), !more);
        assert_true(!more || (int)json_array_size(data) == at.limit);
        snprintf(at.after, sizeof(at.after), "%s", ac_json_peek_string(list, "next", ""));
        json_decref(list);
        assert_true(++n_pages <= LISTED);
    } while (more);
    assert_int_equal(skip_others(order, i, page), LISTED);
}

/* All kinds of lists in this order, in pages of several lengths. */
static void walk_all(const contract_ids_t *ids, char made[LISTED][AC_ID_SIZE], const int order[LISTED], bool by_update)
{
    for (int limit = 1; limit <= LISTED + 1; limit += 3) {
        walk(ids, made, order, &(ac_page_t){.limit = limit, .by_update = by_update});
        walk(ids, made, order, &(ac_page_t){.limit = limit, .by_update = by_update, .status = "archived"});
        walk(ids, made, order, &(ac_page_t){.limit = limit, .by_update = by_update, .agent_id = "odd"});
        walk(ids, made, order,
             &(ac_page_t){.limit = limit, .by_update = by_update, .agent_id = "odd", .status = "active"});
    }
    walk(ids, made, order, &(ac_page_t){.limit = LISTED, .by_update = by_update});
}

static const int newest_first[LISTED] = {12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0};

static void test_list_newest_first_page_by_page(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), other = contract_ids();
    char made[LISTED][AC_ID_SIZE];
    listed_make(&ids, made);
    contract_done(
        contract_call(AC_STORE_THREAD_CREATE, other.owner, NULL, contract_thread(other.thread, "not mine", 1)));
    walk_all(&ids, made, newest_first, false);
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, ids.owner, NULL, NULL);
    snprintf(op->page.after, sizeof(op->page.after), "'; DROP TABLE threads");
    contract_kind(contract_wait(op), AC_INVALID_REQUEST);
}

/* When each was changed, with two at once, and the order that follows. */
static const int changed_at[LISTED] = {3, 12, 7, 0, 5, 11, 7, 1, 9, 2, 10, 4, 6};
static const int changed_last_first[LISTED] = {1, 5, 10, 8, 6, 2, 12, 4, 11, 0, 9, 7, 3};

static void test_list_by_update_page_by_page(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), other = contract_ids();
    char made[LISTED][AC_ID_SIZE], at[AC_TIME_SIZE];
    listed_make(&ids, made);
    contract_done(
        contract_call(AC_STORE_THREAD_CREATE, other.owner, NULL, contract_thread(other.thread, "not mine", 1)));
    /* Listed before and between, so that a store which keeps copies for lists has some that are new and some that
     * are not. */
    walk(&ids, made, newest_first, &(ac_page_t){.limit = LISTED});
    for (int i = 0; i < LISTED; i++) {
        contract_done(contract_call(AC_STORE_THREAD_UPDATE, ids.owner, made[i],
                                    json_pack("{s:s}", "updated_at", contract_time(at, 1000 + 60 * changed_at[i]))));
        if (i == LISTED / 2) {
            walk(&ids, made, newest_first, &(ac_page_t){.limit = LISTED});
        }
    }
    walk_all(&ids, made, changed_last_first, true);
    static const char *const bad[] = {"'; DROP TABLE threads",
                                      "thread_x",
                                      "2026-11-23T08:00:00.000Z",
                                      "2026-11-23T08:00:00.000Z_",
                                      "x_thread_01jc8x9y2z3a4b5c6d7e8f9g0h",
                                      "2026-11-23T08:00:00.000Z_thread_x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, ids.owner, NULL, NULL);
        op->page.by_update = true;
        snprintf(op->page.after, sizeof(op->page.after), "%s", bad[i]);
        contract_kind(contract_wait(op), AC_INVALID_REQUEST);
    }
}

static void test_list_by_offset_with_total(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char made[LISTED][AC_ID_SIZE], at[AC_TIME_SIZE];
    listed_make(&ids, made);
    contract_done(contract_call(AC_STORE_THREAD_DELETE, ids.owner, made[0],
                                json_pack("{s:s}", "deleted_at", contract_time(at, 1))));
    const struct {
        ac_page_t page;
        int total, n;
        const char *first;
    } cases[] = {
        {{.limit = 5, .by_offset = true, .offset = 0}, LISTED - 1, 5, made[12]},
        {{.limit = 5, .by_offset = true, .offset = 10}, LISTED - 1, 2, made[2]},
        {{.limit = 5, .by_offset = true, .offset = 99}, LISTED - 1, 0, NULL},
        {{.limit = 5, .by_offset = true, .offset = 1, .agent_id = "odd"}, 6, 5, made[9]},
        {{.limit = 5, .by_offset = true, .status = "archived"}, 4, 4, made[12]},
        {{.limit = 5, .by_offset = true, .status = "active", .agent_id = "odd"}, 4, 4, made[11]},
        {{.limit = 5, .by_offset = true, .status = "deleted", .agent_id = "even"}, 1, 1, made[0]},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, ids.owner, NULL, NULL);
        op->page = cases[i].page;
        op->page.want_total = true;
        json_t *list = contract_ok(contract_wait(op)), *data = json_object_get(list, "data");
        assert_int_equal(ac_json_peek_int(list, "total", -1), cases[i].total);
        assert_int_equal(json_array_size(data), cases[i].n);
        if (cases[i].first) {
            assert_string_equal(ac_json_peek_string(json_array_get(data, 0), "id", ""), cases[i].first);
        }
        json_decref(list);
    }
}

int contract_lists(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_newest_first_page_by_page),
        cmocka_unit_test(test_list_by_update_page_by_page),
        cmocka_unit_test(test_list_by_offset_with_total),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
