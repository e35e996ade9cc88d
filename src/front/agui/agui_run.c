/* SPDX-License-Identifier: Apache-2.0 */
/* POST /agui/{agent}: a message, results of the page's tools, answers to interrupts, a further answer, or nothing new,
 * which shows the thread and the run that is under way. */
#include "agui_internal.h"

#include <stdlib.h>
#include <string.h>

#include "apr_strings.h"

#define SNAPSHOT_MAX (1024 * 1024) /* bytes of messages in an event, beside those that the client sent */

typedef struct agui_run_t {
    ac_agui_input_t input;
    const json_t *loaded; /* the thread; NULL: there is none yet */
    const char *key;      /* NULL: the request has nothing that could be done twice */
    char key_hash[AC_KEY_HASH_SIZE];
} agui_run_t;

static apr_status_t agui_run_free(void *baton)
{
    agui_run_t *run = baton;
    ac_client_tools_free(&run->input.tools);
    return APR_SUCCESS;
}

/* snapshot: messages that the client gets first; consumed; NULL: none. */
static ac_agui_view_t *make_view(ac_request_t *rq, const agui_run_t *run, json_t *snapshot)
{
    size_t len = 0, max = (size_t)rq->mount->stream_buffer / 2;
    if (snapshot && ac_child()->event_dir) { /* without a log the event must fit into the stream's buffer */
        free(ac_json_dump(run->input.messages, &len));
        max = SNAPSHOT_MAX + len;
    }
    char *text = snapshot ? ac_agui_messages_snapshot(snapshot, run->input.messages, max) : NULL;
    len = text ? strlen(text) : 0;
    ac_agui_view_t *view = ac_request_view_make(rq, sizeof(*view) + len + 1);
    apr_cpystrn(view->thread, run->input.thread, sizeof(view->thread));
    apr_cpystrn(view->run, run->input.run, sizeof(view->run));
    view->is_1_0 = run->input.is_1_0;
    memcpy(view->snapshot, text ? text : "", len + 1);
    free(text);
    json_decref(snapshot);
    return view;
}

/* ---- a request that is sent again ---- */

/* runId is the key of the request, in its thread. What the client has got of the answer meanwhile does not matter: its
 * own newest message says which request it is. */
static apr_status_t find_earlier(ac_request_t *rq, agui_run_t *run, const char **prun_id)
{
    const ac_agui_input_t *input = &run->input;
    const json_t *sent = ac_agui_place_sent(input->messages);
    char key[AC_KEY_HASH_SIZE];
    *prun_id = NULL;
    if (!sent || input->resume) {
        return APR_SUCCESS;
    }
    char *text = ac_json_dump(sent, NULL);
    const char *whole = text ? apr_pstrcat(rq->r->pool, rq->path, "\n", text, NULL) : NULL;
    free(text);
    apr_status_t status = ac_chat_request_hash(key,
                                               apr_psprintf(rq->r->pool, "%" APR_SIZE_T_FMT ":%s:%s",
                                                            strlen(input->thread), input->thread, input->run),
                                               &rq->err);
    if (status == APR_SUCCESS) {
        status = ac_chat_request_hash(run->key_hash, whole, &rq->err);
    }
    if (status == APR_SUCCESS) {
        run->key = apr_pstrcat(rq->r->pool, "agui:", key, NULL);
        status = ac_chat_request_earlier(rq, run->key, run->key_hash, apr_time_now() - AC_KEY_LIFE, prun_id);
    }
    if (status != APR_SUCCESS && rq->err.kind == AC_IDEMPOTENCY_CONFLICT) {
        ac_err_init(&rq->err);
        ac_err_set_at(&rq->err, AC_IDEMPOTENCY_CONFLICT, "/runId", "this runId was used for another request");
    }
    return status;
}

/* The run from its beginning. A client that has got parts of it forgets them first, or it would have them twice. */
static int follow_again(ac_request_t *rq, const agui_run_t *run, const char *run_id)
{
    make_view(rq, run, ac_agui_messages_without(run->input.messages, run_id))->replays = true;
    return ac_delivery_follow(rq, run_id, 0, true);
}

/* ---- answers to interrupts ---- */

static bool has_result(const json_t *messages, const ac_agui_resume_t *resume)
{
    const json_t *message;
    size_t i;
    json_array_foreach((json_t *)messages, i, message)
    {
        char run_id[AC_ID_SIZE];
        const char *call;
        if (strcmp(ac_json_peek_string(message, "role", ""), "tool") == 0 &&
            ac_agui_id_read_call(run_id, &call, ac_json_peek_string(message, "toolCallId", "")) &&
            strcmp(run_id, resume->run_id) == 0 && strcmp(call, resume->call) == 0) {
            return true;
        }
    }
    return false;
}

static int resume_run(ac_request_t *rq, agui_run_t *run)
{
    ac_agui_resume_t resume;
    ac_agui_place_t place;
    apr_status_t status = ac_agui_place_find(&place, rq, &run->input, run->loaded);
    if (status == APR_SUCCESS && (*place.text || place.attachments.list)) {
        status = ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/messages",
                               "the run that is resumed takes no message; send it when the run has ended");
    }
    if (status == APR_SUCCESS) {
        status = ac_agui_resume_decide(&resume, rq, &run->input, run->loaded);
    }
    if (status != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    if (has_result(run->input.messages, &resume)) {
        return follow_again(rq, run, resume.run_id);
    }
    ac_agui_view_t *view = make_view(rq, run, NULL);
    view->replays = true;
    view->repeats = resume.repeats;
    apr_cpystrn(view->decided, resume.call, sizeof(view->decided));
    return ac_delivery_follow(rq, resume.run_id, 0, true);
}

/* ---- nothing new: the thread is shown ---- */

/* The messages up to the one that the active run answers. */
static json_t *shown_messages(ac_request_t *rq, const agui_run_t *run, const char *active)
{
    json_t *list = json_copy(json_object_get(run->loaded, "messages"));
    ac_store_op_t *result = NULL;
    if (active &&
        ac_request_store(rq, ac_store_op_create(AC_STORE_RUN_GET, rq->owner, active), &result) == APR_SUCCESS) {
        const char *question = ac_json_peek_string(result->out, "parent_id", "");
        size_t n = json_array_size(list);
        while (n && strcmp(ac_json_peek_string(json_array_get(list, n - 1), "id", ""), question) != 0) {
            n--;
        }
        while (n && json_array_size(list) > n) {
            json_array_remove(list, n);
        }
    }
    ac_err_init(&rq->err);
    json_t *shown = ac_agui_messages_make(rq, list);
    json_decref(list);
    return shown;
}

static int show(ac_request_t *rq, const agui_run_t *run)
{
    const char *active = ac_json_peek_string(run->loaded, "active_run", NULL);
    ac_agui_view_t *view = make_view(rq, run, run->loaded ? shown_messages(rq, run, active) : NULL);
    view->replays = true;
    if (active) {
        return ac_delivery_follow(rq, active, 0, true);
    }
    ac_buf_t out;
    ac_buf_init(&out, AC_MAX_JSON_TEXT);
    ac_agui_dialect_show(&out, view);
    const char *text = apr_pstrmemdup(rq->r->pool, out.data, out.len);
    size_t len = out.len;
    ac_buf_free(&out);
    return ac_reply_text(rq, ac_agui_dialect.media_type, text, len);
}

/* ---- a turn ---- */

/* The stored messages, and behind them all that the client has. */
static json_t *whole_history(const ac_request_t *rq, const agui_run_t *run)
{
    json_t *list = ac_agui_messages_make(rq, json_object_get(run->loaded, "messages"));
    json_array_extend(list, (json_t *)run->input.messages);
    return list;
}

static int agui_run_start_turn(ac_request_t *rq, agui_run_t *run, const ac_agui_place_t *place)
{
    ac_agui_input_t *input = &run->input;
    const ac_agents_t *agents;
    ac_turn_t *turn = NULL;
    if (ac_request_agents_load(rq, &agents, false) == APR_SUCCESS) {
        turn = ac_chat_request_turn(rq, input->agent, place->text);
    }
    if (!turn || ac_request_thread_of(rq, turn, input->thread, "/threadId") != APR_SUCCESS) {
        ac_turn_free(turn);
        return ac_reply_problem(rq, NULL);
    }
    make_view(rq, run, place->lacks_history ? whole_history(rq, run) : NULL);
    ac_request_thread_enter(turn, &place->place);
    turn->client = input->tools;
    memset(&input->tools, 0, sizeof(input->tools));
    turn->instructions = *input->said ? strdup(input->said) : NULL;
    if (run->key) {
        turn->key = strdup(run->key);
        apr_cpystrn(turn->key_hash, run->key_hash, sizeof(turn->key_hash));
    }
    ac_attachments_move(&place->attachments, turn);
    if (*place->id && (*place->text || turn->attachments)) {
        turn->metadata = json_pack("{s:s}", AC_REQUEST_MESSAGE_ID, place->id);
    }
    if (ac_attachments_store(rq, turn) != APR_SUCCESS) {
        ac_turn_free(turn);
        return ac_reply_problem(rq, NULL);
    }
    ac_request_body_free(rq);
    rq->doing = "running the agent";
    return ac_delivery_run(rq, turn, true);
}

int ac_agui_run_start(ac_request_t *rq)
{
    agui_run_t *run = apr_pcalloc(rq->r->pool, sizeof(*run));
    ac_agui_place_t place;
    const char *earlier = NULL;
    apr_status_t status = ac_request_body(rq, true);
    apr_pool_cleanup_register(rq->r->pool, run, agui_run_free, apr_pool_cleanup_null);
    if (status == APR_SUCCESS) {
        status = ac_agui_input_read(&run->input, rq);
    }
    if (status == APR_SUCCESS) {
        status = find_earlier(rq, run, &earlier);
    }
    if (status == APR_SUCCESS && earlier) {
        return follow_again(rq, run, earlier);
    }
    if (status == APR_SUCCESS) {
        status = ac_request_thread_load(rq, &run->loaded, run->input.thread, "/threadId");
    }
    if (status == APR_SUCCESS && run->input.resume) {
        return resume_run(rq, run);
    }
    if (status == APR_SUCCESS) {
        status = ac_agui_place_find(&place, rq, &run->input, run->loaded);
    }
    if (status != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return place.asks || run->input.tools.results ? agui_run_start_turn(rq, run, &place) : show(rq, run);
}

/* ---- the protocol ---- */

static bool agui_is_on(const ac_mount_conf_t *mount)
{
    return mount->agui.on;
}

static ac_protocol_e agui_id(const char *pattern)
{
    (void)pattern;
    return AC_PROTOCOL_AGUI;
}

static const char *const agui_prefixes[] = {"/agui", NULL};
const ac_protocol_t ac_agui_protocol = {.id = agui_id,
                                        .title = "AG-UI",
                                        .prefixes = agui_prefixes,
                                        .is_on = agui_is_on,
                                        .problem_type = "application/problem+json",
                                        .problem = ac_problem_json};
