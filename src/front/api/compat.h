/* SPDX-License-Identifier: Apache-2.0 */
/* What exists for older clients only: deprecated routes, and the member conversation_id. docs/openapi.yaml marks
 * them as deprecated. */
#ifndef AC_COMPAT_H
#define AC_COMPAT_H

#include "front/request/request.h"

/* Rows of route.c's table. */
/* clang-format off */
#define AC_COMPAT_ROUTES \
    {M_POST, "/chat/{id}", STORED, ac_api_messages_send, &ac_dialect_native, "Send a message (older path)", NULL}, \
    {M_GET, "/chat/{id}", STORED, ac_api_messages_list, NULL, "The conversation (older path)", q_messages}, \
    {M_GET, "/debug/env", AC_NEEDS_OWNER | AC_NEEDS_ADMIN, ac_api_config_get, NULL, "The same (older path)", NULL}
/* clang-format on */

/* The older name of the member thread_id, in the body of POST /chat and in its responses. */
#define AC_COMPAT_THREAD_ID "conversation_id"

/* Reads the thread of rq's body: thread_id, or its older name. *pid: NULL where the body has none. errors:
 * invalid_request, also if the two differ; not_found if it is not the id of a thread. */
apr_status_t ac_compat_thread_id(ac_request_t *rq, const char **pid);

#endif
