/* SPDX-License-Identifier: Apache-2.0 */
/* The member conversation_id of older clients. api.h has the routes. */
#include "api_internal.h"

#include <string.h>

apr_status_t ac_compat_thread_id(ac_request_t *rq, const char **pid)
{
    const char *thread_id, *older = NULL;
    ac_err_t *err = &rq->err;
    apr_status_t status = ac_json_string(&thread_id, rq->body, "thread_id", false, err);
    if (status == APR_SUCCESS) {
        status = ac_json_string(&older, rq->body, AC_COMPAT_THREAD_ID, false, err);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    if (thread_id && older && strcmp(thread_id, older) != 0) {
        return ac_err_set_at(err, AC_INVALID_REQUEST, "/" AC_COMPAT_THREAD_ID,
                             AC_COMPAT_THREAD_ID " and thread_id mean the same and differ");
    }
    *pid = thread_id ? thread_id : older;
    if (*pid && !ac_id_valid(*pid, "thread_")) {
        return ac_err_set_at(err, AC_NOT_FOUND, thread_id ? "/thread_id" : "/" AC_COMPAT_THREAD_ID,
                             "no thread with this id");
    }
    return APR_SUCCESS;
}
