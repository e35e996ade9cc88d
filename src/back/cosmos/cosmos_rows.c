/* SPDX-License-Identifier: Apache-2.0 */
/* Reading from Cosmos DB: a thread's head, queries page by page, and documents that are kept in parts. */
#include "store_cosmos.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define ENDING apr_time_from_sec(3600)
#define PAGE_MOST 100 /* rows of a page; the service bounds it by 4 MB too */

/* ---- heads ---- */

void ac_cosmos_head_clear(ac_cosmos_head_t *head)
{
    json_decref(head->doc);
    memset(head, 0, sizeof(*head));
}

static ac_cosmos_head_t *slot_of(ac_cosmos_t *store, const char *thread_id)
{
    apr_ssize_t len = APR_HASH_KEY_STRING;

    return &store->heads[apr_hashfunc_default(thread_id, &len) % AC_COSMOS_HEADS];
}

void ac_cosmos_head_keep(ac_cosmos_t *store, const char *thread_id, const json_t *doc, const char *etag)
{
    ac_cosmos_head_t *slot = slot_of(store, thread_id);

    if (doc && etag && *etag) {
        json_t *copy = json_deep_copy(doc);
        ac_cosmos_head_clear(slot);
        slot->doc = copy;
        apr_cpystrn(slot->etag, etag, sizeof(slot->etag));
    } else if (strcmp(ac_json_peek_string(slot->doc, "id", ""), thread_id) == 0) {
        ac_cosmos_head_clear(slot);
    }
}

bool ac_cosmos_head_lives(const ac_cosmos_head_t *head, bool hidden)
{
    const char *status = ac_json_peek_string(head->doc, "status", "");

    return head->doc && strcmp(status, "purging") != 0 && (hidden || strcmp(status, "deleted") != 0);
}

/* Who asks for another owner's thread sees none. From PURGE on, verbs and our own tasks see all, but for those about a run that waits. */
static void head_check(ac_cosmos_task_t *task)
{
    const char *owner = ac_json_peek_string(task->head.doc, "owner", NULL);
    bool mine = owner && strcmp(ac_json_peek_string(task->head.doc, "type", ""), "thread") == 0;

    if (task->op->verb < AC_STORE_PURGE || task->op->verb == AC_STORE_TURN_WAIT ||
        task->op->verb == AC_STORE_TURN_DECIDE) {
        mine = mine && strcmp(owner, task->op->owner) == 0;
    }
    if (!mine) {
        ac_cosmos_head_clear(&task->head);
    }
}

static void cosmos_rows_on_head(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_step_fn *fn = task->then;

    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 200) {
        const char *etag = ac_cosmos_reply_etag(reply);
        task->head.doc = json_incref(reply->body);
        apr_cpystrn(task->head.etag, etag, sizeof(task->head.etag));
    }
    ac_cosmos_head_keep(task->store, task->op->id, task->head.doc, task->head.etag);
    head_check(task);
    fn(task);
}

static void head_remembered(ac_cosmos_task_t *task)
{
    ac_cosmos_head_t *slot = slot_of(task->store, task->op->id);

    if (strcmp(ac_json_peek_string(slot->doc, "id", ""), task->op->id) == 0) {
        task->head.doc = json_deep_copy(slot->doc);
        apr_cpystrn(task->head.etag, slot->etag, sizeof(task->head.etag));
        task->head.remembered = true;
        head_check(task);
    }
}

void ac_cosmos_head_read(ac_cosmos_task_t *task, bool remembered, ac_cosmos_step_fn *fn)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .place = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->op->id};

    ac_cosmos_head_clear(&task->head);
    if (remembered) {
        head_remembered(task);
    }
    /* What cannot be an id is nobody's; the service would refuse to look for it. */
    if (task->head.doc || !ac_cosmos_name_valid(task->op->id)) {
        fn(task);
        return;
    }
    task->then = fn;
    ac_cosmos_call(task, &request, cosmos_rows_on_head, task);
}

static void head_anew(ac_cosmos_task_t *task)
{
    ac_cosmos_head_read(task, false, task->then);
}

void ac_cosmos_head_again(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_head_keep(task->store, task->op->id, NULL, NULL);
    task->then = fn;
    ac_cosmos_again(task, head_anew);
}

/* ---- split documents ---- */

static void join_next(ac_cosmos_task_t *task);

/* The stub's place is taken by what its parts say; its seq counts, which was given later than they were written. */
static bool joined(ac_cosmos_task_t *task)
{
    const json_t *stub = json_array_get(task->rows, task->row);
    json_t *doc = json_loadb(task->joined.data ? task->joined.data : "", task->joined.len, JSON_ALLOW_NUL, NULL);
    json_t *seq = json_object_get(stub, "seq");

    if (!json_is_object(doc) || (seq && !ac_json_put(doc, "seq", json_incref(seq)))) {
        json_decref(doc);
        return false;
    }
    ac_buf_free(&task->joined);
    return json_array_set_new(task->rows, task->row, doc) == 0;
}

/* Parts are written before what they are parts of, so they are past their time to live a little earlier. */
static bool is_ending(const ac_cosmos_task_t *task)
{
    const ac_cosmos_t *store = task->store;
    apr_interval_time_t margin = store->expires / 8 < ENDING ? store->expires / 8 : ENDING;
    int64_t written = ac_json_peek_int(json_array_get(task->rows, task->row), "_ts", 0);

    return store->expires && written && apr_time_from_sec(written) + store->expires - margin < ac_cosmos_now(store);
}

static void row_drop(ac_cosmos_task_t *task)
{
    ac_buf_free(&task->joined);
    json_array_remove(task->rows, task->row);
    task->n_parts = 0;
    task->part = 0;
    join_next(task);
}

static void on_part(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const json_t *text;

    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 404 && is_ending(task)) {
        row_drop(task);
        return;
    }
    text = json_object_get(reply->body, "text");
    if (!json_is_string(text) ||
        ac_buf_add(&task->joined, json_string_value(text), json_string_length(text)) != APR_SUCCESS ||
        (++task->part > task->n_parts && !joined(task))) {
        ac_cosmos_end_damaged(task, "a part of a large document is missing");
        return;
    }
    join_next(task);
}

/* Goes to the next stub, and to its next part. */
static void join_next(ac_cosmos_task_t *task)
{
    char id[AC_ID_SIZE + 16];
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ, .place = AC_COSMOS_MESSAGES, .id = id};
    const json_t *row;
    ac_cosmos_step_fn *fn = task->then;

    if (task->part > task->n_parts) {
        task->row++;
        task->n_parts = 0;
    }
    while (task->n_parts == 0 && (row = json_array_get(task->rows, task->row))) {
        task->n_parts = (int)ac_json_peek_int(row, "parts", 0);
        task->part = 1;
        task->row += task->n_parts == 0;
    }
    if (task->n_parts == 0) {
        fn(task);
        return;
    }
    row = json_array_get(task->rows, task->row);
    ac_cosmos_part_id(id, ac_json_peek_string(row, "id", ""), task->part);
    request.key = ac_json_peek_string(row, "thread_id", "");
    ac_cosmos_call(task, &request, on_part, task);
}

void ac_cosmos_join(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    task->then = fn;
    task->row = 0;
    task->part = task->n_parts = 0;
    ac_buf_free(&task->joined);
    join_next(task);
}

/* ---- queries ---- */

struct ac_cosmos_selection_t {
    ac_cosmos_select_t select;
    char *key, *continuation;
    ac_cosmos_step_fn *fn;
};

static void select_page(ac_cosmos_task_t *task);

static void select_end(ac_cosmos_task_t *task)
{
    ac_cosmos_selection_t *selection = task->selection;

    task->more = selection->continuation != NULL;
    if (selection->select.whole) {
        ac_cosmos_join(task, selection->fn);
    } else {
        selection->fn(task);
    }
}

static void on_page(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_selection_t *selection = task->selection;
    json_t *documents = json_object_get(reply->body, "Documents");

    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200))) {
        return;
    }
    if (!json_is_array(documents)) {
        ac_cosmos_end_damaged(task, "a query's answer has no documents");
        return;
    }
    json_array_extend(task->rows, documents);
    free(selection->continuation);
    selection->continuation = reply->continuation ? strdup(reply->continuation) : NULL;
    /* A page may be empty and still not the last one. */
    if (selection->continuation &&
        (!selection->select.want || (int)json_array_size(task->rows) < selection->select.want)) {
        select_page(task);
    } else {
        select_end(task);
    }
}

static void select_page(ac_cosmos_task_t *task)
{
    ac_cosmos_selection_t *selection = task->selection;
    const ac_cosmos_select_t *select = &selection->select;
    int left = select->want ? select->want - (int)json_array_size(task->rows) : PAGE_MOST;
    ac_cosmos_request_t request = {
        .verb = AC_COSMOS_QUERY,
        .place = select->place,
        .key = selection->key,
        .continuation = selection->continuation,
        .max_items = left < PAGE_MOST ? left : PAGE_MOST,
    };
    ac_buf_t body;

    ac_buf_init(&body, AC_MAX_REQUEST);
    if (ac_cosmos_query(&body, select->sql, select->parameters) != APR_SUCCESS) {
        ac_buf_free(&body);
        ac_cosmos_end(task, ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
        return;
    }
    request.body = &body;
    ac_cosmos_call(task, &request, on_page, task);
}

void ac_cosmos_select_clear(ac_cosmos_task_t *task)
{
    if (task->selection) {
        json_decref(task->selection->select.parameters);
        free(task->selection->key);
        free(task->selection->continuation);
        free(task->selection);
        task->selection = NULL;
    }
}

void ac_cosmos_select(ac_cosmos_task_t *task, const ac_cosmos_select_t *select, ac_cosmos_step_fn *fn)
{
    ac_cosmos_selection_t *selection = ac_alloc(sizeof(*selection));

    selection->select = *select;
    selection->key = select->key ? strdup(select->key) : NULL;
    selection->continuation = select->continuation ? strdup(select->continuation) : NULL;
    selection->fn = fn;
    ac_cosmos_select_clear(task);
    task->selection = selection;
    json_decref(task->rows);
    task->rows = json_array();
    select_page(task);
}

const char *ac_cosmos_continuation(const ac_cosmos_task_t *task)
{
    return task->selection ? task->selection->continuation : NULL;
}
