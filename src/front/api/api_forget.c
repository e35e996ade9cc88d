/* SPDX-License-Identifier: Apache-2.0 */
/* DELETE /me: forgets all that an owner has. The store hides everything in its first step. The steps after it can be
 * repeated, and the next purge continues them if this process ends. */
#include "api_internal.h"

#include <string.h>

#define CONFIRMATION "delete everything"
#define ERASED_BEFORE "0000-00-00T00:00:00.001Z" /* PURGE: of threads that OWNER_ERASE has hidden */
#define LOG_WAIT apr_time_from_msec(50)
#define LOG_TRIES 40

static apr_status_t read_confirmation(ac_request_t *rq)
{
    static const char *const members[] = {"confirm", NULL};
    const char *text = NULL;
    apr_status_t status = ac_request_body(rq, true);
    if (status == APR_SUCCESS) {
        status = ac_json_only(rq->body, members, &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_string(&text, rq->body, "confirm", true, &rq->err);
    }
    if (status == APR_SUCCESS && strcmp(text, CONFIRMATION) != 0) {
        status = ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/confirm", "confirm must be \"%s\"", CONFIRMATION);
    }
    return status;
}

/* The store has ended these runs already; their processes only need to know it. */
static void cancel_runs(ac_request_t *rq, const json_t *ids)
{
    const json_t *id;
    size_t i;
    json_array_foreach(ids, i, id)
    {
        ac_run_cancel_anywhere(ac_child()->engine, json_string_value(id), rq->owner, false);
    }
}

/* Logs of runs that have just been cancelled end a moment later. */
static void remove_logs(const ac_request_t *rq)
{
    const ac_event_dir_t *dir = ac_child()->event_dir;
    for (int i = 0; dir && i < LOG_TRIES && ac_event_scan_erase(dir, rq->owner) > 0; i++) {
        apr_sleep(LOG_WAIT);
    }
}

static ac_store_op_t *purge_op(void)
{
    ac_store_op_t *op = ac_store_op_create(AC_STORE_PURGE, NULL, NULL);
    if (op) {
        op->in = json_pack("{s:s}", "before", ERASED_BEFORE);
    }
    return op;
}

/* Removes what is hidden. Returns whether all of it is gone; the rest is removed later, without a caller. */
static bool purge(ac_request_t *rq)
{
    const ac_child_t *child = ac_child();
    ac_store_op_t *result, *rest;
    if (ac_request_store(rq, purge_op(), &result) == APR_SUCCESS) {
        ac_request_store_free(rq, result);
        return true;
    }
    bool late = rq->err.kind == AC_STORE_TIMEOUT;
    ac_reply_log(rq);
    ac_err_init(&rq->err);
    rest = late ? purge_op() : NULL;
    if (rest) {
        ac_store_call_post(&child->conf->store, child->loop, rest, ac_store_op_free, NULL);
    }
    return false;
}

int ac_api_forget_me(ac_request_t *rq)
{
    ac_store_op_t *op, *result;
    char id[AC_ID_SIZE];
    rq->doing = "forgetting the owner's data";
    if (read_confirmation(rq) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    ac_id_make(id, "erasure_");
    rq->audit = (ac_audit_t){AC_AUDIT_OWNER_ERASED, apr_pstrdup(rq->r->pool, id), NULL};
    op = ac_store_op_create(AC_STORE_OWNER_ERASE, rq->owner, NULL);
    if (op) {
        op->in = json_pack("{s:s, s:o}", "id", id, "at", ac_time_json(apr_time_now()));
    }
    if (ac_request_store(rq, op, &result) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    const json_t *threads = json_object_get(result->out, "threads"), *files = json_object_get(result->out, "files");
    cancel_runs(rq, json_object_get(result->out, "active"));
    ac_api_files_remove_bytes(rq, files);
    bool done = purge(rq);
    remove_logs(rq);
    json_t *receipt = json_pack("{s:s, s:s, s:o, s:s, s:I, s:I, s:I, s:I}", "object", "erasure", "id", id, "at",
                                ac_time_json(apr_time_now()), "status", done ? "done" : "continuing", "threads",
                                (json_int_t)json_array_size(threads), "messages",
                                (json_int_t)ac_json_peek_int(result->out, "messages", 0), "runs",
                                (json_int_t)ac_json_peek_int(result->out, "runs", 0), "files",
                                (json_int_t)json_array_size(files));
    return ac_reply_json(rq, done ? HTTP_OK : HTTP_ACCEPTED, receipt);
}
