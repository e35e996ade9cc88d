/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of the Cosmos DB store that have ended and are not counted: the process that ended them has died, or could not
 * reach the service. Their entries are still marked.
 *
 *  1  query marked entries
 *  2  read the run of each; count it if it has ended
 *  3  wait until all are counted */
#include "cosmos_internal.h"

#include <string.h>

static const char sql_all[] = "SELECT * FROM c WHERE c.type = 'run' AND c.changing = true AND c._ts < @before";
static const char sql_owned[] =
    "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'run' AND c.changing = true AND c._ts < @before";
static const char sql_thread[] =
    "SELECT * FROM c WHERE c.owner = @owner AND c.thread_id = @thread AND c.type = 'run' AND c.changing = true";

static void heal_rows(ac_cosmos_task_t *task);
static void heal_next(ac_cosmos_task_t *task);
static void heal_on_run(void *baton, const ac_cosmos_reply_t *reply);
static void heal_on_removed(void *baton, const ac_cosmos_reply_t *reply);

/* ---- 1: the entries ---- */

void ac_cosmos_usage_heal(ac_cosmos_task_t *task, const char *owner, ac_cosmos_step_fn *fn)
{
    apr_time_t before = ac_cosmos_now(task->store) - task->store->conf.lease;
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .key = *owner ? owner : NULL,
                               .sql = *owner ? sql_owned : sql_all,
                               .parameters = json_pack("{s:I}", "@before", (json_int_t)apr_time_sec(before))};
    if (*owner) {
        ac_json_put(query.parameters, "@owner", json_string(owner));
    }
    task->counting.ends = false;
    ac_cosmos_task_then(task, fn);
    ac_cosmos_query_run(task, &query, heal_rows);
}

void ac_cosmos_usage_heal_thread(ac_cosmos_task_t *task, const char *owner, ac_cosmos_step_fn *fn)
{
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .key = owner,
                               .sql = sql_thread,
                               .parameters = json_pack("{s:s, s:s}", "@owner", owner, "@thread", task->op->id)};
    task->counting.ends = true;
    ac_cosmos_task_then(task, fn);
    ac_cosmos_query_run(task, &query, heal_rows);
}

static void heal_rows(ac_cosmos_task_t *task)
{
    task->row = 0;
    heal_next(task);
}

/* ---- 2: the runs ---- */

/* A reader's time is limited: what is left is for the next one. */
static bool heal_is_late(const ac_cosmos_task_t *task)
{
    return task->deadline && ac_clock() > task->began + (task->deadline - task->began) / 2;
}

static void heal_next(ac_cosmos_task_t *task)
{
    const json_t *entry = json_array_get(task->rows, task->row);
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = ac_json_peek_string(entry, "thread_id", ""),
                                   .id = ac_json_peek_string(entry, "id", "")};
    if (entry && !heal_is_late(task)) {
        ac_cosmos_call_start(task, &request, heal_on_run, task);
    } else {
        ac_cosmos_usage_flush(task, ac_cosmos_task_return);
    }
}

/* An entry whose turn was never stored leads nowhere. */
static void remove_entry(ac_cosmos_task_t *task, const json_t *entry)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DELETE,
                                   .container = AC_COSMOS_THREADS,
                                   .key = ac_json_peek_string(entry, "owner", ""),
                                   .id = ac_json_peek_string(entry, "id", ""),
                                   .if_match = ac_json_peek_string(entry, "_etag", "")};
    ac_cosmos_call_start(task, &request, heal_on_removed, task);
}

static void heal_on_run(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const json_t *entry = json_array_get(task->rows, task->row);
    json_t *run;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    task->row++;
    if (reply->status == 404 && ac_cosmos_entry_is_old(task->store, entry)) {
        remove_entry(task, entry);
        return;
    }
    if (reply->status == 200) {
        run = json_copy(reply->body);
        if (task->counting.ends && ac_record_is_active(run)) {
            ac_json_put(run, "status", json_string("interrupted"));
        }
        ac_cosmos_usage_count(task->store, ac_json_peek_string(entry, "owner", ""), run);
        json_decref(run);
    }
    heal_next(task);
}

static void heal_on_removed(void *baton, const ac_cosmos_reply_t *reply)
{
    (void)reply; /* after a failure the next reader tries again */
    heal_next(baton);
}
