/* SPDX-License-Identifier: Apache-2.0 */
/* The input of a response, and the items of a conversation: any JSON gives a conversation that, of a response, ends
 * with the user's words or with decisions, or one error that says where. */
#include <stdlib.h>
#include <string.h>

/* clang-format off: the code under test, with what it needs before it */
#include "front/v1/v1_history.c"
#include "front/v1/v1_messages.c"
#include "front/v1/v1_id.c"
#include "front/v1/v1_input.c"
#include "front/v1/v1_problem.c"
#include "fuzz_parts.h"
/* clang-format on */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_history(const ac_request_t *rq, const ac_v1_input_t *input)
{
    const json_t *one;
    size_t i;
    json_array_foreach(input->messages.history.list, i, one)
    {
        const char *role = ac_json_peek_string(one, "role", "");
        must(strcmp(role, "user") == 0 || strcmp(role, "assistant") == 0);
        must_be_attachments(rq, json_object_get(one, "attachments"));
    }
}

static void check_input(const ac_request_t *rq, const ac_v1_input_t *input)
{
    const json_t *one;
    size_t i;
    must(input->first <= json_array_size(input->items));
    must(!input->run_id || ac_id_valid(input->run_id, "run_"));
    json_array_foreach(input->decisions, i, one)
    {
        must(*ac_json_peek_string(one, "call_id", "") && json_is_boolean(json_object_get(one, "approve")));
        must(strlen(ac_json_peek_string(one, "reason", "")) <= AC_MAX_REASON);
    }
    must(input->decisions || ac_utf8_valid(input->messages.content, strlen(input->messages.content)));
    check_history(rq, input);
}

static void check_items(ac_request_t *rq)
{
    ac_v1_input_t input = {0};
    ac_err_init(&rq->err);
    if (ac_v1_input_read_items(&input, rq) == APR_SUCCESS) {
        check_history(rq, &input);
    } else {
        must((rq->err.kind == AC_INVALID_REQUEST || rq->err.kind == AC_NOT_FOUND) &&
             strncmp(rq->err.pointer, "/items", 6) == 0);
    }
    ac_v1_input_free(&input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    request_rec r = {.pool = p, .headers_in = apr_table_make(p, 1)};
    ac_request_t rq = {.r = &r};
    ac_v1_input_t input = {0};
    ac_client_tools_t tools = {0};
    json_t *answer = json_pack("{s:s, s:[{s:s, s:s, s:{}, s:b}]}", "role", "assistant", "tool_calls", "id", "c1",
                               "tool", "look", "arguments", "client", 1);
    ac_err_t err;
    ac_err_init(&err);
    if (ac_json_parse(&rq.body, (const char *)data, size, &err) == APR_SUCCESS) {
        bool fine = ac_v1_input_locate(&input, &rq) == APR_SUCCESS &&
            ac_v1_input_read(&input, &rq, size % 2 ? &tools : NULL, input.run_id ? answer : NULL) == APR_SUCCESS;
        if (fine) {
            check_input(&rq, &input);
        } else {
            must((rq.err.kind == AC_INVALID_REQUEST || rq.err.kind == AC_NOT_FOUND) &&
                 strncmp(rq.err.pointer, "/input", 6) == 0);
        }
        ac_v1_input_free(&input);
        ac_client_tools_free(&tools);
        check_items(&rq);
    }
    json_decref(answer);
    json_decref(rq.body);
    apr_pool_destroy(p);
    return 0;
}
