/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's MESSAGE_MARK: members that messages get after they were stored, in a column of theirs. */
#include "sqlite_internal.h"

static const char sql_mark[] = "UPDATE messages SET marks = json_patch(coalesce(marks, '{}'), ?3)"
                               " WHERE id = ?1 AND thread_id = ?2 AND EXISTS"
                               " (SELECT 1 FROM threads WHERE id = ?2 AND owner = ?4 AND deleted_at IS NULL)";

apr_status_t ac_sqlite_marks_put(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const json_t *marks = json_object_get(op->in, "marks"), *id;
    ac_sqlite_thread_t thread = {0};
    apr_status_t status = ac_sqlite_thread_find(&thread, conn, op, false);
    size_t i;
    if (status == APR_SUCCESS) {
        status = ac_store_deleted_check(op, thread.json);
    }
    json_decref(thread.json);
    if (status != APR_SUCCESS) {
        return status;
    }
    json_array_foreach(json_object_get(op->in, "message_ids"), i, id)
    {
        status = ac_sqlite_statement_run(conn, sql_mark,
                                         AC_SQLITE_ARGS(ac_sqlite_string(id), ac_sqlite_text(op->id),
                                                        ac_sqlite_json(marks), ac_sqlite_text(op->owner)),
                                         &op->err);
        if (status == APR_SUCCESS && !sqlite3_changes(conn->db)) {
            status = ac_err_set(&op->err, AC_NOT_FOUND, "no message with this id");
        }
        if (status != APR_SUCCESS) {
            return status;
        }
    }
    op->out = json_object();
    return op->out ? APR_SUCCESS : ac_err_set(&op->err, AC_INTERNAL, "out of memory");
}
