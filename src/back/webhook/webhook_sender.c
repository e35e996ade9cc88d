/* SPDX-License-Identifier: Apache-2.0 */
/* The webhook deliveries that a child knows: those of its own runs, and those of dead processes and of other machines,
 * for which it looks in the store. The store decides which process carries one out. */
#include "webhook_internal.h"

#include <stdlib.h>
#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>

#define LOOK_EVERY apr_time_from_sec(60)
#define LOOK_AGAIN apr_time_from_sec(1) /* while a look finds as many as it may */
#define LOOK_MOST 100
#define LOOK_AHEAD apr_time_from_sec(120) /* as long as a lease can be: its process may be dead */
#define SPREAD apr_time_from_sec(5)       /* several children find the same one */
#define MOST_ITEMS 1000                   /* what is due beyond that is found by a later look */
#define MOST_ACTIVE 32
#define MOST_OF_ONE 8 /* attempts of one webhook at a time, so that a slow receiver does not hold up the others */

struct ac_webhook_sender_t {
    ac_loop_t *loop;
    const ac_store_t *store;
    const apr_array_header_t *webhooks;
    apr_interval_time_t store_timeout;
    char process[AC_PROCESS_SIZE];
    apr_pool_t *pool;
    apr_hash_t *items; /* by the delivery's id */
    ac_webhook_item_t *waiting, **waiting_end;
    int n_active;
    ac_timer_t look_timer;
    bool stopped;
};

/* ---- places ---- */

static int active_of(const ac_webhook_sender_t *sender, const ac_webhook_t *webhook)
{
    int n = 0;
    for (apr_hash_index_t *hi = apr_hash_first(NULL, sender->items); hi; hi = apr_hash_next(hi)) {
        const ac_webhook_item_t *item = apr_hash_this_val(hi);
        n += item->active && item->webhook == webhook;
    }
    return n;
}

static void item_wait(ac_webhook_item_t *item)
{
    ac_webhook_sender_t *sender = item->sender;
    item->next = NULL;
    *sender->waiting_end = item;
    sender->waiting_end = &item->next;
}

static bool has_place(const ac_webhook_item_t *item)
{
    return active_of(item->sender, item->webhook) < MOST_OF_ONE;
}

/* Those that have waited longest come first, but for a webhook without a free place. */
static void sender_begin_waiting(ac_webhook_sender_t *sender)
{
    ac_webhook_item_t **plink = &sender->waiting, *item;
    while ((item = *plink) != NULL && sender->n_active < MOST_ACTIVE && !sender->stopped) {
        if (!has_place(item)) {
            plink = &item->next;
            continue;
        }
        *plink = item->next;
        if (!*plink) {
            sender->waiting_end = plink;
        }
        item->active = true;
        sender->n_active++;
        ac_webhook_attempt_begin(item);
    }
}

static void item_due(void *baton)
{
    ac_webhook_item_t *item = baton;
    item_wait(item);
    sender_begin_waiting(item->sender);
}

/* ---- items ---- */

static void item_free(ac_webhook_item_t *item)
{
    ac_timer_cancel(item->sender->loop, &item->timer);
    apr_hash_set(item->sender->items, item->id, APR_HASH_KEY_STRING, NULL);
    ac_metrics_gauge_add(AC_METRIC_WEBHOOKS_PENDING, AC_NO_LABELS, -1);
    ac_webhook_attempt_cancel(item);
    json_decref(item->delivery);
    free(item->body);
    free(item);
}

static void item_set_timer(ac_webhook_item_t *item, apr_interval_time_t wait)
{
    ac_timer_set(item->sender->loop, &item->timer, ac_loop_now(item->sender->loop) + wait, item_due, item);
}

/* row: as WEBHOOK_DUE and a delivery have it. */
static void sender_add(ac_webhook_sender_t *sender, const json_t *row, apr_interval_time_t wait)
{
    const char *id = ac_json_peek_string(row, "id", ""), *owner = ac_json_peek_string(row, "owner", "");
    if (sender->stopped || ac_store_owner_problem(owner) || apr_hash_count(sender->items) >= MOST_ITEMS ||
        strlen(id) >= AC_WEBHOOK_ID_SIZE || apr_hash_get(sender->items, id, APR_HASH_KEY_STRING)) {
        return;
    }
    ac_webhook_item_t *item = ac_alloc(sizeof *item);
    item->sender = sender;
    apr_cpystrn(item->id, id, sizeof item->id);
    apr_cpystrn(item->owner, owner, sizeof item->owner);
    apr_cpystrn(item->thread_id, ac_json_peek_string(row, "thread_id", ""), sizeof item->thread_id);
    apr_cpystrn(item->name, ac_json_peek_string(row, "webhook", ""), sizeof item->name);
    item->webhook = ac_webhook_config_find(sender->webhooks, item->name);
    apr_hash_set(sender->items, item->id, APR_HASH_KEY_STRING, item);
    ac_metrics_gauge_add(AC_METRIC_WEBHOOKS_PENDING, AC_NO_LABELS, 1);
    item_set_timer(item, wait);
}

void ac_webhook_sender_attempted(ac_webhook_item_t *item, apr_interval_time_t wait)
{
    ac_webhook_sender_t *sender = item->sender;
    item->active = false;
    sender->n_active--;
    if (wait < 0 || sender->stopped) {
        item_free(item);
    } else {
        item_set_timer(item, wait);
    }
    sender_begin_waiting(sender);
}

void ac_webhook_sender_call(ac_webhook_item_t *item, ac_store_verb_e verb, json_t *in, void (*done)(ac_store_op_t *op))
{
    ac_store_op_t *op = ac_store_op_create(verb, item->owner, item->thread_id);
    if (!op) {
        abort();
    }
    op->in = in;
    op->deadline = ac_clock() + item->sender->store_timeout;
    ac_store_call_post(item->sender->store, item->sender->loop, op, done, item);
}

const char *ac_webhook_sender_process(const ac_webhook_sender_t *sender)
{
    return sender->process;
}

ac_loop_t *ac_webhook_sender_loop(const ac_webhook_sender_t *sender)
{
    return sender->loop;
}

bool ac_webhook_sender_stopped(const ac_webhook_sender_t *sender)
{
    return sender->stopped;
}

/* ---- looking for them ---- */

static void sender_look(void *baton);

static void sender_set_look(ac_webhook_sender_t *sender, apr_interval_time_t wait)
{
    if (!sender->stopped) {
        ac_timer_set(sender->loop, &sender->look_timer, ac_loop_now(sender->loop) + wait, sender_look, sender);
    }
}

static void sender_on_found(ac_store_op_t *op)
{
    ac_webhook_sender_t *sender = op->baton;
    size_t i, n = json_array_size(json_object_get(op->out, "data"));
    const json_t *row;
    json_array_foreach(json_object_get(op->out, "data"), i, row)
    {
        const char *process = ac_json_peek_string(row, "process", "");
        apr_interval_time_t wait = apr_time_from_msec(ac_json_peek_int(row, "wait", 0));
        bool died = *process && ac_process_died(sender->process, process);
        if (!*process || died || wait <= 0) {
            bool at_once = died || wait <= 0;
            sender_add(sender, row, at_once ? 0 : wait + (apr_interval_time_t)(ac_random() % (uint64_t)SPREAD));
        }
    }
    ac_store_op_free(op);
    sender_set_look(sender,
                    n == LOOK_MOST ? LOOK_AGAIN
                                   : LOOK_EVERY + (apr_interval_time_t)(ac_random() % (uint64_t)(LOOK_EVERY / 4)));
}

/* Webhooks for which deliveries wait already: more of them would only hide those of others. */
static json_t *busy_webhooks(const ac_webhook_sender_t *sender)
{
    json_t *names = json_object(), *list = json_array();
    const char *name;
    json_t *value;
    for (const ac_webhook_item_t *item = sender->waiting; item; item = item->next) {
        json_object_set_new(names, item->name, json_true());
    }
    json_object_foreach(names, name, value)
    {
        json_array_append_new(list, json_string(name));
    }
    json_decref(names);
    return list;
}

static void sender_look(void *baton)
{
    ac_webhook_sender_t *sender = baton;
    ac_store_op_t *op = ac_store_op_create(AC_STORE_WEBHOOK_DUE, NULL, NULL);
    if (!op) {
        abort();
    }
    op->in = json_object();
    ac_json_put(op->in, "ahead", json_integer(apr_time_as_msec(LOOK_AHEAD)));
    ac_json_put(op->in, "busy", busy_webhooks(sender));
    op->page.limit = LOOK_MOST;
    op->deadline = ac_clock() + sender->store_timeout;
    ac_store_call_post(sender->store, sender->loop, op, sender_on_found, sender);
}

/* ---- the sender ---- */

ac_webhook_sender_t *ac_webhook_sender_create(ac_loop_t *loop, const ac_store_t *store,
                                              const apr_array_header_t *webhooks, apr_interval_time_t store_timeout)
{
    ac_webhook_sender_t *sender = ac_alloc(sizeof *sender);
    sender->loop = loop;
    sender->store = store;
    sender->webhooks = webhooks;
    sender->store_timeout = store_timeout;
    sender->waiting_end = &sender->waiting;
    ac_process_name(sender->process);
    if (apr_pool_create_unmanaged_ex(&sender->pool, NULL, NULL) != APR_SUCCESS) {
        abort();
    }
    sender->items = apr_hash_make(sender->pool);
    return sender;
}

void ac_webhook_sender_start(ac_webhook_sender_t *sender)
{
    sender_set_look(sender, 0);
}

void ac_webhook_sender_notify(ac_webhook_sender_t *sender, const ac_webhook_cause_t *cause)
{
    json_t *delivery = sender ? ac_webhook_delivery_make(cause) : NULL;
    if (delivery) {
        sender_add(sender, delivery, 0);
    }
    json_decref(delivery);
}

typedef struct ended_run_t { /* a run that another thread has ended */
    ac_webhook_sender_t *sender;
    char owner[AC_OWNER_SIZE];
    json_t *run;
} ended_run_t;

static void sender_on_posted(void *baton)
{
    ended_run_t *ended = baton;
    const ac_webhook_cause_t cause = {.run = ended->run, .owner = ended->owner, .now = apr_time_now()};
    ac_webhook_sender_notify(ended->sender, &cause);
    json_decref(ended->run);
    free(ended);
}

void ac_webhook_sender_notify_post(ac_webhook_sender_t *sender, const char *owner, const json_t *run)
{
    if (!sender || !json_object_get(run, "webhook")) {
        return;
    }
    ended_run_t *ended = ac_alloc(sizeof *ended);
    ended->sender = sender;
    apr_cpystrn(ended->owner, owner, sizeof ended->owner);
    ended->run = json_deep_copy(run);
    ac_loop_post(sender->loop, sender_on_posted, ended);
}

/* What the store is asked for still comes back, and frees its item. */
void ac_webhook_sender_stop(ac_webhook_sender_t *sender)
{
    sender->stopped = true;
    ac_timer_cancel(sender->loop, &sender->look_timer);
    sender->waiting = NULL;
    sender->waiting_end = &sender->waiting;
    for (apr_hash_index_t *hi = apr_hash_first(NULL, sender->items); hi;) {
        ac_webhook_item_t *item = apr_hash_this_val(hi);
        hi = apr_hash_next(hi); /* the item leaves the table */
        if (!item->active || item->http) {
            sender->n_active -= item->active;
            item_free(item);
        }
    }
}

void ac_webhook_sender_destroy(ac_webhook_sender_t *sender)
{
    if (!sender) {
        return;
    }
    for (apr_hash_index_t *hi = apr_hash_first(NULL, sender->items); hi;) {
        ac_webhook_item_t *item = apr_hash_this_val(hi);
        hi = apr_hash_next(hi);
        item_free(item);
    }
    apr_pool_destroy(sender->pool);
    free(sender);
}
