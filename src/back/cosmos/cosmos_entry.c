/* SPDX-License-Identifier: Apache-2.0 */
/* A thread's entry in its owner's partition in the Cosmos DB store: it makes the thread appear in lists, and has a
 * copy of what a list shows. A task that is about to change the thread's document marks the entry first; a list
 * reads the thread's document of a marked entry and, once the change is over, repairs the entry: it puts the copy
 * back. docs/cosmos.md explains why the copy of an entry without a mark is never out of date. */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>

#define REPAIR_TIMEOUT apr_time_from_sec(10)
#define OVER_AFTER 3600 /* seconds after which a change has either been carried out or never will be */

/* ---- marks ---- */

static void entry_on_marked(void *baton, const ac_cosmos_reply_t *reply);

void ac_cosmos_entry_mark(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_UPSERT,
                                   .container = AC_COSMOS_THREADS,
                                   .key = ac_json_peek_string(task->thread.doc, "owner", "")};
    json_t *entry;
    ac_id_make(task->entry.change, "made_");
    entry = ac_cosmos_doc_make_marked_entry(task->thread.doc, task->entry.change);
    ac_cosmos_task_then(task, fn);
    ac_cosmos_call_write(task, &request, entry, entry_on_marked);
    json_decref(entry);
}

static void entry_on_marked(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (!ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 201))) {
        apr_cpystrn(task->entry.etag, ac_cosmos_call_etag(reply), sizeof(task->entry.etag));
        ac_cosmos_task_return(task);
    }
}

/* ---- the use of an entry ---- */

const json_t *ac_cosmos_entry_copy(const ac_cosmos_t *store, const json_t *entry)
{
    const json_t *copy = json_object_get(entry, "copy");
    int64_t written = ac_json_peek_int(entry, "head_ts", 0), life = apr_time_sec(store->containers.expires);
    bool expired = life && written + life <= apr_time_sec(ac_cosmos_now(store));
    return json_is_object(copy) && !json_is_true(json_object_get(entry, "changing")) && !expired ? copy : NULL;
}

bool ac_cosmos_entry_is_old(const ac_cosmos_t *store, const json_t *entry)
{
    return apr_time_sec(ac_cosmos_now(store)) - ac_json_peek_int(entry, "_ts", 0) > OVER_AFTER;
}

/* Whether the entry is settled: the thread's document, read after the entry, contains the change for which the entry
 * was last marked, so that no earlier change can still be written; and no run is active, because the end of a run does
 * not mark the entry. */
static bool has_settled(const ac_cosmos_t *store, const json_t *entry, const json_t *thread)
{
    const char *change = ac_json_peek_string(entry, "change", "");
    if (json_is_object(json_object_get(thread, "active_run"))) {
        return false;
    }
    return !json_is_true(json_object_get(entry, "changing")) || ac_cosmos_entry_is_old(store, entry) ||
        (*change && strcmp(change, ac_json_peek_string(thread, "change", "")) == 0);
}

static bool is_as_made(const json_t *entry, json_t *made)
{
    const char *name;
    json_t *value;
    json_object_foreach(made, name, value)
    {
        if (!json_equal(value, json_object_get(entry, name))) {
            return false;
        }
    }
    static const char *const optional[] = {"copy", "pinned", "labels"};
    bool same = !json_object_get(entry, "changing");
    for (size_t i = 0; i < sizeof(optional) / sizeof(*optional); i++) {
        same = same && !json_object_get(entry, optional[i]) == !json_object_get(made, optional[i]);
    }
    return same;
}

json_t *ac_cosmos_entry_rebuild(const ac_cosmos_t *store, const json_t *entry, const json_t *thread)
{
    json_t *made;
    /* A replica that is behind may return a document that is older than the copy. */
    if (!has_settled(store, entry, thread) || ac_cosmos_doc_version(thread) < ac_cosmos_doc_version(entry)) {
        return NULL;
    }
    made = ac_cosmos_doc_make_entry(thread);
    if (is_as_made(entry, made)) {
        json_decref(made);
        return NULL;
    }
    return made;
}

/* ---- repair ---- */

static void entry_on_repaired(void *baton, const ac_cosmos_reply_t *reply)
{
    (void)reply; /* after a failure the next list tries again */
    ac_cosmos_task_end(baton, APR_SUCCESS);
}

static void repair(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {
        .verb = task->documents ? AC_COSMOS_REPLACE : AC_COSMOS_DELETE,
        .container = AC_COSMOS_THREADS,
        .key = task->op->owner,
        .id = task->op->id,
        .if_match = task->entry.etag,
    };
    task->deadline = ac_clock() + REPAIR_TIMEOUT;
    if (task->documents) {
        ac_cosmos_call_write(task, &request, task->documents, entry_on_repaired);
    } else {
        ac_cosmos_call_start(task, &request, entry_on_repaired, task);
    }
}

static ac_cosmos_task_t *start_for(const ac_cosmos_task_t *task, const json_t *entry, ac_cosmos_step_fn *fn)
{
    const char *id = ac_json_peek_string(entry, "id", "");
    ac_cosmos_task_t *own = ac_cosmos_task_own(task->store, task->op->owner, id, fn);
    apr_cpystrn(own->entry.etag, ac_json_peek_string(entry, "_etag", ""), sizeof(own->entry.etag));
    return own;
}

void ac_cosmos_entry_repair(ac_cosmos_task_t *task, const json_t *entry, json_t *made)
{
    start_for(task, entry, repair)->documents = made;
}

/* ---- check: a copy may be wrong without a mark, by an older version of the module, another program, or a restored
 * backup ---- */

static void entry_on_thread(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    bool mine = reply->status == 200 && strcmp(ac_json_peek_string(reply->body, "owner", ""), task->op->owner) == 0;
    task->documents = mine ? ac_cosmos_entry_rebuild(task->store, task->found, reply->body) : NULL;
    if (reply->err.kind == AC_OK && (task->documents || (!mine && ac_cosmos_entry_is_old(task->store, task->found)))) {
        repair(task);
    } else {
        ac_cosmos_task_end(task, APR_SUCCESS);
    }
}

static void entry_read_thread(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->op->id};
    task->deadline = ac_clock() + REPAIR_TIMEOUT;
    ac_cosmos_call_start(task, &request, entry_on_thread, task);
}

void ac_cosmos_entry_check(ac_cosmos_task_t *task, const json_t *entry)
{
    start_for(task, entry, entry_read_thread)->found = json_deep_copy(entry);
}
