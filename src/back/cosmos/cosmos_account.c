/* SPDX-License-Identifier: Apache-2.0 */
/* The account of the Cosmos DB store: it names the region that accepts writes. */
#include "cosmos_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void account_on_read(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_t *store = task->store;
    const char *endpoint = ac_json_peek_string(json_array_get(json_object_get(reply->body, "writableLocations"), 0),
                                               "databaseAccountEndpoint", "");
    size_t len = strlen(endpoint);
    while (len && endpoint[len - 1] == '/') {
        len--;
    }
    /* The credential is sent there: the host must belong to the same service. */
    if (reply->status == 200 && strncasecmp(endpoint, "https://", 8) == 0 &&
        strncasecmp(store->conf.endpoint, "https://", 8) == 0) {
        const char *ours = strchr(store->conf.host, '.'), *theirs = strchr(endpoint, '.');
        size_t n = theirs ? strcspn(theirs, ":/") : 0;
        if (ours && theirs && strlen(ours) == n && strncasecmp(ours, theirs, n) == 0) {
            free(store->calls.write_endpoint);
            store->calls.write_endpoint = strndup(endpoint, len);
        }
    }
    ac_cosmos_task_end(task, APR_SUCCESS);
}

void ac_cosmos_account_read(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_ACCOUNT_READ, .early = true};
    task->deadline = ac_clock() + apr_time_from_sec(5);
    ac_cosmos_call_start(task, &request, account_on_read, task);
}
