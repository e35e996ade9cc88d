/* SPDX-License-Identifier: Apache-2.0 */
/* A thread's document in the Cosmos DB store: it is read, remembered by this process, and replaced under its ETag. */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>

bool ac_cosmos_thread_doc_lives(const ac_cosmos_thread_doc_t *thread, bool hidden)
{
    const char *status = ac_json_peek_string(thread->doc, "status", "");
    return thread->doc && strcmp(status, "purging") != 0 && (hidden || strcmp(status, "deleted") != 0);
}

const char *ac_cosmos_thread_doc_run(const ac_cosmos_thread_doc_t *thread)
{
    return ac_json_peek_string(json_object_get(thread->doc, "active_run"), "id", "");
}

bool ac_cosmos_thread_doc_suspended(const ac_cosmos_thread_doc_t *thread, const char *run_id)
{
    const json_t *active = json_object_get(thread->doc, "active_run");
    return json_is_true(json_object_get(active, "waiting")) &&
        (!run_id || strcmp(ac_cosmos_thread_doc_run(thread), run_id) == 0);
}

/* ---- memory ---- */

static ac_cosmos_thread_doc_t *memory_slot(ac_cosmos_t *store, const char *thread_id)
{
    apr_ssize_t len = APR_HASH_KEY_STRING;
    return &store->remembered[apr_hashfunc_default(thread_id, &len) % AC_COSMOS_MAX_REMEMBERED];
}

void ac_cosmos_thread_doc_remember(ac_cosmos_t *store, const char *thread_id, const json_t *doc, const char *etag)
{
    ac_cosmos_thread_doc_t *slot = memory_slot(store, thread_id);
    if (doc && etag && *etag) {
        json_t *copy = json_deep_copy(doc);
        ac_cosmos_thread_doc_clear(slot);
        slot->doc = copy;
        apr_cpystrn(slot->etag, etag, sizeof(slot->etag));
    } else if (strcmp(ac_json_peek_string(slot->doc, "id", ""), thread_id) == 0) {
        ac_cosmos_thread_doc_clear(slot);
    }
}

/* ---- reading ---- */

/* Clears another owner's document: its thread does not exist for this owner. Verbs from PURGE on and the store's own
 * tasks see all owners' threads, except for suspending, approvals, feedback, marks, deletions, the queue and
 * webhooks. */
static void check_owner(ac_cosmos_task_t *task)
{
    const char *owner = ac_json_peek_string(task->thread.doc, "owner", NULL);
    bool mine = owner && strcmp(ac_json_peek_string(task->thread.doc, "type", ""), "thread") == 0;
    if (task->op->verb < AC_STORE_PURGE || task->op->verb == AC_STORE_RUN_SUSPEND ||
        task->op->verb == AC_STORE_APPROVAL_DECIDE || task->op->verb == AC_STORE_FEEDBACK_PUT ||
        task->op->verb == AC_STORE_TURN_QUEUE || task->op->verb == AC_STORE_TURN_UNQUEUE ||
        task->op->verb == AC_STORE_WEBHOOK_ACQUIRE || task->op->verb == AC_STORE_WEBHOOK_REPORT ||
        task->op->verb == AC_STORE_MESSAGE_MARK || task->op->verb == AC_STORE_MESSAGE_DELETE) {
        mine = mine && strcmp(owner, task->op->owner) == 0 &&
            !ac_cosmos_erasures_hide(task->store, owner, task->thread.doc);
    }
    if (!mine) {
        ac_cosmos_thread_doc_clear(&task->thread);
    }
}

static void recall(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_t *slot = memory_slot(task->store, task->op->id);
    if (strcmp(ac_json_peek_string(slot->doc, "id", ""), task->op->id) == 0) {
        task->thread.doc = json_deep_copy(slot->doc);
        apr_cpystrn(task->thread.etag, slot->etag, sizeof(task->thread.etag));
        task->thread.remembered = true;
        check_owner(task);
    }
}

static void thread_doc_on_read(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 200) {
        task->thread.doc = json_incref(reply->body);
        apr_cpystrn(task->thread.etag, ac_cosmos_call_etag(reply), sizeof(task->thread.etag));
    }
    ac_cosmos_thread_doc_remember(task->store, task->op->id, task->thread.doc, task->thread.etag);
    check_owner(task);
    ac_cosmos_task_return(task);
}

void ac_cosmos_thread_doc_read(ac_cosmos_task_t *task, bool remembered, ac_cosmos_step_fn *fn)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->op->id};
    ac_cosmos_thread_doc_clear(&task->thread);
    if (remembered) {
        recall(task);
    }
    /* A text that cannot be an id names no thread; the service would refuse to look for it. */
    if (task->thread.doc || !ac_cosmos_name_valid(task->op->id)) {
        fn(task);
        return;
    }
    ac_cosmos_task_then(task, fn);
    ac_cosmos_call_start(task, &request, thread_doc_on_read, task);
}

static void thread_doc_read_again(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_read(task, false, ac_cosmos_task_return);
}

void ac_cosmos_thread_doc_retry(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_thread_doc_remember(task->store, task->op->id, NULL, NULL);
    ac_cosmos_task_then(task, fn);
    ac_cosmos_task_retry(task, thread_doc_read_again);
}
