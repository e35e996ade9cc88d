/* SPDX-License-Identifier: Apache-2.0 */
/* The erasures of owners that are not finished, in the Cosmos DB store. Each has a marker: {subject, erasure, at,
 * until, round, base, counts, threads, runs, files}. A server knows the markers that it has written or read: its
 * readers see nothing of the owner that is older than `until`. It reads them once in each lease, and with each purge.
 *
 * A purge continues all erasures: 1 query the markers, 2 hide and count what an interrupted OWNER_ERASE has left; then
 * it removes the threads: cosmos_remove.c; 3 remove the rest of each; an owner who has no thread left that is older is
 * in the result. OWNER_ERASED then deletes the marker. */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>
#include <openssl/evp.h>

#define KEY AC_COSMOS_ERASURES_KEY

static const char sql_markers[] = "SELECT * FROM c WHERE c.owner = @key AND c.type = 'erasure'";
static const char sql_left[] =
    "SELECT c.id FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.created_at <= @at";

static void resume_next(ac_cosmos_task_t *task);
static void finish_next(ac_cosmos_task_t *task);
static void finish_look(ac_cosmos_task_t *task);
static void finish_found(ac_cosmos_task_t *task);

void ac_cosmos_erasures_id(char id[AC_COSMOS_KEY_SIZE], const char *owner)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (!EVP_Digest(owner, strlen(owner), digest, &len, EVP_sha256(), NULL)) {
        abort();
    }
    memcpy(id, "erasure_", 8);
    ac_text_hex(id + 8, digest, len / 2);
}

json_t *ac_cosmos_erasures_json(const json_t *marker)
{
    static const char *const traces[] = {"threads", "runs", "files"};
    json_t *left = json_object();
    json_t *out = json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", ac_json_peek_string(marker, "erasure", ""), "owner",
                            ac_json_peek_string(marker, "subject", ""), "at", ac_json_peek_string(marker, "at", ""),
                            "mark", ac_json_peek_string(marker, "_etag", ""), "traces", left);
    json_t *counts = json_deep_copy(json_object_get(marker, "counts"));
    for (int i = 0; i < 3; i++) {
        json_t *ids = json_object_get(marker, traces[i]);
        ac_json_put(left, traces[i], ids ? json_deep_copy(ids) : json_array());
    }
    if (counts) {
        json_object_update(out, counts);
        json_decref(counts);
    }
    return out;
}

/* ---- what this server knows ---- */

/* In the lock. `now`: it is known from then on; a query that began earlier does not remove it. */
static void state_add(ac_cosmos_state_t *state, const json_t *marker, apr_time_t now)
{
    const char *id = ac_json_peek_string(marker, "id", "");
    ac_cosmos_erasing_t *slot = NULL;
    for (int i = 0; i < AC_COSMOS_MAX_ERASING; i++) {
        ac_cosmos_erasing_t *one = &state->erasing[i];
        if (strcmp(one->id, id) == 0) {
            slot = one;
            break;
        }
        slot = !slot || one->known < slot->known ? one : slot; /* a free one, else the oldest */
    }
    apr_cpystrn(slot->id, id, sizeof(slot->id));
    apr_cpystrn(slot->until, ac_json_peek_string(marker, "until", ""), sizeof(slot->until));
    slot->known = now;
}

static void count_erasing(ac_cosmos_t *store, const ac_cosmos_state_t *state)
{
    int n = 0;
    for (int i = 0; i < AC_COSMOS_MAX_ERASING; i++) {
        n += state->erasing[i].id[0] != '\0';
    }
    atomic_store(&store->shared->n_erasing, n);
}

void ac_cosmos_erasures_note(ac_cosmos_t *store, const json_t *marker)
{
    ac_cosmos_state_t *state = ac_cosmos_shared_acquire(store);
    state_add(state, marker, ac_clock());
    count_erasing(store, state);
    ac_cosmos_shared_release(store);
}

/* These are all markers of the service, as queried at `since`. */
static void note_all(ac_cosmos_t *store, const json_t *markers, apr_time_t since)
{
    ac_cosmos_state_t *state = ac_cosmos_shared_acquire(store);
    const json_t *marker;
    size_t i;
    for (int k = 0; k < AC_COSMOS_MAX_ERASING; k++) {
        if (state->erasing[k].known < since) {
            memset(&state->erasing[k], 0, sizeof(state->erasing[k]));
        }
    }
    json_array_foreach(markers, i, marker)
    {
        state_add(state, marker, since);
    }
    count_erasing(store, state);
    ac_cosmos_shared_release(store);
}

void ac_cosmos_erasures_until(char until[AC_TIME_SIZE], ac_cosmos_t *store, const char *owner)
{
    char id[AC_COSMOS_KEY_SIZE];
    *until = '\0';
    if (atomic_load(&store->shared->n_erasing) == 0) {
        return;
    }
    ac_cosmos_erasures_id(id, owner);
    const ac_cosmos_state_t *state = ac_cosmos_shared_acquire(store);
    for (int i = 0; i < AC_COSMOS_MAX_ERASING; i++) {
        if (strcmp(state->erasing[i].id, id) == 0) {
            apr_cpystrn(until, state->erasing[i].until, AC_TIME_SIZE);
        }
    }
    ac_cosmos_shared_release(store);
}

bool ac_cosmos_erasures_hide(ac_cosmos_t *store, const char *owner, const json_t *doc)
{
    char until[AC_TIME_SIZE];
    ac_cosmos_erasures_until(until, store, owner);
    return strcmp(ac_json_peek_string(doc, "created_at", "~"), until) <= 0;
}

void ac_cosmos_erasures_filter(const ac_cosmos_task_t *task, json_t *docs)
{
    for (size_t i = json_array_size(docs); i > 0; i--) {
        if (ac_cosmos_erasures_hide(task->store, task->op->owner, json_array_get(docs, i - 1))) {
            json_array_remove(docs, i - 1);
        }
    }
}

/* ---- 1: the markers ---- */

static void markers_read(ac_cosmos_task_t *task)
{
    note_all(task->store, task->rows, task->began);
    ac_json_put(task->documents, "markers", task->rows);
    task->rows = NULL;
    ac_cosmos_task_return(task);
}

static void markers_query(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .key = KEY,
                               .sql = sql_markers,
                               .parameters = json_pack("{s:s}", "@key", KEY)};
    json_decref(task->documents);
    task->documents = json_pack("{s:[], s:[], s:i}", "active", "ended", "n", 0);
    ac_cosmos_task_then(task, fn);
    ac_cosmos_query_run(task, &query, markers_read);
}

static void end_poll(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end(task, APR_SUCCESS);
}

static void poll_begin(ac_cosmos_task_t *task)
{
    task->began = ac_clock();
    task->deadline = task->began + task->store->conf.lease;
    markers_query(task, end_poll);
}

void ac_cosmos_erasures_poll(ac_cosmos_t *store)
{
    apr_time_t now = ac_clock();
    if (store->containers.ready != AC_COSMOS_READY || store->child.stopping) {
        return;
    }
    ac_cosmos_state_t *state = ac_cosmos_shared_acquire(store);
    bool due = now >= state->next_erasures;
    if (due) {
        state->next_erasures = now + store->conf.lease;
    }
    ac_cosmos_shared_release(store);
    if (due) {
        ac_cosmos_task_own(store, NULL, NULL, poll_begin);
    }
}

bool ac_cosmos_erasures_any(const ac_cosmos_task_t *task)
{
    return json_array_size(json_object_get(task->documents, "markers")) > 0;
}

/* Takes the next marker; returns false after the last one. */
static bool take_marker(ac_cosmos_task_t *task)
{
    int64_t n = ac_json_peek_int(task->documents, "n", 0);
    json_t *marker = json_array_get(json_object_get(task->documents, "markers"), (size_t)n);
    bool more = marker && !task->store->child.stopping;
    ac_json_put(task->documents, "n", json_integer(more ? n + 1 : 0));
    if (more) {
        ac_json_put(task->documents, "marker", json_incref(marker));
        json_object_del(task->documents, "sums");
    }
    return more;
}

/* ---- 2: what an interrupted OWNER_ERASE has left ---- */

void ac_cosmos_erasures_resume(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_task_then(task, fn);
    task->began = ac_clock();
    markers_query(task, resume_next);
}

static void resume_next(ac_cosmos_task_t *task)
{
    if (take_marker(task)) {
        ac_cosmos_erase_continue(task, resume_next);
    } else {
        ac_cosmos_task_return(task);
    }
}

/* ---- 3: the rest ---- */

void ac_cosmos_erasures_finish(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_task_then(task, fn);
    finish_next(task);
}

/* A marker without counts was changed by another process, which continues with it. */
static void finish_next(ac_cosmos_task_t *task)
{
    if (!take_marker(task)) {
        ac_cosmos_task_return(task);
    } else if (json_is_object(json_object_get(ac_cosmos_erase_marker(task), "counts"))) {
        ac_cosmos_erase_rest_end(task, finish_look);
    } else {
        finish_next(task);
    }
}

static void finish_look(ac_cosmos_task_t *task)
{
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .key = ac_cosmos_erase_subject(task),
                               .sql = sql_left,
                               .want = 1,
                               .parameters = json_pack("{s:s, s:s}", "@owner", ac_cosmos_erase_subject(task), "@at",
                                                       ac_cosmos_erase_until(task))};
    ac_cosmos_query_run(task, &query, finish_found);
}

static void finish_on_reopened(void *baton, const ac_cosmos_reply_t *reply)
{
    if (!ac_cosmos_call_failed(baton, reply, AC_COSMOS_EXPECT(200, 404, 412))) {
        finish_next(baton);
    }
}

/* A turn on another server, or an import, may have stored a thread after the others were hidden. */
static void finish_found(ac_cosmos_task_t *task)
{
    json_t *marker = ac_cosmos_erase_marker(task);
    ac_cosmos_request_t request = {.verb = AC_COSMOS_REPLACE,
                                   .container = AC_COSMOS_THREADS,
                                   .key = KEY,
                                   .id = ac_json_peek_string(marker, "id", ""),
                                   .if_match = ac_json_peek_string(marker, "_etag", "")};
    if (json_array_size(task->rows) == 0) {
        json_array_append_new(json_object_get(task->documents, "ended"), ac_cosmos_erasures_json(marker));
        finish_next(task);
    } else {
        ac_cosmos_erase_reopen(marker);
        ac_cosmos_call_write(task, &request, marker, finish_on_reopened);
    }
}

void ac_cosmos_erasures_report(const ac_cosmos_task_t *task, json_t *out)
{
    json_t *ended = json_object_get(task->documents, "ended");
    size_t n = json_array_size(json_object_get(task->documents, "markers")), n_ended = json_array_size(ended);
    if (n_ended > 0) {
        ac_json_put(out, "erasures", json_deep_copy(ended));
    }
    if (n > n_ended) {
        ac_json_put(out, "unfinished", json_integer((json_int_t)(n - n_ended)));
    }
}

/* ---- OWNER_ERASED ---- */

/* 404: it was deleted. 412: the owner has erased once more, and the marker stays. */
static void erased_on_deleted(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    char id[AC_COSMOS_KEY_SIZE];
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 204, 404, 412))) {
        return;
    }
    if (reply->status != 412) {
        ac_cosmos_erasures_id(id, task->op->owner);
        ac_cosmos_state_t *state = ac_cosmos_shared_acquire(task->store);
        for (int i = 0; i < AC_COSMOS_MAX_ERASING; i++) {
            if (strcmp(state->erasing[i].id, id) == 0) {
                memset(&state->erasing[i], 0, sizeof(state->erasing[i]));
            }
        }
        count_erasing(task->store, state);
        ac_cosmos_shared_release(task->store);
    }
    ac_cosmos_task_end_out(task, json_pack("{s:b}", "ended", reply->status != 412));
}

void ac_cosmos_erasures_erased(ac_cosmos_task_t *task)
{
    char id[AC_COSMOS_KEY_SIZE];
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DELETE,
                                   .container = AC_COSMOS_THREADS,
                                   .key = KEY,
                                   .id = id,
                                   .if_match = ac_json_peek_string(task->op->in, "mark", "")};
    ac_cosmos_erasures_id(id, task->op->owner);
    ac_cosmos_call_start(task, &request, erased_on_deleted, task);
}
