/* SPDX-License-Identifier: Apache-2.0 */
/* Webhooks: URLs of the configuration that are notified of the end of a run, or of its wait for an approval. A store
 * writes a webhook delivery in the transaction that ends or suspends the run, and keeps it with its attempts; the
 * sender of any child carries it out. docs/webhooks.md has the requests, docs/architecture.md the parts. */
#ifndef AC_BACK_WEBHOOK_H
#define AC_BACK_WEBHOOK_H

#include "back/back.h"

/* ---- webhook_delivery.c: the documents; pure, for stores ---- */
/* A delivery is {id, run_id, thread_id, owner, webhook, type, created_at, state, attempts, due_at|null, token|null,
 * process|null, last_attempt_at|null, last_status|null, last_error|null, delivered_at|null, trace|null, data}. state:
 * "pending", "delivered", "failed": given up, "gone": the receiver wants no more of it. data: of the request's body.
 * While a process carries it out, `token` and `process` are that process's, and due_at is the end of its lease. */
#define AC_WEBHOOK_ID_SIZE 112 /* of a delivery's id */

/* What ends or suspends a run. All but `asks`, `message` and `trace` are needed. */
typedef struct ac_webhook_cause_t {
    const json_t *run;       /* as it is stored; its `webhook` is {name, events?} */
    const json_t *asks;      /* the steps that await approval; NULL: the run has ended */
    const json_t *message;   /* the answer, or NULL */
    const ac_trace_t *trace; /* NULL or empty: none */
    const char *owner;
    apr_time_t now; /* of the store's clock */
} ac_webhook_cause_t;
/* The delivery of a run. NULL: its run names no webhook, or none that wants this event. New reference. */
json_t *ac_webhook_delivery_make(const ac_webhook_cause_t *cause);
/* Whether both states of a run cause the same event: it is not notified twice. */
bool ac_webhook_delivery_same(const json_t *run, const json_t *earlier);
/* For WEBHOOK_ACQUIRE: changes the delivery. *pdone: an earlier attempt of the same operation has done that. errors:
 * precondition_failed */
apr_status_t ac_webhook_delivery_acquire(bool *pdone, json_t *delivery, ac_store_op_t *op, apr_time_t now);
/* For WEBHOOK_REPORT, in the same way. */
apr_status_t ac_webhook_delivery_report(bool *pdone, json_t *delivery, ac_store_op_t *op, apr_time_t now);
/* A row of WEBHOOK_DUE. New reference. */
json_t *ac_webhook_delivery_row(const json_t *delivery, apr_time_t now);
/* The result of WEBHOOK_LIST: the deliveries of a run, given in any order. New reference. */
json_t *ac_webhook_delivery_list(const json_t *deliveries);

/* ---- webhook_config.c ---- */
#define AC_WEBHOOK_MAX_RETRIES 16
typedef struct ac_webhook_conf_t { /* an <AgentChatWebhook> section; lives as long as the child */
    const char *id, *url;
    int insecure;                               /* requests may go over plain http to any host */
    ac_secret_t secret, previous;               /* previous: valid beside the other one during a rotation */
    const apr_array_header_t *events, *retries; /* of const char *; NULL: all; the usual ones */
    apr_interval_time_t timeout;
    int allow_private;
    const char *ca_file;
} ac_webhook_conf_t;

typedef struct ac_webhook_t ac_webhook_t;
/* At configuration time. Returns NULL, or an error message that names the directive. */
const char *ac_webhook_config_create(ac_webhook_t **pwebhook, const ac_webhook_conf_t *conf, apr_pool_t *p);
const char *ac_webhook_config_id(const ac_webhook_t *webhook);
void ac_webhook_config_set_metric(ac_webhook_t *webhook, unsigned metric); /* its index in metrics */
/* {name, events?}: what a run's document has of it. New reference. Any thread. */
json_t *ac_webhook_config_json(const ac_webhook_t *webhook);
/* The webhook of this name, or NULL. webhooks: of ac_webhook_t *. */
const ac_webhook_t *ac_webhook_config_find(const apr_array_header_t *webhooks, const char *name);

/* ---- webhook_sender.c: the deliveries of a child. Loop thread ---- */
typedef struct ac_webhook_sender_t ac_webhook_sender_t;
/* webhooks: of ac_webhook_t *; they, and the store, live longer than the sender. */
ac_webhook_sender_t *ac_webhook_sender_create(ac_loop_t *loop, const ac_store_t *store,
                                              const apr_array_header_t *webhooks, apr_interval_time_t store_timeout);
/* Begins to look for deliveries that are due: those of dead processes, and of other machines. */
void ac_webhook_sender_start(ac_webhook_sender_t *sender);
/* The run has been stored like this, ended or (with `asks`) suspended: its delivery is carried out at once. sender may
 * be NULL. */
void ac_webhook_sender_notify(ac_webhook_sender_t *sender, const ac_webhook_cause_t *cause);
/* The same for an owner's run that has ended, from any thread. sender may be NULL. */
void ac_webhook_sender_notify_post(ac_webhook_sender_t *sender, const char *owner, const json_t *run);
/* Begins nothing any more, and cancels all requests; what is due is left to other processes. */
void ac_webhook_sender_stop(ac_webhook_sender_t *sender);
void ac_webhook_sender_destroy(ac_webhook_sender_t *sender); /* after the loop's end; NULL is allowed */

#endif
