/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store with a wrong configuration: keys, clocks, databases and containers that do not fit. */
#include "cosmos_harness.h"

static cosmos_server_t server;

static void refused(cosmos_child_t *child, const char *options, int number, const char *part)
{
    cosmos_log_clear();
    cosmos_child_open(child, &server, options);
    for (int i = 0; i < 3; i++) {
        contract_kind(contract_call(AC_STORE_PING, NULL, NULL, NULL), AC_STORE_ERROR);
    }
    assert_int_equal(cosmos_logged(number), 1);
    if (!strstr(cosmos_logged_text(number), part)) {
        fail_msg("%s", cosmos_logged_text(number));
    }
}

static void test_wrong_key(void **state)
{
    refused(*state, "credential=env:AGENTCHAT_TEST_WRONG_KEY", 220, "give a key of this account");
    assert_non_null(strstr(cosmos_logged_text(220), "credential=env:AGENTCHAT_TEST_WRONG_KEY"));
}

static void test_clock_is_off(void **state)
{
    cosmos_server_order(&server, "{\"clock\":3600}");
    refused(*state, "", 221, "clock is 1h behind; set it");
    cosmos_server_order(&server, "{\"clock\":0}");
    apr_time_t give_up = ac_clock() + apr_time_from_sec(20);
    ac_store_op_t *op = contract_call(AC_STORE_PING, NULL, NULL, NULL);
    while (op->status != APR_SUCCESS && ac_clock() < give_up) {
        ac_store_op_free(op);
        op = contract_call(AC_STORE_PING, NULL, NULL, NULL);
    }
    contract_done(op);
}

static void test_nothing_is_made_without_leave(void **state)
{
    cosmos_child_t maker;
    refused(*state, "create=off", 222, "no database 'chat'");
    assert_int_equal(cosmos_requests(&server, "POST .*"), 0);

    cosmos_child_open(&maker, &server, "");
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    cosmos_child_stop(&maker);
    contract_use(&((cosmos_child_t *)*state)->store);
    apr_time_t give_up = ac_clock() + apr_time_from_sec(20);
    ac_store_op_t *op = contract_call(AC_STORE_PING, NULL, NULL, NULL);
    while (op->status != APR_SUCCESS && ac_clock() < give_up) { /* it looks again every few seconds */
        ac_store_op_free(op);
        op = contract_call(AC_STORE_PING, NULL, NULL, NULL);
    }
    contract_done(op);
}

static void test_container_is_missing(void **state)
{
    cosmos_child_t maker;
    cosmos_child_open(&maker, &server, "");
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    cosmos_child_stop(&maker);
    refused(*state, "create=off messages=others", 222, "no container 'others'");
}

static void test_container_of_another_key(void **state)
{
    cosmos_child_t maker;
    cosmos_child_open(&maker, &server, "");
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    cosmos_child_stop(&maker);
    refused(*state, "threads=messages messages=threads", 222, "partition key /thread_id instead of /owner");
}

/* The key cannot be added later, and without it a message that was sent twice is not detected. */
static void test_container_without_its_unique_key(void **state)
{
    cosmos_child_t maker;
    cosmos_child_open(&maker, &server, "");
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    cosmos_child_stop(&maker);
    cosmos_server_order(&server,
                        "{\"define\":{\"threads\":{\"uniqueKeyPolicy\":{\"uniqueKeys\":[{\"paths\":[\"/id2\"]}]}}}}");
    refused(*state, "", 222, "container 'threads' has no unique key /key");
}

/* An index can be added while the server runs. */
static void test_container_without_its_index(void **state)
{
    cosmos_child_t maker;
    cosmos_child_open(&maker, &server, "");
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    cosmos_child_stop(&maker);
    cosmos_server_order(&server,
                        "{\"define\":{\"messages\":{\"indexingPolicy\":{\"includedPaths\":[{\"path\":\"/thread_id/?\"},"
                        "{\"path\":\"/seqs/?\"},{\"path\":\"/seq\"}],\"excludedPaths\":[{\"path\":\"/*\"}]}}}}");
    refused(*state, "", 222, "container 'messages' has no index on /seq/?");
}

/* The container works, and a log line warns about long names of owners. */
static void test_container_of_a_partition_key_of_version_1(void **state)
{
    static const struct {
        const char *name, *key;
        int n;
    } rows[] = {
        {"threads", "{\"paths\":[\"/owner\"],\"kind\":\"Hash\"}", 1}, /* none is 1 */
        {"threads", "{\"paths\":[\"/owner\"],\"kind\":\"Hash\",\"version\":1}", 1},
        {"threads", "{\"paths\":[\"/owner\"],\"kind\":\"Hash\",\"version\":2}", 0},
        {"messages", "{\"paths\":[\"/thread_id\"],\"kind\":\"Hash\"}", 0}, /* ids of threads are short */
    };
    char order[160];
    cosmos_child_t maker;
    (void)state;
    cosmos_child_open(&maker, &server, "");
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    cosmos_child_stop(&maker);
    assert_int_equal(cosmos_logged(231), 0); /* of what the store has made */
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        cosmos_child_t child;
        snprintf(order, sizeof(order), "{\"define\":{\"%s\":{\"partitionKey\":%s}}}", rows[i].name, rows[i].key);
        cosmos_server_order(&server, order);
        cosmos_child_open(&child, &server, "");
        contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
        assert_int_equal(cosmos_logged(231), rows[i].n);
        if (rows[i].n) {
            assert_non_null(strstr(cosmos_logged_text(231), "container threads has a partition key of version 1"));
        }
        cosmos_child_stop(&child);
        cosmos_log_clear();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        COSMOS_TEST(test_wrong_key),
        COSMOS_TEST(test_clock_is_off),
        COSMOS_TEST(test_nothing_is_made_without_leave),
        COSMOS_TEST(test_container_is_missing),
        COSMOS_TEST(test_container_of_another_key),
        COSMOS_TEST(test_container_without_its_unique_key),
        COSMOS_TEST(test_container_without_its_index),
        COSMOS_TEST(test_container_of_a_partition_key_of_version_1),
    };

    return cosmos_main(&server, "cosmos_prepare", tests, sizeof(tests) / sizeof(*tests));
}
