/* SPDX-License-Identifier: Apache-2.0 */
/* Webhook deliveries in the Cosmos DB store: documents of their thread, each written in the batch that ends or suspends
 * its run. While a delivery is due its document has `lease_until`, whose index finds it over all partitions.
 *
 * WEBHOOK_LIST, WEBHOOK_DUE:         1 query the documents
 * WEBHOOK_ACQUIRE, WEBHOOK_REPORT:   1 read the thread's document   2 read the delivery's
 *                                    3 replace it, under its ETag; of a deleted thread: delete it   - on conflict: 2 */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>

static const char sql_of_run[] = "SELECT * FROM c WHERE c.thread_id = @thread AND c.type = 'webhook'"
                                 " AND c.run_id = @run AND c.owner = @owner";
static const char sql_due[] = "SELECT * FROM c WHERE c.type = 'webhook' AND c.lease_until < @before"
                              " AND NOT ARRAY_CONTAINS(@busy, c.webhook)";

static void webhook_read(ac_cosmos_task_t *task);
static void webhook_on_read(void *baton, const ac_cosmos_reply_t *reply);
static void webhook_on_written(void *baton, const ac_cosmos_reply_t *reply);

/* ---- documents ---- */

/* The document of a delivery, which it consumes. */
static json_t *webhook_document(json_t *delivery)
{
    static const char *const names[] = {"id", "thread_id", "owner", "run_id", "webhook", NULL};
    json_t *document = json_object(), *due = json_object_get(delivery, "due_at");
    for (int i = 0; names[i]; i++) {
        ac_json_put(document, names[i], json_incref(json_object_get(delivery, names[i])));
    }
    ac_json_put(document, "type", json_string("webhook"));
    if (json_is_string(due)) {
        ac_json_put(document, "lease_until", json_incref(due));
    }
    ac_json_put(document, "delivery", delivery);
    return document;
}

void ac_cosmos_webhook_add(ac_cosmos_task_t *task, json_t *documents, const ac_webhook_cause_t *cause)
{
    json_t *delivery = ac_webhook_delivery_make(cause);
    if (delivery) {
        /* A run's document of an older attempt may have been read from another place than this batch. */
        ac_json_put(delivery, "thread_id", json_string(task->op->id));
        ac_json_put(documents, "webhook", webhook_document(delivery));
    }
}

void ac_cosmos_webhook_batch(ac_cosmos_batch_t *batch, const ac_cosmos_task_t *task, const json_t *documents)
{
    const json_t *document = json_object_get(documents, "webhook");
    if (document) {
        ac_cosmos_request_batch_add(batch, AC_COSMOS_UPSERT, task->op->id, ac_json_peek_string(document, "id", ""),
                                    document, NULL);
    }
}

/* ---- WEBHOOK_LIST, WEBHOOK_DUE ---- */

static void webhook_listed(ac_cosmos_task_t *task)
{
    json_t *deliveries = json_array();
    const json_t *row;
    size_t i;
    json_array_foreach(task->rows, i, row)
    {
        json_array_append(deliveries, json_object_get(row, "delivery"));
    }
    ac_cosmos_task_end_out(task, ac_webhook_delivery_list(deliveries));
    json_decref(deliveries);
}

void ac_cosmos_webhook_list(ac_cosmos_task_t *task)
{
    ac_cosmos_query_t query = {.container = AC_COSMOS_MESSAGES, .key = task->op->id, .sql = sql_of_run};
    query.parameters = json_pack("{s:s, s:s, s:s}", "@thread", task->op->id, "@run",
                                 ac_json_peek_string(task->op->in, "run_id", ""), "@owner", task->op->owner);
    ac_cosmos_query_run(task, &query, webhook_listed);
}

static void webhook_found_due(ac_cosmos_task_t *task)
{
    json_t *data = json_array();
    const json_t *row;
    size_t i;
    json_array_foreach(task->rows, i, row)
    {
        json_array_append_new(data,
                              ac_webhook_delivery_row(json_object_get(row, "delivery"), ac_cosmos_now(task->store)));
    }
    ac_cosmos_task_end_out(task, json_pack("{s:o}", "data", data));
}

void ac_cosmos_webhook_due(ac_cosmos_task_t *task)
{
    const json_t *in = task->op->in;
    /* Without the index the query would read the whole container. */
    if (task->store->containers.ready == AC_COSMOS_READY && !task->store->containers.sweeps) {
        webhook_found_due(task);
        return;
    }
    json_t *busy = json_object_get(in, "busy");
    ac_cosmos_query_t query = {.container = AC_COSMOS_MESSAGES, .sql = sql_due, .want = task->op->page.limit};
    query.parameters = json_object();
    ac_json_put(query.parameters, "@before",
                ac_time_json(ac_cosmos_now(task->store) + apr_time_from_msec(ac_json_peek_int(in, "ahead", 0))));
    ac_json_put(query.parameters, "@busy", busy ? json_incref(busy) : json_array());
    ac_cosmos_query_run(task, &query, webhook_found_due);
}

/* ---- WEBHOOK_ACQUIRE, WEBHOOK_REPORT, 1: the thread's document ---- */

void ac_cosmos_webhook_change(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_read(task, false, webhook_read);
}

/* ---- 2: the delivery ---- */

static void webhook_read(ac_cosmos_task_t *task)
{
    const char *id = ac_json_peek_string(task->op->in, "delivery_id", "");
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = id};
    if (ac_cosmos_name_valid(id) && ac_cosmos_name_valid(task->op->id)) {
        ac_cosmos_call_start(task, &request, webhook_on_read, task);
    } else {
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no delivery with this id"));
    }
}

static void webhook_end(ac_cosmos_task_t *task)
{
    bool acquires = task->op->verb == AC_STORE_WEBHOOK_ACQUIRE;
    ac_cosmos_task_end_out(task, acquires ? json_pack("{s:O?}", "delivery", task->found) : json_object());
}

static apr_status_t webhook_apply(bool *pdone, ac_cosmos_task_t *task)
{
    apr_time_t now = ac_cosmos_now(task->store);
    return task->op->verb == AC_STORE_WEBHOOK_ACQUIRE ? ac_webhook_delivery_acquire(pdone, task->found, task->op, now)
                                                      : ac_webhook_delivery_report(pdone, task->found, task->op, now);
}

/* ---- 3: the write ---- */

static void webhook_forget(ac_cosmos_task_t *task, const ac_cosmos_reply_t *reply)
{
    char etag[AC_COSMOS_ETAG_SIZE];
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DELETE,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = ac_json_peek_string(task->op->in, "delivery_id", ""),
                                   .if_match = etag};
    apr_cpystrn(etag, ac_cosmos_call_etag(reply), sizeof(etag));
    ac_cosmos_call_start(task, &request, webhook_on_written, task);
}

static void webhook_replace(ac_cosmos_task_t *task, const ac_cosmos_reply_t *reply)
{
    char etag[AC_COSMOS_ETAG_SIZE];
    ac_cosmos_request_t request = {.verb = AC_COSMOS_REPLACE,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = ac_json_peek_string(task->op->in, "delivery_id", ""),
                                   .if_match = etag};
    json_t *document = webhook_document(json_incref(task->found));
    apr_cpystrn(etag, ac_cosmos_call_etag(reply), sizeof(etag));
    ac_cosmos_call_write(task, &request, document, webhook_on_written);
    json_decref(document);
}

static void webhook_on_read(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    bool done = false;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    json_decref(task->found);
    task->found = reply->status == 200 ? json_deep_copy(json_object_get(reply->body, "delivery")) : NULL;
    if (strcmp(ac_json_peek_string(task->found, "owner", ""), task->op->owner) != 0) {
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no delivery with this id"));
    } else if (!ac_cosmos_thread_doc_lives(&task->thread, false)) {
        json_decref(task->found);
        task->found = NULL;
        webhook_forget(task, reply);
    } else if (webhook_apply(&done, task) != APR_SUCCESS) {
        ac_cosmos_task_end_with(task, &task->op->err);
    } else if (done) {
        webhook_end(task);
    } else {
        webhook_replace(task, reply);
    }
}

static void webhook_on_written(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 204, 404, 412))) {
        return;
    }
    if (reply->status == 412 || (reply->status == 404 && task->found)) {
        ac_cosmos_task_retry(task, webhook_read);
    } else {
        webhook_end(task);
    }
}
