/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's runs and steps, and the closing of runs whose process has died. */
#include "sqlite_internal.h"

#include <string.h>
#include <unistd.h>

#include <apr_strings.h>

#define CURSOR_NONE "~" /* sorts after every id */
#define SWEEP_PART 256  /* dead runs that are closed in one transaction */

static const char sql_find[] =
    "SELECT r.doc, r.thread_id, r.status IN ('queued', 'in_progress') FROM runs r JOIN threads t ON t.id = r.thread_id"
    " WHERE r.id = ?1 AND r.owner = ?2 AND t.owner = ?2 AND t.deleted_at IS NULL";
static const char sql_list[] =
    "SELECT id, doc FROM runs WHERE thread_id = ?1 AND owner = ?4 AND id < ?2 ORDER BY id DESC LIMIT ?3";
static const char sql_steps[] =
    "SELECT doc FROM steps WHERE run_id = ?1 AND " AC_SQLITE_RUN_OF("?1", "?2") " ORDER BY n";
static const char sql_active[] =
    "SELECT id, boot, pid, started, doc, owner FROM runs WHERE thread_id = ?1 AND " AC_SQLITE_ACTIVE;
static const char sql_active_next[] =
    "SELECT thread_id, boot, pid, started FROM runs WHERE thread_id > ?1 AND " AC_SQLITE_ACTIVE " ORDER BY thread_id";
static const char sql_interrupt[] = "UPDATE runs SET status = 'interrupted', doc = ?2 WHERE id = ?1";
static const char sql_begin[] = "BEGIN IMMEDIATE", sql_commit[] = "COMMIT";

/* ---- processes ---- */

apr_status_t ac_sqlite_run_process(ac_sqlite_process_t *process, ac_err_t *err)
{
    bool known = ac_process_boot(process->boot);

    process->pid = (int64_t)getpid();
    process->started = ac_process_started(process->pid);
    if (!known || process->started <= 0) {
        *process->boot = '\0'; /* no process is then considered dead */
        return ac_err_set(err, AC_STORE_ERROR, "/proc cannot be read: it shows which runs belong to dead processes");
    }
    return APR_SUCCESS;
}

/* If the state of the process is unknown, the run stays as it is. */
static bool process_dead(const ac_sqlite_process_t *self, const ac_sqlite_process_t *other)
{
    int64_t started;

    if (!*self->boot || !*other->boot) {
        return false;
    }
    if (strcmp(self->boot, other->boot) != 0) {
        return true;
    }
    started = self->pid == other->pid ? self->started : ac_process_started(other->pid);
    return started >= 0 && started != other->started;
}

static void process_read(ac_sqlite_process_t *process, sqlite3_stmt *row)
{
    const char *boot = (const char *)sqlite3_column_text(row, 1);

    apr_cpystrn(process->boot, boot ? boot : "", sizeof(process->boot));
    process->pid = sqlite3_column_int64(row, 2);
    process->started = sqlite3_column_int64(row, 3);
}

/* ---- runs of dead processes ---- */

/* Closes the run of a row of sql_active, which is reset. */
static apr_status_t run_interrupt(ac_sqlite_conn_t *conn, const char *id, sqlite3_stmt *row, ac_err_t *err)
{
    json_t *doc = ac_sqlite_statement_json(row, 4), *owner = ac_sqlite_statement_text(row, 5);
    apr_status_t status;
    ac_err_t cause;
    bool fine;

    sqlite3_reset(row);
    ac_err_init(&cause);
    ac_err_set(&cause, AC_INTERRUPTED, "the server process that ran it ended before it did");
    fine = ac_json_put(doc, "status", json_string("interrupted"));
    fine = ac_json_put(doc, "error", ac_record_error(&cause)) && fine;
    fine = ac_json_put(doc, "completed_at", ac_time_json(apr_time_now())) && fine;
    status = fine
        ? ac_sqlite_statement_run(conn, sql_interrupt, AC_SQLITE_ARGS(ac_sqlite_text(id), ac_sqlite_json(doc)), err)
        : ac_sqlite_conn_fail_row(conn, err);
    if (status == APR_SUCCESS) {
        status = ac_sqlite_usage_count(conn, json_string_value(owner), NULL, doc, err);
    }
    if (status == APR_SUCCESS) {
        const ac_webhook_cause_t cause = {doc, NULL, NULL, NULL, json_string_value(owner), apr_time_now()};
        status = ac_sqlite_webhook_add(conn, &cause, err);
    }
    json_decref(doc);
    json_decref(owner);
    return status;
}

apr_status_t ac_sqlite_run_end(ac_sqlite_conn_t *conn, const char *thread_id, ac_err_t *err)
{
    char run_id[AC_ID_SIZE];
    sqlite3_stmt *row;
    apr_status_t status =
        ac_sqlite_statement_row(&row, conn, sql_active, AC_SQLITE_ARGS(ac_sqlite_text(thread_id)), err);

    if (status != APR_SUCCESS || !row) {
        return status;
    }
    apr_cpystrn(run_id, (const char *)sqlite3_column_text(row, 0), AC_ID_SIZE);
    return run_interrupt(conn, run_id, row, err);
}

apr_status_t ac_sqlite_run_active(char run_id[AC_ID_SIZE], ac_sqlite_conn_t *conn, const char *thread_id, ac_err_t *err)
{
    ac_sqlite_process_t process;
    sqlite3_stmt *row;
    apr_status_t status =
        ac_sqlite_statement_row(&row, conn, sql_active, AC_SQLITE_ARGS(ac_sqlite_text(thread_id)), err);

    *run_id = '\0';
    if (status != APR_SUCCESS || !row) {
        return status;
    }
    apr_cpystrn(run_id, (const char *)sqlite3_column_text(row, 0), AC_ID_SIZE);
    process_read(&process, row);
    if (conn->mend == AC_SQLITE_MEND_NOT || !process_dead(&conn->store->process, &process)) {
        sqlite3_reset(row);
        return APR_SUCCESS;
    }
    if (conn->mend == AC_SQLITE_MEND_FORWARD) {
        sqlite3_reset(row);
        return AC_SQLITE_TO_WRITER;
    }
    status = run_interrupt(conn, run_id, row, err);
    *run_id = '\0';
    return status;
}

/* The next thread after `thread_id` whose active run belongs to a dead process, or "". */
static apr_status_t sweep_next(char thread_id[AC_ID_SIZE], ac_sqlite_conn_t *conn, ac_err_t *err)
{
    ac_sqlite_process_t process;
    sqlite3_stmt *stmt;
    bool row = false, found = false;
    apr_status_t status =
        ac_sqlite_statement_start(&stmt, conn, sql_active_next, AC_SQLITE_ARGS(ac_sqlite_text(thread_id)), err);

    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, err);
    }
    while (status == APR_SUCCESS && row && !found) {
        process_read(&process, stmt);
        found = process_dead(&conn->store->process, &process);
        if (!found) {
            status = ac_sqlite_statement_step(&row, conn, stmt, err);
        }
    }
    if (found) {
        apr_cpystrn(thread_id, (const char *)sqlite3_column_text(stmt, 0), AC_ID_SIZE);
        sqlite3_reset(stmt);
    } else {
        *thread_id = '\0';
    }
    return status;
}

/* Closes some of them, beginning with the threads after thread_id; sets it to "" at the end. Adds their number to
 * *pn. */
static apr_status_t sweep_part(int *pn, char thread_id[AC_ID_SIZE], ac_sqlite_conn_t *conn, ac_err_t *err)
{
    char run_id[AC_ID_SIZE];
    int n_before;
    apr_status_t status = ac_sqlite_statement_run(conn, sql_begin, AC_SQLITE_NO_ARGS, err);

    for (int i = 0; status == APR_SUCCESS && *thread_id && i < SWEEP_PART; i++) {
        /* Checked again under the lock: other children sweep at the same time. */
        n_before = sqlite3_total_changes(conn->db);
        status = ac_sqlite_run_active(run_id, conn, thread_id, err);
        *pn += sqlite3_total_changes(conn->db) > n_before;
        if (status == APR_SUCCESS) {
            status = sweep_next(thread_id, conn, err);
        }
    }
    return status == APR_SUCCESS ? ac_sqlite_statement_run(conn, sql_commit, AC_SQLITE_NO_ARGS, err) : status;
}

apr_status_t ac_sqlite_run_sweep(int *pn, ac_sqlite_conn_t *conn, ac_err_t *err)
{
    char thread_id[AC_ID_SIZE] = "";
    apr_status_t status = sweep_next(thread_id, conn, err);

    *pn = 0;
    while (status == APR_SUCCESS && *thread_id) {
        status = sweep_part(pn, thread_id, conn, err);
    }
    ac_sqlite_statement_reset(conn);
    if (!sqlite3_get_autocommit(conn->db)) {
        sqlite3_exec(conn->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return status;
}

/* ---- verbs ---- */

/* Finds the owner's run op->id. *pdoc: a new reference. thread_id: its thread if the run is active, else "". */
static apr_status_t sqlite_runs_run_find(json_t **pdoc, char thread_id[AC_ID_SIZE], ac_sqlite_conn_t *conn,
                                         ac_store_op_t *op)
{
    sqlite3_stmt *row;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, sql_find,
                                                  AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_text(op->owner)),
                                                  &op->err);

    *pdoc = NULL;
    *thread_id = '\0';
    if (status == APR_SUCCESS && !row) {
        return ac_err_set(&op->err, AC_NOT_FOUND, "no run with this id");
    }
    if (status == APR_SUCCESS) {
        *pdoc = ac_sqlite_statement_json(row, 0);
        if (sqlite3_column_int(row, 2)) {
            apr_cpystrn(thread_id, (const char *)sqlite3_column_text(row, 1), AC_ID_SIZE);
        }
        sqlite3_reset(row);
        status = json_is_object(*pdoc) ? APR_SUCCESS : ac_sqlite_conn_fail_row(conn, &op->err);
    }
    return status;
}

apr_status_t ac_sqlite_run_get(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    char thread_id[AC_ID_SIZE], run_id[AC_ID_SIZE];
    apr_status_t status = sqlite_runs_run_find(&op->out, thread_id, conn, op);

    if (status == APR_SUCCESS && *thread_id) {
        status = ac_sqlite_run_active(run_id, conn, thread_id, &op->err);
        if (status == APR_SUCCESS && !*run_id) {
            json_decref(op->out);
            status = sqlite_runs_run_find(&op->out, thread_id, conn, op);
        }
    }
    return status;
}

apr_status_t ac_sqlite_run_step_list(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    char thread_id[AC_ID_SIZE];
    json_t *run, *data = json_array();
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    apr_status_t status = sqlite_runs_run_find(&run, thread_id, conn, op);

    json_decref(run);
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_start(&stmt, conn, sql_steps,
                                           AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_text(op->owner)), &op->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    while (status == APR_SUCCESS && row) {
        status = json_array_append_new(data, ac_sqlite_statement_json(stmt, 0)) == 0
            ? ac_sqlite_statement_step(&row, conn, stmt, &op->err)
            : ac_sqlite_conn_fail_row(conn, &op->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_suspended_steps(data, conn, op);
    }
    if (status != APR_SUCCESS) {
        json_decref(data);
        return status;
    }
    op->out = json_object();
    return ac_json_put(op->out, "data", data) ? APR_SUCCESS : ac_err_set(&op->err, AC_INTERNAL, "out of memory");
}

/* Appends runs to data. last: the id of the last one. */
static apr_status_t sqlite_runs_read(json_t *data, bool *pmore, char last[AC_ID_SIZE], ac_sqlite_conn_t *conn,
                                     ac_store_op_t *op)
{
    const ac_page_t *page = &op->page;
    sqlite3_stmt *stmt;
    bool row = false;
    apr_status_t status =
        ac_sqlite_statement_start(&stmt, conn, sql_list,
                                  AC_SQLITE_ARGS(ac_sqlite_text(op->id),
                                                 ac_sqlite_text(*page->after ? page->after : CURSOR_NONE),
                                                 ac_sqlite_int(page->limit + 1), ac_sqlite_text(op->owner)),
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
        apr_cpystrn(last, (const char *)sqlite3_column_text(stmt, 0), AC_ID_SIZE);
        if (json_array_append_new(data, ac_sqlite_statement_json(stmt, 1)) != 0) {
            return ac_sqlite_conn_fail_row(conn, &op->err);
        }
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    return status;
}

apr_status_t ac_sqlite_run_list(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    ac_sqlite_thread_t thread = {0};
    char last[AC_ID_SIZE] = "";
    json_t *data;
    bool more = false;
    apr_status_t status = ac_sqlite_thread_find(&thread, conn, op, false);

    json_decref(thread.json);
    if (status == APR_SUCCESS) {
        status = ac_sqlite_run_active(last, conn, op->id, &op->err);
    }
    if (status == APR_SUCCESS && *op->page.after && !ac_id_valid(op->page.after, "run_")) {
        status = ac_err_set(&op->err, AC_INVALID_REQUEST, "after is not a cursor of this list");
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    data = json_array();
    status = sqlite_runs_read(data, &more, last, conn, op);
    if (status != APR_SUCCESS) {
        json_decref(data);
        return status;
    }
    return ac_sqlite_list_answer(op, data, more, more ? json_string(last) : NULL);
}
