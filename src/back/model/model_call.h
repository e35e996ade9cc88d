/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of one answer of an OpenAI model share. All on the loop thread. */
#ifndef AC_MODEL_CALL_H
#define AC_MODEL_CALL_H

#include "model_openai.h"

typedef enum ac_model_body_e { AC_MODEL_BODY_NONE, AC_MODEL_BODY_STREAM, AC_MODEL_BODY_WHOLE } ac_model_body_e;

/* An answer that is being received. */
typedef struct ac_model_call_t {
    ac_model_openai_t *model;
    const ac_model_cb_t *cb;
    void *baton;
    ac_http_t *http; /* NULL once it has ended */
    ac_openai_answer_t answer;
    ac_model_cb_t report; /* of the answer */
    ac_sse_reader_t reader;
    ac_buf_t whole; /* of a server that ignores `stream` */
    ac_model_body_e body;
    int status; /* HTTP's */
    int n_retries;
    bool page; /* the answer is a web page */
    bool busy; /* inside a callback of the exchange: cancelling waits for its end */
    bool cancelled;
    apr_interval_time_t retry_after;
    ac_timer_t linger;
    /* Kept until the head of the answer has come, for a second request with another credential. */
    ac_buf_t request;
    char *request_id; /* a whole header line, or NULL */
    const ac_trace_t *trace;
    char *used;   /* the credential's text, as sent; NULL: none so far */
    bool waiting; /* for a credential; the timer `linger` limits that wait, too */
    bool renewed; /* only one renewal */
    /* To say the whole conversation if the service does not know the answer that the request continues; references. */
    ac_model_ask_t again;
    bool chained; /* the request continues an earlier answer */
    ac_err_t err;
    ac_err_t refused; /* of an attempt that may be repeated */
} ac_model_call_t;

/* ---- model_ask.c ---- */
/* Begins the exchange with this credential's text; NULL: none configured. */
apr_status_t ac_model_ask_start(ac_model_call_t *call, const char *text, ac_err_t *err);
/* Gets a credential, then begins the exchange, or ends the call. */
void ac_model_ask_credential(ac_model_call_t *call);
void ac_model_ask_forget(ac_model_call_t *call); /* gives up the wait for it */

/* ---- model_openai.c ---- */
extern const ac_http_cb_t ac_model_openai_exchange;
/* Sets the callbacks of the answer, as the caller of the model wants them. */
void ac_model_openai_answer(ac_model_call_t *call);
void ac_model_openai_report_retry(const ac_model_call_t *call, const ac_err_t *err);
void ac_model_openai_end(ac_model_call_t *call);    /* the only end of a call that was not cancelled; frees it */
void ac_model_openai_forget(ac_model_call_t *call); /* the request is not sent again */
void ac_model_openai_free(ac_model_call_t *call);

#endif
