/* SPDX-License-Identifier: Apache-2.0 */
/* DELETE /me: forgets all that an owner has. The store hides everything when it accepts the erasure; erasure.c carries
 * it out, in this process or another one. */
#include "api_internal.h"

#include <string.h>

#define CONFIRMATION "delete everything"
#define LONGEST_RUN apr_time_from_sec(86400) /* an older run has no event log, except for a suspended one */

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

/* What the receipt says of an erasure; a number is null as long as it is not known. */
static json_t *receipt_of(const json_t *erasure, bool done)
{
    static const char *const counts[] = {"threads", "messages", "runs", "files"};
    json_t *receipt = json_pack("{s:s, s:O, s:O, s:s}", "object", "erasure", "id", json_object_get(erasure, "id"), "at",
                                json_object_get(erasure, "at"), "status", done ? "done" : "continuing");
    for (int i = 0; i < 4; i++) {
        json_t *n = json_object_get(erasure, counts[i]);
        ac_json_put(receipt, counts[i], n ? json_incref(n) : json_null());
    }
    return receipt;
}

int ac_api_forget_me(ac_request_t *rq)
{
    const ac_conf_t *conf = ac_child()->conf;
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
        apr_time_t now = apr_time_now();
        op->in = json_pack("{s:s, s:o, s:o}", "id", id, "at", ac_time_json(now), "recent",
                           ac_time_json(now - conf->engine.log_keep - LONGEST_RUN));
    }
    if (ac_request_store(rq, op, &result) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    const char *current = apr_pstrdup(rq->r->pool, ac_json_peek_string(result->out, "id", id));
    rq->audit.target = current;
    cancel_runs(rq, json_object_get(result->out, "active"));
    json_t *done = ac_erasure_wait(current, ac_clock() + conf->request_store_timeout);
    json_t *receipt = receipt_of(json_object_size(done) ? done : result->out, done != NULL);
    bool ended = done != NULL;
    json_decref(done);
    return ac_reply_json(rq, ended ? HTTP_OK : HTTP_ACCEPTED, receipt);
}
