/* SPDX-License-Identifier: Apache-2.0 */
/* The body of POST /ui/chat: any JSON gives a message of the user or the assistant, or one error with a text. The body
 * is read a second time as a request for a further answer. */
#include <stdlib.h>
#include <string.h>

/* clang-format off: the code under test, with what it needs before it */
#include "front/ui/ui_request.c"
#include "front/ui/ui_place.c"
#include "front/request/request_thread.c"
#include "fuzz_parts.h"
/* clang-format on */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

NOT_CALLED(apr_status_t, ac_request_agents_load, ac_request_t *rq, const ac_agents_t **pagents, bool surely)

apr_status_t ac_request_agents_find(ac_request_t *rq, const ac_agent_t **pagent, const char *id, const char *pointer,
                                    bool active)
{
    (void)id;
    (void)active;
    *pagent = NULL;
    return ac_err_set_at(&rq->err, AC_NOT_FOUND, pointer, "no agent with this id");
}

apr_status_t ac_chat_request_check(ac_request_t *rq, const char *content, const char *name, bool from_query)
{
    (void)name;
    (void)from_query;
    return *content ? APR_SUCCESS : ac_err_set(&rq->err, AC_MESSAGE_EMPTY, "nothing but white space");
}

static void check_place(ac_request_t *rq, const ac_ui_request_t *request)
{
    json_t *thread = json_pack("{s:[{s:s, s:s, s:s, s:n}, {s:s, s:s, s:s}]}", "messages", "id", "msg_1", "role", "user",
                               "content", "hi", "parent_id", "id", "msg_2", "role", "assistant", "content", "Hello");
    ac_request_place_t place;
    ac_err_init(&rq->err);
    bool found = ac_ui_place_find(&place, rq, request, thread) == APR_SUCCESS;
    must(found == (rq->err.kind == AC_OK) && (!found || !place.again || !request->is_user || request->regenerates));
    json_decref(thread);
}

static void check_request(ac_request_t *rq)
{
    ac_ui_request_t request;
    ac_err_init(&rq->err);
    if (ac_ui_request_read(&request, rq) == APR_SUCCESS) {
        must(request.chat && request.parts.content && strlen(request.id) <= AC_MAX_KEY);
        must(request.is_user || request.regenerates || request.message);
        must(!request.is_user || request.regenerates || *request.parts.content || request.parts.attachments.list);
        must_be_attachments(rq, request.parts.attachments.list);
        check_place(rq, &request);
    } else {
        must(rq->err.kind != AC_OK && rq->err.detail[0]);
    }
    ac_client_tools_free(&request.tools);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    request_rec r = {.pool = p, .headers_in = apr_table_make(p, 1)};
    ac_request_t rq = {.r = &r};
    ac_err_t err;
    ac_err_init(&err);
    if (ac_json_parse(&rq.body, (const char *)data, size, &err) == APR_SUCCESS && json_is_object(rq.body)) {
        check_request(&rq);
        json_object_set_new(rq.body, "trigger", json_string("regenerate-message"));
        check_request(&rq);
    }
    json_decref(rq.body);
    apr_pool_destroy(p);
    return 0;
}
