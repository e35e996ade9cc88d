/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of the routes. */
#ifndef AC_API_H
#define AC_API_H

#include "front/request/request.h"

/* The handler of each route of route.c; its file is named as its prefix. */
ac_route_fn ac_api_threads_create, ac_api_threads_list, ac_api_threads_get, ac_api_threads_patch, ac_api_threads_delete,
    ac_api_threads_restore, ac_api_messages_send, ac_api_messages_list, ac_api_runs_list, ac_api_runs_get,
    ac_api_runs_steps, ac_api_runs_events, ac_api_runs_cancel, ac_api_runs_approve, ac_api_agents_list,
    ac_api_agents_get, ac_api_agent_manage_create, ac_api_agent_manage_put, ac_api_agent_manage_delete,
    ac_api_agents_chat, ac_api_agents_threads, ac_api_agents_thread_get, ac_api_agents_thread_delete, ac_api_chat_send,
    ac_api_chat_stream, ac_api_chat_stream_get, ac_api_health_live, ac_api_health_ready, ac_api_config_get,
    ac_api_metrics_get, ac_api_selftest_stream, ac_api_docs_openapi_json, ac_api_docs_openapi_yaml, ac_api_docs_page,
    ac_api_docs_file, ac_api_usage_get, ac_api_feedback_put, ac_api_feedback_list, ac_api_export_thread,
    ac_api_export_me, ac_api_upload_create, ac_api_files_list, ac_api_files_get, ac_api_files_content,
    ac_api_files_delete, ac_api_forget_me, ac_api_me_get;

/* ---- compat.c: deprecated routes and the member conversation_id, for older clients; see docs/openapi.yaml ---- */
/* Rows of route.c's table. */
/* clang-format off */
#define AC_COMPAT_ROUTES \
    {M_POST, "/chat/{id}", STORED, ac_api_messages_send, &ac_dialect_native, "Send a message (older path)", NULL}, \
    {M_GET, "/chat/{id}", STORED, ac_api_messages_list, NULL, "The conversation (older path)", q_messages}, \
    {M_GET, "/debug/env", AC_NEEDS_OWNER | AC_NEEDS_ADMIN, ac_api_config_get, NULL, "The same (older path)", NULL}
/* clang-format on */

/* The older name of the member thread_id, in the body of POST /chat and in its responses. */
#define AC_COMPAT_THREAD_ID "conversation_id"

/* ---- chat_request.c ---- */
/* Checks a message: the member `name`, or the query parameter if from_query. errors: message_empty, invalid_request. */
apr_status_t ac_chat_request_check(ac_request_t *rq, const char *content, const char *name, bool from_query);
/* A turn with all that it gets of the request itself: owner, agents, quota, trace and others. agent: NULL: the
 * thread's. NULL: rq->err is set. */
ac_turn_t *ac_chat_request_turn(ac_request_t *rq, const ac_agent_t *agent, const char *content);
/* SHA-256 of the text, for an Idempotency-Key. text NULL: memory ran out. errors: internal. */
apr_status_t ac_chat_request_hash(char hash[AC_KEY_HASH_SIZE], const char *text, ac_err_t *err);
/* *prun_id: the run that the request with this key has started since then; NULL: none. hash: of the request, as it is
 * stored with the key. errors: idempotency_conflict: that was another request; the store's. */
apr_status_t ac_chat_request_earlier(ac_request_t *rq, const char *key, const char *hash, apr_time_t since,
                                     const char **prun_id);
/* Starts the turn, which is consumed, or follows the run that the same Idempotency-Key started earlier. The turn may
 * have a key that its protocol makes instead; it counts as none where it was used for another request. Returns what the
 * handler returns. */
int ac_chat_request_deliver(ac_request_t *rq, ac_turn_t *turn, bool stream);

/* ---- api_runs.c ---- */
/* Stores the decision {call_id, approve, reason?, content?} about a call of the caller's run; borrowed. leave: of the
 * resumed run, as ac_turn_t has it. errors: those of ac_run_approval_decide(). */
apr_status_t ac_api_runs_decide(ac_request_t *rq, const char *run_id, json_t *decision, apr_interval_time_t leave);
/* Checks what an approval brings for a form. errors: invalid_request with the pointer. */
apr_status_t ac_api_runs_content_check(ac_request_t *rq, const json_t *content, bool approve, const char *pointer);
/* Cancels the caller's run rq->args[0], in whichever process it is. *prun: its document, a new reference; NULL after an
 * error. errors: not_found, run_ended, the store's. */
apr_status_t ac_api_runs_end(ac_request_t *rq, json_t **prun);

#endif
