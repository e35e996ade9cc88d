/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef AC_UI_INTERNAL_H
#define AC_UI_INTERNAL_H

#include "front/api/api.h"
#include "front/stream/stream.h"
#include "ui.h"

#define AC_UI_CALL_SIZE 128

/* What the dialect needs of the request. */
typedef struct ac_ui_view_t {
    bool replays;                  /* the run is followed from its first event */
    bool approvals_as_data;        /* AgentChatUI approvals=data: for clients of version 5 */
    char decided[AC_UI_CALL_SIZE]; /* the stream begins with the outcome of this call; "": with the run */
    bool repeats;                  /* it was decided before, never asked about, or not the last that waits */
} ac_ui_view_t;

/* ---- ui_request.c: the body of POST /ui/chat ---- */
typedef struct ac_ui_request_t {
    const char *chat;        /* as the client names the conversation */
    const char *message_id;  /* of the message that is edited, answered again or continued; NULL: not given */
    bool regenerates;        /* the last question gets a further answer */
    const json_t *message;   /* the last one; NULL: none */
    const char *id;          /* its id; "": none */
    ac_parts_t parts;        /* its text and files, if it is the user's */
    bool is_user;            /* else it is the assistant's */
    ac_client_tools_t tools; /* owned */
    const ac_agent_t *agent; /* NULL: none was named */
} ac_ui_request_t;
/* Reads rq->body. The caller frees request->tools, also after an error. errors: invalid_request, message_empty,
 * not_found. */
apr_status_t ac_ui_request_read(ac_ui_request_t *request, ac_request_t *rq);

/* ---- ui_place.c: where a request belongs in its stored thread ---- */
/* loaded: the thread as TURN_LOAD gives it; NULL: there is none yet. errors: not_found, invalid_request. */
apr_status_t ac_ui_place_find(ac_request_place_t *place, ac_request_t *rq, const ac_ui_request_t *request,
                              const json_t *loaded);

#endif
