/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store's runs that wait for their owner's word. That a run waits, and what was said so far, stands in its thread's head, so
 * that one conditional write decides who goes on with it; what it needs to go on is a document of its own, and an entry in a partition
 * of all that wait leads to those whose time is over. */
#include "store_cosmos.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define KEY " waiting"   /* in the place of an owner */
#define NOBODY "waiting" /* in the place of a holder, in the run's document */

static const char sql_late[] = "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'wait' AND c.due_at < @before";

void ac_cosmos_wait_id(char id[AC_ID_SIZE + 8], const char *run_id)
{
    snprintf(id, AC_ID_SIZE + 8, "%.*s_wait", AC_ID_SIZE - 1, run_id);
}

bool ac_cosmos_head_waits(const ac_cosmos_head_t *head, const char *run_id)
{
    const json_t *active = json_object_get(head->doc, "active_run");

    return json_is_true(json_object_get(active, "waiting")) &&
        (!run_id || strcmp(ac_cosmos_head_run(head), run_id) == 0);
}

static void end_not_waiting(ac_cosmos_task_t *task)
{
    ac_cosmos_end(task, ac_err_set(&task->op->err, AC_NOT_WAITING, "the run waits for nobody's word"));
}

/* ---- putting aside ---- */

static void wait_from(ac_cosmos_task_t *task);

static void on_put_aside(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_t *store = task->store;
    char run_id[AC_ID_SIZE];

    memcpy(run_id, task->run_id, sizeof(run_id)); /* a task that fails is gone */
    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 409, 412))) {
        ac_cosmos_run_opened(store, run_id);
        return;
    }
    if (reply->status != 200) {
        ac_cosmos_head_again(task, wait_from);
        return;
    }
    ac_cosmos_head_keep(task->store, task->op->id, task->head.doc, ac_cosmos_batch_etag(reply->body, 0));
    ac_cosmos_run_drop(task->store, task->run_id);
    task->op->out = json_object();
    ac_cosmos_end(task, APR_SUCCESS);
}

static void cosmos_waits_put_aside(ac_cosmos_task_t *task)
{
    static const char *const names[] = {"run", "steps", "wait"};
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .place = AC_COSMOS_MESSAGES, .key = task->op->id};
    ac_cosmos_batch_t batch;

    ac_json_put(task->head.doc, "active_run",
                json_pack("{s:s, s:b, s:O, s:O}", "id", task->run_id, "waiting", 1, "due_at",
                          json_object_get(task->op->in, "until"), "calls", json_object_get(task->op->in, "calls")));
    ac_cosmos_batch_init(&batch);
    ac_cosmos_batch_add(&batch, AC_COSMOS_REPLACE, task->op->id, task->op->id, task->head.doc, task->head.etag);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const json_t *document = json_object_get(task->documents, names[i]);
        if (json_is_object(document)) {
            ac_cosmos_batch_add(&batch, AC_COSMOS_UPSERT, task->op->id, ac_json_peek_string(document, "id", ""),
                                document, NULL);
        }
    }
    if (ac_cosmos_batch_end(&batch) != APR_SUCCESS) {
        ac_cosmos_batch_free(&batch);
        ac_cosmos_end(task, ac_err_set(&task->op->err, AC_INTERNAL, "a run is too large to be put aside"));
        return;
    }
    ac_cosmos_run_rest(task->store, task->run_id); /* that the document has another holder is our doing */
    ac_cosmos_write_batch(task, &request, &batch, on_put_aside);
}

static void wait_from(ac_cosmos_task_t *task)
{
    if (ac_cosmos_head_lives(&task->head, true) && ac_cosmos_head_waits(&task->head, task->run_id) &&
        task->n_lost > 0) {
        ac_cosmos_run_drop(task->store, task->run_id); /* a try whose answer was lost */
        task->op->out = json_object();
        ac_cosmos_end(task, APR_SUCCESS);
    } else if (!ac_cosmos_head_lives(&task->head, true) || strcmp(ac_cosmos_head_run(&task->head), task->run_id) != 0) {
        ac_cosmos_end(task, ac_err_set(&task->op->err, AC_RUN_ENDED, "the run is not active any more"));
    } else if (task->parts) {
        ac_cosmos_parts_write(task, cosmos_waits_put_aside);
    } else {
        cosmos_waits_put_aside(task);
    }
}

static void on_entered(void *baton, const ac_cosmos_reply_t *reply)
{
    if (!ac_cosmos_failed(baton, reply, AC_COSMOS_EXPECT(200, 201))) {
        ac_cosmos_head_read(baton, false, wait_from);
    }
}

static apr_status_t make_documents(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    json_t *run = NULL, *steps = NULL, *wait = NULL;
    char id[AC_ID_SIZE + 8];
    apr_status_t status = ac_cosmos_run_make(&run, json_object_get(op->in, "run"), op, &op->err);

    task->parts = json_array();
    if (status == APR_SUCCESS) {
        apr_cpystrn(task->run_id, ac_json_peek_string(run, "id", ""), sizeof(task->run_id));
        ac_json_put(run, "holder", json_string(NOBODY));
        ac_cosmos_wait_id(id, task->run_id);
        wait = json_pack("{s:s, s:s, s:s, s:O, s:O}", "id", id, "thread_id", op->id, "type", "wait", "asks",
                         json_object_get(op->in, "asks"), "state", json_object_get(op->in, "state"));
        status = wait ? ac_cosmos_steps_make(&steps, json_object_get(op->in, "steps"), task->run_id, op->id, &op->err)
                      : ac_err_set(&op->err, AC_INVALID_REQUEST, "the state is missing");
    }
    if (status == APR_SUCCESS) {
        status = ac_cosmos_split(&wait, task->parts, &op->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_cosmos_split(&steps, task->parts, &op->err);
    }
    task->documents = json_pack("{s:o?, s:o?, s:o?}", "run", run, "steps", steps, "wait", wait);
    return status;
}

void ac_cosmos_turn_wait(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_UPSERT, .place = AC_COSMOS_THREADS, .key = KEY};
    apr_status_t status = make_documents(task);
    json_t *entry;

    if (status != APR_SUCCESS) {
        ac_cosmos_end(task, status);
        return;
    }
    entry = json_pack("{s:s, s:s, s:s, s:s, s:s, s:O}", "id", task->run_id, "owner", KEY, "type", "wait", "key",
                      task->run_id, "run_owner", task->op->owner, "due_at", json_object_get(task->op->in, "until"));
    ac_cosmos_write(task, &request, entry, on_entered);
    json_decref(entry);
}

/* ---- a word ---- */

static void decide_from(ac_cosmos_task_t *task);

static void on_left(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;

    (void)reply; /* who meets the entry again finds that the run does not wait */
    if (task->op->out) {
        ac_cosmos_end(task, APR_SUCCESS);
    } else {
        end_not_waiting(task);
    }
}

static void leave_entry(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DELETE,
                                   .place = AC_COSMOS_THREADS,
                                   .key = KEY,
                                   .id = task->run_id};

    ac_cosmos_call(task, &request, on_left, task);
}

/* As ac_cosmos_failed(), of a task that has taken the run: where it fails it is gone, and the run is not ours any more. */
static bool failed_and_dropped(ac_cosmos_task_t *task, const ac_cosmos_reply_t *reply, const int *statuses)
{
    ac_cosmos_t *store = task->store;
    char run_id[AC_ID_SIZE];

    memcpy(run_id, task->run_id, sizeof(run_id));
    if (!ac_cosmos_failed(task, reply, statuses)) {
        return false;
    }
    ac_cosmos_run_drop(store, run_id);
    return true;
}

static void state_read(ac_cosmos_task_t *task)
{
    json_t *state = json_object_get(json_array_get(task->rows, 0), "state");

    if (!json_is_object(state)) {
        ac_cosmos_run_drop(task->store, task->run_id);
        ac_cosmos_end_damaged(task, "a run that waited has lost what it needs to go on");
        return;
    }
    task->op->out = json_pack("{s:s, s:O, s:O}", "thread_id", task->op->id, "calls", task->found, "state", state);
    leave_entry(task);
}

static void cosmos_waits_on_state(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;

    if (failed_and_dropped(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    json_decref(task->rows);
    task->rows = json_array();
    if (reply->status == 200) {
        json_array_append(task->rows, reply->body);
    }
    ac_cosmos_join(task, state_read);
}

static void read_state(ac_cosmos_task_t *task)
{
    char id[AC_ID_SIZE + 8];
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ, .place = AC_COSMOS_MESSAGES, .key = task->op->id, .id = id};

    ac_cosmos_wait_id(id, task->run_id);
    ac_cosmos_call(task, &request, cosmos_waits_on_state, task);
}

static void on_leased(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;

    if (failed_and_dropped(task, reply, AC_COSMOS_EXPECT(200))) {
        return;
    }
    ac_cosmos_run_opened(task->store, task->run_id);
    read_state(task);
}

static void on_held(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;

    if (failed_and_dropped(task, reply, AC_COSMOS_EXPECT(200, 412))) { /* 412: a try whose answer was lost */
        return;
    }
    ac_cosmos_run_patch(task, task->store->holder, "lease_until", ac_cosmos_lease_end(task->store), on_leased);
}

static void decided(ac_cosmos_task_t *task)
{
    if (task->decide.n_open == 0) {
        ac_cosmos_run_patch(task, NOBODY, "holder", json_string(task->store->holder), on_held);
        return;
    }
    task->op->out = json_pack("{s:I}", "waiting", (json_int_t)task->decide.n_open);
    ac_cosmos_end(task, APR_SUCCESS);
}

static void give_up_claim(ac_cosmos_task_t *task)
{
    if (task->decide.claims) {
        ac_cosmos_run_unclaim(task->store, task->run_id);
        task->decide.claims = false;
    }
}

static void on_noted(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_t *store = task->store;
    bool claims = task->decide.claims;
    char run_id[AC_ID_SIZE];

    memcpy(run_id, task->run_id, sizeof(run_id)); /* a task that fails is gone */
    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 412))) {
        if (claims) {
            ac_cosmos_run_unclaim(store, run_id);
        }
        return;
    }
    if (reply->status == 200) {
        ac_cosmos_head_keep(task->store, task->op->id, task->documents, reply->etag);
        decided(task);
    } else { /* others were faster, or a try of ours that was cut off */
        ac_cosmos_head_again(task, decide_from);
    }
}

static void write_word(ac_cosmos_task_t *task, int n_open)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_REPLACE,
                                   .place = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->op->id,
                                   .if_match = task->head.etag};
    json_t *head = json_copy(task->head.doc), *active = json_copy(json_object_get(head, "active_run"));

    task->decide.n_open = n_open;
    ac_id_make(task->decide.nonce, "made_");
    ac_json_put(active, "calls", json_incref(task->found));
    if (n_open == 0) { /* ours from before anybody can see it */
        ac_cosmos_run_claim(task->store, task->op, task->run_id);
        task->decide.claims = true;
        json_decref(active);
        active = ac_cosmos_lease_make(task->store, task->run_id);
    }
    ac_json_put(head, "active_run", active);
    ac_json_put(head, "nonce", json_string(task->decide.nonce));
    json_decref(task->documents);
    task->documents = head;
    ac_cosmos_write(task, &request, head, on_noted);
}

static void decide_from(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    const json_t *active = json_object_get(task->head.doc, "active_run");
    bool hidden = !json_object_get(op->in, "call_id");
    int n_open = 0;

    if (*task->decide.nonce && task->head.doc &&
        strcmp(ac_json_peek_string(task->head.doc, "nonce", ""), task->decide.nonce) == 0) {
        decided(task);
        return;
    }
    give_up_claim(task);
    if (!ac_cosmos_head_lives(&task->head, hidden) || !ac_cosmos_head_waits(&task->head, task->run_id)) {
        leave_entry(task);
        return;
    }
    json_decref(task->found);
    task->found = json_deep_copy(json_object_get(active, "calls"));
    if (ac_store_wait_decide(&n_open, task->found, ac_json_peek_string(active, "due_at", ""), op) != APR_SUCCESS) {
        ac_cosmos_end_with(task, &op->err);
    } else {
        write_word(task, n_open);
    }
}

static void cosmos_waits_on_entry(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;

    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 404 || strcmp(ac_json_peek_string(reply->body, "type", ""), "run") != 0) {
        leave_entry(task);
        return;
    }
    apr_cpystrn(task->op->id, ac_json_peek_string(reply->body, "thread_id", ""), sizeof(task->op->id));
    ac_cosmos_head_read(task, false, decide_from);
}

void ac_cosmos_turn_decide(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .place = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .id = task->run_id};

    apr_cpystrn(task->run_id, task->op->id, sizeof(task->run_id));
    if (!*task->run_id || !ac_cosmos_name_valid(task->run_id)) {
        end_not_waiting(task);
        return;
    }
    ac_cosmos_call(task, &request, cosmos_waits_on_entry, task);
}

/* ---- whose time is over ---- */

static void late_found(ac_cosmos_task_t *task)
{
    json_t *data = json_array();
    const json_t *row;
    size_t i;

    json_array_foreach(task->rows, i, row)
    {
        json_array_append_new(data,
                              json_pack("{s:s, s:s}", "run_id", ac_json_peek_string(row, "id", ""), "owner",
                                        ac_json_peek_string(row, "run_owner", "")));
    }
    task->op->out = json_pack("{s:o}", "data", data);
    ac_cosmos_end(task, task->op->out ? APR_SUCCESS : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
}

void ac_cosmos_wait_list(ac_cosmos_task_t *task)
{
    ac_cosmos_select_t select = {
        .place = AC_COSMOS_THREADS,
        .key = KEY,
        .sql = sql_late,
        .want = task->op->page.limit,
        .parameters =
            json_pack("{s:s, s:s}", "@owner", KEY, "@before", ac_json_peek_string(task->op->in, "before", "")),
    };

    ac_cosmos_select(task, &select, late_found);
}
