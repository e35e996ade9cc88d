/* SPDX-License-Identifier: Apache-2.0 */
/* A message to POST /mcp: the first line has three header fields, the rest is the body. Any JSON is read or refused
 * with one error, and what a client sends back of a question is read as it was made. */
#include <stdlib.h>
#include <string.h>

#include "apr_escape.h"

/* clang-format off: the code under test, with what it needs before it */
#include "front/mcp/mcp_approval.c"
#include "front/mcp/mcp_envelope.c"
#include "front/mcp/mcp_session.c"
#include "fuzz_pool.h"
/* clang-format on */

#define RUN "run_01m7ybjtg4e00r9pk41h3p6e78"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

#define NOT_CALLED(type, name, ...) \
    type name(__VA_ARGS__) \
    { \
        abort(); \
    }
#pragma GCC diagnostic ignored "-Wunused-parameter"
NOT_CALLED(apr_status_t, ac_request_store, ac_request_t *rq, ac_store_op_t *op, ac_store_op_t **presult)
NOT_CALLED(int, ac_delivery_follow, ac_request_t *rq, const char *run_id, uint64_t after, bool stream)
NOT_CALLED(int, ac_mcp_problem_refusal, ac_request_t *rq, const ac_mcp_envelope_t *message)
NOT_CALLED(int, ac_reply_problem, ac_request_t *rq, const ac_err_t *err)

/* httpd's own. */
void ap_bin2hex(const void *src, apr_size_t len, char *dest)
{
    apr_escape_hex(dest, src, len, 0, NULL);
}

static const char *decided; /* the call of the last decision; borrowed */

int ac_reply_empty(ac_request_t *rq, int status)
{
    (void)rq;
    return status;
}

apr_status_t ac_api_runs_decide(ac_request_t *rq, const char *run_id, json_t *decision, apr_interval_time_t leave)
{
    (void)rq;
    (void)leave;
    must(ac_id_valid(run_id, "run_") && json_is_boolean(json_object_get(decision, "approve")));
    must(strcmp(ac_json_peek_string(decision, "call_id", ""), decided) == 0);
    must(strlen(ac_json_peek_string(decision, "reason", "")) <= AC_MAX_REASON);
    return APR_SUCCESS;
}

static json_t *parsed(const char *text)
{
    return json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static void must_be_json(const char *text, const json_t *value)
{
    json_t *found = parsed(text);
    must(found && (!value || json_equal(found, value)));
    json_decref(found);
}

static void check_message(const ac_mcp_envelope_t *message, const json_t *body)
{
    must_be_json(message->id, message->id_value);
    must(strlen(message->id) < AC_MCP_ID_SIZE && (message->id_value || strcmp(message->id, "null") == 0));
    if (*message->progress) {
        must_be_json(message->progress, json_object_get(message->meta, "progressToken"));
    }
    must((message->kind == AC_MCP_REQUEST || message->kind == AC_MCP_NOTIFICATION) == (message->method != NULL));
    must(!message->method || message->method == json_string_value(json_object_get(body, "method")));
}

/* The question about a call, and its answer. */
static void check_question(ac_request_t *rq, ac_mcp_envelope_t *message, const ac_mcp_approval_t *approval)
{
    char id[AC_MCP_ID_SIZE];
    if (!ac_mcp_approval_question(id, RUN, approval->call_id)) {
        return;
    }
    json_t *sent = parsed(id);
    must(json_is_string(sent) && strlen(id) < AC_MCP_ID_SIZE);
    message->id_value = sent;
    decided = approval->call_id;
    must(ac_mcp_approval_answer(rq, message) == HTTP_ACCEPTED);
    json_decref(sent);
}

static void check_texts(const ac_mcp_approval_t *approval)
{
    ac_buf_t out;
    ac_buf_init(&out, AC_MAX_JSON_TEXT);
    for (size_t most = 0; most < 64; most += 7) {
        ac_buf_clear(&out);
        ac_mcp_approval_ask(approval, most, &out);
        must_be_json(out.data, NULL);
        ac_buf_clear(&out);
        ac_mcp_approval_tell(approval, most, &out);
        must_be_json(out.data, NULL);
    }
    ac_buf_free(&out);
}

static void check_state(const char *text, apr_pool_t *p)
{
    char made[AC_MCP_ID_SIZE];
    state_t state, again;
    if (read_state(&state, text, p)) {
        ac_mcp_approval_state(made, state.run_id, state.seq, state.n);
        must(read_state(&again, made, p) && strcmp(again.run_id, state.run_id) == 0);
        must(again.seq == state.seq && again.n == state.n);
    }
}

static void check_approvals(ac_request_t *rq, ac_mcp_envelope_t *message)
{
    ac_mcp_approval_t approval = {ac_json_peek_string(message->params, "call_id", "call_1"),
                                  ac_json_peek_string(message->params, "name", "send_mail"),
                                  json_object_get(message->params, "arguments")};
    const char *session = ac_json_peek_string(message->params, "session", NULL);
    check_texts(&approval);
    check_question(rq, message, &approval);
    check_state(ac_json_peek_string(message->params, "requestState", ""), rq->r->pool);
    must(!ac_mcp_session_elicits(session) || ac_mcp_session_key(session, "1", rq->r->pool));
    must(!ac_mcp_session_can_elicit(message->params) || json_object_get(message->params, "elicitation"));
}

/* The fields of the first line, separated by tabs; NULL: empty. */
static const char *next_field(char **at)
{
    char *field = *at, *end = field + strcspn(field, "\t");
    *at = *end ? end + 1 : end;
    *end = '\0';
    return *field ? field : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    ac_mount_conf_t mount = {.on_disconnect = 0};
    request_rec r = {.pool = p, .headers_in = apr_table_make(p, 1)};
    ac_request_t rq = {.r = &r, .mount = &mount, .owner = "ann"};
    const uint8_t *end = memchr(data, '\n', size);
    size_t len = end ? (size_t)(end - data) : 0;
    char *line = apr_pstrmemdup(p, (const char *)data, len);
    ac_mcp_headers_t headers;
    ac_mcp_envelope_t message;
    ac_err_t err;
    headers.version = next_field(&line);
    headers.method = next_field(&line);
    headers.name = next_field(&line);
    ac_err_init(&err);
    len += end != NULL;
    if (ac_json_parse(&rq.body, (const char *)data + len, size - len, &err) == APR_SUCCESS) {
        if (ac_mcp_envelope_read(&message, rq.body, &headers)) {
            check_message(&message, rq.body);
            check_approvals(&rq, &message);
        } else {
            must(message.error.status == HTTP_BAD_REQUEST && message.error.code < 0 && message.error.text[0]);
            must_be_json(message.id, NULL);
        }
    }
    json_decref(rq.body);
    apr_pool_destroy(p);
    return 0;
}
