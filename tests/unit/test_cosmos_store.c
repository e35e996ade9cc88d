/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store: the contract of all stores, its configuration, its documents and requests. Failures are in
 * test_cosmos_failures.c. */
#include "back/cache/cache.h"
#include "cosmos_harness.h"

#include <apr_general.h>

#define LONG_TEXT 1000000 /* bytes; stored in parts */

static cosmos_server_t server;

/* ---- configuration ---- */

static void test_create_reports_errors(void **state)
{
    (void)state;
    const struct {
        const char *url, *options, *part;
    } cases[] = {
        {"", "", "not the URL of an account"},
        {"chat.db", "", "not the URL of an account"},
        {"http://account.documents.azure.com", "", "not encrypted"},
        {"https://a.documents.azure.com/dbs/x", "", "has a path"},
        {NULL, "database=a/b", "database=a/b"},
        {NULL, "database=", "database="},
        {NULL, "create=perhaps", "create=perhaps"},
        {NULL, "retention=5s", "retention=5s"},
        {NULL, "retention=90", "retention=90"},
        {NULL, "lease=1s", "lease=1s"},
        {NULL, "throughput=399", "throughput=399"},
        {NULL, "throughput=450x", "throughput=450x"},
        {NULL, "autoscale=900", "autoscale=900"},
        {NULL, "autoscale=1500", "in steps of 1000, from 1000"},
        {NULL, "throughput=450", "in steps of 100, from 400"},
        {NULL, "throughput=400 autoscale=4000", "either"},
        {NULL, "threads=x messages=x", "two containers"},
        {NULL, "colour=red", "no option colour"},
        {NULL, "credential=secret", "credential="},
        {NULL, "credential=env:AGENTCHAT_TEST_NOWHERE", "AGENTCHAT_TEST_NOWHERE"},
        {NULL, "ca-file=ca.pem", "absolute"},
        {NULL, "credential=identity:managed refresh=5min", "takes no option 'refresh'"},
        {NULL, "credential=keyvault:https://v.vault.azure.net/secrets/n refresh=2d", "refresh='2d'"},
        {NULL, "credential=keyvault:https://v.vault.azure.net/secrets/n identity=magic", "identity:magic"},
    };
    apr_pool_t *pool;
    assert_int_equal(apr_pool_create(&pool, NULL), APR_SUCCESS);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        cosmos_child_t child;
        void *self;
        const char *problem = cases[i].url ? ac_store_cosmos.create(&self, cases[i].url, apr_table_make(pool, 1), pool)
                                           : cosmos_child_create(&child, &server, cases[i].options);
        if (!problem || !strstr(problem, cases[i].part)) {
            fail_msg("%s %s: %s", cases[i].url ? cases[i].url : "", cases[i].options, problem ? problem : "(fine)");
        }
        if (!cases[i].url) {
            apr_pool_destroy(child.pool);
        }
    }
    apr_pool_destroy(pool);
}

/* A credential has the options that it has everywhere. */
static void test_a_credentials_own_options(void **state)
{
    (void)state;
    const char *const options[] = {
        "credential=keyvault:https://v.vault.azure.net/secrets/n identity=managed client-id=1111 refresh=5min",
        "credential=identity:managed client-id=1111 scope=https://cosmos.azure.com/.default",
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
        cosmos_child_t child;
        const char *problem = cosmos_child_create(&child, &server, options[i]);
        assert_string_equal(problem ? problem : "(fine)", "(fine)");
        apr_pool_destroy(child.pool);
    }
}

/* ---- the documents ---- */

static json_t *document_of(const char *container, const char *type)
{
    char order[64];
    json_t *answer, *document, *found = NULL;
    size_t i;
    snprintf(order, sizeof(order), "{\"dump\":\"%s\"}", container);
    answer = cosmos_server_tell(&server, order);
    json_array_foreach(json_object_get(answer, "documents"), i, document)
    {
        if (strcmp(ac_json_peek_string(document, "type", ""), type) == 0) {
            assert_null(found);
            found = json_incref(document);
        }
    }
    json_decref(answer);
    return found;
}

static void test_messages_are_documents_that_others_read(void **state)
{
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = contract_ids();
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1)));
    json_t *in = contract_close_in(&ids, "run_a", "It is 12.75."), *message = json_object_get(in, "message");
    json_object_set_new(message, "tool_calls", json_pack("[{s:s}]", "tool", "calculate"));
    json_object_set_new(message, "metadata", json_pack("{s:s, s:s}", "model", "m-1", "finish_reason", "stop"));
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, in));
    json_t *document = document_of("messages", "message");
    assert_string_equal(ac_json_peek_string(document, "thread_id", ""), ids.thread);
    assert_string_equal(ac_json_peek_string(document, "role", ""), "assistant");
    assert_string_equal(ac_json_peek_string(document, "content", ""), "It is 12.75.");
    assert_int_equal(ac_json_peek_int(document, "seq", 0), 1);
    assert_string_equal(ac_json_peek_string(document, "run_id", ""), "run_a");
    assert_non_null(ac_json_peek_string(document, "timestamp", NULL));
    contract_equal(json_incref(json_object_get(document, "metadata")),
                   json_pack("{s:s, s:s, s:[{s:s}]}", "model", "m-1", "finish_reason", "stop", "tool_calls", "tool",
                             "calculate"));
    json_decref(document);

    document = document_of("messages", "thread");
    assert_string_equal(ac_json_peek_string(document, "owner", ""), ids.owner);
    json_decref(document);
}

static void test_metadata_of_any_shape_comes_back(void **state)
{
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = contract_ids();
    json_t *shapes[] = {
        json_null(),
        json_object(),
        json_pack("{s:s}", "tool_calls", "mine"),
        json_pack("{s:s, s:s}", "no_metadata", "x", "seq", "9"),
    };
    char parent[AC_ID_SIZE] = "";
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1)));
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        for (int calls = 0; calls < 2; calls++) {
            char run[AC_ID_SIZE];
            ac_id_make(run, "run_");
            json_t *in = contract_close_in(&ids, run, "x"), *message = json_object_get(in, "message"), *wanted;
            json_object_set(message, "metadata", shapes[i]);
            json_object_set_new(message, "tool_calls", calls ? json_pack("[{s:s}]", "tool", "t") : json_null());
            wanted = json_deep_copy(message);
            json_object_set_new(wanted, "thread_id", json_string(ids.thread));
            json_object_set_new(wanted, "seq", json_integer((json_int_t)(2 * i + (size_t)calls + 1)));
            json_object_set_new(wanted, "parent_id", ac_json_text(*parent ? parent : NULL));
            snprintf(parent, sizeof(parent), "%s", ac_json_peek_string(wanted, "id", ""));
            contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, in));
            ac_store_op_t *op = contract_op(AC_STORE_MESSAGE_LIST, ids.owner, ids.thread, NULL);
            op->page.after_seq = (int64_t)(2 * i) + calls;
            json_t *list = contract_ok(contract_wait(op));
            contract_equal(json_incref(json_array_get(json_object_get(list, "data"), 0)), wanted);
            json_decref(list);
        }
        json_decref(shapes[i]);
    }
}

static void test_large_documents_are_split_and_joined(void **state)
{
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "", step[AC_ID_SIZE];
    size_t size = 3 * 1024 * 1024;
    char *large = ac_alloc(size + 1);
    for (size_t i = 0; i + 4 <= size; i += 4) {
        memcpy(large + i, i % 3 ? "\xf0\x9f\x8e\x89" : "\"\\\n\x01", 4);
    }
    contract_open(&ids, run, "short", true);
    json_t *in = contract_close_in(&ids, run, large), *steps = json_object_get(in, "steps"), *wanted;
    for (int i = 0; i < 150; i++) { /* more than a batch takes, and together larger than a document */
        ac_id_make(step, "step_");
        json_array_append_new(steps, contract_step(step, run, i));
        json_object_set_new(json_array_get(steps, (size_t)i), "result", json_stringn(large, 65536));
    }
    json_incref(steps);
    wanted = json_pack("{s:o}", "data", steps);
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, in));
    contract_equal(contract_ok(contract_call(AC_STORE_STEP_LIST, ids.owner, run, NULL)), wanted);
    json_t *loaded = contract_ok(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL));
    json_t *message = json_array_get(json_object_get(loaded, "messages"), 1);
    assert_int_equal(json_string_length(json_object_get(message, "content")), size);
    assert_memory_equal(ac_json_peek_string(message, "content", ""), large, size);
    json_decref(loaded);
    assert_in_range(cosmos_documents(&server, "messages"), 20, 40); /* the parts are documents of their own */

    cosmos_remove_thread(&ids);
    assert_int_equal(cosmos_documents(&server, "messages"), 0);
    assert_int_equal(cosmos_documents(&server, "threads"), 0);
    free(large);
}

/* ---- requests ---- */

static int64_t counted(const char *what)
{
    json_t *answer = cosmos_server_tell(&server, "{}");
    int64_t n = ac_json_peek_int(answer, what, -1);
    json_decref(answer);
    return n;
}

static void test_the_number_of_requests_of_each_operation(void **state)
{
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    contract_open(&ids, run, "hello", true);
    contract_close(&ids, run, "hi");
    COSMOS_UNTIL(cosmos_uncounted(&server) == 0);
    int64_t n = counted("requests");

    contract_done(contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL));
    assert_int_equal(counted("requests") - n, 1); /* a point read is one exchange */
    contract_done(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL));
    assert_int_equal(counted("requests") - n, 3);
    *run = '\0';
    contract_open(&ids, run, "again", false);
    assert_int_equal(counted("requests") - n,
                     5); /* the head is remembered from loading: the run's entry, and the batch */
    contract_close(&ids, run, "yes");
    COSMOS_UNTIL(cosmos_uncounted(&server) == 0);
    assert_int_equal(counted("requests") - n, 9); /* one batch; run's entry, sum, and a batch with both */
    contract_done(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL));
    assert_int_equal(counted("requests") - n, 11);
    contract_done(contract_call(AC_STORE_MESSAGE_LIST, ids.owner, ids.thread, NULL));
    assert_int_equal(counted("requests") - n, 13);
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    assert_int_equal(counted("requests") - n, 14);

    int64_t connections = counted("connections");
    for (int i = 0; i < 20; i++) {
        contract_done(contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL));
    }
    assert_int_equal(counted("connections"), connections + 1); /* the one that asks this */
}

static void test_names_may_be_odd(void **state)
{
    cosmos_child_t *child = *state;
    cosmos_child_open(child, &server, "database=Ünïcödé+&=x threads=(T)'s messages=M,1");
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    contract_open(&ids, run, "hello", true); /* signed right, or it would be 401 */
    contract_close(&ids, run, "hi");
    contract_gapless(&ids, 2);
    assert_int_equal(cosmos_logged(224), 3); /* a database and two containers were made */
}

/* ---- retention ---- */

static void test_retention(void **state)
{
    cosmos_child_open(*state, &server, "retention=90d");
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    contract_open(&ids, run, "hello", true);
    contract_close(&ids, run, "hi");
    *run = '\0';
    contract_open(&ids, run, "again", false);
    contract_close(&ids, run, "there");
    json_t *answer = cosmos_server_tell(&server, "{\"definition\":\"messages\"}");
    assert_int_equal(ac_json_peek_int(json_object_get(answer, "definition"), "defaultTtl", 0), 90 * 86400);
    json_decref(answer);
    answer = cosmos_server_tell(&server, "{\"definition\":\"threads\"}");
    assert_true(ac_json_peek_int(json_object_get(answer, "definition"), "defaultTtl", 0) > 100 * 86400);
    json_decref(answer);

    /* What is past its time is simply not there. */
    cosmos_server_order(&server, "{\"expire\":{\"container\":\"messages\",\"seq\":2}}");
    ac_store_op_t *op = contract_op(AC_STORE_MESSAGE_LIST, ids.owner, ids.thread, NULL);
    json_t *list = contract_ok(contract_wait(op)), *data = json_object_get(list, "data");
    assert_int_equal(json_array_size(data), 2);
    assert_int_equal(ac_json_peek_int(json_array_get(data, 0), "seq", 0), 3);
    json_decref(list);
    json_t *loaded = contract_ok(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL));
    assert_int_equal(json_array_size(json_object_get(loaded, "messages")), 2);
    json_decref(loaded);
}

/* A thread with one turn, and with it a key of its own. */
static void keyed_turn(contract_ids_t *ids, const char *created_at)
{
    char run[AC_ID_SIZE];
    ac_id_make(run, "run_");
    *ids = contract_ids();
    json_t *in = contract_open_in(ids, run, "hello", true);
    json_object_set_new(in, "idempotency",
                        json_pack("{s:s, s:s, s:s}", "key", "k", "request_hash", "h", "since", created_at));
    json_object_set_new(json_object_get(in, "run"), "created_at", json_string(created_at));
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids->owner, ids->thread, in));
}

static void test_keys_expire(void **state)
{
    contract_ids_t ids;
    cosmos_child_open(*state, &server, "");
    keyed_turn(&ids, "2026-01-01T00:00:00.000Z");
    assert_int_equal(cosmos_documents(&server, "threads"), 3); /* entries of the thread, the run, the key */
    cosmos_server_order(&server, "{\"aged\":86400}");
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    assert_int_equal(cosmos_documents(&server, "threads"), 3);
    cosmos_server_order(&server, "{\"aged\":100000}");
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    assert_int_equal(cosmos_documents(&server, "threads"), 2);
    cosmos_server_order(&server, "{\"aged\":0}");
}

/* In a container that lets nothing expire. */
static void test_keys_are_purged(void **state)
{
    contract_ids_t ids;
    cosmos_child_t maker;
    const char *old[] = {"2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"};
    cosmos_child_open(&maker, &server, "");
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    cosmos_child_stop(&maker);
    cosmos_server_order(&server, "{\"define\":{\"threads\":{\"defaultTtl\":null}}}");
    cosmos_child_open(*state, &server, "");
    for (int i = 0; i < 2; i++) {
        keyed_turn(&ids, old[i]);
    }
    keyed_turn(&ids, "2026-01-05T00:00:00.000Z");
    assert_int_equal(cosmos_documents(&server, "threads"), 9);
    contract_done(contract_call(AC_STORE_PURGE, NULL, NULL,
                                json_pack("{s:s, s:s}", "before", "2000-01-01T00:00:00.000Z", "keys_before",
                                          "2026-01-03T00:00:00.000Z")));
    assert_int_equal(cosmos_documents(&server, "threads"), 7);
    json_t *key = json_pack("{s:s, s:s}", "key", "k", "since", "2026-01-03T00:00:00.000Z");
    contract_done(contract_call(AC_STORE_KEY_GET, ids.owner, NULL, key));
}

static void note_done(ac_store_op_t *op)
{
    atomic_store((atomic_bool *)op->baton, true);
    ac_store_op_free(op);
}

/* A query for changed agents that the service answers late, with a stamp from before a change. */
static void test_a_query_that_a_change_overtakes(void **state)
{
    atomic_bool done = false;
    cosmos_child_open(*state, &server, "");
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    cosmos_server_order(&server, "{\"faults\":[{\"match\":\"GET .*stamp\",\"delay\":0.6}]}");
    ac_store_op_t *look = contract_op(AC_STORE_AGENT_LIST, NULL, NULL, json_pack("{s:s}", "stamp", "none"));
    ac_store_call_post(contract_store(), NULL, look, note_done, &done);
    COSMOS_UNTIL(cosmos_requests(&server, "GET .*stamp 404") == 1);
    contract_done(contract_call(AC_STORE_AGENT_PUT, NULL, NULL,
                                json_pack("{s:{s:s, s:s}}", "agent", "id", "poet", "etag", "\"1\"")));
    COSMOS_UNTIL(atomic_load(&done));
    json_t *list = contract_ok(contract_call(AC_STORE_AGENT_LIST, NULL, NULL, json_pack("{s:s}", "stamp", "")));
    assert_int_equal(json_array_size(json_object_get(list, "data")), 1);
    json_decref(list);
}

/* ---- deleted messages ---- */

static bool has_word(const char *word)
{
    json_t *dump = cosmos_server_tell(&server, "{\"dump\":\"messages\"}");
    char *text = json_dumps(json_object_get(dump, "documents"), 0);
    bool found = strstr(text, word) != NULL;
    free(text);
    json_decref(dump);
    return found;
}

/* Question, answer and steps are stored in parts. */
static void test_no_document_has_deleted_words(void **state)
{
    static const char word[] = "xylophone";
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "", *text = malloc(LONG_TEXT + 1);
    json_t *in, *step, *list;
    cosmos_child_open(*state, &server, "");
    memset(text, 'a', LONG_TEXT);
    memcpy(text + LONG_TEXT - sizeof(word) + 1, word, sizeof(word));
    assert_int_equal(contract_open(&ids, run, text, true), 1);
    in = contract_close_in(&ids, run, text);
    step = contract_step("step_1", run, 15);
    json_object_set_new(step, "result", json_string(text));
    json_array_append_new(json_object_get(in, "steps"), step);
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, in));
    list = contract_ok(contract_call(AC_STORE_STEP_LIST, ids.owner, run, NULL));
    assert_string_equal(ac_json_peek_string(json_array_get(json_object_get(list, "data"), 0), "result", ""), text);
    json_decref(list);
    assert_true(has_word(word));
    contract_done(contract_call(AC_STORE_MESSAGE_DELETE, ids.owner, ids.thread, json_pack("{s:s}", "run_id", run)));
    assert_false(has_word(word));
    contract_gapless(&ids, 2);
    free(text);
}

static int contract_under(const char *name, const char *order)
{
    cosmos_child_t child;
    int n_failed;
    cosmos_child_open(&child, &server, "");
    if (order) {
        cosmos_server_order(&server, order);
    }
    n_failed = store_contract_run(name, &child.store);
    cosmos_child_stop(&child);
    return n_failed;
}

static apr_status_t started(void *self, const ac_host_t *host, ac_err_t *err)
{
    (void)self, (void)host, (void)err;
    return APR_SUCCESS;
}

static int contract_cached(const char *name, bool check)
{
    cosmos_child_t child;
    ac_cache_memory_t *memory;
    ac_store_cache_t *cache;
    ac_err_t err;
    ac_err_init(&err);
    cosmos_child_open(&child, &server, "");
    ac_store_vt vt = *child.store.vt;
    vt.child_init = started; /* it is */
    ac_store_t inner = {&vt, child.store.self, AC_METRIC_OTHER, NULL};
    if (ac_cache_memory_create(&memory, 4 * 1024 * 1024, apr_time_from_sec(600), &err) != APR_SUCCESS) {
        return 1;
    }
    ac_store_cache_create(&cache, &inner, &(ac_cache_t){&ac_cache_memory, memory}, "cosmos:test", check);
    ac_store_t store = ac_store_cache_store(cache);
    store.vt->child_init(store.self, &child.host, &err);
    int n_failed = store_contract_run(name, &store);
    cosmos_child_stop(&child);
    ac_store_cache_destroy(cache);
    ac_cache_memory_destroy(memory);
    return n_failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        COSMOS_TEST(test_create_reports_errors),
        COSMOS_TEST(test_a_credentials_own_options),
        COSMOS_TEST(test_messages_are_documents_that_others_read),
        COSMOS_TEST(test_metadata_of_any_shape_comes_back),
        COSMOS_TEST(test_large_documents_are_split_and_joined),
        COSMOS_TEST(test_the_number_of_requests_of_each_operation),
        COSMOS_TEST(test_names_may_be_odd),
        COSMOS_TEST(test_retention),
        COSMOS_TEST(test_keys_expire),
        COSMOS_TEST(test_keys_are_purged),
        COSMOS_TEST(test_a_query_that_a_change_overtakes),
        COSMOS_TEST(test_no_document_has_deleted_words),
    };
    int n_failed;

    apr_initialize();
    cosmos_server_start(&server);
    n_failed = contract_under("store_contract, cosmos", NULL);
    n_failed += contract_cached("store_contract, cosmos with a cache", false);
    n_failed += contract_cached("store_contract, cosmos with a cache and a look", true);
    if (server.pid) { /* unsupported by an emulator */
        n_failed += contract_under("store_contract, cosmos from a replica that is behind, in small and empty pages",
                                   "{\"lag\":true,\"empty_pages\":true,\"page_most\":3}");
        n_failed += cmocka_run_group_tests_name("cosmos_store", tests, NULL, NULL);
    }
    cosmos_server_stop(&server);
    apr_terminate();
    return n_failed;
}
