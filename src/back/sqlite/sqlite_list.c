/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's lists of threads. */
#include "sqlite_internal.h"

#include <string.h>

#define COLUMNS AC_SQLITE_THREAD_COLUMNS
#define CURSOR_NONE "~" /* sorts after every id */

apr_status_t ac_sqlite_list_answer(ac_store_op_t *op, json_t *data, bool has_more, json_t *next)
{
    json_t *out = json_object();
    bool fine = ac_json_put(out, "data", data);

    fine = ac_json_put(out, "has_more", json_boolean(has_more)) && fine;
    fine = ac_json_put(out, "next", next ? next : json_null()) && fine;
    if (!fine) {
        json_decref(out);
        return ac_err_set(&op->err, AC_INTERNAL, "out of memory");
    }
    op->out = out;
    return APR_SUCCESS;
}

/* ?1 status, ?2 agent, ?3 owner, ?4 cursor, ?5 limit, ?6 offset, ?7 the cursor's time, ?8 pinned or NULL, ?9 label.
 *
 * Each list has its own statement, so that each uses its index: [has a status][has an agent]. Lists of pinned threads
 * and of those with a label are short; they have one each, by the index of the few. */
#define BY_ID " AND id < ?4 ORDER BY id DESC LIMIT ?5 OFFSET ?6"
#define BY_UPDATE " AND (updated_at, id) < (?7, ?4) ORDER BY updated_at DESC, id DESC LIMIT ?5 OFFSET ?6"
#define PINNED_OR_NOT " AND (?8 IS NULL OR pinned = ?8)"
#define LIST(condition) "SELECT " COLUMNS " FROM threads WHERE owner = ?3 AND " condition PINNED_OR_NOT BY_ID
#define RECENT(condition) "SELECT " COLUMNS " FROM threads WHERE owner = ?3 AND " condition PINNED_OR_NOT BY_UPDATE
#define COUNT(condition) "SELECT count(*) FROM threads WHERE owner = ?3 AND " condition PINNED_OR_NOT
#define LIVING "deleted_at IS NULL"
#define OF_AGENT "deleted_at IS NULL AND agent_id = ?2"
#define OF_STATUS "status = ?1"
#define OF_BOTH "status = ?1 AND agent_id = ?2"
static const char *const sql_list[2][2] = {{LIST(LIVING), LIST(OF_AGENT)}, {LIST(OF_STATUS), LIST(OF_BOTH)}};
static const char *const sql_recent[2][2] = {{RECENT(LIVING), RECENT(OF_AGENT)}, {RECENT(OF_STATUS), RECENT(OF_BOTH)}};
static const char *const sql_count[2][2] = {{COUNT(LIVING), COUNT(OF_AGENT)}, {COUNT(OF_STATUS), COUNT(OF_BOTH)}};

#define OF_FEW \
    " AND CASE WHEN ?1 = '' THEN deleted_at IS NULL ELSE status = ?1 END AND (?2 = '' OR agent_id = ?2)" PINNED_OR_NOT
#define PINNED " FROM threads INDEXED BY threads_pinned WHERE owner = ?3 AND pinned = 1" OF_FEW
#define LABELLED \
    " FROM labels CROSS JOIN threads ON id = thread_id WHERE labels.owner = ?3 AND threads.owner = ?3" \
    " AND label = ?9" OF_FEW
static const char *const sql_few[2][2] = {{"SELECT " COLUMNS PINNED BY_ID, "SELECT " COLUMNS PINNED BY_UPDATE},
                                          {"SELECT " COLUMNS LABELLED BY_ID, "SELECT " COLUMNS LABELLED BY_UPDATE}};
static const char *const sql_count_few[2] = {"SELECT count(*)" PINNED, "SELECT count(*)" LABELLED};

static const char *list_label(const ac_store_op_t *op)
{
    return ac_json_peek_string(op->in, "label", NULL);
}

static bool list_is_few(const ac_store_op_t *op)
{
    return list_label(op) || json_is_true(json_object_get(op->in, "pinned"));
}

/* The last parameter, which only some statements have. */
static ac_sqlite_arg_t list_last(const ac_store_op_t *op)
{
    const char *label = list_label(op);

    return label ? ac_sqlite_text(label) : (ac_sqlite_arg_t){.type = AC_SQLITE_END};
}

static ac_sqlite_arg_t list_pinned(const ac_store_op_t *op)
{
    const json_t *pinned = json_object_get(op->in, "pinned");

    return json_is_boolean(pinned) ? ac_sqlite_int(json_is_true(pinned)) : ac_sqlite_text(NULL);
}

static apr_status_t threads_count(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const ac_page_t *page = &op->page;
    const char *sql = list_is_few(op) ? sql_count_few[list_label(op) != NULL]
                                      : sql_count[*page->status != '\0'][*page->agent_id != '\0'];
    ac_sqlite_arg_t none = ac_sqlite_text(NULL);
    sqlite3_stmt *row;
    apr_status_t status =
        ac_sqlite_statement_row(&row, conn, sql,
                                AC_SQLITE_ARGS(ac_sqlite_text(page->status), ac_sqlite_text(page->agent_id),
                                               ac_sqlite_text(op->owner), none, none, none, none, list_pinned(op),
                                               list_last(op)),
                                &op->err);

    if (status == APR_SUCCESS && !ac_json_put(op->out, "total", json_integer(row ? sqlite3_column_int64(row, 0) : 0))) {
        status = ac_err_set(&op->err, AC_INTERNAL, "out of memory");
    }
    return status;
}

static apr_status_t threads_read(json_t *data, bool *pmore, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const ac_page_t *page = &op->page;
    const char *sql = list_is_few(op)
        ? sql_few[list_label(op) != NULL][page->by_update]
        : (page->by_update ? sql_recent : sql_list)[*page->status != '\0'][*page->agent_id != '\0'];
    char time[AC_TIME_SIZE];
    const char *id = *page->after ? ac_store_cursor_read(time, page) : CURSOR_NONE;
    ac_sqlite_thread_t thread = {0};
    sqlite3_stmt *stmt;
    bool row = false;
    apr_status_t status =
        ac_sqlite_statement_start(&stmt, conn, sql,
                                  AC_SQLITE_ARGS(ac_sqlite_text(page->status), ac_sqlite_text(page->agent_id),
                                                 ac_sqlite_text(op->owner), ac_sqlite_text(id),
                                                 ac_sqlite_int(page->limit + 1),
                                                 ac_sqlite_int(page->by_offset ? page->offset : 0),
                                                 ac_sqlite_text(*page->after && page->by_update ? time : CURSOR_NONE),
                                                 list_pinned(op), list_last(op)),
                                  &op->err);

    *pmore = false;
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    while (status == APR_SUCCESS && row) {
        if ((int)json_array_size(data) == page->limit) {
            *pmore = true;
            break;
        }
        status = ac_sqlite_thread_read(&thread, conn, stmt, &op->err);
        if (status == APR_SUCCESS && json_array_append_new(data, thread.json) != 0) {
            status = ac_err_set(&op->err, AC_INTERNAL, "out of memory");
        }
        if (status == APR_SUCCESS) {
            status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
        }
    }
    return status;
}

apr_status_t ac_sqlite_list_threads(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    json_t *data;
    bool more = false;
    char time[AC_TIME_SIZE];
    apr_status_t status;

    if (json_object_get(op->in, "q")) {
        return ac_sqlite_find_threads(conn, op);
    }
    data = json_array();
    if (*op->page.after && !ac_store_cursor_read(time, &op->page)) {
        status = ac_err_set(&op->err, AC_INVALID_REQUEST, "after is not a cursor of this list");
    } else {
        status = threads_read(data, &more, conn, op);
    }
    if (status != APR_SUCCESS) {
        json_decref(data);
        return status;
    }
    status = ac_sqlite_list_answer(op, data, more, more ? ac_store_cursor(&op->page, data) : NULL);
    return status == APR_SUCCESS && op->page.want_total ? threads_count(conn, op) : status;
}
