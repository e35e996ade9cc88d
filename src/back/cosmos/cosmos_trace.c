/* SPDX-License-Identifier: Apache-2.0 */
/* The span of a request to Cosmos DB, with all its attempts. Source: OpenTelemetry semantic conventions 1.44.0,
 * Azure Cosmos DB client spans. */
#include "cosmos_internal.h"

#include <stdio.h>
#include <string.h>

static const char *const operations[AC_COSMOS_N_VERBS] = {
    [AC_COSMOS_ACCOUNT_READ] = "read_account",
    [AC_COSMOS_DATABASE_READ] = "read_database",
    [AC_COSMOS_DATABASE_CREATE] = "create_database",
    [AC_COSMOS_CONTAINER_READ] = "read_container",
    [AC_COSMOS_CONTAINER_CREATE] = "create_container",
    [AC_COSMOS_READ] = "read_item",
    [AC_COSMOS_CREATE] = "create_item",
    [AC_COSMOS_UPSERT] = "upsert_item",
    [AC_COSMOS_REPLACE] = "replace_item",
    [AC_COSMOS_PATCH] = "patch_item",
    [AC_COSMOS_DELETE] = "delete_item",
    [AC_COSMOS_QUERY] = "query_items",
    [AC_COSMOS_BATCH] = "execute_batch",
};

static void name_place(ac_span_t *span, const ac_cosmos_call_t *call)
{
    const ac_cosmos_t *store = call->store;
    const char *container = store->conf.containers[call->request.container];
    char host[AC_HOST_SIZE];
    int port;
    if (call->request.verb >= AC_COSMOS_CONTAINER_READ) {
        ac_span_text(span, AC_ATTRIBUTE_DB_COLLECTION_NAME, container);
        ac_span_name(span, "%s %s", operations[call->request.verb], container);
    }
    ac_span_text(span, AC_ATTRIBUTE_DB_NAMESPACE, store->conf.database);
    if (ac_http_address_server(host, &port, store->conf.endpoint)) {
        ac_span_text(span, AC_ATTRIBUTE_SERVER_ADDRESS, host);
        if (port != 443) {
            ac_span_integer(span, AC_ATTRIBUTE_SERVER_PORT, port);
        }
    }
}

void ac_cosmos_trace_begin(ac_cosmos_call_t *call)
{
    char verb[AC_STORE_VERB_SIZE];
    const ac_trace_t *parent = &call->task->op->trace;
    ac_span_t *span = call->span = ac_span_begin(AC_SPAN_STORE, parent);
    ac_trace_copy(&call->trace, ac_span_trace(span, parent));
    if (!span) {
        return;
    }
    ac_store_verb_code(verb, call->task->op->verb);
    ac_span_name(span, "%s", operations[call->request.verb]);
    name_place(span, call);
    ac_span_text(span, AC_ATTRIBUTE_DB_SYSTEM_NAME, "azure.cosmosdb");
    ac_span_text(span, AC_ATTRIBUTE_DB_OPERATION_NAME, operations[call->request.verb]);
    ac_span_text(span, AC_ATTRIBUTE_DB_QUERY_SUMMARY, verb);
    ac_span_text(span, AC_ATTRIBUTE_AZURE_COSMOSDB_CONNECTION_MODE, "gateway");
    ac_span_text(span, AC_ATTRIBUTE_AZURE_RESOURCE_PROVIDER_NAMESPACE, "Microsoft.DocumentDB");
    if (call->request.n_ops > 1) {
        ac_span_integer(span, AC_ATTRIBUTE_DB_OPERATION_BATCH_SIZE, call->request.n_ops);
    }
}

/* Statuses that are a result: not changed, missing, there already, or changed by others. */
static bool is_result(int status)
{
    return status < 400 || status == 404 || status == 409 || status == 412;
}

void ac_cosmos_trace_end(ac_cosmos_call_t *call)
{
    ac_span_t *span = call->span;
    const ac_cosmos_reply_t *reply = &call->reply;
    const json_t *rows = json_object_get(reply->body, "Documents");
    char status[12];
    ac_trace_clear(&call->trace);
    if (!span) {
        return;
    }
    call->span = NULL;
    if (reply->status) {
        snprintf(status, sizeof(status), "%d", reply->status);
        ac_span_text(span, AC_ATTRIBUTE_DB_RESPONSE_STATUS_CODE, status);
    }
    if (reply->substatus) {
        ac_span_integer(span, AC_ATTRIBUTE_AZURE_COSMOSDB_RESPONSE_SUB_STATUS_CODE, reply->substatus);
    }
    if (call->charge > 0) {
        ac_span_number(span, AC_ATTRIBUTE_AZURE_COSMOSDB_OPERATION_REQUEST_CHARGE, call->charge);
    }
    if (json_is_array(rows)) {
        ac_span_integer(span, AC_ATTRIBUTE_DB_RESPONSE_RETURNED_ROWS, (int64_t)json_array_size(rows));
    }
    if (call->n_sent > 1) {
        ac_span_integer(span, AC_ATTRIBUTE_HTTP_REQUEST_RESEND_COUNT, call->n_sent - 1);
    }
    if (!is_result(reply->status)) {
        ac_span_fail_status(span, reply->status);
    }
    ac_span_fail(span, reply->err.kind);
    ac_span_end(span);
}
