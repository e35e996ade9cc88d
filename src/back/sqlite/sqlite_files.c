/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's files: what is known about the bytes that clients have uploaded. */
#include "sqlite_internal.h"

#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

#define COLUMNS "id, name, type, size, sha256, created_at, thread_id, status, loose, owner"
#define CURSOR_NONE "~" /* sorts after every id */
#define ATTACHED "attached"

static const char sql_find[] = "SELECT " COLUMNS " FROM files WHERE id = ?1 AND owner = ?2";
static const char sql_insert[] =
    "INSERT INTO files (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
    " ON CONFLICT (id) DO UPDATE SET name = excluded.name, type = excluded.type, size = excluded.size,"
    " sha256 = excluded.sha256, created_at = excluded.created_at, thread_id = excluded.thread_id,"
    " status = excluded.status, loose = excluded.loose, owner = excluded.owner";
static const char sql_sum_owner[] = "SELECT count(*), total(size) FROM files WHERE owner = ?1 AND ?2 IS NULL";
static const char sql_sum_thread[] = "SELECT count(*), total(size) FROM files WHERE thread_id = ?2 AND owner = ?1";
static const char sql_thread[] = "SELECT 1 FROM threads WHERE id = ?1 AND owner = ?2 AND deleted_at IS NULL";
static const char sql_list[] = "SELECT " COLUMNS " FROM files WHERE owner = ?1 AND ?4 IS NULL AND id < ?2"
                               " ORDER BY id DESC LIMIT ?3";
static const char sql_list_thread[] = "SELECT " COLUMNS " FROM files WHERE thread_id = ?4 AND owner = ?1 AND id < ?2"
                                      " ORDER BY id DESC LIMIT ?3";
static const char sql_delete[] = "DELETE FROM files WHERE id = ?1 AND owner = ?2";
static const char sql_attach[] = "UPDATE files SET thread_id = ?3, status = '" ATTACHED
                                 "', loose = NULL WHERE id = ?1 AND owner = ?2";
static const char sql_of_thread[] = "SELECT id FROM files WHERE thread_id = ?1 AND owner = ?2";
static const char sql_remove_all[] = "DELETE FROM files WHERE thread_id = ?1 AND owner = ?2";
static const char sql_loose[] = "SELECT " COLUMNS " FROM files WHERE loose < ?1 ORDER BY loose LIMIT ?2";
static const char sql_keep[] = "UPDATE files SET loose = NULL WHERE id = ?1 AND owner = ?2";
static const char sql_any_thread[] = "SELECT 1 FROM threads WHERE id = ?1 AND owner = ?2";
static const char sql_message[] = /* of the owner's thread, with the file */
    "SELECT 1 FROM threads t JOIN messages m ON m.thread_id = t.id, json_each(m.attachments) f"
    " WHERE t.id = ?1 AND t.owner = ?2 AND json_extract(f.value, '$.file_id') = ?3";
static const char sql_belongs[] = /* the same, or the file is known to be a part of a conversation */
    "SELECT 1 FROM files WHERE id = ?3 AND owner = ?2 AND loose IS NULL UNION ALL"
    " SELECT 1 FROM threads t JOIN messages m ON m.thread_id = t.id, json_each(m.attachments) f"
    " WHERE t.id = ?1 AND t.owner = ?2 AND json_extract(f.value, '$.file_id') = ?3";
static const char sql_known[] = "SELECT 1 FROM files WHERE id = ?1";
static const char sql_export[] = "SELECT " COLUMNS " FROM files WHERE id > ?1 ORDER BY id LIMIT ?2";

/* ---- rows ---- */

static json_t *files_row(sqlite3_stmt *row)
{
    static const char *const names[] = {"id", "name", "type", "size", "sha256", "created_at", "thread_id", "status"};
    json_t *file = json_object();
    bool fine = file != NULL;

    for (int i = 0; i < 8; i++) {
        json_t *value = i == 3 ? json_integer(sqlite3_column_int64(row, i)) : ac_sqlite_statement_text(row, i);
        fine = ac_json_put(file, names[i], value) && fine;
    }
    if (!fine) {
        json_decref(file);
        return NULL;
    }
    return file;
}

/* The owner's file of this id, a new reference; NULL: there is none. */
static apr_status_t file_find(json_t **pfile, ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *id)
{
    sqlite3_stmt *row;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, sql_find,
                                                  AC_SQLITE_ARGS(ac_sqlite_text(id), ac_sqlite_text(op->owner)),
                                                  &op->err);

    *pfile = NULL;
    if (status == APR_SUCCESS && row) {
        *pfile = files_row(row);
        sqlite3_reset(row);
        status = *pfile ? APR_SUCCESS : ac_sqlite_conn_fail_row(conn, &op->err);
    }
    return status;
}

/* loose: NULL for a file that is known to be a part of a conversation. */
static apr_status_t file_write(ac_sqlite_conn_t *conn, const json_t *file, const char *owner, const char *loose,
                               ac_err_t *err)
{
    return ac_sqlite_statement_run(conn, sql_insert,
                                   AC_SQLITE_ARGS(ac_sqlite_string(json_object_get(file, "id")),
                                                  ac_sqlite_string(json_object_get(file, "name")),
                                                  ac_sqlite_string(json_object_get(file, "type")),
                                                  ac_sqlite_int(ac_json_peek_int(file, "size", 0)),
                                                  ac_sqlite_string(json_object_get(file, "sha256")),
                                                  ac_sqlite_string(json_object_get(file, "created_at")),
                                                  ac_sqlite_string(json_object_get(file, "thread_id")),
                                                  ac_sqlite_string(json_object_get(file, "status")),
                                                  ac_sqlite_text(loose), ac_sqlite_text(owner)),
                                   err);
}

static apr_status_t row_exists(bool *pexists, ac_sqlite_conn_t *conn, const char *sql, const ac_sqlite_arg_t *args,
                               ac_err_t *err)
{
    sqlite3_stmt *row = NULL;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, sql, args, err);

    *pexists = status == APR_SUCCESS && row;
    if (*pexists) {
        sqlite3_reset(row);
    }
    return status;
}

/* ---- limits ---- */

static apr_status_t files_count(ac_file_count_t *sum, ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *thread_id)
{
    sqlite3_stmt *row = NULL;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, thread_id ? sql_sum_thread : sql_sum_owner,
                                                  AC_SQLITE_ARGS(ac_sqlite_text(op->owner), ac_sqlite_text(thread_id)),
                                                  &op->err);

    if (status == APR_SUCCESS && row) {
        sum->files = sqlite3_column_int64(row, 0);
        sum->bytes = sqlite3_column_int64(row, 1);
        sqlite3_reset(row);
    }
    return status;
}

/* ---- verbs ---- */

static apr_status_t put_check(ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *file, const char *thread_id)
{
    ac_file_count_t sum = {0, 0};
    bool exists = true;
    apr_status_t status = APR_SUCCESS;

    if (thread_id) {
        status = row_exists(&exists, conn, sql_thread,
                            AC_SQLITE_ARGS(ac_sqlite_text(thread_id), ac_sqlite_text(op->owner)), &op->err);
    }
    if (status == APR_SUCCESS && !exists) {
        status = ac_err_set(&op->err, AC_NOT_FOUND, "no thread with this id");
    }
    if (status == APR_SUCCESS) {
        status = files_count(&sum, conn, op, NULL);
    }
    if (status == APR_SUCCESS) {
        status = ac_store_file_check(op, &sum, false, file);
    }
    if (status == APR_SUCCESS && thread_id) {
        status = files_count(&sum, conn, op, thread_id);
        status = status == APR_SUCCESS ? ac_store_file_check(op, &sum, true, file) : status;
    }
    return status;
}

apr_status_t ac_sqlite_file_put(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const json_t *file = json_object_get(op->in, "file");
    const char *id = ac_json_peek_string(file, "id", ""), *thread_id = ac_json_peek_string(file, "thread_id", NULL);
    json_t *old;
    apr_status_t status = file_find(&old, conn, op, id);

    if (status != APR_SUCCESS || old) {
        op->out = old; /* an earlier attempt stored it */
        return status;
    }
    status = put_check(conn, op, file, thread_id);
    if (status == APR_SUCCESS) {
        status = file_write(conn, file, op->owner, ac_json_peek_string(file, "created_at", ""), &op->err);
    }
    return status == APR_SUCCESS ? file_find(&op->out, conn, op, id) : status;
}

static apr_status_t no_file(ac_store_op_t *op)
{
    return ac_err_set(&op->err, AC_NOT_FOUND, "no file with this id");
}

apr_status_t ac_sqlite_file_get(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    apr_status_t status = file_find(&op->out, conn, op, op->id);

    return status == APR_SUCCESS && !op->out ? no_file(op) : status;
}

apr_status_t ac_sqlite_file_delete(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    apr_status_t status = ac_sqlite_statement_run(conn, sql_delete,
                                                  AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_text(op->owner)),
                                                  &op->err);

    if (status == APR_SUCCESS && sqlite3_changes(conn->db) == 0) {
        return no_file(op);
    }
    op->out = json_object();
    return status;
}

/* Reads up to page.limit files of a statement that gives one more, which *pmore reports. */
static apr_status_t files_read(json_t *data, bool *pmore, ac_sqlite_conn_t *conn, ac_store_op_t *op, sqlite3_stmt *stmt)
{
    bool row = false;
    apr_status_t status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);

    *pmore = false;
    while (status == APR_SUCCESS && row && !*pmore) {
        *pmore = (int)json_array_size(data) == op->page.limit;
        if (*pmore) {
            break;
        }
        json_t *file = files_row(stmt);
        if (op->verb == AC_STORE_EXPORT_FILES) {
            ac_json_put(file, "owner", ac_sqlite_statement_text(stmt, 9));
        }
        status = json_array_append_new(data, file) == 0 ? ac_sqlite_statement_step(&row, conn, stmt, &op->err)
                                                        : ac_sqlite_conn_fail_row(conn, &op->err);
    }
    return status;
}

apr_status_t ac_sqlite_file_list(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const char *thread_id = ac_json_peek_string(op->in, "thread_id", NULL);
    const char *after = *op->page.after ? op->page.after : CURSOR_NONE;
    json_t *data = json_array(), *next = NULL;
    sqlite3_stmt *stmt;
    bool more = false;
    apr_status_t status = ac_sqlite_statement_start(
        &stmt, conn, thread_id ? sql_list_thread : sql_list,
        AC_SQLITE_ARGS(ac_sqlite_text(op->owner), ac_sqlite_text(after), ac_sqlite_int(op->page.limit + 1),
                       thread_id ? ac_sqlite_text(thread_id) : (ac_sqlite_arg_t){.type = AC_SQLITE_END}),
        &op->err);

    if (status == APR_SUCCESS) {
        status = files_read(data, &more, conn, op, stmt);
    }
    if (status != APR_SUCCESS) {
        json_decref(data);
        return status;
    }
    if (more) {
        next = json_incref(json_object_get(json_array_get(data, json_array_size(data) - 1), "id"));
    }
    return ac_sqlite_list_answer(op, data, more, next);
}

/* ---- files of a message ---- */

/* A file that an import attached belongs to no thread if its thread, or its message there, does not exist. */
static apr_status_t attach_find(json_t **pfile, ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *id)
{
    apr_status_t status = file_find(pfile, conn, op, id);
    const json_t *thread_id = json_object_get(*pfile, "thread_id");
    bool attached = strcmp(ac_json_peek_string(*pfile, "status", ""), ATTACHED) == 0, exists = true;

    if (status == APR_SUCCESS && json_is_string(thread_id)) {
        status = row_exists(&exists, conn, attached ? sql_belongs : sql_any_thread,
                            AC_SQLITE_ARGS(ac_sqlite_string(thread_id), ac_sqlite_text(op->owner),
                                           attached ? ac_sqlite_text(id) : (ac_sqlite_arg_t){.type = AC_SQLITE_END}),
                            &op->err);
    }
    if (!exists) {
        ac_json_put(*pfile, "thread_id", json_null());
    }
    return status;
}

static apr_status_t attach_one(ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *id, size_t index)
{
    ac_file_count_t sum = {0, 0};
    json_t *file;
    apr_status_t status = attach_find(&file, conn, op, id);

    if (status == APR_SUCCESS) {
        status = files_count(&sum, conn, op, op->id);
    }
    if (status == APR_SUCCESS) {
        status = ac_store_file_check_attach(op, file, &sum, index);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_run(conn, sql_attach,
                                         AC_SQLITE_ARGS(ac_sqlite_text(id), ac_sqlite_text(op->owner),
                                                        ac_sqlite_text(op->id)),
                                         &op->err);
    }
    json_decref(file);
    return status;
}

apr_status_t ac_sqlite_file_attach(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const json_t *ids = json_object_get(json_object_get(op->in, "files"), "ids"), *id;
    size_t i;
    apr_status_t status = APR_SUCCESS;

    json_array_foreach(ids, i, id)
    {
        if (status == APR_SUCCESS) {
            status = attach_one(conn, op, json_is_string(id) ? json_string_value(id) : "", i);
        }
    }
    return status;
}

/* ---- removal ---- */

apr_status_t ac_sqlite_file_remove_all(json_t *removed, ac_sqlite_conn_t *conn, const char *thread_id,
                                       const char *owner, ac_err_t *err)
{
    const ac_sqlite_arg_t args[] = {ac_sqlite_text(thread_id), ac_sqlite_text(owner), {.type = AC_SQLITE_END}};
    sqlite3_stmt *stmt;
    bool row = false;
    apr_status_t status = ac_sqlite_statement_start(&stmt, conn, sql_of_thread, args, err);

    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, err);
    }
    while (status == APR_SUCCESS && row) {
        json_array_append_new(removed, ac_sqlite_statement_text(stmt, 0));
        status = ac_sqlite_statement_step(&row, conn, stmt, err);
    }
    return status == APR_SUCCESS ? ac_sqlite_statement_run(conn, sql_remove_all, args, err) : status;
}

/* Removes a file that is loose for too long, unless a message has it. */
static apr_status_t sweep_one(ac_sqlite_conn_t *conn, const json_t *file, json_t *removed, ac_err_t *err)
{
    const char *id = ac_json_peek_string(file, "id", ""), *owner = ac_json_peek_string(file, "owner", "");
    bool attached = strcmp(ac_json_peek_string(file, "status", ""), ATTACHED) == 0, exists = false;
    const ac_sqlite_arg_t args[] = {ac_sqlite_text(id), ac_sqlite_text(owner), {.type = AC_SQLITE_END}};
    apr_status_t status = APR_SUCCESS;

    if (attached) {
        status = row_exists(&exists, conn, sql_message,
                            AC_SQLITE_ARGS(ac_sqlite_string(json_object_get(file, "thread_id")), ac_sqlite_text(owner),
                                           ac_sqlite_text(id)),
                            err);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_run(conn, exists ? sql_keep : sql_delete, args, err);
    }
    if (status == APR_SUCCESS && !exists) {
        json_array_append_new(removed, json_string(id));
    }
    return status;
}

/* The ids of op->in that are no file's. */
static apr_status_t find_unknown(json_t *unknown, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const json_t *ids = json_object_get(op->in, "ids");
    json_t *id;
    bool exists;
    size_t i;
    apr_status_t status = APR_SUCCESS;

    json_array_foreach(ids, i, id)
    {
        if (status == APR_SUCCESS) {
            status = row_exists(&exists, conn, sql_known, AC_SQLITE_ARGS(ac_sqlite_string(id)), &op->err);
        }
        if (status == APR_SUCCESS && !exists) {
            json_array_append(unknown, id);
        }
    }
    return status;
}

apr_status_t ac_sqlite_file_sweep(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const char *before = ac_json_peek_string(op->in, "before", "");
    json_t *removed = json_array(), *unknown = json_array(), *loose = json_array(), *file;
    sqlite3_stmt *stmt;
    bool row = false;
    size_t i;
    apr_status_t status =
        ac_sqlite_statement_start(&stmt, conn, sql_loose,
                                  AC_SQLITE_ARGS(ac_sqlite_text(before), ac_sqlite_int(op->page.limit)), &op->err);

    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    while (status == APR_SUCCESS && row) {
        file = files_row(stmt);
        ac_json_put(file, "owner", ac_sqlite_statement_text(stmt, 9));
        json_array_append_new(loose, file);
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    json_array_foreach(loose, i, file)
    {
        status = status == APR_SUCCESS ? sweep_one(conn, file, removed, &op->err) : status;
    }
    if (status == APR_SUCCESS) {
        status = find_unknown(unknown, conn, op);
    }
    op->out = json_pack("{s:o, s:o, s:b}", "removed", removed, "unknown", unknown, "more",
                        (int)json_array_size(loose) == op->page.limit);
    json_decref(loose);
    return status;
}

/* ---- moving ---- */

apr_status_t ac_sqlite_file_export(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    json_t *data = json_array();
    const json_t *last;
    sqlite3_stmt *stmt;
    bool more = false;
    apr_status_t status =
        ac_sqlite_statement_start(&stmt, conn, sql_export,
                                  AC_SQLITE_ARGS(ac_sqlite_text(ac_json_peek_string(op->in, "after", "")),
                                                 ac_sqlite_int(op->page.limit + 1)),
                                  &op->err);

    if (status == APR_SUCCESS) {
        status = files_read(data, &more, conn, op, stmt);
    }
    last = json_array_get(data, json_array_size(data) - 1);
    op->out = json_pack("{s:O, s:s?}", "data", data, "next", more ? ac_json_peek_string(last, "id", NULL) : NULL);
    json_decref(data);
    return status;
}

/* A file stays loose until a sweep finds its thread: the thread may not be imported yet. */
apr_status_t ac_sqlite_file_import(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const json_t *files = json_object_get(op->in, "files"), *file;
    char now[AC_TIME_SIZE];
    size_t i;
    apr_status_t status = APR_SUCCESS;

    ac_time_format(now, apr_time_now());
    json_array_foreach(files, i, file)
    {
        const char *owner = ac_json_peek_string(file, "owner", "");
        if (status == APR_SUCCESS && (!ac_store_file_valid(file) || ac_store_owner_problem(owner))) {
            status = ac_err_set_at(&op->err, AC_INVALID_REQUEST, "/files", "has an incomplete file");
        }
        status = status == APR_SUCCESS ? file_write(conn, file, owner, now, &op->err) : status;
    }
    op->out = json_object();
    return status;
}
