/* SPDX-License-Identifier: Apache-2.0 */
/* The requests of the Cosmos DB store for turns, approvals and keys, in their order. A row is one operation;
 * `prepare` makes the state of the store at its beginning. */
#include "cosmos_requests.h"

#define DUE "2026-05-05T00:00:00.000Z"
#define LARGE 1000000 /* bytes of a message, over what one document holds */

static cosmos_server_t server;
static json_t *again; /* the input of an operation that is sent a second time */

/* ---- the states and the operations ---- */

static json_t *with_key(json_t *in, const char *key)
{
    json_object_set_new(in, "idempotency",
                        json_pack("{s:s, s:s, s:s}", "key", key, "request_hash", "h", "since", COSMOS_REQUESTS_SINCE));
    return in;
}

static json_t *suspend_in(void)
{
    return json_pack("{s:o, s:[o], s:[{s:s, s:s}], s:s, s:{s:n, s:n}, s:{s:s}}", "run",
                     contract_run(requests_run, requests_ids.thread, "in_progress", 3), "steps",
                     contract_step("step_a", requests_run, 4), "asks", "id", "step_b", "approval", "required", "until",
                     DUE, "calls", "c1", "c2", "state", "round", "1");
}

static char *large_text(void)
{
    char *text = ac_alloc(LARGE + 1);
    memset(text, 'x', LARGE);
    return text;
}

static void opened_again(void)
{
    requests_empty_thread();
    again = contract_open_in(&requests_ids, requests_run, "question", false);
    requests_call(AC_STORE_TURN_OPEN, requests_ids.thread, json_incref(again));
}

static void closed_again(void)
{
    requests_open_turn();
    again = contract_close_in(&requests_ids, requests_run, "answer");
    requests_call(AC_STORE_TURN_CLOSE, requests_ids.thread, json_incref(again));
}

static void changed_elsewhere(void)
{
    requests_empty_thread();
    requests_fault_at("POST .*/messages/docs", true, 412);
}

static void closed_elsewhere(void)
{
    requests_open_turn();
    requests_fault_at("POST .*/messages/docs", true, 412);
}

/* The run is stored, its operation failed, and no process runs it. */
static void dead_run(void)
{
    requests_empty_thread();
    cosmos_server_order(&server, "{\"faults\":[{\"match\":\"POST .*/messages/docs\",\"after\":true,\"status\":400}]}");
    requests_refuse(AC_STORE_TURN_OPEN, requests_ids.thread,
                    contract_open_in(&requests_ids, requests_next_run, "question", false), AC_STORE_ERROR);
}

static void key_conflict(void)
{
    requests_empty_thread();
    cosmos_server_order(&server, "{\"faults\":[{\"match\":\"POST .*/threads/docs\",\"skip\":1,\"status\":409}]}");
}

static void commit_refused(void)
{
    requests_empty_thread();
    requests_fault_at("POST .*/messages/docs", true, 413);
}

static void used_key(void)
{
    requests_empty_thread();
    requests_call(AC_STORE_TURN_OPEN, requests_ids.thread,
                  with_key(contract_open_in(&requests_ids, requests_run, "question", false), "k"));
}

static void suspended(void)
{
    requests_open_turn();
    requests_call(AC_STORE_RUN_SUSPEND, requests_ids.thread, suspend_in());
}

static void decided_once(void)
{
    suspended();
    requests_call(AC_STORE_APPROVAL_DECIDE, requests_run, json_pack("{s:s, s:b}", "call_id", "c1", "approve", 1));
}

static void decide_conflict(void)
{
    suspended();
    requests_fault_at("PUT .*/messages/docs", false, 412);
}

static void suspend_conflict(void)
{
    requests_open_turn();
    requests_fault_at("POST .*/messages/docs", true, 412);
}

static void turn_load(void)
{
    requests_call(AC_STORE_TURN_LOAD, requests_ids.thread, NULL);
}

static void turn_open(void)
{
    contract_open(&requests_ids, requests_run, "question", false);
}

static void turn_open_new(void)
{
    contract_open(&requests_ids, requests_run, "question", true);
}

static void turn_open_large(void)
{
    char *text = large_text();
    contract_open(&requests_ids, requests_run, text, false);
    free(text);
}

static void turn_open_again(void)
{
    requests_call(AC_STORE_TURN_OPEN, requests_ids.thread, again);
}

static void turn_open_with_key(void)
{
    requests_call(AC_STORE_TURN_OPEN, requests_ids.thread,
                  with_key(contract_open_in(&requests_ids, requests_run, "question", false), "k"));
}

static void turn_open_with_used_key(void)
{
    requests_refuse(AC_STORE_TURN_OPEN, requests_ids.thread,
                    with_key(contract_open_in(&requests_ids, requests_next_run, "question", false), "k"),
                    AC_IDEMPOTENCY_CONFLICT);
}

static void turn_open_with_key_nowhere(void)
{
    requests_refuse(AC_STORE_TURN_OPEN, requests_ids.thread,
                    with_key(contract_open_in(&requests_ids, requests_run, "question", false), "k"), AC_NOT_FOUND);
}

static void turn_open_with_key_refused(void)
{
    requests_refuse(AC_STORE_TURN_OPEN, requests_ids.thread,
                    with_key(contract_open_in(&requests_ids, requests_run, "question", false), "k"), AC_STORE_ERROR);
}

static void turn_open_busy(void)
{
    requests_refuse(AC_STORE_TURN_OPEN, requests_ids.thread,
                    contract_open_in(&requests_ids, requests_next_run, "question", false), AC_RUN_IN_PROGRESS);
}

static void turn_open_after_others(void)
{
    json_t *in = contract_open_in(&requests_ids, requests_next_run, "question", false);
    json_object_set_new(in, "after", json_integer(1));
    requests_refuse(AC_STORE_TURN_OPEN, requests_ids.thread, in, AC_PRECONDITION_FAILED);
}

static void turn_close(void)
{
    contract_close(&requests_ids, requests_run, "answer");
}

static void turn_close_large(void)
{
    char *text = large_text();
    contract_close(&requests_ids, requests_run, text);
    free(text);
}

static void turn_close_again(void)
{
    requests_call(AC_STORE_TURN_CLOSE, requests_ids.thread, again);
}

static void turn_close_unopened(void)
{
    contract_close(&requests_ids, requests_run, "answer");
}

static void turn_suspend(void)
{
    requests_call(AC_STORE_RUN_SUSPEND, requests_ids.thread, suspend_in());
}

static void turn_suspend_large(void)
{
    json_t *in = suspend_in();
    char *text = large_text();
    json_object_set_new(json_object_get(in, "state"), "text", json_string(text));
    free(text);
    requests_call(AC_STORE_RUN_SUSPEND, requests_ids.thread, in);
}

static void decide_first(void)
{
    requests_call(AC_STORE_APPROVAL_DECIDE, requests_run, json_pack("{s:s, s:b}", "call_id", "c1", "approve", 1));
}

static void decide_last(void)
{
    requests_call(AC_STORE_APPROVAL_DECIDE, requests_run, json_pack("{s:s, s:b}", "call_id", "c2", "approve", 0));
}

static void decide_for_none(void)
{
    requests_refuse(AC_STORE_APPROVAL_DECIDE, requests_run, json_pack("{s:s, s:b}", "call_id", "c1", "approve", 1),
                    AC_NOT_WAITING);
}

static void suspended_list(void)
{
    ac_store_op_t *op =
        contract_op(AC_STORE_SUSPENDED_LIST, NULL, NULL, json_pack("{s:s}", "before", COSMOS_REQUESTS_SINCE));
    contract_done(contract_wait(op));
}

static void key_get(void)
{
    requests_call(AC_STORE_KEY_GET, NULL, json_pack("{s:s, s:s}", "key", "k", "since", COSMOS_REQUESTS_SINCE));
}

static void key_put(void)
{
    requests_call(AC_STORE_KEY_PUT, NULL,
                  json_pack("{s:{s:s, s:s, s:s}, s:{s:s, s:s}}", "idempotency", "key", "another", "request_hash", "h",
                            "since", COSMOS_REQUESTS_SINCE, "run", "id", "run_of_no_store", "created_at",
                            "2026-02-01T00:00:00.000Z"));
}

static void key_get_unstored(void)
{
    requests_call(AC_STORE_KEY_GET, NULL, json_pack("{s:s, s:s}", "key", "another", "since", COSMOS_REQUESTS_SINCE));
}

/* ---- the table ---- */

static const cosmos_requests_t rows[] = {
    {"TURN_LOAD", requests_closed_turn, turn_load, {"READ messages: thread", "QUERY messages by thread_id, type, seq"}},
    {"TURN_LOAD, dead run",
     dead_run,
     turn_load,
     {"READ messages: thread", "READ messages: run", "BATCH messages: REPLACE thread, REPLACE run",
      "QUERY messages by thread_id, type, seq"}},
    {"TURN_OPEN",
     requests_empty_thread,
     turn_open,
     {"BATCH threads: CREATE run, UPSERT thread", "BATCH messages: REPLACE thread, CREATE message, CREATE run"}},
    {"TURN_OPEN, new thread",
     requests_no_thread,
     turn_open_new,
     {"BATCH threads: CREATE run, UPSERT thread", "BATCH messages: CREATE thread, CREATE message, CREATE run"}},
    {"TURN_OPEN, large",
     requests_empty_thread,
     turn_open_large,
     {"BATCH threads: CREATE run, UPSERT thread", "UPSERT messages: part", "UPSERT messages: part",
      "BATCH messages: REPLACE thread, CREATE message, CREATE run"}},
    {"TURN_OPEN, conflict",
     changed_elsewhere,
     turn_open,
     {"BATCH threads: CREATE run, UPSERT thread", "BATCH messages: REPLACE thread, CREATE message, CREATE run -> 412",
      "READ messages: thread", "UPSERT threads: thread", "BATCH messages: REPLACE thread, CREATE message, CREATE run"}},
    {"TURN_OPEN, sent again",
     opened_again,
     turn_open_again,
     {"READ messages: thread", "READ messages: message", "PATCH messages: run /lease_until"}},
    {"TURN_OPEN, busy", requests_open_turn, turn_open_busy, {"READ messages: thread"}},
    {"TURN_OPEN, changed concurrently", requests_closed_turn, turn_open_after_others, {"READ messages: thread"}},
    {"TURN_OPEN, with key",
     requests_empty_thread,
     turn_open_with_key,
     {"READ threads: key -> 404", "BATCH threads: CREATE run, UPSERT thread", "CREATE threads: key",
      "BATCH messages: REPLACE thread, CREATE message, CREATE run"}},
    {"TURN_OPEN, used key", used_key, turn_open_with_used_key, {"READ threads: key", "READ messages: run"}},
    {"TURN_OPEN, key and no thread",
     requests_no_thread,
     turn_open_with_key_nowhere,
     {"READ threads: key -> 404", "READ messages: thread -> 404"}},
    {"TURN_OPEN, key conflict",
     key_conflict,
     turn_open_with_key,
     {"READ threads: key -> 404", "BATCH threads: CREATE run, UPSERT thread", "CREATE threads: key -> 409",
      "READ threads: key -> 404", "CREATE threads: key", "BATCH messages: REPLACE thread, CREATE message, CREATE run"}},
    {"TURN_OPEN, with key, refused",
     commit_refused,
     turn_open_with_key_refused,
     {"READ threads: key -> 404", "BATCH threads: CREATE run, UPSERT thread", "CREATE threads: key",
      "BATCH messages: REPLACE thread, CREATE message, CREATE run -> 413", "DELETE threads: key"}},
    {"TURN_OPEN, dead run",
     dead_run,
     turn_open,
     {"BATCH threads: CREATE run, UPSERT thread", "BATCH messages: REPLACE thread, CREATE message, CREATE run -> 412",
      "READ messages: thread", "READ messages: run", "BATCH messages: REPLACE thread, REPLACE run",
      "UPSERT threads: thread", "BATCH messages: REPLACE thread, CREATE message, CREATE run"}},
    {"TURN_CLOSE", requests_open_turn, turn_close, {"BATCH messages: REPLACE thread, CREATE message, UPSERT run"}},
    {"TURN_CLOSE, large",
     requests_open_turn,
     turn_close_large,
     {"UPSERT messages: part", "UPSERT messages: part", "BATCH messages: REPLACE thread, CREATE message, UPSERT run"}},
    {"TURN_CLOSE, conflict",
     closed_elsewhere,
     turn_close,
     {"BATCH messages: REPLACE thread, CREATE message, UPSERT run -> 412", "READ messages: thread",
      "BATCH messages: REPLACE thread, CREATE message, UPSERT run"}},
    {"TURN_CLOSE, sent again",
     closed_again,
     turn_close_again,
     {"READ messages: thread", "READ messages: message", "READ threads: run"}}, /* it is counted already */
    {"TURN_CLOSE, not opened",
     requests_empty_thread,
     turn_close_unopened,
     {"READ messages: thread", "READ messages: message -> 404", "READ messages: run -> 404",
      "PATCH threads: run /changing -> 404", "UPSERT threads: thread",
      "BATCH messages: REPLACE thread, CREATE message, UPSERT run", "READ threads: run -> 404"}},
    {"RUN_SUSPEND",
     requests_open_turn,
     turn_suspend,
     {"UPSERT threads: wait", "READ messages: thread",
      "BATCH messages: REPLACE thread, UPSERT run, UPSERT steps, UPSERT wait"}},
    {"RUN_SUSPEND, large",
     requests_open_turn,
     turn_suspend_large,
     {"UPSERT threads: wait", "READ messages: thread", "UPSERT messages: part", "UPSERT messages: part",
      "BATCH messages: REPLACE thread, UPSERT run, UPSERT steps, UPSERT wait"}},
    {"RUN_SUSPEND, conflict",
     suspend_conflict,
     turn_suspend,
     {"UPSERT threads: wait", "READ messages: thread",
      "BATCH messages: REPLACE thread, UPSERT run, UPSERT steps, UPSERT wait -> 412", "READ messages: thread",
      "BATCH messages: REPLACE thread, UPSERT run, UPSERT steps, UPSERT wait"}},
    {"APPROVAL_DECIDE, first",
     suspended,
     decide_first,
     {"READ threads: run", "READ messages: thread", "REPLACE messages: thread"}},
    {"APPROVAL_DECIDE, last",
     decided_once,
     decide_last,
     {"READ threads: run", "READ messages: thread", "REPLACE messages: thread", "PATCH messages: run /holder",
      "PATCH messages: run /lease_until", "READ messages: wait", "DELETE threads: wait"}},
    {"APPROVAL_DECIDE, conflict",
     decide_conflict,
     decide_first,
     {"READ threads: run", "READ messages: thread", "REPLACE messages: thread -> 412", "READ messages: thread",
      "REPLACE messages: thread"}},
    {"APPROVAL_DECIDE, not suspended",
     requests_open_turn,
     decide_for_none,
     {"READ threads: run", "READ messages: thread", "DELETE threads: wait -> 404"}},
    {"SUSPENDED_LIST", NULL, suspended_list, {"QUERY threads by owner, type, due_at"}},
    {"KEY_GET", used_key, key_get, {"READ threads: key", "READ messages: run"}},
    {"KEY_PUT", NULL, key_put, {"READ threads: key -> 404", "CREATE threads: key"}},
    {"KEY_GET, no store has the run", key_put, key_get_unstored, {"READ threads: key"}},
};

static void test_requests_of_turns(void **state)
{
    cosmos_requests_check(*state, &server, rows, sizeof(rows) / sizeof(*rows));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        COSMOS_TEST(test_requests_of_turns),
    };
    return cosmos_main(&server, "requests of turns", tests, sizeof(tests) / sizeof(*tests));
}
