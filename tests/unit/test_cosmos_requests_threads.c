/* SPDX-License-Identifier: Apache-2.0 */
/* The requests of the Cosmos DB store for threads, runs, agents and moves, in their order. See
 * test_cosmos_requests.c. */
#include "cosmos_requests.h"

static cosmos_server_t server;
static json_t *exported;

/* ---- the states and the operations ---- */

static json_t *times(const char *name)
{
    char at[AC_TIME_SIZE];
    return json_pack("{s:s}", name, contract_time(at, 9));
}

static void update_conflict(void)
{
    requests_empty_thread();
    requests_fault_at("PUT .*/messages/docs", false, 412);
}

static void deleted_thread(void)
{
    requests_empty_thread();
    requests_call(AC_STORE_THREAD_DELETE, requests_ids.thread, times("deleted_at"));
}

static void listed_thread(void)
{
    requests_closed_turn();
    int64_t n = cosmos_requests(&server, "PUT .*/threads/docs/");
    requests_call(AC_STORE_THREAD_LIST, NULL, NULL);
    COSMOS_UNTIL(cosmos_requests(&server, "PUT .*/threads/docs/") > n); /* the entry has its copy */
}

static void exported_thread(void)
{
    json_t *thread, *messages, *runs;
    requests_closed_turn();
    thread = contract_ok(contract_call(AC_STORE_THREAD_GET, requests_ids.owner, requests_ids.thread, NULL));
    messages = contract_ok(contract_call(AC_STORE_EXPORT_MESSAGES, NULL, requests_ids.thread, NULL));
    runs = contract_ok(contract_call(AC_STORE_EXPORT_RUNS, NULL, requests_ids.thread, NULL));
    requests_new_ids();
    json_object_set_new(thread, "owner", json_string(requests_ids.owner));
    json_object_set_new(thread, "id", json_string(requests_ids.thread));
    json_decref(exported);
    exported = json_pack("{s:o, s:O, s:O}", "thread", thread, "messages", json_object_get(messages, "data"), "runs",
                         json_object_get(runs, "data"));
    json_decref(messages);
    json_decref(runs);
}

static void agent_there(void)
{
    requests_new_ids();
    contract_done(
        contract_call(AC_STORE_AGENT_PUT, NULL, NULL,
                      json_pack("{s:{s:s, s:s}, s:b}", "agent", "id", "agent_one", "etag", "e1", "fresh", 1)));
}

static void agent_conflict(void)
{
    requests_new_ids();
    requests_fault_at("POST .*/threads/docs", true, 412);
}

static void ping(void)
{
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
}

static void thread_create(void)
{
    requests_call(AC_STORE_THREAD_CREATE, NULL, contract_thread(requests_ids.thread, "T", 1));
}

static void thread_create_taken(void)
{
    requests_refuse(AC_STORE_THREAD_CREATE, NULL, contract_thread(requests_ids.thread, "T", 1),
                    AC_IDEMPOTENCY_CONFLICT);
}

static void thread_create_of_another_owner(void)
{
    ac_id_make(requests_ids.owner, "owner_");
    thread_create_taken();
}

static void thread_get(void)
{
    requests_call(AC_STORE_THREAD_GET, requests_ids.thread, NULL);
}

static void thread_list(void)
{
    requests_call(AC_STORE_THREAD_LIST, NULL, NULL);
}

static void thread_list_by_update(void)
{
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, requests_ids.owner, NULL, NULL);
    op->page.by_update = true;
    op->page.want_total = true;
    contract_done(contract_wait(op));
}

static void thread_update(void)
{
    requests_call(AC_STORE_THREAD_UPDATE, requests_ids.thread, json_pack("{s:s}", "title", "new"));
}

static void thread_archive(void)
{
    requests_call(AC_STORE_THREAD_UPDATE, requests_ids.thread, json_pack("{s:s}", "status", "archived"));
}

static void thread_hide(void)
{
    requests_call(AC_STORE_THREAD_DELETE, requests_ids.thread, times("deleted_at"));
}

static void thread_restore(void)
{
    requests_call(AC_STORE_THREAD_RESTORE, requests_ids.thread, times("updated_at"));
}

static void thread_remove(void)
{
    cosmos_remove_thread(&requests_ids);
}

static void message_list(void)
{
    requests_call(AC_STORE_MESSAGE_LIST, requests_ids.thread, NULL);
}

static void run_get(void)
{
    requests_call(AC_STORE_RUN_GET, requests_run, NULL);
}

static void step_list(void)
{
    requests_call(AC_STORE_STEP_LIST, requests_run, NULL);
}

static void run_list(void)
{
    requests_call(AC_STORE_RUN_LIST, requests_ids.thread, NULL);
}

static void run_cancel(void)
{
    requests_call(AC_STORE_RUN_CANCEL, requests_run, NULL);
}

static void purge(void)
{
    contract_done(contract_call(AC_STORE_PURGE, NULL, NULL,
                                json_pack("{s:s, s:s}", "before", "2027-01-01T00:00:00.000Z", "keys_before",
                                          COSMOS_REQUESTS_SINCE)));
}

static void export_threads(void)
{
    contract_done(contract_call(AC_STORE_EXPORT_THREADS, NULL, NULL, json_object()));
}

static void export_messages(void)
{
    contract_done(contract_call(AC_STORE_EXPORT_MESSAGES, NULL, requests_ids.thread, NULL));
}

static void export_runs(void)
{
    contract_done(contract_call(AC_STORE_EXPORT_RUNS, NULL, requests_ids.thread, NULL));
}

static void import(void)
{
    requests_call(AC_STORE_IMPORT, requests_ids.thread, json_incref(exported));
}

static void agent_list(void)
{
    contract_done(contract_call(AC_STORE_AGENT_LIST, NULL, NULL, NULL));
}

static void agent_list_changes(void)
{
    contract_done(contract_call(AC_STORE_AGENT_LIST, NULL, NULL, json_pack("{s:s}", "stamp", "none")));
}

static void agent_put(const char *id, const char *etag, const char *if_match)
{
    ac_store_op_t *op =
        contract_op(AC_STORE_AGENT_PUT, NULL, NULL,
                    json_pack("{s:{s:s, s:s}, s:b}", "agent", "id", id, "etag", etag, "fresh", !*if_match));
    snprintf(op->if_match, sizeof(op->if_match), "%s", if_match);
    contract_done(contract_wait(op));
}

static void agent_create(void)
{
    agent_put("agent_two", "e1", "");
}

static void agent_create_third(void)
{
    agent_put("agent_three", "e1", "");
}

static void agent_replace(void)
{
    agent_put("agent_one", "e2", "e1");
}

static void agent_delete(void)
{
    contract_done(contract_call(AC_STORE_AGENT_DELETE, NULL, NULL, json_pack("{s:s}", "id", "agent_two")));
}

/* ---- the table ---- */

static const cosmos_requests_t rows[] = {
    {"the first operation",
     NULL,
     ping,
     {"READ container threads -> 404", "READ database -> 404", "CREATE database", "CREATE container",
      "READ container threads", "READ container messages -> 404", "READ database", "CREATE container",
      "READ container messages", "UPSERT threads: ping"}},
    {"PING, again", NULL, ping, {"READ threads: ping"}},
    {"AGENT_LIST, changes",
     NULL,
     agent_list_changes,
     {"READ threads: stamp -> 404", "QUERY threads by owner, type, id"}},
    {"AGENT_LIST", NULL, agent_list, {"QUERY threads by owner, type, id"}},
    {"AGENT_PUT, new", NULL, agent_create, {"READ threads: agent -> 404", "BATCH threads: CREATE agent, UPSERT stamp"}},
    {"AGENT_PUT, there",
     agent_there,
     agent_replace,
     {"READ threads: agent", "BATCH threads: REPLACE agent, UPSERT stamp"}},
    {"AGENT_PUT, conflict",
     agent_conflict,
     agent_create_third,
     {"READ threads: agent -> 404", "BATCH threads: CREATE agent, UPSERT stamp -> 412", "READ threads: agent -> 404",
      "BATCH threads: CREATE agent, UPSERT stamp"}},
    {"AGENT_DELETE", NULL, agent_delete, {"READ threads: agent", "BATCH threads: DELETE agent, UPSERT stamp"}},
    {"THREAD_CREATE", requests_no_thread, thread_create, {"CREATE threads: thread", "CREATE messages: thread"}},
    {"THREAD_CREATE, taken",
     requests_empty_thread,
     thread_create_taken,
     {"CREATE threads: thread -> 409", "CREATE messages: thread -> 409", "READ messages: thread"}},
    {"THREAD_CREATE, another owner's",
     requests_empty_thread,
     thread_create_of_another_owner,
     {"CREATE threads: thread", "CREATE messages: thread -> 409", "READ messages: thread", "DELETE threads: thread"}},
    {"THREAD_GET", requests_empty_thread, thread_get, {"READ messages: thread"}},
    {"THREAD_UPDATE",
     requests_empty_thread,
     thread_update,
     {"READ messages: thread", "UPSERT threads: thread", "REPLACE messages: thread"}},
    {"THREAD_UPDATE, status",
     requests_empty_thread,
     thread_archive,
     {"READ messages: thread", "UPSERT threads: thread", "REPLACE messages: thread", "REPLACE threads: thread"}},
    {"THREAD_UPDATE, conflict",
     update_conflict,
     thread_update,
     {"READ messages: thread", "UPSERT threads: thread", "REPLACE messages: thread -> 412", "READ messages: thread",
      "UPSERT threads: thread", "REPLACE messages: thread"}},
    {"THREAD_DELETE",
     requests_empty_thread,
     thread_hide,
     {"READ messages: thread", "UPSERT threads: thread", "REPLACE messages: thread", "REPLACE threads: thread"}},
    {"THREAD_RESTORE",
     deleted_thread,
     thread_restore,
     {"READ messages: thread", "UPSERT threads: thread", "REPLACE messages: thread", "REPLACE threads: thread"}},
    {"THREAD_DELETE, hard",
     requests_closed_turn,
     thread_remove,
     {"READ messages: thread", "UPSERT threads: thread", "REPLACE messages: thread",
      "QUERY threads by owner, thread_id, type, changing", "QUERY threads by owner, thread_id",
      "BATCH threads: DELETE run, DELETE thread", "QUERY threads by owner, thread_id",
      "QUERY messages by thread_id, id", "BATCH messages: DELETE message, DELETE run, DELETE message",
      "QUERY messages by thread_id, id", "DELETE messages: thread"}},
    {"THREAD_DELETE, hard, conflict",
     update_conflict,
     thread_remove,
     {"READ messages: thread", "UPSERT threads: thread", "REPLACE messages: thread -> 412", "READ messages: thread",
      "UPSERT threads: thread", "REPLACE messages: thread", "QUERY threads by owner, thread_id, type, changing",
      "QUERY threads by owner, thread_id", "BATCH threads: DELETE thread", "QUERY threads by owner, thread_id",
      "QUERY messages by thread_id, id", "DELETE messages: thread"}},
    {"THREAD_LIST, marked",
     requests_closed_turn,
     thread_list,
     {"QUERY threads by owner, type, status, changing, id", "READ messages: thread", "REPLACE threads: thread"}},
    {"THREAD_LIST, copies", listed_thread, thread_list, {"QUERY threads by owner, type, status, changing, id"}},
    {"THREAD_LIST, by update",
     listed_thread,
     thread_list_by_update,
     {"QUERY threads by owner, type, copy.updated_at", "QUERY threads by owner, type, status, copy.updated_at, id",
      "QUERY threads by owner, type, status"}},
    {"MESSAGE_LIST",
     requests_closed_turn,
     message_list,
     {"READ messages: thread", "QUERY messages by thread_id, type, seq"}},
    {"RUN_GET", requests_closed_turn, run_get, {"READ threads: run", "QUERY messages by thread_id, id"}},
    {"STEP_LIST", requests_closed_turn, step_list, {"READ threads: run", "QUERY messages by thread_id, id"}},
    {"RUN_LIST", requests_closed_turn, run_list, {"READ messages: thread", "QUERY messages by thread_id, type, id"}},
    {"RUN_CANCEL",
     requests_open_turn,
     run_cancel,
     {"READ threads: run", "QUERY messages by thread_id, id", "PATCH messages: run /cancel_requested"}},
    {"EXPORT_THREADS", NULL, export_threads, {"CROSS-PARTITION QUERY messages by type"}},
    {"EXPORT_MESSAGES",
     requests_closed_turn,
     export_messages,
     {"READ messages: thread", "QUERY messages by thread_id, type, seq"}},
    {"EXPORT_RUNS",
     requests_closed_turn,
     export_runs,
     {"QUERY messages by thread_id, type, id", "QUERY messages by thread_id, type, run_id"}},
    {"IMPORT",
     exported_thread,
     import,
     {"BATCH threads: UPSERT thread, UPSERT run", "BATCH messages: UPSERT message, UPSERT message, UPSERT run",
      "BATCH messages: UPSERT thread"}},
    {"PURGE",
     deleted_thread,
     purge,
     {"CROSS-PARTITION QUERY threads by type, changing, _ts",
      "QUERY threads by owner, type",
      "CROSS-PARTITION QUERY messages by type, deleted_at",
      "READ messages: thread",
      "UPSERT threads: thread",
      "REPLACE messages: thread",
      "QUERY threads by owner, thread_id, type, changing",
      "QUERY threads by owner, thread_id",
      "BATCH threads: DELETE thread",
      "QUERY threads by owner, thread_id",
      "QUERY messages by thread_id, id",
      "DELETE messages: thread",
      "READ messages: thread",
      "UPSERT threads: thread",
      "REPLACE messages: thread",
      "QUERY threads by owner, thread_id, type, changing",
      "QUERY threads by owner, thread_id",
      "BATCH threads: DELETE thread",
      "QUERY threads by owner, thread_id",
      "QUERY messages by thread_id, id",
      "DELETE messages: thread"}},
};

static void test_requests_of_threads(void **state)
{
    cosmos_requests_check(*state, &server, rows, sizeof(rows) / sizeof(*rows));
    json_decref(exported);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        COSMOS_TEST(test_requests_of_threads),
    };
    return cosmos_main(&server, "requests of threads", tests, sizeof(tests) / sizeof(*tests));
}
