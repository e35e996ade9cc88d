/* SPDX-License-Identifier: Apache-2.0 */
/* Queries of the lists of threads in the Cosmos DB store, and the order of threads by their last change. */
#include "cosmos_internal.h"

#include <string.h>

static const char sql_living[] = "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.id < @after"
                                 " AND (c.status != 'deleted' OR c.changing = true) ORDER BY c.id DESC";
static const char sql_living_agent[] =
    "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.id < @after"
    " AND (c.status != 'deleted' OR c.changing = true) AND c.agent_id = @agent ORDER BY c.id DESC";
static const char sql_status[] = "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.id < @after"
                                 " AND (c.status = @status OR c.changing = true) ORDER BY c.id DESC";
static const char sql_status_agent[] =
    "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.id < @after"
    " AND (c.status = @status OR c.changing = true) AND c.agent_id = @agent ORDER BY c.id DESC";
static const char *const sql_lists[2][2] = {{sql_living, sql_living_agent}, {sql_status, sql_status_agent}};

/* A list by the last change has two queries: the entries without a copy, whose threads are read, and the copies in
 * order. */
static const char sql_uncopied[] =
    "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'thread' AND NOT IS_DEFINED(c.copy.updated_at)";
static const char sql_uncopied_agent[] =
    "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'thread' AND NOT IS_DEFINED(c.copy.updated_at) AND "
    "c.agent_id = @agent";
#define RECENT(condition) \
    "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'thread' AND " condition " AND (c.copy.updated_at < @time OR" \
    " (c.copy.updated_at = @time AND c.id < @after)) ORDER BY c.copy.updated_at DESC, c.id DESC"
static const char *const sql_uncopieds[2] = {sql_uncopied, sql_uncopied_agent};
static const char *const sql_recents[2][2] = {
    {RECENT("c.status != 'deleted'"), RECENT("c.status != 'deleted' AND c.agent_id = @agent")},
    {RECENT("c.status = @status"), RECENT("c.status = @status AND c.agent_id = @agent")},
};

static const char sql_count_living[] =
    "SELECT VALUE COUNT(1) FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.status != 'deleted'";
static const char sql_count_living_agent[] =
    "SELECT VALUE COUNT(1) FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.status != 'deleted' AND "
    "c.agent_id = @agent";
static const char sql_count_status[] =
    "SELECT VALUE COUNT(1) FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.status = @status";
static const char sql_count_status_agent[] =
    "SELECT VALUE COUNT(1) FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.status = @status AND "
    "c.agent_id = @agent";
static const char *const sql_counts[2][2] = {{sql_count_living, sql_count_living_agent},
                                             {sql_count_status, sql_count_status_agent}};

const char *ac_cosmos_list_sql_page(const ac_page_t *page, ac_cosmos_listing_e of)
{
    bool status = *page->status != '\0', agent = *page->agent_id != '\0';
    return of == AC_COSMOS_UNCOPIED ? sql_uncopieds[agent]
                                    : (of == AC_COSMOS_COPIED ? sql_recents : sql_lists)[status][agent];
}

const char *ac_cosmos_list_sql_count(const ac_page_t *page)
{
    return sql_counts[*page->status != '\0'][*page->agent_id != '\0'];
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
