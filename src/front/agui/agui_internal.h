/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef AC_AGUI_INTERNAL_H
#define AC_AGUI_INTERNAL_H

#include "agui.h"
#include "front/api/api.h"
#include "front/stream/stream.h"

#define AC_AGUI_CALL_SIZE 128

/* What the dialect needs of the request. */
typedef struct ac_agui_view_t {
    char thread[AC_MAX_KEY + 1], run[AC_MAX_KEY + 1]; /* threadId and runId, as the client names them */
    bool is_1_0;                                      /* the client speaks version 1.0, else 0.0.x */
    bool replays;                                     /* the run is followed from its first event */
    char decided[AC_AGUI_CALL_SIZE]; /* the stream begins with the outcome of this call; "": with the run */
    bool repeats;                    /* it was decided before */
    char snapshot[];                 /* MESSAGES_SNAPSHOT events, behind the first one; "": none */
} ac_agui_view_t;

/* ---- agui_id.c: ids that are unique in a conversation; those of calls are so in their run only ---- */
/* A section is a text of an answer and the calls behind it, one message there; n: from 1. */
void ac_agui_id_section(ac_buf_t *out, const char *answer_id, unsigned n);
void ac_agui_id_call(ac_buf_t *out, const char *run_id, const char *call_id);
/* Appends `,"name":"ID SUFFIX"`, with the id of a call. */
void ac_agui_id_add_call(ac_buf_t *out, const char *name, const char *run_id, const char *call_id, const char *suffix);
/* Splits an id of a call, which is also that of its interrupt. *pcall points into id. false: another id. */
bool ac_agui_id_read_call(char run_id[AC_ID_SIZE], const char **pcall, const char *id);
bool ac_agui_id_is_of_run(const char *id, const char *run_id); /* whether it names a part of this run's answer */

/* ---- agui_input.c: RunAgentInput ---- */
typedef struct ac_agui_input_t {
    const char *thread, *run;
    bool is_1_0;
    const ac_agent_t *agent;
    const json_t *messages;  /* an array, borrowed; NULL: none */
    const json_t *resume;    /* an array that is not empty, borrowed; NULL: none */
    const char *said;        /* system messages and context, for the model; in the pool; "": none */
    ac_client_tools_t tools; /* owned */
} ac_agui_input_t;
/* Reads rq->body and the agent of the path. The caller frees input->tools, also after an error. errors:
 * invalid_request, not_found. */
apr_status_t ac_agui_input_read(ac_agui_input_t *input, ac_request_t *rq);
/* The content of a message. at: its index, for errors. errors: those of ac_parts_read(). */
apr_status_t ac_agui_input_parts(ac_parts_t *parts, ac_request_t *rq, const json_t *message, size_t at);
/* *ptext: the text of a message that has no files, in the pool or borrowed. errors: the same. */
apr_status_t ac_agui_input_text(const char **ptext, ac_request_t *rq, const json_t *message, size_t at);

/* ---- agui_place.c: what is new in the messages, and where it belongs ---- */
typedef struct ac_agui_place_t {
    ac_request_place_t place;
    bool asks;                    /* there is a message of the user, or a question to answer once more */
    const char *id;               /* of the user's message, as its client names it */
    const char *text;             /* of the user's message; "": none */
    ac_attachments_t attachments; /* its files; each one's part is the index of its message */
    bool lacks_history;           /* the client knows nothing of the thread, which has messages */
} ac_agui_place_t;
/* Results of the client's calls go to input->tools. loaded: the thread, NULL: there is none yet. errors:
 * invalid_request, message_empty. */
apr_status_t ac_agui_place_find(ac_agui_place_t *place, ac_request_t *rq, ac_agui_input_t *input, const json_t *loaded);
/* The client's newest own message, a user's or a tool's; NULL: none. */
const json_t *ac_agui_place_sent(const json_t *messages);

/* ---- agui_resume.c: answers to interrupts ---- */
typedef struct ac_agui_resume_t { /* the run that continues with them */
    char run_id[AC_ID_SIZE];
    const char *call; /* the first one that was answered; borrowed from the body */
    bool repeats;     /* all were decided before */
} ac_agui_resume_t;
/* Stores the decisions of input->resume. errors: invalid_request, not_waiting, the store's. */
apr_status_t ac_agui_resume_decide(ac_agui_resume_t *resume, ac_request_t *rq, const ac_agui_input_t *input,
                                   const json_t *loaded);

/* ---- agui_interrupt.c ---- */
/* Appends the interrupt of a call, an entry of `awaiting`; expires_at: "": never. */
void ac_agui_interrupt_add(ac_buf_t *out, const char *run_id, const json_t *call, const char *expires_at);

/* ---- agui_dialect.c ---- */
/* A run that shows the thread and asks nothing. */
void ac_agui_dialect_show(ac_buf_t *out, const ac_agui_view_t *view);

/* ---- agui_messages.c: messages as AG-UI has them ---- */
json_t *ac_agui_messages_make(const ac_request_t *rq, const json_t *stored); /* new reference */
/* The client's own messages without those that this run's events make. New reference; NULL: it has none of these. */
json_t *ac_agui_messages_without(const json_t *messages, const char *run_id);
/* The text of MESSAGES_SNAPSHOT events after which the client has these messages in their order. known: what it has
 * now. max: of the bytes; the oldest ones are left out. On the heap; NULL: not even the newest one fits. */
char *ac_agui_messages_snapshot(json_t *messages, const json_t *known, size_t max);

#endif
