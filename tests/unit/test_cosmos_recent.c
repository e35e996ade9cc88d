/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store's lists of threads by their last change: the cost of a page, and containers without the index
 * for it. */
#include "cosmos_harness.h"

#include "back/cosmos/cosmos_internal.h"

enum { MANY = 20 };

static cosmos_server_t server;

/* What lists ask for: the query of the entries, and heads. */
static int64_t n_asked(void)
{
    return cosmos_requests(&server, "(POST .*/threads/docs|GET .*/messages/docs)");
}

/* The next list is the n-th of its child: the eighth, and none before it, compares a copy with its head. */
static void lists_since(unsigned int n)
{
    ac_cosmos_t *store = contract_store()->self;
    store->n_lists = n - 1;
}

static void turn(const contract_ids_t *ids, bool fresh)
{
    char run[AC_ID_SIZE] = "";
    contract_open(ids, run, "hello", fresh);
    contract_close(ids, run, "hi");
}

/* Lists until each entry has its copy. */
static void settle(const contract_ids_t *ids)
{
    apr_time_t end = ac_clock() + apr_time_from_sec(30);
    while (cosmos_marked(&server) > 0) {
        assert_true(ac_clock() < end);
        lists_since(1);
        json_decref(contract_ok(contract_call(AC_STORE_THREAD_LIST, ids->owner, NULL, NULL)));
    }
}

static json_t *recent_of(const contract_ids_t *ids, int limit, const char *after, const char *first)
{
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, ids->owner, NULL, NULL);
    op->page.by_update = true;
    op->page.limit = limit;
    snprintf(op->page.after, sizeof(op->page.after), "%s", after);
    json_t *list = contract_ok(contract_wait(op)), *data = json_object_get(list, "data");
    assert_string_equal(ac_json_peek_string(json_array_get(data, 0), "id", ""), first);
    return list;
}

/* One query more than by creation, for any list, and the heads of threads that changed since. */
static void test_a_page_by_the_last_change(void **state)
{
    contract_ids_t ids = contract_ids(), first = ids;
    cosmos_child_open(*state, &server, "");
    for (int i = 0; i < MANY; i++) {
        ac_id_make(ids.thread, "thread_");
        turn(&ids, true);
        first = i ? first : ids;
    }
    settle(&ids);
    char at[AC_TIME_SIZE];
    contract_done(contract_call(AC_STORE_THREAD_UPDATE, first.owner, first.thread,
                                json_pack("{s:s}", "updated_at", contract_time(at, 86000000))));
    for (int64_t settled = 0; settled < 2; settled++) {
        lists_since(1);
        int64_t before = n_asked();
        json_decref(recent_of(&ids, 5, "", first.thread));
        assert_int_equal(n_asked() - before, settled ? 2 : 3);
        COSMOS_UNTIL(cosmos_marked(&server) == 0);
    }
}

/* A container of an older version: lists continue by creation, and the log names the missing index. */
static void test_a_container_without_the_index_of_changes(void **state)
{
    cosmos_child_t maker;
    contract_ids_t ids = contract_ids(), newest;
    cosmos_child_open(&maker, &server, "");
    for (int i = 0; i < 3; i++) {
        ac_id_make(ids.thread, "thread_");
        turn(&ids, true);
    }
    assert_int_equal(cosmos_logged(232), 0);
    cosmos_child_stop(&maker);
    newest = ids;
    cosmos_server_order(&server,
                        "{\"define\":{\"threads\":{\"indexingPolicy\":{\"includedPaths\":["
                        "{\"path\":\"/owner/?\"},{\"path\":\"/type/?\"},{\"path\":\"/status/?\"},"
                        "{\"path\":\"/copy/updated_at/?\"}],\"excludedPaths\":[{\"path\":\"/*\"}]}}}}");
    cosmos_child_open(*state, &server, "");
    json_t *list = recent_of(&ids, 2, "", newest.thread);
    assert_int_equal(cosmos_logged(232), 1);
    assert_int_equal(json_array_size(json_object_get(list, "data")), 2);
    const char *after = ac_json_peek_string(list, "next", "");
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, ids.owner, NULL, NULL);
    op->page = (ac_page_t){.limit = 2, .by_update = true};
    snprintf(op->page.after, sizeof(op->page.after), "%s", after);
    json_t *rest = contract_ok(contract_wait(op));
    assert_int_equal(json_array_size(json_object_get(rest, "data")), 1);
    json_decref(rest);
    json_decref(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        COSMOS_TEST(test_a_page_by_the_last_change),
        COSMOS_TEST(test_a_container_without_the_index_of_changes),
    };

    return cosmos_main(&server, "cosmos_recent", tests, sizeof(tests) / sizeof(*tests));
}
