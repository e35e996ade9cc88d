/* SPDX-License-Identifier: Apache-2.0 */
/* One model call on a real loop that records all its callbacks. */
#ifndef MODEL_RIG_H
#define MODEL_RIG_H

#include "http_rig.h"
#include "back/credential/credential.h"
#include "back/model/model.h"
#include "io/io.h"

typedef struct question_t question_t;
struct question_t {
    rig_t *rig;
    const ac_model_vt *vt;
    void *self;
    ac_model_ask_t ask;
    json_t *document;                      /* {messages, tools}, as given to question_init */
    bool (*in_text)(question_t *question); /* loop thread; true: cancel now */
    bool cancel_in_start;                  /* cancel when the first tool starts */

    void *call;
    apr_status_t started;
    bool asking;                  /* inside ask(), where nothing may come */
    int n_ends, n_texts, n_after; /* n_after: callbacks after the end or a cancel */
    int n_retries;
    ac_err_t retried; /* of the last on_retry */
    bool over;
    ac_buf_t text, tools; /* tools: "[0 name]" and "<0 fragment>" */
    ac_buf_t calls;       /* "name arguments;" of the end */
    ac_model_end_t end;   /* calls not to be used */
    apr_time_t began, first, ended;
    ac_err_t err;
    ac_latch_t *done, *heard; /* opened by the first text */
};

/* text: a JSON document with messages, and tools or not. */
void question_init(question_t *question, rig_t *rig, const ac_model_vt *vt, void *self, const char *text);
void question_start(question_t *question);
void question_wait(question_t *question);
void question_run(question_t *question);    /* both */
void question_cancel(question_t *question); /* from the test's thread; returns when it was done */
void question_free(question_t *question);
/* Runs child_init on the rig's loop, as the module does in a child. */
void model_init(rig_t *rig, const ac_model_vt *vt, void *self);

#endif
