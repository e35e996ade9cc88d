/* SPDX-License-Identifier: Apache-2.0 */
/* The agents of a child: the configured ones beside those of the store, and how a child learns of changes. */
#pragma GCC diagnostic ignored "-Wunused-function"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "fake_loop.h"
#include "agent/agent.h"
#include "agent/catalog/catalog_internal.h"

#define EVERY apr_time_from_sec(2)

static const ac_model_t the_model = {.id = "gpt"};
static ac_tool_t calculator = {.id = "calculator"};
static const ac_agent_t assistant = {.id = "assistant",
                                     .name = "Assistant",
                                     .description = "",
                                     .instructions = "Be brief.",
                                     .model = &the_model,
                                     .temperature = NAN,
                                     .max_rounds = 8,
                                     .status = "active",
                                     .source = "config",
                                     .etag = "conf"};
static const ac_agent_t pattern = {
    .temperature = NAN, .max_rounds = 5, .max_tokens = 700, .history_messages = 20, .status = "active"};
static ac_registry_t registry;
static apr_pool_t *pool;

static int set_up(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof fake);
    fake.now = 1000000000;
    apr_pool_create(&pool, NULL);
    apr_hash_t *agents = apr_hash_make(pool), *models = apr_hash_make(pool), *tools = apr_hash_make(pool);
    apr_array_header_t *list = apr_array_make(pool, 1, sizeof(const ac_agent_t *));
    apr_hash_set(agents, "assistant", APR_HASH_KEY_STRING, &assistant);
    apr_hash_set(agents, "default", APR_HASH_KEY_STRING, &assistant); /* an alias */
    apr_hash_set(models, "gpt", APR_HASH_KEY_STRING, &the_model);
    apr_hash_set(tools, "calculator", APR_HASH_KEY_STRING, &calculator);
    APR_ARRAY_PUSH(list, const ac_agent_t *) = &assistant;
    calculator.parameters = json_object();
    registry = (ac_registry_t){
        .models = models, .tools = tools, .agents = agents, .agent_list = list, .default_agent = &assistant};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(fake.n_timers, 0);
    json_decref(calculator.parameters);
    apr_pool_destroy(pool);
    return 0;
}

static json_t *document(const char *id)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:[s], s:s}", "id", id, "name", "Made", "instructions", "Count.",
                     "model", "gpt", "etag", "e1", "tools", "calculator", "status", "active");
}

/* ---- the agents of one moment ---- */

/* Takes documents. */
static ac_agents_t *make(json_t *documents)
{
    ac_agents_t *agents = ac_agents_create(&registry, &pattern, "s1", documents);
    json_decref(documents);
    return agents;
}

static void test_agents_before_the_first_query(void **state)
{
    (void)state;
    ac_agents_t *agents = ac_agents_create(&registry, &pattern, NULL, NULL);
    assert_false(ac_agents_known(agents));
    assert_null(ac_agents_stamp(agents));
    assert_ptr_equal(ac_agents_find(agents, "assistant"), &assistant);
    assert_ptr_equal(ac_agents_find(agents, "default"), &assistant);
    assert_null(ac_agents_find(agents, "made"));
    assert_null(ac_agents_find(agents, NULL));
    ac_agents_unref(agents);
    ac_agents_unref(NULL);
}

static void test_valid_and_invalid_agent_documents(void **state)
{
    (void)state;
    ac_agents_t *agents = make(json_pack("[o]", document("made")));
    const ac_agent_t *agent = ac_agents_find(agents, "made");
    assert_non_null(agent);
    assert_string_equal(agent->instructions, "Count.");
    assert_string_equal(agent->description, "");
    assert_string_equal(agent->source, "api");
    assert_ptr_equal(agent->model, &the_model);
    assert_int_equal(agent->n_tools, 1);
    assert_ptr_equal(agent->tools[0], &calculator);
    assert_int_equal(json_array_size(agent->tools_json), 1);
    assert_int_equal(agent->max_rounds, 5); /* the pattern's */
    assert_int_equal(agent->max_tokens, 700);
    assert_true(isnan(agent->temperature));
    assert_null(ac_agent_problem(agent));
    assert_int_equal(ac_agents_made(agents), 1);
    ac_agents_unref(agents);
}

static void test_a_temperature_of_its_own(void **state)
{
    (void)state;
    json_t *warm = document("warm"), *cold = document("cold");
    json_object_set_new(warm, "temperature", json_real(0.7));
    json_object_set_new(cold, "temperature", json_integer(0));
    json_object_set_new(cold, "max_rounds", json_integer(2));
    ac_agents_t *agents = make(json_pack("[o, o]", warm, cold));
    assert_true(fabs(ac_agents_find(agents, "warm")->temperature - 0.7) < 1e-9);
    assert_true(ac_agents_find(agents, "cold")->temperature == 0.0);
    assert_int_equal(ac_agents_find(agents, "cold")->max_rounds, 2);
    ac_agents_unref(agents);
}

static void test_the_configuration_comes_first(void **state)
{
    (void)state;
    ac_agents_t *agents =
        make(json_pack("[o, o, o, {}]", document("assistant"), document("default"), document("made")));
    assert_ptr_equal(ac_agents_find(agents, "assistant"), &assistant);
    assert_ptr_equal(ac_agents_find(agents, "default"), &assistant);
    assert_int_equal(ac_agents_made(agents), 1);
    json_t *list = ac_agents_json(agents, false);
    assert_int_equal(json_array_size(list), 2);
    json_decref(list);
    ac_agents_unref(agents);
}

/* In any order from the store; all are found, and listed behind the configuration's by their id. */
static void test_many(void **state)
{
    (void)state;
    json_t *documents = json_array();
    char id[16];
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "a%02d", (i * 37) % 100);
        json_array_append_new(documents, document(id));
    }
    ac_agents_t *agents = make(documents);
    json_t *list = ac_agents_json(agents, false);
    assert_int_equal(json_array_size(list), 101);
    assert_string_equal(ac_json_peek_string(json_array_get(list, 0), "id", ""), "assistant");
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "a%02d", i);
        assert_string_equal(ac_agents_find(agents, id)->id, id);
        assert_string_equal(ac_json_peek_string(json_array_get(list, (size_t)i + 1), "id", ""), id);
    }
    assert_null(ac_agents_find(agents, "a"));
    assert_null(ac_agents_find(agents, "a100"));
    json_decref(list);
    ac_agents_unref(agents);
}

static void test_a_model_that_is_not_configured_any_more(void **state)
{
    (void)state;
    json_t *gone = document("gone");
    json_object_set_new(gone, "model", json_string("old"));
    ac_agents_t *agents = make(json_pack("[o]", gone));
    const ac_agent_t *agent = ac_agents_find(agents, "gone");
    assert_null(agent->model);
    assert_string_equal(ac_agent_problem(agent), "the agent is inactive: its model 'old' is not configured any more");
    json_t *json = ac_agent_json(agent, true);
    assert_string_equal(ac_json_peek_string(json, "model", ""), "old");
    assert_string_equal(ac_json_peek_string(json, "status", ""), "inactive");
    json_decref(json);
    ac_agents_unref(agents);
}

/* The others stay its tools; the API still shows the document as it was given. */
static void test_a_tool_that_is_not_configured_any_more(void **state)
{
    (void)state;
    json_t *gone = document("gone");
    json_object_set_new(gone, "tools", json_pack("[s, s, s, i]", "old", "calculator", "older", 7));
    ac_agents_t *agents = make(json_pack("[o]", gone));
    const ac_agent_t *agent = ac_agents_find(agents, "gone");
    assert_int_equal(agent->n_tools, 1);
    assert_string_equal(ac_agent_problem(agent), "the agent is inactive: its tool 'old' is not configured any more");
    json_t *json = ac_agent_json(agent, false);
    assert_int_equal(json_array_size(json_object_get(json, "tools")), 4);
    assert_null(json_object_get(json, "instructions"));
    json_decref(json);
    ac_agents_unref(agents);
}

static void test_inactive_comes_before_any_other_problem(void **state)
{
    (void)state;
    json_t *off = document("off");
    json_object_set_new(off, "status", json_string("inactive"));
    json_object_set_new(off, "model", json_string("old"));
    ac_agents_t *agents = make(json_pack("[o]", off));
    assert_string_equal(ac_agent_problem(ac_agents_find(agents, "off")), "the agent is inactive");
    ac_agents_unref(agents);
}

/* A reference keeps the agent unchanged, also when the documents and other references change. */
static void test_a_reference_keeps_all_of_it(void **state)
{
    (void)state;
    ac_agents_t *agents = make(json_pack("[o]", document("made"))), *mine = ac_agents_ref(agents);
    const ac_agent_t *agent = ac_agents_find(agents, "made");
    ac_agents_unref(agents);
    assert_string_equal(agent->instructions, "Count.");
    ac_agents_unref(mine);
    assert_null(ac_agents_ref(NULL));
}

/* ---- the catalog ---- */

static ac_store_op_t *asked;
static int n_asked;

static void store_start(void *self, ac_store_op_t *op)
{
    (void)self;
    assert_null(asked);
    assert_int_equal(op->verb, AC_STORE_AGENT_LIST);
    asked = op;
    n_asked++;
}

static const ac_store_vt store_vt = {.name = "fake", .start_post = store_start};
static const ac_store_t store = {.vt = &store_vt};
static ac_catalog_t *catalog;

static void answer(json_t *out)
{
    ac_store_op_t *op = asked;
    assert_non_null(op);
    asked = NULL;
    op->out = out;
    if (!out) {
        op->status = ac_err_set(&op->err, AC_STORE_ERROR, "the fake store says so");
    }
    ac_store_done(op);
    fake_turn();
}

static int set_up_catalog(void **state)
{
    set_up(state);
    asked = NULL;
    n_asked = 0;
    catalog = ac_catalog_create(&registry, &pattern);
    return 0;
}

static int tear_down_catalog(void **state)
{
    assert_null(asked);
    ac_catalog_destroy(catalog);
    ac_catalog_destroy(NULL);
    return tear_down(state);
}

static bool has(const char *id)
{
    ac_agents_t *agents = ac_catalog_agents(catalog);
    bool found = ac_agents_find(agents, id) != NULL;
    ac_agents_unref(agents);
    return found;
}

static const char *stamp_asked(void)
{
    return json_string_value(json_object_get(asked->in, "stamp"));
}

static void test_it_hears_of_agents_and_of_their_end(void **state)
{
    (void)state;
    ac_catalog_watch(catalog, NULL, &store, EVERY);
    assert_null(stamp_asked());
    assert_true(json_is_null(json_object_get(asked->in, "stamp")));
    answer(json_pack("{s:s, s:[o]}", "stamp", "s1", "data", document("made")));
    assert_true(has("made"));
    fake_pass(EVERY);
    assert_string_equal(stamp_asked(), "s1");
    answer(json_pack("{s:s}", "stamp", "s1")); /* nothing has changed */
    assert_true(has("made"));
    fake_pass(EVERY);
    answer(json_pack("{s:s, s:[]}", "stamp", "s2", "data"));
    assert_false(has("made"));
    fake_pass(EVERY);
    assert_string_equal(stamp_asked(), "s2");
    answer(json_object());
    assert_int_equal(n_asked, 4);
    ac_catalog_unwatch(catalog);
}

/* What was known stays, and it looks less often until the store answers again. */
static void test_an_outage_of_the_store(void **state)
{
    (void)state;
    ac_catalog_watch(catalog, NULL, &store, EVERY);
    answer(json_pack("{s:s, s:[o]}", "stamp", "s1", "data", document("made")));
    fake_pass(EVERY);
    answer(NULL);
    assert_true(has("made"));
    fake_pass(5 * EVERY - 1);
    assert_null(asked);
    fake_pass(1);
    assert_string_equal(stamp_asked(), "s1");
    answer(json_object());
    fake_pass(EVERY);
    answer(json_object());
    ac_catalog_unwatch(catalog);
}

static void test_a_store_that_was_never_there(void **state)
{
    (void)state;
    ac_catalog_watch(catalog, NULL, &store, EVERY);
    answer(NULL);
    ac_agents_t *agents = ac_catalog_agents(catalog);
    assert_false(ac_agents_known(agents)); /* so no client gets not_found for an agent */
    ac_agents_unref(agents);
    ac_catalog_unwatch(catalog);
    assert_int_equal(fake.n_timers, 0);
}

/* A result that comes after unwatching is applied, and no further question follows. */
static void test_unwatched_in_mid_question(void **state)
{
    (void)state;
    ac_catalog_watch(catalog, NULL, &store, EVERY);
    ac_catalog_unwatch(catalog);
    answer(json_pack("{s:s, s:[o]}", "stamp", "s1", "data", document("made")));
    assert_true(has("made"));
    fake_pass(100 * EVERY);
    assert_int_equal(n_asked, 1);
    ac_catalog_unwatch(catalog);
}

/* The answer to a question; whether it holds. */
static bool adopt(ac_store_op_t *op, json_t *out)
{
    op->out = out;
    bool holds = ac_catalog_adopt(catalog, op);
    ac_store_op_free(op);
    return holds;
}

static json_t *with_made(const char *stamp)
{
    return json_pack("{s:s, s:[o]}", "stamp", stamp, "data", document("made"));
}

/* A change by a request is current in its own child at once; older snapshots stay as they are. */
static void test_adopted_between_two_looks(void **state)
{
    (void)state;
    ac_agents_t *before = ac_catalog_agents(catalog);
    ac_store_op_t *op = ac_catalog_ask(catalog);
    assert_int_equal(op->verb, AC_STORE_AGENT_LIST);
    assert_true(adopt(op, with_made("s7")));
    assert_true(has("made"));
    assert_null(ac_agents_find(before, "made"));
    ac_agents_unref(before);
    assert_true(adopt(ac_catalog_ask(catalog), json_pack("{s:s, s:s}", "stamp", "s8", "data", "no list")));
    assert_true(adopt(ac_catalog_ask(catalog), NULL));
    assert_true(has("made"));
}

/* A look from before the change, answered after it. */
static void test_answers_that_come_late(void **state)
{
    (void)state;
    ac_store_op_t *first = ac_catalog_ask(catalog), *second = ac_catalog_ask(catalog);
    assert_true(adopt(second, with_made("s2")));
    assert_true(adopt(first, json_pack("{s:s, s:[]}", "stamp", "s1", "data")));
    assert_true(has("made"));
    assert_true(adopt(ac_catalog_ask(catalog), json_pack("{s:s, s:[]}", "stamp", "s3", "data")));
    assert_false(has("made"));
}

/* Nothing has changed since others replaced the agents. */
static void test_no_change_after_others_replaced_the_agents(void **state)
{
    (void)state;
    ac_store_op_t *older = ac_catalog_ask(catalog);
    assert_true(adopt(ac_catalog_ask(catalog), with_made("s1")));
    ac_store_op_t *other = ac_catalog_ask(catalog), *mine = ac_catalog_ask(catalog);
    assert_true(adopt(other, json_pack("{s:s, s:[]}", "stamp", "s0", "data")));
    assert_false(adopt(mine, json_pack("{s:s}", "stamp", "s1")));
    ac_store_op_t *again = ac_catalog_ask(catalog);
    assert_string_equal(json_string_value(json_object_get(again->in, "stamp")), "s0");
    assert_true(adopt(again, with_made("s1")));
    assert_true(adopt(older, json_pack("{s:s}", "stamp", "s0")));
    assert_true(has("made"));
}

#define AGENTS(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
#define CATALOG(fn) cmocka_unit_test_setup_teardown(fn, set_up_catalog, tear_down_catalog)

int main(void)
{
    apr_initialize();
    const struct CMUnitTest tests[] = {
        AGENTS(test_agents_before_the_first_query),
        AGENTS(test_valid_and_invalid_agent_documents),
        AGENTS(test_a_temperature_of_its_own),
        AGENTS(test_the_configuration_comes_first),
        AGENTS(test_many),
        AGENTS(test_a_model_that_is_not_configured_any_more),
        AGENTS(test_a_tool_that_is_not_configured_any_more),
        AGENTS(test_inactive_comes_before_any_other_problem),
        AGENTS(test_a_reference_keeps_all_of_it),
        CATALOG(test_it_hears_of_agents_and_of_their_end),
        CATALOG(test_an_outage_of_the_store),
        CATALOG(test_a_store_that_was_never_there),
        CATALOG(test_unwatched_in_mid_question),
        CATALOG(test_adopted_between_two_looks),
        CATALOG(test_answers_that_come_late),
        CATALOG(test_no_change_after_others_replaced_the_agents),
    };
    return cmocka_run_group_tests_name("catalog", tests, NULL, NULL);
}
