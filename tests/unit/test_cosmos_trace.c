/* SPDX-License-Identifier: Apache-2.0 */
/* The spans of the Cosmos DB store: one for each of its requests, with its charge; and the context that it carries. */
#include "span_sink.h"

#include "cosmos_harness.h"

#include <math.h>

static cosmos_server_t server;

static double charge_of(const ac_span_t *span)
{
    const ac_attribute_t *charge = sink_attribute(span, AC_ATTRIBUTE_AZURE_COSMOSDB_OPERATION_REQUEST_CHARGE);
    return charge ? charge->value.number : 0;
}

/* An operation with the context of a client. */
static ac_store_op_t *traced(ac_store_verb_e verb, const contract_ids_t *ids, json_t *in)
{
    ac_trace_t client = sink_client();
    ac_store_op_t *op = contract_op(verb, ids->owner, ids->thread, in);
    ac_store_op_trace(op, &client);
    return contract_wait(op);
}

static void expect_span(const ac_span_t *span, const char *verb)
{
    assert_int_equal(span->what, AC_SPAN_STORE);
    assert_string_equal(span->trace.trace_id, SINK_TRACE);
    assert_string_equal(span->parent_id, SINK_SPAN);
    assert_string_equal(sink_text(span, AC_ATTRIBUTE_DB_SYSTEM_NAME), "azure.cosmosdb");
    assert_string_equal(sink_text(span, AC_ATTRIBUTE_DB_QUERY_SUMMARY), verb);
    assert_string_not_equal(sink_text(span, AC_ATTRIBUTE_DB_COLLECTION_NAME), "");
    assert_string_not_equal(sink_text(span, AC_ATTRIBUTE_DB_NAMESPACE), "");
    assert_string_equal(sink_text(span, AC_ATTRIBUTE_AZURE_COSMOSDB_CONNECTION_MODE), "gateway");
    assert_string_equal(sink_text(span, AC_ATTRIBUTE_AZURE_RESOURCE_PROVIDER_NAMESPACE), "Microsoft.DocumentDB");
    assert_string_equal(sink_text(span, AC_ATTRIBUTE_SERVER_ADDRESS), "127.0.0.1");
    assert_int_equal(sink_integer(span, AC_ATTRIBUTE_SERVER_PORT), server.port);
    assert_memory_equal(span->name, sink_text(span, AC_ATTRIBUTE_DB_OPERATION_NAME),
                        strlen(sink_text(span, AC_ATTRIBUTE_DB_OPERATION_NAME)));
    assert_true(charge_of(span) > 0);
}

static void test_each_request_of_an_operation_is_a_span(void **state)
{
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    double charge = 0;
    cosmos_child_open(*state, &server, "");
    contract_open(&ids, run, "hello", true);
    contract_close(&ids, run, "hi");
    sink_open(AC_CONTENT_ALL);
    ac_store_op_t *op = contract_op(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL);
    ac_trace_t client = sink_client();
    op->page.limit = 10;
    ac_store_op_trace(op, &client);
    op = contract_wait(op);
    assert_true(sink_n >= 1);
    for (int i = 0; i < sink_n; i++) {
        expect_span(sink_spans[i], "turn_load");
        assert_null(sink_spans[i]->error);
        charge += charge_of(sink_spans[i]);
    }
    assert_true(fabs(charge - op->charge) < 0.001);
    contract_done(op);
    const ac_span_t *query = sink_find("query_items messages");
    assert_non_null(query);
    assert_int_equal(sink_integer(query, AC_ATTRIBUTE_DB_RESPONSE_RETURNED_ROWS), 2);
    assert_string_equal(sink_text(query, AC_ATTRIBUTE_DB_RESPONSE_STATUS_CODE), "200");
    sink_close();
}

static void test_what_is_missing_is_no_error(void **state)
{
    contract_ids_t ids = contract_ids();
    cosmos_child_open(*state, &server, "");
    contract_open(&ids, (char[AC_ID_SIZE]){""}, "hello", true);
    snprintf(ids.thread, sizeof(ids.thread), "thread_00000000000000000000000000");
    sink_open(AC_CONTENT_NONE);
    contract_kind(traced(AC_STORE_THREAD_GET, &ids, NULL), AC_NOT_FOUND);
    assert_true(sink_n >= 1);
    assert_string_equal(sink_text(sink_spans[0], AC_ATTRIBUTE_DB_RESPONSE_STATUS_CODE), "404");
    assert_null(sink_spans[0]->error);
    sink_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        COSMOS_TEST(test_each_request_of_an_operation_is_a_span),
        COSMOS_TEST(test_what_is_missing_is_no_error),
    };
    return cosmos_main(&server, "cosmos_trace", tests, sizeof(tests) / sizeof(*tests));
}
