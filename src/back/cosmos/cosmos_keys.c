/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store's Idempotency-Keys: an entry in the owner's partition leads from a key to its run. The two are in different
 * partitions, so an entry counts only if its run is stored. One without is of a turn that is just being opened, for which another one
 * waits, or of a turn that never was, which another one replaces. */
#include "store_cosmos.h"

#include <string.h>

#include <apr_strings.h>
#include <openssl/evp.h>

#define POLL_FIRST \
    apr_time_from_msec(30) /* while another turn with the key is being opened; then twice as long each time */
#define POLL_MOST apr_time_from_msec(500)
#define OPEN_MARGIN apr_time_from_sec(5) /* for a request that the service carries out after we have given up */
#define PURGE_ROWS 1000
#define KEY_TTL (AC_KEY_LIFE + AC_KEY_LIFE / 8) /* where the container lets documents expire */

static const char sql_old[] = "SELECT c.id, c.owner FROM c WHERE c.type = 'key' AND c.created_at < @before";

static void cosmos_keys_look(ac_cosmos_task_t *task);

/* A key may be any text; an id may not. */
static void key_id(char id[AC_COSMOS_KEY_SIZE], const char *key)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;

    if (!EVP_Digest(key, strlen(key), digest, &len, EVP_sha256(), NULL)) {
        abort();
    }
    memcpy(id, "key_", 4);
    ac_hex(id + 4, digest, len);
}

static json_t *found_json(const json_t *entry)
{
    return json_pack("{s:s, s:s, s:s}", "run_id", ac_json_peek_string(entry, "run_id", ""), "thread_id",
                     ac_json_peek_string(entry, "thread", ""), "request_hash",
                     ac_json_peek_string(entry, "request_hash", ""));
}

/* Its turn may still be on its way. */
static bool is_opening(const ac_cosmos_t *store, const json_t *entry)
{
    return !ac_cosmos_past(entry, "opening_until", ac_cosmos_now(store)) &&
        !ac_process_died(store->process, ac_json_peek_string(entry, "process", ""));
}

/* ---- looking a key up: task->found is its entry, or NULL where it does not count; then task->after_find ---- */

static void looked(ac_cosmos_task_t *task, bool counts)
{
    ac_cosmos_step_fn *fn = task->after_find;

    if (!counts) {
        json_decref(task->found);
        task->found = NULL;
    }
    fn(task);
}

static void on_poll(void *baton)
{
    cosmos_keys_look(baton);
}

static void cosmos_keys_on_run(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    apr_time_t now = ac_clock();
    apr_interval_time_t wait = task->n_polls < 5 ? POLL_FIRST << task->n_polls : POLL_MOST;

    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 200 || task->op->verb == AC_STORE_KEY_GET || !is_opening(task->store, task->found)) {
        looked(task, reply->status == 200);
    } else if (task->deadline && now + wait >= task->deadline) {
        ac_cosmos_end(task,
                      ac_err_set(&task->op->err, AC_STORE_TIMEOUT, "a turn with this Idempotency-Key is being opened"));
    } else {
        task->n_polls++;
        ac_timer_set(task->store->loop, &task->timer, now + wait, on_poll, task);
    }
}

static void cosmos_keys_on_entry(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const char *run_id, *thread_id;

    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    task->key_etag[0] = '\0';
    if (reply->status == 404) {
        looked(task, false);
        return;
    }
    task->found = json_incref(reply->body);
    apr_cpystrn(task->key_etag, ac_cosmos_reply_etag(reply), sizeof(task->key_etag));
    run_id = ac_json_peek_string(reply->body, "run_id", "");
    thread_id = ac_json_peek_string(reply->body, "thread", "");
    if (strcmp(ac_json_peek_string(reply->body, "created_at", ""), ac_json_peek_string(task->key, "since", "")) < 0 ||
        !ac_cosmos_name_valid(run_id)) {
        looked(task, false);
    } else if (strcmp(run_id, task->run_id) == 0) {
        looked(task, true);
    } else {
        ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                       .place = AC_COSMOS_MESSAGES,
                                       .key = thread_id,
                                       .id = run_id};
        ac_cosmos_call(task, &request, cosmos_keys_on_run, task);
    }
}

static void cosmos_keys_look(ac_cosmos_task_t *task)
{
    char id[AC_COSMOS_KEY_SIZE];
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .place = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .id = id};

    json_decref(task->found);
    task->found = NULL;
    key_id(id, ac_json_peek_string(task->key, "key", ""));
    ac_cosmos_call(task, &request, cosmos_keys_on_entry, task);
}

/* Checks what the operation gives. */
static apr_status_t key_check(ac_cosmos_task_t *task, const json_t *in)
{
    const char *text;
    apr_status_t status = ac_json_string(&text, in, "key", true, &task->op->err);

    if (status == APR_SUCCESS) {
        status = ac_json_string(&text, in, "since", true, &task->op->err);
    }
    task->key = in;
    return status;
}

/* ---- KEY_GET ---- */

static void get_done(ac_cosmos_task_t *task)
{
    apr_status_t status = APR_SUCCESS;

    if (task->found) {
        task->op->out = found_json(task->found);
    } else {
        status = ac_err_set(&task->op->err, AC_NOT_FOUND, "this key was not used");
    }
    ac_cosmos_end(task, status);
}

void ac_cosmos_key_get(ac_cosmos_task_t *task)
{
    apr_status_t status = key_check(task, task->op->in);

    if (status != APR_SUCCESS) {
        ac_cosmos_end(task, status);
        return;
    }
    task->after_find = get_done;
    cosmos_keys_look(task);
}

/* ---- TURN_OPEN ---- */

static void end_used(ac_cosmos_task_t *task)
{
    task->op->out = found_json(task->found);
    ac_cosmos_end(task, ac_err_set(&task->op->err, AC_IDEMPOTENCY_CONFLICT, "this Idempotency-Key was used before"));
}

static void judged(ac_cosmos_task_t *task)
{
    ac_cosmos_step_fn *fn = task->after_key;
    bool ours = task->found && strcmp(ac_json_peek_string(task->found, "run_id", ""), task->run_id) == 0;

    if (task->found && !ours) {
        end_used(task);
        return;
    }
    /* An earlier try of the caller wrote it. It is written again, so that a task that still removes it does not find it. Only a try
     * that timed out may have stored the turn: a try that was refused stored nothing, so its key is free again if this one fails. */
    task->unsure = task->unsure || (ours && json_is_true(json_object_get(task->op->in, "retry")));
    json_decref(task->found);
    task->found = NULL;
    fn(task);
}

void ac_cosmos_key_judge(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    const json_t *in = json_object_get(task->op->in, "idempotency");
    apr_status_t status;

    if (!json_is_object(in)) {
        fn(task);
        return;
    }
    status = key_check(task, in);
    if (status != APR_SUCCESS) {
        ac_cosmos_end(task, status);
        return;
    }
    task->after_key = fn;
    task->after_find = judged;
    cosmos_keys_look(task);
}

static void cosmos_keys_take(ac_cosmos_task_t *task);

static void cosmos_keys_on_taken(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;

    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 201, 404, 409, 412))) {
        return;
    }
    if (reply->status == 200 || reply->status == 201) {
        task->key_written = true;
        apr_cpystrn(task->key_etag, ac_cosmos_reply_etag(reply), sizeof(task->key_etag));
        task->after_taken(task);
    } else { /* somebody else took it, or we did with a try whose answer was lost */
        task->after_find = judged;
        task->after_key = cosmos_keys_take;
        ac_cosmos_again(task, cosmos_keys_look);
    }
}

static void cosmos_keys_take(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = *task->key_etag ? AC_COSMOS_REPLACE : AC_COSMOS_CREATE,
                                   .place = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .if_match = task->key_etag};
    apr_time_t until = ac_cosmos_now(task->store) + OPEN_MARGIN +
        (task->deadline ? task->deadline - ac_clock() : AC_COSMOS_PATIENCE);
    char id[AC_COSMOS_KEY_SIZE];
    json_t *entry;

    if (task->key_written) {
        task->after_taken(task);
        return;
    }
    key_id(id, ac_json_peek_string(task->key, "key", ""));
    entry = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "id", id, "key", id, "owner",
                      task->op->owner, "type", "key", "run_id", task->run_id, "thread", task->op->id, "request_hash",
                      ac_json_peek_string(task->key, "request_hash", ""), "created_at",
                      ac_json_peek_string(json_object_get(task->op->in, "run"), "created_at", ""), "process",
                      task->store->process, "ttl", (json_int_t)apr_time_sec(KEY_TTL));
    ac_json_put(entry, "opening_until", ac_json_time(until));
    request.id = *task->key_etag ? id : NULL;
    ac_cosmos_write(task, &request, entry, cosmos_keys_on_taken);
    json_decref(entry);
}

void ac_cosmos_key_take(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    task->after_taken = fn;
    if (task->key) {
        cosmos_keys_take(task);
    } else {
        fn(task);
    }
}

/* ---- giving back what leads to no run ---- */

static void on_dropped(void *baton, const ac_cosmos_reply_t *reply)
{
    (void)reply; /* where it fails, the entry does not count after a while */
    ac_cosmos_end(baton, APR_SUCCESS);
}

/* Only what that task wrote. */
static void cosmos_keys_drop(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DELETE,
                                   .place = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .id = ac_json_peek_string(task->documents, "id", ""),
                                   .if_match = task->key_etag};

    ac_cosmos_call(task, &request, on_dropped, task);
}

void ac_cosmos_key_drop(ac_cosmos_task_t *task)
{
    char id[AC_COSMOS_KEY_SIZE];
    ac_cosmos_task_t *own;

    if (!task->key || !task->key_written || !*task->key_etag || task->unsure || task->store->stopping) {
        return;
    }
    key_id(id, ac_json_peek_string(task->key, "key", ""));
    own = ac_cosmos_task_own(task->store, task->op->owner, NULL, cosmos_keys_drop);
    own->documents = json_pack("{s:s}", "id", id);
    apr_cpystrn(own->key_etag, task->key_etag, sizeof(own->key_etag));
}

/* ---- old ones ---- */

static void old_next(ac_cosmos_task_t *task);

static void on_old_gone(void *baton, const ac_cosmos_reply_t *reply)
{
    if (!ac_cosmos_failed(baton, reply, AC_COSMOS_EXPECT(200, 204, 404))) {
        old_next(baton);
    }
}

static void old_next(ac_cosmos_task_t *task)
{
    const json_t *row = json_array_get(task->rows, task->row);
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DELETE,
                                   .place = AC_COSMOS_THREADS,
                                   .key = ac_json_peek_string(row, "owner", ""),
                                   .id = ac_json_peek_string(row, "id", "")};
    ac_cosmos_step_fn *fn = task->after_key;

    if (task->store->stopping || (!row && task->row < PURGE_ROWS)) {
        fn(task);
    } else if (row) {
        task->row++;
        ac_cosmos_call(task, &request, on_old_gone, task);
    } else {
        ac_cosmos_key_purge(task, fn);
    }
}

static void old_found(ac_cosmos_task_t *task)
{
    task->row = 0;
    old_next(task);
}

void ac_cosmos_key_purge(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    const char *before = ac_json_peek_string(task->op->in, "keys_before", NULL);
    ac_cosmos_select_t select = {.place = AC_COSMOS_THREADS, .sql = sql_old, .want = PURGE_ROWS};

    if (!before || task->store->keys_expire) {
        fn(task);
        return;
    }
    task->after_key = fn;
    select.parameters = json_pack("{s:s}", "@before", before);
    ac_cosmos_select(task, &select, old_found);
}
