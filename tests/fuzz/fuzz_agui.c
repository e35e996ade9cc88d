/* SPDX-License-Identifier: Apache-2.0 */
/* RunAgentInput: any JSON gives a message of the user, results of calls, answers to interrupts or nothing new, or one
 * error with a text. */
#include <stdlib.h>
#include <string.h>

/* clang-format off: the code under test, with what it needs before it */
#include "front/agui/agui_id.c"
#include "front/agui/agui_input.c"
#include "front/agui/agui_messages.c"
#include "front/agui/agui_place.c"
#include "front/agui/agui_resume.c"
#include "front/request/request_thread.c"
#include "fuzz_parts.h"
/* clang-format on */

#define RUN "run_01m7ybjtg4e00r9pk41h3p6e78"
#define MSG "msg_01m7ybjtg4e00r9pk41h3p6e78"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

NOT_CALLED(void, ac_dialect_add_text, ac_buf_t *out, const char *name, const char *text)
NOT_CALLED(apr_status_t, ac_api_runs_decide, ac_request_t *rq, const char *run_id, json_t *decision,
           apr_interval_time_t leave)

apr_status_t ac_request_agents_find(ac_request_t *rq, const ac_agent_t **pagent, const char *id, const char *pointer,
                                    bool active)
{
    static const ac_tool_t tool = {.id = "calculate"};
    static const ac_tool_t *const tools[] = {&tool};
    static ac_agent_t agent = {.tools = tools, .n_tools = 1};
    (void)rq;
    (void)id;
    (void)pointer;
    (void)active;
    *pagent = &agent;
    return APR_SUCCESS;
}

apr_status_t ac_chat_request_check(ac_request_t *rq, const char *content, const char *name, bool from_query)
{
    (void)name;
    (void)from_query;
    return *content ? APR_SUCCESS : ac_err_set(&rq->err, AC_MESSAGE_EMPTY, "nothing but white space");
}

apr_status_t ac_api_runs_content_check(ac_request_t *rq, const json_t *content, bool approve, const char *pointer)
{
    must(content && strncmp(pointer, "/resume/", 8) == 0);
    return json_is_object(content) && approve ? APR_SUCCESS
                                              : ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "no object");
}

/* A question, an answer that leaves a call to the client, and a run that is under way. */
static json_t *make_thread(void)
{
    return json_pack("{s:s, s:[{s:s, s:s, s:s, s:n}, {s:s, s:s, s:s, s:s, s:[{s:s, s:s, s:{}, s:b}]}]}", "active_run",
                     RUN, "messages", "id", "msg_1", "role", "user", "content", "hi", "parent_id", "id", MSG, "role",
                     "assistant", "content", "Hello", "run_id", RUN, "tool_calls", "id", "c1", "tool", "look",
                     "arguments", "client", 1);
}

static void must_be_events(char *text)
{
    if (text) {
        size_t len = strlen(text);
        must(strncmp(text, "data: {", 7) == 0 && len > 10 && strcmp(text + len - 3, "}\n\n") == 0);
        must(!strchr(text, '\r'));
    }
    free(text);
}

static void check_snapshots(ac_request_t *rq, const ac_agui_input_t *input, const json_t *thread)
{
    json_t *stored = ac_agui_messages_make(rq, json_object_get(thread, "messages"));
    json_t *without = ac_agui_messages_without(input->messages, RUN);
    must(json_array_size(stored) >= 2);
    json_array_extend(stored, (json_t *)input->messages);
    must_be_events(ac_agui_messages_snapshot(stored, input->messages, 4096));
    must_be_events(without ? ac_agui_messages_snapshot(without, input->messages, 1024 * 1024) : NULL);
    json_decref(stored);
    json_decref(without);
}

static void check_place(ac_request_t *rq, ac_agui_input_t *input, const json_t *thread)
{
    ac_agui_place_t place;
    ac_err_init(&rq->err);
    if (ac_agui_place_find(&place, rq, input, thread) == APR_SUCCESS) {
        must(rq->err.kind == AC_OK && strlen(place.id) <= AC_MAX_KEY);
        must(!place.asks || place.place.again || *place.text || place.attachments.list || input->tools.results);
        must(!place.place.again || (!*place.text && !place.attachments.list));
        must_be_attachments(rq, place.attachments.list);
    } else {
        must(rq->err.kind != AC_OK && rq->err.detail[0]);
    }
}

static void check_input(ac_request_t *rq)
{
    ac_agui_input_t input;
    ac_agui_resume_t resume;
    json_t *thread = make_thread();
    ac_err_init(&rq->err);
    if (ac_agui_input_read(&input, rq) == APR_SUCCESS) {
        must(*input.thread && *input.run && ac_utf8_valid(input.said, strlen(input.said)));
        check_snapshots(rq, &input, thread);
        check_place(rq, &input, thread);
        ac_err_init(&rq->err);
        must(!input.resume || ac_agui_resume_decide(&resume, rq, &input, thread) != APR_SUCCESS);
        must(!input.resume || (rq->err.kind != AC_OK && rq->err.detail[0]));
    } else {
        must(rq->err.kind != AC_OK && rq->err.detail[0]);
    }
    ac_client_tools_free(&input.tools);
    json_decref(thread);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    ac_mount_conf_t mount = {.agui.client_tools = AC_AGUI_TOOLS_PASS};
    request_rec r = {.pool = p, .headers_in = apr_table_make(p, 1)};
    ac_request_t rq = {.r = &r, .mount = &mount, .args = {"assistant"}, .owner = "ann"};
    ac_err_t err;
    ac_err_init(&err);
    if (ac_json_parse(&rq.body, (const char *)data, size, &err) == APR_SUCCESS && json_is_object(rq.body)) {
        check_input(&rq);
    }
    json_decref(rq.body);
    apr_pool_destroy(p);
    return 0;
}
