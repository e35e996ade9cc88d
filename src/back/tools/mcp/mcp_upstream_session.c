/* SPDX-License-Identifier: Apache-2.0 */
/* The beginning and the end of a session with a server of the time before 2026-07-28. Source: revision 2025-11-25,
 * "Lifecycle" and "Session Management". */
#include "mcp_internal.h"

#include <apr_strings.h>
#include <openssl/crypto.h>
#include <string.h>

static void session_forget_id(ac_mcp_upstream_session_t *session)
{
    if (session->id) {
        OPENSSL_cleanse(session->id, strlen(session->id));
        free(session->id);
    }
    session->id = NULL;
}

void ac_mcp_upstream_session_init(ac_mcp_upstream_session_t *session, ac_mcp_upstream_t *server)
{
    memset(session, 0, sizeof *session);
    session->server = server;
}

static void session_report(void *baton)
{
    ac_mcp_upstream_session_t *session = baton;
    ac_tool_source_report(&session->waiters);
}

static void session_fail(ac_mcp_upstream_session_t *session, const ac_mcp_answer_t *answer)
{
    ac_err_init(&session->err);
    ac_mcp_request_failed(session->server, answer, &session->err);
    session->status = answer->status;
    session->code = answer->message ? answer->message->code : 0;
    session_forget_id(session);
    session_report(session);
}

static void on_initialized(void *baton, const ac_mcp_answer_t *answer)
{
    ac_mcp_upstream_session_t *session = baton;
    session->request = NULL;
    if (answer->err->kind != AC_OK || (answer->message && answer->message->type == AC_MCP_ERROR)) {
        session_fail(session, answer);
        return;
    }
    session->open = true;
    session_report(session);
}

static ac_mcp_request_t *session_ask(ac_mcp_upstream_session_t *session, const ac_mcp_request_ask_t *ask,
                                     void (*on_answer)(void *baton, const ac_mcp_answer_t *answer))
{
    const ac_mcp_request_cb_t cb = {.on_answer = on_answer};
    return ac_mcp_request_start(session->server, ask, &cb, session);
}

static void take_capabilities(ac_mcp_upstream_session_t *session, const json_t *result)
{
    const json_t *tools = json_object_get(json_object_get(result, "capabilities"), "tools");
    session->reports_changes = json_is_true(json_object_get(tools, "listChanged"));
}

static void on_initialize(void *baton, const ac_mcp_answer_t *answer)
{
    ac_mcp_upstream_session_t *session = baton;
    const json_t *result = answer->message ? answer->message->result : NULL;
    const char *version = ac_json_peek_string(result, "protocolVersion", "");
    session->request = NULL;
    if (!result) {
        session_fail(session, answer);
        return;
    }
    if (!ac_mcp_message_is_legacy(version)) {
        char shown[64];
        ac_err_init(&session->err);
        ac_err_set(&session->err, AC_TOOL_ERROR, "the MCP server '%s' speaks version %s of the protocol only",
                   session->server->conf->id, ac_text_printable(shown, version));
        session->status = answer->status;
        session->code = 0;
        session_report(session);
        return;
    }
    apr_cpystrn(session->version, version, sizeof session->version);
    session->id = answer->session ? strdup(answer->session) : NULL;
    take_capabilities(session, result);
    ac_mcp_request_ask_t ask = {
        .method = "notifications/initialized",
        .version = session->version,
        .session = session->id,
        .is_notification = true,
        .deadline = ac_loop_now(session->server->loop) + session->server->conf->list_timeout,
    };
    session->request = session_ask(session, &ask, on_initialized);
}

void ac_mcp_upstream_session_want(ac_mcp_upstream_session_t *session, ac_tool_waiter_t *waiter)
{
    ac_loop_t *loop = session->server->loop;
    ac_tool_source_wait(&session->waiters, waiter);
    if (session->open) {
        ac_loop_ready_set(loop, &session->ready, session_report, session);
    } else if (!session->request) {
        ac_mcp_request_ask_t ask = {
            .method = "initialize",
            .params = ac_mcp_message_initialize(),
            .deadline = ac_loop_now(loop) + session->server->conf->list_timeout,
        };
        session->request = session_ask(session, &ask, on_initialize);
    }
}

void ac_mcp_upstream_session_adopt(ac_mcp_upstream_session_t *session, const char *id, const char *version)
{
    if (session->open || session->request) {
        return;
    }
    apr_cpystrn(session->version, version, sizeof session->version);
    session_forget_id(session);
    session->id = id ? strdup(id) : NULL;
    session->open = true;
}

void ac_mcp_upstream_session_lost(ac_mcp_upstream_session_t *session)
{
    session->open = false;
    session_forget_id(session);
}

void ac_mcp_upstream_session_close(ac_mcp_upstream_session_t *session)
{
    if (!session->server) {
        return;
    }
    ac_loop_ready_cancel(session->server->loop, &session->ready);
    if (session->request) {
        ac_mcp_request_cancel(session->request);
        session->request = NULL;
    }
    while (session->waiters) {
        ac_tool_source_forget(session->waiters);
    }
    if (session->open && session->id && !session->asks) {
        ac_mcp_request_delete(session->server, session->version, session->id);
    }
    ac_mcp_upstream_session_lost(session);
}
