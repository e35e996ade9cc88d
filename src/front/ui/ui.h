/* SPDX-License-Identifier: Apache-2.0 */
/* The protocol of the AI SDK's useChat: UI message streams, version 1. Source of its facts: the packages `ai` 5, 6 and
 * 7, and what they were measured to send and to accept. */
#ifndef AC_UI_H
#define AC_UI_H

#include "front/request/request.h"

/* The handlers of the routes. */
ac_route_fn ac_ui_chat_send, ac_ui_chat_resume, ac_ui_messages_list;

/* ---- ui_problem.c ---- */
extern const ac_protocol_t ac_ui_protocol;

/* ---- ui_dialect.c: the events of a run as parts of a message ---- */
extern const ac_dialect_t ac_ui_dialect;

#endif
