/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that only the files of this folder share. */
#ifndef AC_WEBHOOK_INTERNAL_H
#define AC_WEBHOOK_INTERNAL_H

#include "webhook.h"
#include "wire/wire.h"

struct ac_webhook_t {
    const ac_webhook_conf_t *conf;
    ac_webhook_key_t keys[2]; /* of the secret, and of the previous one */
    int n_keys;
    apr_interval_time_t retries[AC_WEBHOOK_MAX_RETRIES]; /* how long after a failed attempt the next one is */
    int n_retries;
    unsigned metric;
};

/* A delivery that this child knows: it waits for its time or for a place, or is being carried out. */
typedef struct ac_webhook_item_t {
    ac_webhook_sender_t *sender;
    char id[AC_WEBHOOK_ID_SIZE], thread_id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
    char token[AC_ID_SIZE];        /* of the current attempt */
    char name[AC_WEBHOOK_ID_SIZE]; /* of its webhook */
    const ac_webhook_t *webhook;   /* NULL: the configuration has it no more */
    ac_timer_t timer;
    struct ac_webhook_item_t *next; /* of those that wait for a place */
    bool active;                    /* it has a place */
    json_t *delivery;               /* as it was acquired; NULL: not yet */
    char *body;
    ac_http_t *http;
    ac_trace_t trace;                /* of the run: the context of the request */
    int status;                      /* of the answer; 0: none */
    apr_interval_time_t retry_after; /* as the receiver asks; 0: it does not */
    size_t answered;                 /* bytes of the answer's body */
} ac_webhook_item_t;

/* ---- webhook_attempt.c ---- */
/* Acquires the delivery, sends the request, and reports what came of it. Calls ac_webhook_sender_attempted() once. */
void ac_webhook_attempt_begin(ac_webhook_item_t *item);
void ac_webhook_attempt_cancel(ac_webhook_item_t *item); /* its request, if there is one; the item stays */

/* ---- webhook_sender.c ---- */
/* The attempt has ended. wait: until the next one of this child; -1: this child has nothing more to do with it. */
void ac_webhook_sender_attempted(ac_webhook_item_t *item, apr_interval_time_t wait);
/* An operation of the store about the item, with the sender's deadline; takes in. */
void ac_webhook_sender_call(ac_webhook_item_t *item, ac_store_verb_e verb, json_t *in, void (*done)(ac_store_op_t *op));
const char *ac_webhook_sender_process(const ac_webhook_sender_t *sender);
ac_loop_t *ac_webhook_sender_loop(const ac_webhook_sender_t *sender);
bool ac_webhook_sender_stopped(const ac_webhook_sender_t *sender);

#endif
