/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's webhook deliveries. Each is a document; the column `due` finds those that are to be carried
 * out. */
#include "sqlite_internal.h"

static const char sql_add[] = "INSERT OR IGNORE INTO webhooks (id, run_id, thread_id, owner, webhook, due, doc)"
                              " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
static const char sql_of_run[] = "SELECT doc FROM webhooks WHERE run_id = ?1 AND thread_id = ?2 AND owner = ?3";
static const char sql_due[] = "SELECT doc FROM webhooks WHERE due < ?1"
                              " AND webhook NOT IN (SELECT value FROM json_each(?2)) ORDER BY due LIMIT ?3";
static const char sql_find[] = "SELECT w.doc, t.deleted_at IS NULL FROM webhooks w JOIN threads t ON t.id = w.thread_id"
                               " WHERE w.id = ?1 AND w.thread_id = ?2 AND w.owner = ?3 AND t.owner = ?3";
static const char sql_put[] = "UPDATE webhooks SET due = ?2, doc = ?3 WHERE id = ?1 AND owner = ?4";
static const char sql_forget[] = "DELETE FROM webhooks WHERE id = ?1 AND owner = ?2";

apr_status_t ac_sqlite_webhook_add(ac_sqlite_conn_t *conn, const ac_webhook_cause_t *cause, ac_err_t *err)
{
    json_t *delivery = ac_webhook_delivery_make(cause);
    apr_status_t status = APR_SUCCESS;

    if (delivery) {
        status = ac_sqlite_statement_run(conn, sql_add,
                                         AC_SQLITE_ARGS(ac_sqlite_string(json_object_get(delivery, "id")),
                                                        ac_sqlite_string(json_object_get(delivery, "run_id")),
                                                        ac_sqlite_string(json_object_get(delivery, "thread_id")),
                                                        ac_sqlite_text(cause->owner),
                                                        ac_sqlite_string(json_object_get(delivery, "webhook")),
                                                        ac_sqlite_string(json_object_get(delivery, "due_at")),
                                                        ac_sqlite_json(delivery)),
                                         err);
    }
    json_decref(delivery);
    return status;
}

/* Reads the documents of a statement that was started; the caller owns *pdeliveries, also after an error. */
static apr_status_t webhook_rows(json_t **pdeliveries, ac_sqlite_conn_t *conn, ac_store_op_t *op, sqlite3_stmt *stmt)
{
    bool row = false;
    apr_status_t status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);

    *pdeliveries = json_array();
    while (status == APR_SUCCESS && row) {
        json_array_append_new(*pdeliveries, ac_sqlite_statement_json(stmt, 0));
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    return status;
}

apr_status_t ac_sqlite_webhook_list(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    sqlite3_stmt *stmt;
    json_t *deliveries = NULL;
    apr_status_t status = ac_sqlite_statement_start(&stmt, conn, sql_of_run,
                                                    AC_SQLITE_ARGS(ac_sqlite_string(json_object_get(op->in, "run_id")),
                                                                   ac_sqlite_text(op->id), ac_sqlite_text(op->owner)),
                                                    &op->err);

    if (status == APR_SUCCESS) {
        status = webhook_rows(&deliveries, conn, op, stmt);
    }
    op->out = status == APR_SUCCESS ? ac_webhook_delivery_list(deliveries) : NULL;
    json_decref(deliveries);
    return status;
}

apr_status_t ac_sqlite_webhook_due(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    char before[AC_TIME_SIZE];
    sqlite3_stmt *stmt;
    json_t *deliveries = NULL, *data = json_array(), *delivery;
    size_t i;

    ac_time_format(before, apr_time_now() + apr_time_from_msec(ac_json_peek_int(op->in, "ahead", 0)));
    apr_status_t status = ac_sqlite_statement_start(&stmt, conn, sql_due,
                                                    AC_SQLITE_ARGS(ac_sqlite_text(before),
                                                                   ac_sqlite_json(json_object_get(op->in, "busy")),
                                                                   ac_sqlite_int(op->page.limit)),
                                                    &op->err);

    if (status == APR_SUCCESS) {
        status = webhook_rows(&deliveries, conn, op, stmt);
    }
    json_array_foreach(deliveries, i, delivery)
    {
        json_array_append_new(data, ac_webhook_delivery_row(delivery, apr_time_now()));
    }
    json_decref(deliveries);
    op->out = json_pack("{s:o}", "data", data);
    return status;
}

/* *pdelivery: a new reference. *plives: its thread is not deleted. errors: not_found */
static apr_status_t webhook_find(json_t **pdelivery, bool *plives, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    sqlite3_stmt *row;
    apr_status_t status =
        ac_sqlite_statement_row(&row, conn, sql_find,
                                AC_SQLITE_ARGS(ac_sqlite_string(json_object_get(op->in, "delivery_id")),
                                               ac_sqlite_text(op->id), ac_sqlite_text(op->owner)),
                                &op->err);

    *pdelivery = NULL;
    if (status == APR_SUCCESS && !row) {
        return ac_err_set(&op->err, AC_NOT_FOUND, "no delivery with this id");
    }
    if (status == APR_SUCCESS) {
        *pdelivery = ac_sqlite_statement_json(row, 0);
        *plives = sqlite3_column_int(row, 1) != 0;
        sqlite3_reset(row);
        status = json_is_object(*pdelivery) ? APR_SUCCESS : ac_sqlite_conn_fail_row(conn, &op->err);
    }
    return status;
}

static apr_status_t webhook_put(ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *delivery)
{
    return ac_sqlite_statement_run(conn, sql_put,
                                   AC_SQLITE_ARGS(ac_sqlite_string(json_object_get(delivery, "id")),
                                                  ac_sqlite_string(json_object_get(delivery, "due_at")),
                                                  ac_sqlite_json(delivery), ac_sqlite_text(op->owner)),
                                   &op->err);
}

apr_status_t ac_sqlite_webhook_acquire(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    json_t *delivery;
    bool lives = false, done = false;
    apr_status_t status = webhook_find(&delivery, &lives, conn, op);

    if (status == APR_SUCCESS && !lives) {
        status = ac_sqlite_statement_run(conn, sql_forget,
                                         AC_SQLITE_ARGS(ac_sqlite_string(json_object_get(delivery, "id")),
                                                        ac_sqlite_text(op->owner)),
                                         &op->err);
        op->out = json_pack("{s:n}", "delivery");
    } else if (status == APR_SUCCESS) {
        status = ac_webhook_delivery_acquire(&done, delivery, op, apr_time_now());
        status = status == APR_SUCCESS && !done ? webhook_put(conn, op, delivery) : status;
        op->out = status == APR_SUCCESS ? json_pack("{s:O}", "delivery", delivery) : NULL;
    }
    json_decref(delivery);
    return status;
}

apr_status_t ac_sqlite_webhook_report(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    json_t *delivery;
    bool lives, done = false;
    apr_status_t status = webhook_find(&delivery, &lives, conn, op);

    if (status == APR_SUCCESS) {
        status = ac_webhook_delivery_report(&done, delivery, op, apr_time_now());
    }
    if (status == APR_SUCCESS && !done) {
        status = webhook_put(conn, op, delivery);
    }
    json_decref(delivery);
    op->out = status == APR_SUCCESS ? json_object() : NULL;
    return status;
}
