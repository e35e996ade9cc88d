/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store with documents that expire: the remaining documents of a thread are read as if they were all. */
#include "cosmos_harness.h"

#include <apr_general.h>

static cosmos_server_t server;

static contract_ids_t turns(int n)
{
    contract_ids_t ids = contract_ids();
    for (int i = 0; i < n; i++) {
        char run[AC_ID_SIZE] = "";
        contract_open(&ids, run, "hello", i == 0);
        contract_close(&ids, run, "hi");
    }
    return ids;
}

/* The seqs of a page as text, "5 6 …" if there are more. *pnext is the cursor of the next page. */
static const char *page_of(const contract_ids_t *ids, int limit, bool descending, int64_t *pnext)
{
    static char text[128];
    ac_store_op_t *op = contract_op(AC_STORE_MESSAGE_LIST, ids->owner, ids->thread, NULL);
    op->page.limit = limit;
    op->page.descending = descending;
    *(descending ? &op->page.before_seq : &op->page.after_seq) = *pnext;
    json_t *list = contract_ok(contract_wait(op)), *message;
    size_t i, len = 0;
    text[0] = '\0';
    json_array_foreach(json_object_get(list, "data"), i, message)
    {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%d ", (int)ac_json_peek_int(message, "seq", 0));
    }
    snprintf(text + len, sizeof(text) - len, "%s", json_is_true(json_object_get(list, "has_more")) ? "more" : "end");
    *pnext = ac_json_peek_int(list, "next", 0);
    json_decref(list);
    return text;
}

/* No page is empty, and the last page does not announce another. */
static void test_pages_begin_with_remaining_documents(void **state)
{
    int64_t at = 0;
    cosmos_child_open(*state, &server, "retention=90d");
    contract_ids_t ids = turns(5);
    cosmos_server_order(&server, "{\"expire\":{\"container\":\"messages\",\"seq\":5}}");
    assert_string_equal(page_of(&ids, 2, false, &at), "6 7 more");
    assert_string_equal(page_of(&ids, 2, false, &at), "8 9 more");
    assert_string_equal(page_of(&ids, 2, false, &at), "10 end");
    at = 0;
    assert_string_equal(page_of(&ids, 2, true, &at), "10 9 more");
    assert_string_equal(page_of(&ids, 2, true, &at), "8 7 more");
    assert_string_equal(page_of(&ids, 2, true, &at), "6 end");
    cosmos_server_order(&server, "{\"empty_pages\":true, \"page_most\":1}");
    at = 0;
    assert_string_equal(page_of(&ids, 3, false, &at), "6 7 8 more");
    cosmos_server_order(&server, "{\"expire\":{\"container\":\"messages\",\"seq\":10}}");
    at = 0;
    assert_string_equal(page_of(&ids, 2, false, &at), "end");
}

/* The parts of a large message are older than the message by a moment and expire before it: it is hidden with them. */
static void test_parts_that_are_gone_first(void **state)
{
    int64_t at = 0;
    cosmos_child_open(*state, &server, "retention=90d");
    contract_ids_t ids = turns(1);
    char run[AC_ID_SIZE] = "", *large = ac_alloc(2000001);
    memset(large, 'x', 2000000);
    contract_open(&ids, run, "a lot, please", false);
    contract_close(&ids, run, large);
    free(large);
    turns(1);
    cosmos_server_order(&server, "{\"expire\":{\"container\":\"messages\",\"type\":\"part\"}}");
    contract_kind(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL),
                  AC_STORE_ERROR); /* far from its time */
    cosmos_server_order(&server, "{\"no_auth\":true, \"clock\":7775900}");
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    json_t *loaded = contract_ok(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL));
    assert_int_equal(json_array_size(json_object_get(loaded, "messages")), 3);
    json_decref(loaded);
    assert_string_equal(page_of(&ids, 10, false, &at), "1 2 3 end");
}

static void make(void)
{
    cosmos_child_t maker;
    cosmos_child_open(&maker, &server, "");
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    cosmos_child_stop(&maker);
    cosmos_log_clear();
}

/* The container of entries keeps its documents, unless they say otherwise themselves. */
static void test_a_file_expires_after_its_message(void **state)
{
    char file[AC_ID_SIZE];
    (void)state;
    make();
    cosmos_server_order(&server,
                        "{\"define\":{\"messages\":{\"defaultTtl\":7776000},\"threads\":{\"defaultTtl\":-1}}}");
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = turns(1);
    contract_file(file, ids.owner, 1, NULL);
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread,
                                contract_files_in(&ids, false, json_pack("[s]", file))));
    cosmos_server_order(&server, "{\"aged\":7776600}"); /* ten minutes after the message */
    contract_done(contract_call(AC_STORE_FILE_GET, ids.owner, file, NULL));
    cosmos_server_order(&server, "{\"aged\":7863000}");
    contract_kind(contract_call(AC_STORE_FILE_GET, ids.owner, file, NULL), AC_NOT_FOUND);
}

/* A thread's entry is written again once an eighth of a document's life has passed, so it has to live longer by
 * that. */
static void test_entries_that_go_too_early(void **state)
{
    static const struct {
        const char *order;
        int n;
        const char *part;
    } rows[] = {
        {"{\"define\":{\"messages\":{\"defaultTtl\":7776000},\"threads\":{\"defaultTtl\":7862400}}}", 1,
         "set its defaultTtl to 9806400"},
        {"{\"define\":{\"messages\":{\"defaultTtl\":null},\"threads\":{\"defaultTtl\":7862400}}}", 1,
         "set its defaultTtl to -1"},
        {"{\"define\":{\"messages\":{\"defaultTtl\":7776000},\"threads\":{\"defaultTtl\":9806400}}}", 0, ""},
        {"{\"define\":{\"messages\":{\"defaultTtl\":7776000},\"threads\":{\"defaultTtl\":-1}}}", 0, ""},
    };
    (void)state;
    make();
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        cosmos_child_t child;
        cosmos_server_order(&server, rows[i].order);
        cosmos_child_open(&child, &server, "");
        contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
        assert_int_equal(cosmos_logged(227), rows[i].n);
        if (rows[i].n) {
            assert_non_null(strstr(cosmos_logged_text(227), rows[i].part));
        }
        cosmos_child_stop(&child);
        cosmos_log_clear();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        COSMOS_TEST(test_pages_begin_with_remaining_documents),
        COSMOS_TEST(test_parts_that_are_gone_first),
        COSMOS_TEST(test_a_file_expires_after_its_message),
        COSMOS_TEST(test_entries_that_go_too_early),
    };
    int n_failed;

    apr_initialize();
    cosmos_server_start(&server);
    n_failed = cmocka_run_group_tests_name("cosmos_retention", tests, NULL, NULL);
    cosmos_server_stop(&server);
    apr_terminate();
    return n_failed;
}
