/* SPDX-License-Identifier: Apache-2.0 */
/* The messages and the tools of a chat completion: any JSON gives a conversation that ends with the user's words, and
 * tools that the client carries out, or one error that says where. */
#include <stdlib.h>
#include <string.h>

/* clang-format off: the code under test, with what it needs before it */
#include "front/v1/v1_history.c"
#include "front/v1/v1_messages.c"
#include "front/v1/v1_problem.c"
#include "front/v1/v1_tools.c"
#include "fuzz_parts.h"
/* clang-format on */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As the run gets it: roles and texts, the newest message apart. */
static void check_conversation(const ac_request_t *rq, const ac_v1_messages_t *messages)
{
    const json_t *message;
    size_t i;
    must(messages->content && ac_utf8_valid(messages->content, strlen(messages->content)));
    must_be_attachments(rq, messages->attachments.list);
    json_array_foreach(messages->history.list, i, message)
    {
        const char *role = ac_json_peek_string(message, "role", "");
        must(strcmp(role, "user") == 0 || strcmp(role, "assistant") == 0);
        must(json_is_string(json_object_get(message, "content")));
        must_be_attachments(rq, json_object_get(message, "attachments"));
    }
}

static void check_error(const ac_err_t *err)
{
    json_t *error = ac_v1_problem_json(err, NULL, NULL);
    const json_t *inner = json_object_get(error, "error");
    must((err->kind == AC_INVALID_REQUEST || err->kind == AC_NOT_FOUND) && strncmp(err->pointer, "/messages", 9) == 0);
    must(json_object_size(inner) == 4 && strncmp(ac_json_peek_string(inner, "param", ""), "messages", 8) == 0);
    json_decref(error);
}

/* Tools that are offered have names of their own. */
static void check_tools(ac_request_t *rq)
{
    ac_client_tools_t tools = {0};
    const json_t *tool;
    size_t i;
    ac_err_init(&rq->err);
    if (ac_v1_tools_read(&tools, rq) == APR_SUCCESS) {
        json_array_foreach(tools.list, i, tool)
        {
            must(*ac_json_peek_string(json_object_get(tool, "function"), "name", ""));
        }
    } else {
        must(rq->err.kind == AC_INVALID_REQUEST && strncmp(rq->err.pointer, "/tool", 5) == 0);
    }
    ac_client_tools_free(&tools);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ac_mount_conf_t mount = {.openai = {.client_tools = AC_V1_TOOLS_PASS}};
    apr_pool_t *p = fuzz_pool();
    request_rec r = {.pool = p, .headers_in = apr_table_make(p, 1)};
    ac_request_t rq = {.r = &r, .mount = &mount};
    ac_v1_messages_t messages;
    ac_client_tools_t tools = {0};
    ac_err_t err;
    ac_err_init(&err);
    if (ac_json_parse(&rq.body, (const char *)data, size, &err) == APR_SUCCESS) {
        if (ac_v1_messages_read(&messages, &rq, size % 2 ? &tools : NULL) == APR_SUCCESS) {
            check_conversation(&rq, &messages);
        } else {
            check_error(&rq.err);
        }
        ac_v1_messages_free(&messages);
        ac_client_tools_free(&tools);
        check_tools(&rq);
    }
    json_decref(rq.body);
    apr_pool_destroy(p);
    return 0;
}
