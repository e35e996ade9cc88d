/* SPDX-License-Identifier: Apache-2.0 */
/* Deletes messages for a request: what they say leaves the store, and what is outside of it is removed as far as it can
 * be reached from here. The rest expires: event logs of other machines after AgentChatEventLogKeep. */
#include "front_internal.h"

#include <string.h>

static void deletion_on_copy_removed(void *baton, bool fine)
{
    (void)fine; /* it expires */
    free(baton);
}

static void deletion_remove_copy(void *baton)
{
    const ac_child_t *child = ac_child();
    const char *run_id = baton;
    child->mirror.vt->remove(child->mirror.self, &run_id, 1, deletion_on_copy_removed, baton);
}

/* The event log of an ended run, and its copy in Redis. */
static void deletion_remove_events(const ac_request_t *rq, const char *run_id)
{
    const ac_child_t *child = ac_child();
    if (child->event_dir) {
        ac_event_scan_erase(child->event_dir, rq->owner, run_id);
    }
    if (child->mirror_redis) {
        ac_loop_post(child->loop, deletion_remove_copy, strdup(run_id));
    }
}

apr_status_t ac_deletion_run(const json_t **pthread, ac_request_t *rq, const char *thread_id, json_t *in)
{
    ac_store_op_t *op = ac_store_op_create(AC_STORE_MESSAGE_DELETE, rq->owner, thread_id), *result = NULL;
    const json_t *run_id;
    size_t i;
    if (op) {
        op->in = in;
    } else {
        json_decref(in);
    }
    apr_status_t status = ac_request_store(rq, op, &result);
    if (status != APR_SUCCESS) {
        return status;
    }
    json_array_foreach(json_object_get(result->out, "runs"), i, run_id)
    {
        deletion_remove_events(rq, json_string_value(run_id));
    }
    *pthread = json_object_get(result->out, "thread");
    return APR_SUCCESS;
}
