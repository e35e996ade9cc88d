/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to Cosmos DB: their header lines, and the bodies of queries and batches. */
#include "wire.h"

#include <string.h>

/* ---- header lines ---- */

typedef struct lines_t {
    ac_buf_t *text;
    size_t at[AC_COSMOS_HEADERS];
    int n;
} lines_t;

/* NUL separates two lines. A control character in a value could begin another header. */
static void cosmos_request_add_line(lines_t *lines, const char *name, const char *value)
{
    if (!value || lines->n >= AC_COSMOS_HEADERS - 1) {
        return;
    }
    for (const char *at = value; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            lines->text->failed = true;
            return;
        }
    }
    lines->at[lines->n++] = lines->text->len;
    ac_buf_str(lines->text, name);
    ac_buf_str(lines->text, ": ");
    ac_buf_str(lines->text, value);
    ac_buf_add(lines->text, "", 1);
}

/* The partition key as a JSON array in ASCII, the form for a header. */
static char *key_text(const char *key)
{
    json_t *array = json_pack("[s]", key);
    char *text = array ? json_dumps(array, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

    json_decref(array);
    return text;
}

static const char *content_type(ac_cosmos_verb_e verb)
{
    if (verb == AC_COSMOS_QUERY) {
        return "application/query+json"; /* with a charset the service treats the body as a document */
    }
    return verb == AC_COSMOS_PATCH ? "application/json-patch+json" : "application/json";
}

static void add_document_lines(lines_t *lines, const ac_cosmos_ask_t *ask)
{
    char number[24];
    char *key = ask->key ? key_text(ask->key) : NULL;
    bool reads = ask->verb == AC_COSMOS_READ || ask->verb == AC_COSMOS_QUERY;

    lines->text->failed = lines->text->failed || (ask->key && !key);
    cosmos_request_add_line(lines, "x-ms-documentdb-partitionkey", key);
    free(key);
    /* The service requires it for queries over all partitions only; an emulator requires it to answer 404. */
    cosmos_request_add_line(lines, "x-ms-documentdb-query-enablecrosspartition", reads ? "True" : NULL);
    cosmos_request_add_line(lines, "If-Match", ask->if_match);
    cosmos_request_add_line(lines, "x-ms-session-token", ask->session);
    cosmos_request_add_line(lines, "x-ms-documentdb-is-upsert", ask->verb == AC_COSMOS_UPSERT ? "True" : NULL);
    /* The response need not repeat the document. */
    cosmos_request_add_line(lines, "Prefer", ac_cosmos_writes(ask->verb) ? "return=minimal" : NULL);
    if (ask->verb == AC_COSMOS_QUERY) {
        snprintf(number, sizeof(number), "%d", ask->max_items);
        cosmos_request_add_line(lines, "x-ms-documentdb-isquery", "True");
        cosmos_request_add_line(lines, "x-ms-max-item-count", ask->max_items ? number : NULL);
        cosmos_request_add_line(lines, "x-ms-continuation", ask->continuation);
        cosmos_request_add_line(lines, "x-ms-documentdb-responsecontinuationtokenlimitinkb", "1");
    }
    if (ask->verb == AC_COSMOS_BATCH) {
        cosmos_request_add_line(lines, "x-ms-cosmos-is-batch-request", "True");
        cosmos_request_add_line(lines, "x-ms-cosmos-batch-atomic", "True");
        cosmos_request_add_line(lines, "x-ms-cosmos-batch-continue-on-error", "False");
    }
}

apr_status_t ac_cosmos_request_headers(const char *lines[AC_COSMOS_HEADERS], ac_buf_t *text, const ac_cosmos_ask_t *ask,
                                       const char *date, const char *authorization)
{
    lines_t all = {.text = text};
    bool sends = strcmp(ac_cosmos_method(ask->verb), "GET") != 0 && ask->verb != AC_COSMOS_DELETE;

    cosmos_request_add_line(&all, "x-ms-version", AC_COSMOS_VERSION);
    cosmos_request_add_line(&all, "x-ms-date", date);
    cosmos_request_add_line(&all, "authorization", authorization);
    cosmos_request_add_line(&all, "Accept", "application/json");
    cosmos_request_add_line(&all, "Content-Type", sends ? content_type(ask->verb) : NULL);
    if (ask->verb >= AC_COSMOS_READ) {
        add_document_lines(&all, ask);
    }
    if (ask->verb == AC_COSMOS_DATABASE_CREATE) {
        char settings[64];
        snprintf(settings, sizeof(settings), "{\"maxThroughput\":%.12s}", ask->autoscale ? ask->autoscale : "");
        cosmos_request_add_line(&all, "x-ms-offer-throughput", ask->throughput);
        cosmos_request_add_line(&all, "x-ms-cosmos-offer-autopilot-settings", ask->autoscale ? settings : NULL);
    }
    for (int i = 0; i < all.n; i++) {
        lines[i] = text->data + all.at[i];
    }
    lines[all.n] = NULL;
    return text->failed ? APR_ENOSPC : APR_SUCCESS;
}

/* ---- bodies ---- */

static apr_status_t cosmos_request_add_json(ac_buf_t *body, const json_t *value)
{
    size_t len = 0;
    char *text = ac_json_dump(value, &len);
    apr_status_t status = text ? ac_buf_add(body, text, len) : APR_ENOMEM;

    free(text);
    return status;
}

apr_status_t ac_cosmos_request_query(ac_buf_t *body, const char *sql, const json_t *parameters)
{
    json_t *query = json_object(), *list = json_array(), *value;
    const char *name;
    bool fine = ac_json_put(query, "query", json_string(sql));
    apr_status_t status;

    json_object_foreach((json_t *)parameters, name, value)
    {
        fine = json_array_append_new(list, json_pack("{s:s, s:O}", "name", name, "value", value)) == 0 && fine;
    }
    fine = ac_json_put(query, "parameters", list) && fine;
    status = fine ? cosmos_request_add_json(body, query) : APR_ENOMEM;
    json_decref(query);
    return status;
}

void ac_cosmos_request_batch_init(ac_cosmos_batch_t *batch)
{
    batch->n = 0;
    ac_buf_init(&batch->body, AC_MAX_REQUEST);
}

void ac_cosmos_request_batch_free(ac_cosmos_batch_t *batch)
{
    ac_buf_free(&batch->body);
    batch->n = 0;
}

apr_status_t ac_cosmos_request_batch_add(ac_cosmos_batch_t *batch, ac_cosmos_verb_e verb, const char *key,
                                         const char *id, const json_t *document, const char *if_match)
{
    static const char *const names[AC_COSMOS_N_VERBS] = {
        [AC_COSMOS_CREATE] = "Create",
        [AC_COSMOS_UPSERT] = "Upsert",
        [AC_COSMOS_REPLACE] = "Replace",
        [AC_COSMOS_DELETE] = "Delete",
    };
    ac_buf_t *body = &batch->body;
    char *partition = key_text(key);

    ac_buf_str(body, batch->n++ ? ",{\"operationType\":\"" : "[{\"operationType\":\"");
    ac_buf_str(body, names[verb]);
    /* The service uses the partition key of the request; an emulator reads it here. */
    ac_buf_str(body, "\",\"partitionKey\":");
    ac_buf_json(body, partition ? partition : "", partition ? strlen(partition) : 0);
    if (verb == AC_COSMOS_REPLACE || verb == AC_COSMOS_DELETE) {
        ac_buf_str(body, ",\"id\":");
        ac_buf_json(body, id, strlen(id));
    }
    if (if_match && *if_match) {
        ac_buf_str(body, ",\"ifMatch\":");
        ac_buf_json(body, if_match, strlen(if_match));
    }
    if (document) {
        ac_buf_str(body, ",\"resourceBody\":");
        if (cosmos_request_add_json(body, document) != APR_SUCCESS) {
            body->failed = true;
        }
    }
    ac_buf_str(body, "}");
    body->failed = body->failed || !partition;
    free(partition);
    return body->failed ? APR_ENOSPC : APR_SUCCESS;
}

apr_status_t ac_cosmos_request_batch_end(ac_cosmos_batch_t *batch)
{
    ac_buf_str(&batch->body, batch->n ? "]" : "[]");
    return batch->body.failed ? APR_ENOSPC : APR_SUCCESS;
}
