/* SPDX-License-Identifier: Apache-2.0 */
/* Queries of the lists of threads in the Cosmos DB store, and the order of threads by their last change. */
#include "cosmos_internal.h"

#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

/* An entry that is changing may have an old status, agent, pin or labels. Its thread is read, and judged by the
 * caller. A list by the last change has two queries: the entries without a copy, whose threads are read, and the
 * copies in order. */
static void add_condition(char *sql, bool maybe_changing, const char *condition)
{
    size_t len = strlen(sql);
    snprintf(sql + len, AC_COSMOS_LIST_SQL - len, maybe_changing ? " AND (%s OR c.changing = true)" : " AND %s",
             condition);
}

static void add_conditions(char *sql, const ac_store_op_t *op, bool maybe_changing)
{
    const json_t *pinned = json_object_get(op->in, "pinned");
    add_condition(sql, maybe_changing, *op->page.status ? "c.status = @status" : "c.status != 'deleted'");
    if (*op->page.agent_id) {
        add_condition(sql, maybe_changing, "c.agent_id = @agent");
    }
    if (json_is_boolean(pinned)) {
        add_condition(sql, maybe_changing, json_is_true(pinned) ? "c.pinned = true" : "NOT IS_DEFINED(c.pinned)");
    }
    if (json_object_get(op->in, "label")) {
        add_condition(sql, maybe_changing, "ARRAY_CONTAINS(c.labels, @label)");
    }
}

#define OF_OWNER " FROM c WHERE c.owner = @owner AND c.type = 'thread'"

void ac_cosmos_list_sql_page(char sql[AC_COSMOS_LIST_SQL], const ac_store_op_t *op, ac_cosmos_listing_e of)
{
    apr_cpystrn(sql, "SELECT *" OF_OWNER, AC_COSMOS_LIST_SQL);
    if (of == AC_COSMOS_UNCOPIED) {
        add_condition(sql, false, "NOT IS_DEFINED(c.copy.updated_at)");
        if (*op->page.agent_id) {
            add_condition(sql, true, "c.agent_id = @agent");
        }
        return;
    }
    add_conditions(sql, op, of == AC_COSMOS_BY_ID);
    if (of == AC_COSMOS_BY_ID) {
        add_condition(sql, false, "c.id < @after ORDER BY c.id DESC");
    } else {
        add_condition(sql, false,
                      "(c.copy.updated_at < @time OR (c.copy.updated_at = @time AND c.id < @after))"
                      " ORDER BY c.copy.updated_at DESC, c.id DESC");
    }
}

void ac_cosmos_list_sql_count(char sql[AC_COSMOS_LIST_SQL], const ac_store_op_t *op, bool since)
{
    apr_cpystrn(sql, "SELECT VALUE COUNT(1)" OF_OWNER, AC_COSMOS_LIST_SQL);
    add_conditions(sql, op, false);
    if (since) {
        add_condition(sql, false, "c.created_at > @since");
    }
}

bool ac_cosmos_list_sql_fits(const ac_store_op_t *op, const json_t *thread)
{
    const char *status = ac_json_peek_string(thread, "status", ""), *label = ac_json_peek_string(op->in, "label", NULL);
    const json_t *pinned = json_object_get(op->in, "pinned"), *one;
    bool labelled = label == NULL,
         wanted = *op->page.status ? strcmp(status, op->page.status) == 0
                                   : strcmp(status, "deleted") != 0 && strcmp(status, "purging") != 0;
    size_t i;
    json_array_foreach(json_object_get(json_object_get(thread, "metadata"), "labels"), i, one)
    {
        labelled = labelled || (json_is_string(one) && strcmp(json_string_value(one), label) == 0);
    }
    if (json_is_boolean(pinned) && json_is_true(pinned) != json_is_true(json_object_get(thread, "pinned"))) {
        return false;
    }
    return wanted && labelled &&
        (!*op->page.agent_id || strcmp(ac_json_peek_string(thread, "agent_id", ""), op->page.agent_id) == 0);
}

static bool is_newer(const json_t *a, const json_t *b)
{
    int order = strcmp(ac_json_peek_string(a, "updated_at", ""), ac_json_peek_string(b, "updated_at", ""));
    return order ? order > 0 : strcmp(ac_json_peek_string(a, "id", ""), ac_json_peek_string(b, "id", "")) > 0;
}

void ac_cosmos_list_sql_merge(json_t *found, const json_t *uncopied, const ac_page_t *page)
{
    char time[AC_TIME_SIZE];
    const char *id = *page->after ? ac_store_cursor_read(time, page) : NULL;
    json_t *cursor = id ? json_pack("{s:s, s:s}", "updated_at", time, "id", id) : NULL, *thread;
    size_t i, at, most = (size_t)page->limit + 1;
    json_array_foreach(uncopied, i, thread)
    {
        /* A thread whose entry got its copy between the two queries is in both. */
        if ((id && !is_newer(cursor, thread)) || ac_cosmos_doc_find(found, ac_json_peek_string(thread, "id", ""))) {
            continue;
        }
        for (at = 0; at < json_array_size(found) && is_newer(json_array_get(found, at), thread); at++) {
        }
        json_array_insert(found, at, thread);
    }
    while (json_array_size(found) > most) {
        json_array_remove(found, json_array_size(found) - 1);
    }
    json_decref(cursor);
}
