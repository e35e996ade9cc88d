/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about agents: those made through the API, and the one of a thread. */
#include "store_contract.h"

#include <apr_strings.h>

static json_t *document(const char *id, const char *etag, const char *name)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:[s], s:f, s:n}", "id", id, "etag", etag, "name", name, "model", "m",
                     "tools", "calculate", "temperature", 0.5, "café");
}

static ac_store_op_t *put(const char *id, const char *etag, const char *if_match, bool fresh)
{
    ac_store_op_t *op = contract_op(AC_STORE_AGENT_PUT, NULL, NULL,
                                    json_pack("{s:o, s:b}", "agent", document(id, etag, etag), "fresh", fresh));
    snprintf(op->if_match, sizeof(op->if_match), "%s", if_match);
    return contract_wait(op);
}

static ac_store_op_t *delete(const char *id, const char *if_match)
{
    ac_store_op_t *op = contract_op(AC_STORE_AGENT_DELETE, NULL, NULL, json_pack("{s:s}", "id", id));
    snprintf(op->if_match, sizeof(op->if_match), "%s", if_match);
    return contract_wait(op);
}

/* A caller with the stamp learns whether there is a change. */
static json_t *list(const char *stamp)
{
    return contract_ok(contract_call(AC_STORE_AGENT_LIST, NULL, NULL, json_pack("{s:s?}", "stamp", stamp)));
}

/* The agent's document in a list, a new reference, or NULL. */
static json_t *listed(const char *id)
{
    json_t *all = list(NULL), *agent, *found = NULL;
    const char *before = "";
    size_t i;
    json_array_foreach(json_object_get(all, "data"), i, agent)
    {
        assert_true(strcmp(before, ac_json_peek_string(agent, "id", "")) < 0);
        before = ac_json_peek_string(agent, "id", "");
        if (strcmp(before, id) == 0) {
            found = json_deep_copy(agent);
        }
    }
    json_decref(all);
    return found;
}

static void check_created(ac_store_op_t *op, const char *etag, bool created)
{
    assert_string_equal(op->etag, etag);
    contract_equal(contract_ok(op), json_pack("{s:b}", "created", created));
}

static void test_an_agent_is_given_back_as_it_was_put(void **state)
{
    (void)state;
    char id[AC_ID_SIZE], other[AC_ID_SIZE];
    ac_id_make(id, "agent.");
    ac_id_make(other, "-b_");
    assert_null(listed(id));
    check_created(put(id, "\"1\"", "", false), "\"1\"", true);
    check_created(put(other, "\"x\"", "", true), "\"x\"", true);
    contract_equal(listed(id), document(id, "\"1\"", "\"1\""));
    check_created(put(id, "\"2\"", "", false), "\"2\"", false);
    contract_equal(listed(id), document(id, "\"2\"", "\"2\""));
    contract_equal(contract_ok(delete (id, "")), json_object());
    assert_null(listed(id));
    contract_equal(listed(other), document(other, "\"x\"", "\"x\""));
    contract_kind(delete (id, ""), AC_NOT_FOUND);
    contract_done(delete (other, "*"));
}

static void test_agents_change_only_under_their_tag(void **state)
{
    (void)state;
    char id[AC_ID_SIZE];
    ac_id_make(id, "agent_");
    contract_kind(put(id, "\"1\"", "*", false), AC_PRECONDITION_FAILED);
    contract_kind(put(id, "\"1\"", "\"0\"", false), AC_PRECONDITION_FAILED);
    contract_kind(delete (id, "\"0\""), AC_NOT_FOUND);
    contract_done(put(id, "\"1\"", "", true));
    contract_kind(put(id, "\"2\"", "", true), AC_PRECONDITION_FAILED);
    contract_kind(put(id, "\"2\"", "\"0\"", false), AC_PRECONDITION_FAILED);
    contract_kind(delete (id, "\"0\""), AC_PRECONDITION_FAILED);
    contract_equal(listed(id), document(id, "\"1\"", "\"1\""));
    contract_done(put(id, "\"1\"", "", true)); /* asked again, since its answer was lost */
    contract_done(put(id, "\"2\"", "\"1\"", false));
    contract_done(put(id, "\"3\"", "*", false));
    contract_kind(put(id, "\"4\"", "\"2\"", false), AC_PRECONDITION_FAILED);
    contract_kind(delete (id, "\"2\""), AC_PRECONDITION_FAILED);
    contract_done(delete (id, "\"3\""));
}

static char *stamp_of(json_t *all)
{
    char *stamp = strdup(ac_json_peek_string(all, "stamp", "none"));
    json_decref(all);
    return stamp;
}

static void test_every_change_changes_the_stamp(void **state)
{
    (void)state;
    char id[AC_ID_SIZE];
    ac_id_make(id, "agent_");
    char *before = stamp_of(list(NULL));
    for (int i = 0; i < 3; i++) {
        contract_done(i == 0 ? put(id, "\"1\"", "", true) : i == 1 ? put(id, "\"2\"", "", false) : delete (id, ""));
        json_t *all = list(before);
        assert_true(json_is_array(json_object_get(all, "data")));
        char *after = stamp_of(all);
        assert_string_not_equal(after, before);
        free(before);
        before = after;
        all = list(before);
        contract_equal(all, json_pack("{s:s, s:n}", "stamp", before, "data"));
    }
    contract_kind(put(id, "\"1\"", "*", false), AC_PRECONDITION_FAILED);
    char *after = stamp_of(list(before));
    assert_string_equal(after, before);
    free(before);
    free(after);
}

static void test_agents_need_an_id_and_a_tag(void **state)
{
    (void)state;
    contract_kind(contract_call(AC_STORE_AGENT_PUT, NULL, NULL, json_pack("{s:{s:s}}", "agent", "id", "a")),
                  AC_INVALID_REQUEST);
    contract_kind(contract_call(AC_STORE_AGENT_PUT, NULL, NULL, json_pack("{s:{s:s}}", "agent", "etag", "a")),
                  AC_INVALID_REQUEST);
    contract_kind(contract_call(AC_STORE_AGENT_PUT, NULL, NULL, json_object()), AC_INVALID_REQUEST);
}

static void expect_agent(const contract_ids_t *ids, const char *agent_id)
{
    json_t *thread = contract_ok(contract_call(AC_STORE_THREAD_GET, ids->owner, ids->thread, NULL));
    json_t *loaded = contract_ok(contract_call(AC_STORE_TURN_LOAD, ids->owner, ids->thread, NULL));
    assert_string_equal(ac_json_peek_string(thread, "agent_id", ""), agent_id);
    assert_string_equal(ac_json_peek_string(json_object_get(loaded, "thread"), "agent_id", ""), agent_id);
    json_decref(thread);
    json_decref(loaded);
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, ids->owner, NULL, NULL);
    op->page.limit = 10;
    apr_cpystrn(op->page.agent_id, agent_id, sizeof op->page.agent_id);
    json_t *list = contract_ok(contract_wait(op));
    assert_int_equal(json_array_size(json_object_get(list, "data")), 1);
    json_decref(list);
}

/* A run that was handed over changes the thread's agent, with its answer. */
static void test_a_closing_write_changes_the_agent(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "", next[AC_ID_SIZE] = "";
    contract_open(&ids, run, "hello", true);
    json_t *in = contract_close_in(&ids, run, "hi");
    json_object_set_new(in, "agent_id", json_string("writer"));
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, json_incref(in)));
    expect_agent(&ids, "writer");
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, in));
    contract_open(&ids, next, "and now", false);
    contract_close(&ids, next, "well");
    expect_agent(&ids, "writer");
    contract_gapless(&ids, 4);
}

int contract_agents(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_agent_is_given_back_as_it_was_put),
        cmocka_unit_test(test_agents_change_only_under_their_tag),
        cmocka_unit_test(test_every_change_changes_the_stamp),
        cmocka_unit_test(test_agents_need_an_id_and_a_tag),
        cmocka_unit_test(test_a_closing_write_changes_the_agent),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
