/* SPDX-License-Identifier: Apache-2.0 */
/* Idempotency-Keys in the Cosmos DB store: an entry in the owner's partition leads from a key to its run. The two
 * are in different partitions, so an entry counts only if its run is stored. An entry without a run belongs to a
 * turn that another task is opening, which this one waits for, or to a turn that was never stored, whose entry this
 * one replaces. An entry without a thread counts by itself: its run is in no store.
 *
 * Looking a key up:      1 read the entry   2 read its run; while its turn is being opened: again after a pause
 * ac_cosmos_key_check(): 1 look the key up   2 end the operation if the key leads to another run
 * ac_cosmos_key_claim(): 1 write the entry, under the ETag that it was read with   - on conflict: look the key up,
 * check it, 1
 * KEY_PUT: check, then claim */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>
#include <openssl/evp.h>

#define FIRST_POLL \
    apr_time_from_msec(30) /* while another task opens a turn with the key; then twice as long each time */
#define MAX_POLL apr_time_from_msec(500)
#define OPEN_MARGIN apr_time_from_sec(5) /* the service may carry out a request after this process gives up */
#define PURGE_ROWS 1000
#define KEY_TTL (AC_KEY_LIFE + AC_KEY_LIFE / 8) /* if the container lets documents expire */

static const char sql_old[] = "SELECT c.id, c.owner FROM c WHERE c.type = 'key' AND c.created_at < @before";

/* A key may contain any character; an id may not. */
static void key_id(char id[AC_COSMOS_KEY_SIZE], const char *key)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (!EVP_Digest(key, strlen(key), digest, &len, EVP_sha256(), NULL)) {
        abort();
    }
    memcpy(id, "key_", 4);
    ac_text_hex(id + 4, digest, len);
}

static json_t *found_json(const json_t *entry)
{
    return json_pack("{s:s, s:s, s:s}", "run_id", ac_json_peek_string(entry, "run_id", ""), "thread_id",
                     ac_json_peek_string(entry, "thread", ""), "request_hash",
                     ac_json_peek_string(entry, "request_hash", ""));
}

/* Whether the entry's turn may still be stored. */
static bool is_opening(const ac_cosmos_t *store, const json_t *entry)
{
    return !ac_cosmos_doc_past(entry, "opening_until", ac_cosmos_now(store)) &&
        !ac_process_died(store->process, ac_json_peek_string(entry, "process", ""));
}

/* ---- looking a key up: task->found is its entry; NULL: the key leads to no run ---- */

static void keys_on_entry(void *baton, const ac_cosmos_reply_t *reply);
static void keys_on_run(void *baton, const ac_cosmos_reply_t *reply);

static void look_up(ac_cosmos_task_t *task)
{
    char id[AC_COSMOS_KEY_SIZE];
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .id = id};
    json_decref(task->found);
    task->found = NULL;
    key_id(id, ac_json_peek_string(task->key.in, "key", ""));
    ac_cosmos_call_start(task, &request, keys_on_entry, task);
}

static void end_look_up(ac_cosmos_task_t *task, bool counts)
{
    if (!counts) {
        json_decref(task->found);
        task->found = NULL;
    }
    ac_cosmos_task_return(task);
}

static void keys_on_entry(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const char *run_id = ac_json_peek_string(reply->body, "run_id", "");
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = ac_json_peek_string(reply->body, "thread", ""),
                                   .id = run_id};
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    task->key.etag[0] = '\0';
    if (reply->status == 404) {
        end_look_up(task, false);
        return;
    }
    task->found = json_incref(reply->body);
    apr_cpystrn(task->key.etag, ac_cosmos_call_etag(reply), sizeof(task->key.etag));
    if (strcmp(ac_json_peek_string(reply->body, "created_at", ""), ac_json_peek_string(task->key.in, "since", "")) <
            0 ||
        !ac_cosmos_name_valid(run_id)) {
        end_look_up(task, false);
    } else if (strcmp(run_id, task->run_id) == 0 || !*ac_json_peek_string(reply->body, "thread", "")) {
        end_look_up(task, true);
    } else {
        ac_cosmos_call_start(task, &request, keys_on_run, task);
    }
}

static void keys_on_poll(void *baton)
{
    look_up(baton);
}

static void keys_on_run(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    apr_time_t now = ac_clock();
    apr_interval_time_t wait = task->key.n_polls < 5 ? FIRST_POLL << task->key.n_polls : MAX_POLL;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 200 || task->op->verb == AC_STORE_KEY_GET || !is_opening(task->store, task->found)) {
        end_look_up(task, reply->status == 200);
    } else if (task->deadline && now + wait >= task->deadline) {
        ac_cosmos_task_end(task,
                           ac_err_set(&task->op->err, AC_STORE_TIMEOUT,
                                      "a turn with this Idempotency-Key is being opened"));
    } else {
        task->key.n_polls++;
        ac_timer_set(task->store->loop, &task->timer, now + wait, keys_on_poll, task);
    }
}

static apr_status_t read_input(ac_cosmos_task_t *task, const json_t *in)
{
    const char *text;
    apr_status_t status = ac_json_string(&text, in, "key", true, &task->op->err);
    if (status == APR_SUCCESS) {
        status = ac_json_string(&text, in, "since", true, &task->op->err);
    }
    task->key.in = in;
    return status;
}

/* ---- KEY_GET ---- */

static void end_get(ac_cosmos_task_t *task)
{
    apr_status_t status = APR_SUCCESS;
    if (task->found) {
        task->op->out = found_json(task->found);
    } else {
        status = ac_err_set(&task->op->err, AC_NOT_FOUND, "this key was not used");
    }
    ac_cosmos_task_end(task, status);
}

void ac_cosmos_key_get(ac_cosmos_task_t *task)
{
    apr_status_t status = read_input(task, task->op->in);
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
        return;
    }
    ac_cosmos_task_then(task, end_get);
    look_up(task);
}

/* ---- check: the key of an operation that opens a turn ---- */

static void check_found(ac_cosmos_task_t *task)
{
    bool ours = task->found && strcmp(ac_json_peek_string(task->found, "run_id", ""), task->run_id) == 0;
    if (task->found && !ours) {
        task->op->out = found_json(task->found);
        ac_cosmos_task_end(task,
                           ac_err_set(&task->op->err, AC_IDEMPOTENCY_CONFLICT, "this Idempotency-Key was used before"));
        return;
    }
    /* An earlier attempt of the caller wrote the entry. It is written again, so that a task that still removes the
     * old one does not find it. Only an attempt that timed out may have stored the turn; one that was refused stored
     * nothing, so its key is free again if this attempt fails. */
    task->turn.unsure = task->turn.unsure || (ours && json_is_true(json_object_get(task->op->in, "retry")));
    json_decref(task->found);
    task->found = NULL;
    ac_cosmos_task_return(task);
}

void ac_cosmos_key_check(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    const json_t *in = json_object_get(task->op->in, "idempotency");
    apr_status_t status;
    if (!json_is_object(in)) {
        fn(task);
        return;
    }
    status = read_input(task, in);
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
        return;
    }
    ac_cosmos_task_then(task, fn);
    ac_cosmos_task_then(task, check_found);
    look_up(task);
}

/* ---- claim: the key leads to the task's run ---- */

static void write_entry(ac_cosmos_task_t *task);

void ac_cosmos_key_claim(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    if (!task->key.in || task->key.written) {
        fn(task);
        return;
    }
    ac_cosmos_task_then(task, fn);
    write_entry(task);
}

static void keys_on_written(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 201, 404, 409, 412))) {
        return;
    }
    if (reply->status == 200 || reply->status == 201) {
        task->key.written = true;
        apr_cpystrn(task->key.etag, ac_cosmos_call_etag(reply), sizeof(task->key.etag));
        ac_cosmos_task_return(task);
    } else { /* another task wrote it, or this one with an attempt whose answer was lost */
        ac_cosmos_task_then(task, write_entry);
        ac_cosmos_task_then(task, check_found);
        ac_cosmos_task_retry(task, look_up);
    }
}

static void write_entry(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = *task->key.etag ? AC_COSMOS_REPLACE : AC_COSMOS_CREATE,
                                   .container = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .if_match = task->key.etag};
    apr_time_t until = ac_cosmos_now(task->store) + OPEN_MARGIN +
        (task->deadline ? task->deadline - ac_clock() : AC_COSMOS_TIMEOUT);
    char id[AC_COSMOS_KEY_SIZE];
    json_t *entry;
    key_id(id, ac_json_peek_string(task->key.in, "key", ""));
    entry = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "id", id, "key", id, "owner",
                      task->op->owner, "type", "key", "run_id", task->run_id, "thread", task->op->id, "request_hash",
                      ac_json_peek_string(task->key.in, "request_hash", ""), "created_at",
                      ac_json_peek_string(json_object_get(task->op->in, "run"), "created_at", ""), "process",
                      task->store->process, "ttl", (json_int_t)apr_time_sec(KEY_TTL));
    ac_json_put(entry, "opening_until", ac_time_json(until));
    request.id = *task->key.etag ? id : NULL;
    ac_cosmos_call_write(task, &request, entry, keys_on_written);
    json_decref(entry);
}

/* ---- KEY_PUT ---- */

static void end_put(ac_cosmos_task_t *task)
{
    task->op->out = json_object();
    ac_cosmos_task_end(task, APR_SUCCESS);
}

static void claim_put(ac_cosmos_task_t *task)
{
    ac_cosmos_key_claim(task, end_put);
}

void ac_cosmos_key_put(ac_cosmos_task_t *task)
{
    const json_t *run = json_object_get(task->op->in, "run");
    apr_cpystrn(task->run_id, ac_json_peek_string(run, "id", ""), sizeof(task->run_id));
    ac_cosmos_key_check(task, claim_put);
}

/* ---- release: after a failure the key leads nowhere again ---- */

static void keys_on_released(void *baton, const ac_cosmos_reply_t *reply)
{
    (void)reply; /* if it failed, the entry stops to count after a while */
    ac_cosmos_task_end(baton, APR_SUCCESS);
}

/* Deletes the entry if it is still the one that the failed task wrote. */
static void delete_entry(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DELETE,
                                   .container = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .id = ac_json_peek_string(task->documents, "id", ""),
                                   .if_match = task->key.etag};
    ac_cosmos_call_start(task, &request, keys_on_released, task);
}

void ac_cosmos_key_release(ac_cosmos_task_t *task)
{
    char id[AC_COSMOS_KEY_SIZE];
    ac_cosmos_task_t *own;
    if (!task->key.in || !task->key.written || !*task->key.etag || task->turn.unsure || task->store->child.stopping) {
        return;
    }
    key_id(id, ac_json_peek_string(task->key.in, "key", ""));
    own = ac_cosmos_task_own(task->store, task->op->owner, NULL, delete_entry);
    own->documents = json_pack("{s:s}", "id", id);
    apr_cpystrn(own->key.etag, task->key.etag, sizeof(own->key.etag));
}

/* ---- purge of old keys ---- */

static void find_old(ac_cosmos_task_t *task);
static void delete_first_old(ac_cosmos_task_t *task);
static void delete_next_old(ac_cosmos_task_t *task);

void ac_cosmos_key_purge(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    if (!ac_json_peek_string(task->op->in, "keys_before", NULL) || task->store->containers.keys_expire) {
        fn(task);
        return;
    }
    ac_cosmos_task_then(task, fn);
    find_old(task);
}

static void find_old(ac_cosmos_task_t *task)
{
    const char *before = ac_json_peek_string(task->op->in, "keys_before", "");
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .sql = sql_old,
                               .want = PURGE_ROWS,
                               .parameters = json_pack("{s:s}", "@before", before)};
    ac_cosmos_query_run(task, &query, delete_first_old);
}

static void delete_first_old(ac_cosmos_task_t *task)
{
    task->row = 0;
    delete_next_old(task);
}

static void keys_on_old_deleted(void *baton, const ac_cosmos_reply_t *reply)
{
    if (!ac_cosmos_call_failed(baton, reply, AC_COSMOS_EXPECT(200, 204, 404))) {
        delete_next_old(baton);
    }
}

static void delete_next_old(ac_cosmos_task_t *task)
{
    const json_t *row = json_array_get(task->rows, task->row);
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DELETE,
                                   .container = AC_COSMOS_THREADS,
                                   .key = ac_json_peek_string(row, "owner", ""),
                                   .id = ac_json_peek_string(row, "id", "")};
    if (task->store->child.stopping || (!row && task->row < PURGE_ROWS)) {
        ac_cosmos_task_return(task);
    } else if (row) {
        task->row++;
        ac_cosmos_call_start(task, &request, keys_on_old_deleted, task);
    } else {
        find_old(task);
    }
}
