/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of a chat completion: any JSON gives a conversation that ends with the user's words, or one error that
 * says where. */
#include <stdlib.h>
#include <string.h>

/* clang-format off: the code under test, with what it needs before it */
#include "front/v1/v1_history.c"
#include "front/v1/v1_messages.c"
#include "front/v1/v1_problem.c"
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    request_rec r = {.pool = p, .headers_in = apr_table_make(p, 1)};
    ac_request_t rq = {.r = &r};
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
    }
    json_decref(rq.body);
    apr_pool_destroy(p);
    return 0;
}
