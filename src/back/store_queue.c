/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of a thread's turns, for stores: who may come in, and who may begin. Pure. */
#include "back.h"

#include <string.h>

static int queue_place(const json_t *queue, const ac_store_op_t *op)
{
    const char *run_id = ac_json_peek_string(json_object_get(op->in, "run"), "id", "");
    const json_t *other;
    size_t i;

    json_array_foreach((json_t *)queue, i, other)
    {
        if (json_is_string(other) && strcmp(json_string_value(other), run_id) == 0) {
            return (int)i;
        }
    }
    return (int)json_array_size(queue);
}

apr_status_t ac_store_queue_check(int *pplace, const json_t *queue, ac_store_op_t *op)
{
    int64_t most = ac_json_peek_int(op->in, "most", 0);

    *pplace = queue_place(queue, op);
    if (*pplace < (int)json_array_size(queue) || *pplace < most) {
        return APR_SUCCESS;
    }
    op->out = json_pack("{s:O?}", "run_id", json_array_get(queue, 0));
    return ac_err_set(&op->err, AC_RUN_IN_PROGRESS, "the queue of the thread is full");
}

apr_status_t ac_store_queue_open(bool *pqueued, const json_t *queue, ac_store_op_t *op)
{
    int n = (int)json_array_size(queue), place = queue_place(queue, op);

    *pqueued = place < n;
    if (!*pqueued && json_is_true(json_object_get(op->in, "queued"))) {
        return ac_err_set(&op->err, AC_RUN_ENDED, "the turn is not in the queue any more");
    }
    if (n == 0 || place == 0) {
        return APR_SUCCESS;
    }
    op->out = json_pack("{s:O}", "run_id", json_array_get(queue, 0));
    return ac_err_set(&op->err, AC_RUN_IN_PROGRESS, "another turn of the thread comes first");
}
