/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/responses: a turn, or the decisions with which a run resumes. Members that say how a model shall write are
 * ignored, since that is the agent's. */
#include "v1_response.h"

#include <string.h>

#include "apr_strings.h"

typedef struct wanted_t { /* what the body says */
    const ac_agent_t *agent;
    const char *model, *instructions;
    ac_v1_input_t input;
    ac_client_tools_t tools;
    ac_v1_place_t place;
    json_t *facts;
    bool stream, background, store;
    int max_tokens; /* 0: as the agent says */
} wanted_t;

static apr_status_t wanted_free(void *baton)
{
    wanted_t *wanted = baton;
    ac_v1_input_free(&wanted->input);
    ac_client_tools_free(&wanted->tools);
    json_decref(wanted->facts);
    return APR_SUCCESS;
}

/* ---- the body ---- */

static apr_status_t read_switches(ac_request_t *rq, wanted_t *wanted)
{
    apr_status_t status = ac_json_bool(&wanted->stream, rq->body, "stream", false, &rq->err);
    if (status == APR_SUCCESS) {
        status = ac_json_bool(&wanted->background, rq->body, "background", false, &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_bool(&wanted->store, rq->body, "store", true, &rq->err);
    }
    if (status == APR_SUCCESS && wanted->background && !wanted->store) {
        status = ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/background",
                               "a response in the background must be stored; leave `store` out");
    }
    return status;
}

static apr_status_t wanted_read(ac_request_t *rq, wanted_t *wanted)
{
    static const char *const most[] = {"max_output_tokens", NULL};
    apr_status_t status = ac_v1_chat_find_agent(rq, &wanted->agent, &wanted->model);
    if (status == APR_SUCCESS) {
        status = read_switches(rq, wanted);
    }
    if (status == APR_SUCCESS) {
        status = ac_v1_chat_read_max_tokens(rq, most, &wanted->max_tokens);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_string(&wanted->instructions, rq->body, "instructions", false, &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_record_check_metadata(json_object_get(rq->body, "metadata"), &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_v1_tools_read(&wanted->tools, rq);
    }
    if (status == APR_SUCCESS) {
        status = ac_v1_input_locate(&wanted->input, rq);
    }
    return status;
}

/* Messages that come with a request are stored without a turn of their own, which is what files belong to. */
static apr_status_t response_check_files(ac_request_t *rq, const wanted_t *wanted)
{
    const json_t *message;
    size_t i;
    json_array_foreach(wanted->input.messages.history.list, i, message)
    {
        if (wanted->store && json_array_size(json_object_get(message, "attachments"))) {
            return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/input",
                                 "only the last message may have images and files, unless `store` is false");
        }
    }
    return APR_SUCCESS;
}

static apr_status_t wanted_read_input(ac_request_t *rq, wanted_t *wanted)
{
    bool pass = rq->mount->openai.client_tools == AC_V1_TOOLS_PASS;
    ac_v1_input_t *input = &wanted->input;
    apr_status_t status =
        ac_v1_input_read(input, rq, pass ? &wanted->tools : NULL, ac_request_thread_last(wanted->place.loaded));
    const ac_v1_messages_t *messages = &input->messages;
    if (status == APR_SUCCESS && input->decisions && json_array_size(messages->history.list)) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/input",
                             "messages can follow when the response after the approvals is complete");
    }
    if (status == APR_SUCCESS) {
        status = response_check_files(rq, wanted);
    }
    bool alone = input->decisions || wanted->tools.results || messages->attachments.list;
    if (status != APR_SUCCESS || (alone && (input->decisions || !*messages->content))) {
        return status;
    }
    return ac_chat_request_check(rq, messages->content, "input", false);
}

/* ---- a turn ---- */

static json_t *facts_make(ac_request_t *rq, const wanted_t *wanted, const char *hash)
{
    json_t *metadata = json_object_get(rq->body, "metadata"), *facts = json_object();
    const char *previous = ac_json_peek_string(rq->body, "previous_response_id", NULL);
    ac_json_put(facts, "model", ac_json_text(wanted->model));
    ac_json_put(facts, "background", json_boolean(wanted->background));
    ac_json_put(facts, "store", json_boolean(wanted->store));
    ac_json_put(facts, "conversation", json_boolean(wanted->place.in_conversation));
    ac_json_put(facts, "previous_response_id", ac_json_text(previous));
    ac_json_put(facts, "max_output_tokens", wanted->max_tokens ? json_integer(wanted->max_tokens) : json_null());
    ac_json_put(facts, "metadata", json_is_object(metadata) ? json_deep_copy(metadata) : json_object());
    ac_json_put(facts, "body", json_string(hash));
    json_t *format = json_object_get(json_object_get(rq->body, "text"), "format");
    if (json_is_object(format)) {
        ac_json_put(facts, "text", json_pack("{s:o}", "format", json_deep_copy(format)));
    }
    return facts;
}

/* The agent's instructions come first, then those of the request, then those of its messages. */
static char *join_instructions(const wanted_t *wanted)
{
    const char *said = wanted->input.messages.system.len ? wanted->input.messages.system.data : NULL;
    ac_buf_t text;
    if (!wanted->instructions || !*wanted->instructions) {
        return said ? strdup(said) : NULL;
    }
    ac_buf_init(&text, 2 * AC_MAX_INSTRUCTIONS + 2);
    ac_buf_printf(&text, "%s%s%s", wanted->instructions, said ? "\n\n" : "", said ? said : "");
    return text.data;
}

static json_t *history_of(const wanted_t *wanted)
{
    json_t *list = wanted->input.messages.history.list, *all;
    if (wanted->store || !wanted->place.loaded) {
        return json_incref(list);
    }
    all = json_deep_copy(json_object_get(wanted->place.loaded, "messages"));
    json_array_extend(all, list);
    return all;
}

static apr_status_t check_instructions(ac_request_t *rq, const wanted_t *wanted)
{
    return !wanted->instructions || strlen(wanted->instructions) <= AC_MAX_INSTRUCTIONS
        ? APR_SUCCESS
        : ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/instructions", "instructions may have at most %d bytes",
                        AC_MAX_INSTRUCTIONS);
}

static ac_turn_t *turn_make(ac_request_t *rq, wanted_t *wanted)
{
    ac_turn_t *turn = ac_chat_request_turn(rq, wanted->agent, wanted->input.messages.content);
    const ac_v1_place_t *place = &wanted->place;
    ac_request_place_t at = {.parent = place->parent_id};
    if (!turn) {
        return NULL;
    }
    turn->instructions = join_instructions(wanted);
    turn->max_tokens = wanted->max_tokens;
    turn->client = wanted->tools;
    memset(&wanted->tools, 0, sizeof(wanted->tools));
    turn->history = history_of(wanted);
    turn->stateless = !wanted->store;
    turn->leave = wanted->background ? -1 : turn->leave;
    ac_attachments_move(&wanted->input.messages.attachments, turn);
    if (wanted->store) {
        apr_cpystrn(turn->thread_id, place->thread_id ? place->thread_id : "", sizeof(turn->thread_id));
        ac_request_thread_enter(turn, &at);
        turn->metadata = json_pack("{s:O}", AC_V1_FACTS, wanted->facts);
    }
    return turn;
}

static int response_start(ac_request_t *rq, wanted_t *wanted, ac_v1_response_view_t *view)
{
    const ac_agents_t *agents;
    ac_turn_t *turn = NULL;
    if (ac_request_agents_load(rq, &agents, false) == APR_SUCCESS) {
        turn = turn_make(rq, wanted);
    }
    if (!turn) {
        return ac_reply_problem(rq, NULL);
    }
    view->ends_begun = wanted->background;
    return ac_chat_request_deliver(rq, turn, wanted->stream);
}

/* ---- decisions ---- */

static bool decisions_have(const json_t *list, const char *text)
{
    const json_t *one;
    size_t i;
    json_array_foreach((json_t *)list, i, one)
    {
        if (strcmp(json_string_value(one), text) == 0) {
            return true;
        }
    }
    return false;
}

/* The run continues after its last decision, so that a response to some of them would have nothing in it. */
static apr_status_t check_decisions(ac_request_t *rq, const json_t *decisions, const json_t *open)
{
    json_t *decided = json_array();
    const json_t *decision;
    size_t i;
    bool fine = true;
    json_array_foreach((json_t *)decisions, i, decision)
    {
        const char *call_id = ac_json_peek_string(decision, "call_id", "");
        fine = fine && decisions_have(open, call_id) && !decisions_have(decided, call_id);
        json_array_append_new(decided, json_string(call_id));
    }
    fine = fine && json_array_size(decided) == json_array_size(open);
    json_decref(decided);
    return fine
        ? APR_SUCCESS
        : ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/input",
                        json_array_size(open) ? "the input must have a decision about each approval request that "
                                                "is open, and about no other one"
                                              : "no approval request is open: they were decided before");
}

static apr_status_t store_decisions(ac_request_t *rq, const wanted_t *wanted)
{
    apr_interval_time_t leave = wanted->background ? -1 : rq->mount->on_disconnect;
    json_t *decision;
    bool stored = false;
    size_t i;
    json_array_foreach(wanted->input.decisions, i, decision)
    {
        apr_status_t status = ac_api_runs_decide(rq, wanted->input.run_id, decision, leave);
        if (status != APR_SUCCESS && rq->err.kind != AC_NOT_WAITING) {
            return status;
        }
        stored = stored || status == APR_SUCCESS;
        ac_err_init(&rq->err);
    }
    return stored ? APR_SUCCESS
                  : ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/input",
                                  "no approval request is open: they were decided before");
}

/* The segment that begins with the decisions. A repeated request finds them stored. */
static int response_resume(ac_request_t *rq, wanted_t *wanted)
{
    const char *retries = apr_table_get(rq->r->headers_in, "X-Stainless-Retry-Count");
    const char *run_id = wanted->input.run_id;
    const json_t *question = NULL;
    json_t *open = NULL;
    unsigned n = 0;
    apr_status_t status = ac_v1_place_pauses(&n, &open, rq, run_id);
    bool repeats = retries && apr_atoi64(retries) > 0 && n && !json_array_size(open);
    if (status == APR_SUCCESS && !repeats) {
        status = check_decisions(rq, wanted->input.decisions, open);
    }
    json_decref(open);
    if (status == APR_SUCCESS) {
        status = ac_v1_place_question(&question, rq, wanted->place.run);
    }
    ac_v1_response_view_t *view =
        status == APR_SUCCESS ? ac_v1_facts_view(rq, ac_v1_facts_of(question), wanted->model, n, run_id) : NULL;
    if (view && !repeats && store_decisions(rq, wanted) != APR_SUCCESS) {
        view = NULL;
    }
    if (!view) {
        return ac_reply_problem(rq, NULL);
    }
    view->ends_begun = wanted->background;
    return ac_delivery_follow(rq, run_id, 0, wanted->stream);
}

/* ---- the handler ---- */

static int response_answer(ac_request_t *rq, wanted_t *wanted)
{
    const char *hash = ac_v1_facts_hash(rq), *run_id = NULL;
    ac_v1_response_view_t *view = NULL;
    apr_status_t status = hash && wanted->store ? ac_v1_place_repeated(&run_id, rq, &wanted->place, hash) : APR_SUCCESS;
    if (hash && status == APR_SUCCESS) {
        wanted->facts = facts_make(rq, wanted, hash);
        view = ac_v1_facts_view(rq, wanted->facts, wanted->model, 0, "");
    }
    if (!view) {
        return ac_reply_problem(rq, NULL);
    }
    if (run_id) {
        view->ends_begun = wanted->background;
        return ac_delivery_follow(rq, run_id, 0, wanted->stream);
    }
    return response_start(rq, wanted, view);
}

int ac_v1_response_create(ac_request_t *rq)
{
    wanted_t *wanted = apr_pcalloc(rq->r->pool, sizeof(*wanted));
    apr_pool_cleanup_register(rq->r->pool, wanted, wanted_free, apr_pool_cleanup_null);
    apr_status_t status = ac_request_body(rq, true);
    if (status == APR_SUCCESS) {
        status = wanted_read(rq, wanted);
    }
    if (status == APR_SUCCESS) {
        status = check_instructions(rq, wanted);
    }
    if (status == APR_SUCCESS) {
        status = ac_v1_place_find(&wanted->place, rq, &wanted->input, !wanted->store);
    }
    if (status == APR_SUCCESS) {
        status = wanted_read_input(rq, wanted);
    }
    if (status == APR_SUCCESS && !wanted->input.decisions &&
        ac_json_peek_string(wanted->place.loaded, "active_run", NULL)) {
        status = ac_err_set_at(&rq->err, AC_RUN_IN_PROGRESS, "/input", "the response before awaits approvals, or runs");
    }
    if (status != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return wanted->input.decisions ? response_resume(rq, wanted) : response_answer(rq, wanted);
}
