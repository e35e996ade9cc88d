/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store's lists of threads. An owner's entries tell which there may be, and have a copy of what a list shows. Whoever is
 * about to change a thread's head marks its entry, and of a marked one the list reads the head; once the change is known to be over it
 * puts the copy back. docs/cosmos.md says why an entry without a mark is never out of date. */
#include "store_cosmos.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define WINDOW 16               /* heads that are read at a time */
#define LOOKS (AC_MAX_PAGE + 1) /* entries that are judged at a time */
#define MENDS_MOST 16           /* entries that one list mends: each costs ten times what reading its head does */
#define MEND_TIME apr_time_from_sec(10)
#define CHECK_EACH 8    /* of so many lists one compares one of its copies with the head */
#define OVER_AFTER 3600 /* seconds, after which whoever began something has ended it or never will */

typedef struct look_t { /* at one entry's thread */
    ac_cosmos_task_t *task;
    const json_t *entry, *copy; /* of task->rows; copy NULL: the head is read */
    json_t *head;               /* NULL: none */
} look_t;

typedef struct list_t {
    look_t looks[LOOKS];
    int n_looks, n_open, n_mends;
    int n_judged, check_at; /* entries; the copy of which one is compared, -1: of none */
    ac_err_t err;           /* of the first look that failed */
    int64_t n_skip;         /* entries before the page */
    char after[AC_ID_SIZE], time[AC_TIME_SIZE];
    bool ended;             /* the entries are at their end */
    ac_cosmos_listing_e of; /* by update: first those without a copy, which are kept in task->whole */
} list_t;

static void window_next(ac_cosmos_task_t *task);
static void entries_next(ac_cosmos_task_t *task);

void ac_cosmos_list_end(ac_cosmos_task_t *task, json_t *data, bool has_more, json_t *next)
{
    json_t *out = json_object();
    bool fine = ac_json_put(out, "data", data);

    fine = ac_json_put(out, "has_more", json_boolean(has_more)) && fine;
    fine = ac_json_put(out, "next", next ? next : json_null()) && fine;
    task->op->out = out;
    ac_cosmos_end(task, fine ? APR_SUCCESS : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
}

/* ---- marks ---- */

static void on_marked(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_step_fn *fn = task->after_mark;
    const char *etag = ac_cosmos_reply_etag(reply);

    if (!ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 201))) {
        apr_cpystrn(task->entry_etag, etag, sizeof(task->entry_etag));
        fn(task);
    }
}

void ac_cosmos_thread_mark(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_UPSERT,
                                   .place = AC_COSMOS_THREADS,
                                   .key = ac_json_peek_string(task->head.doc, "owner", "")};
    json_t *entry;

    ac_id_make(task->change, "made_");
    entry = ac_cosmos_index_marked(task->head.doc, task->change);
    task->after_mark = fn;
    ac_cosmos_write(task, &request, entry, on_marked);
    json_decref(entry);
}

/* ---- mending ---- */

static void on_mended(void *baton, const ac_cosmos_reply_t *reply)
{
    (void)reply; /* where it failed, the next list tries again */
    ac_cosmos_end(baton, APR_SUCCESS);
}

static void mend(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {
        .verb = task->documents ? AC_COSMOS_REPLACE : AC_COSMOS_DELETE,
        .place = AC_COSMOS_THREADS,
        .key = task->op->owner,
        .id = task->op->id,
        .if_match = task->entry_etag,
    };

    task->deadline = ac_clock() + MEND_TIME;
    if (task->documents) {
        ac_cosmos_write(task, &request, task->documents, on_mended);
    } else {
        ac_cosmos_call(task, &request, on_mended, task);
    }
}

/* Puts this in the entry's place, or removes it (NULL), unless it has changed since it was read. Takes made. */
static void mend_entry(ac_cosmos_task_t *task, const json_t *entry, json_t *made)
{
    list_t *list = task->state;
    ac_cosmos_task_t *own;

    if (list->n_mends >= MENDS_MOST || task->store->stopping) {
        json_decref(made);
        return;
    }
    list->n_mends++;
    own = ac_cosmos_task_own(task->store, task->op->owner, ac_json_peek_string(entry, "id", ""), mend);
    own->documents = made;
    apr_cpystrn(own->entry_etag, ac_json_peek_string(entry, "_etag", ""), sizeof(own->entry_etag));
}

static int64_t age_of(const ac_cosmos_task_t *task, const json_t *entry)
{
    return apr_time_sec(ac_cosmos_now(task->store)) - ac_json_peek_int(entry, "_ts", 0);
}

/* Whether the head, read after the entry, has come to the change that the entry was last marked for, so that nothing marked before can
 * still be written; and its run, which ends without a mark, is over. */
static bool has_settled(const ac_cosmos_task_t *task, const json_t *entry, const json_t *head)
{
    const char *change = ac_json_peek_string(entry, "change", "");

    if (json_is_object(json_object_get(head, "active_run"))) {
        return false;
    }
    return !json_is_true(json_object_get(entry, "changing")) || age_of(task, entry) > OVER_AFTER ||
        (*change && strcmp(change, ac_json_peek_string(head, "change", "")) == 0);
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
    return !json_object_get(entry, "changing") && !json_object_get(entry, "copy") == !json_object_get(made, "copy");
}

/* What the entry should be, where it is not; else NULL. A replica that is behind may show an older head than the copy is of. */
static json_t *made_anew(const ac_cosmos_task_t *task, const json_t *entry, const json_t *head)
{
    json_t *made;

    if (!has_settled(task, entry, head) || ac_cosmos_version(head) < ac_cosmos_version(entry)) {
        return NULL;
    }
    made = ac_cosmos_index_make(head);
    if (is_as_made(entry, made)) {
        json_decref(made);
        return NULL;
    }
    return made;
}

/* ---- a copy that is wrong although nobody marked it: by an older version, by somebody's hand, from a backup ---- */

static void on_checked(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    bool mine = reply->status == 200 && strcmp(ac_json_peek_string(reply->body, "owner", ""), task->op->owner) == 0;

    task->documents = mine ? made_anew(task, task->found, reply->body) : NULL;
    if (reply->err.kind == AC_OK && (task->documents || (!mine && age_of(task, task->found) > OVER_AFTER))) {
        mend(task);
    } else {
        ac_cosmos_end(task, APR_SUCCESS);
    }
}

static void cosmos_list_check(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .place = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->op->id};

    task->deadline = ac_clock() + MEND_TIME;
    ac_cosmos_call(task, &request, on_checked, task);
}

static void check_entry(ac_cosmos_task_t *task, const json_t *entry)
{
    ac_cosmos_task_t *own =
        ac_cosmos_task_own(task->store, task->op->owner, ac_json_peek_string(entry, "id", ""), cosmos_list_check);

    own->found = json_deep_copy(entry);
    apr_cpystrn(own->entry_etag, ac_json_peek_string(entry, "_etag", ""), sizeof(own->entry_etag));
}

/* What a list may show without a look at the head, or NULL. */
static const json_t *copy_of(const ac_cosmos_t *store, const json_t *entry)
{
    const json_t *copy = json_object_get(entry, "copy");
    int64_t written = ac_json_peek_int(entry, "head_ts", 0);
    bool expired = store->expires && written + apr_time_sec(store->expires) <= apr_time_sec(ac_cosmos_now(store));

    return json_is_object(copy) && !json_is_true(json_object_get(entry, "changing")) && !expired ? copy : NULL;
}

/* ---- the answer ---- */

static void on_count(ac_cosmos_task_t *task)
{
    json_t *count = json_array_get(task->rows, 0);

    ac_json_put(task->op->out, "total", json_is_integer(count) ? json_incref(count) : json_integer(0));
    ac_cosmos_end(task, APR_SUCCESS);
}

static json_t *parameters_of(const ac_cosmos_task_t *task, bool counts)
{
    const ac_page_t *page = &task->op->page;
    json_t *parameters = json_pack("{s:s}", "@owner", task->op->owner);

    if (*page->status) {
        ac_json_put(parameters, "@status", json_string(page->status));
    }
    if (*page->agent_id) {
        ac_json_put(parameters, "@agent", ac_json_text(page->agent_id));
    }
    if (!counts) {
        const list_t *list = task->state;
        ac_json_put(parameters, "@after", ac_json_text(list->after));
        ac_json_put(parameters, "@time", ac_json_text(list->time));
    }
    return parameters;
}

/* On to the copies. */
static void uncopied_done(ac_cosmos_task_t *task)
{
    list_t *list = task->state;
    char time[AC_TIME_SIZE];
    const char *id = *task->op->page.after ? ac_store_cursor_read(time, &task->op->page) : NULL;

    task->whole = task->found;
    task->found = json_array();
    list->of = AC_COSMOS_COPIED;
    list->ended = false;
    apr_cpystrn(list->after, id ? id : AC_COSMOS_CURSOR_NONE, sizeof(list->after));
    apr_cpystrn(list->time, id ? time : AC_COSMOS_CURSOR_NONE, sizeof(list->time));
    entries_next(task);
}

static void list_done(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    list_t *list = task->state;

    if (list->of == AC_COSMOS_UNCOPIED) {
        uncopied_done(task);
        return;
    }
    if (list->of == AC_COSMOS_COPIED) {
        ac_cosmos_list_merge(task->found, task->whole, &op->page);
    }
    bool more = (int)json_array_size(task->found) > op->page.limit;
    ac_cosmos_select_t select = {
        .place = AC_COSMOS_THREADS,
        .key = op->owner,
        .want = 1,
        .sql = ac_cosmos_count_sql(&op->page),
    };
    json_t *data = task->found, *next = NULL;

    task->found = NULL;
    if (more) {
        json_array_remove(data, json_array_size(data) - 1);
        next = list->of == AC_COSMOS_BY_ID
            ? json_incref(json_object_get(json_array_get(data, json_array_size(data) - 1), "id"))
            : ac_store_cursor(&op->page, data);
    }
    if (!op->page.want_total) {
        ac_cosmos_list_end(task, data, more, next);
        return;
    }
    op->out = json_pack("{s:o, s:b, s:o}", "data", data, "has_more", more, "next", next ? next : json_null());
    select.parameters = parameters_of(task, true);
    ac_cosmos_select(task, &select, on_count);
}

/* ---- looking at the heads ---- */

static bool cosmos_list_fits(const ac_store_op_t *op, const json_t *head)
{
    const char *status = ac_json_peek_string(head, "status", "");
    bool wanted = *op->page.status ? strcmp(status, op->page.status) == 0
                                   : strcmp(status, "deleted") != 0 && strcmp(status, "purging") != 0;

    return wanted && (!*op->page.agent_id || strcmp(ac_json_peek_string(head, "agent_id", ""), op->page.agent_id) == 0);
}

static void judge(ac_cosmos_task_t *task, look_t *look)
{
    bool mine = look->head && strcmp(ac_json_peek_string(look->head, "owner", ""), task->op->owner) == 0;
    list_t *list = task->state;
    json_t *made = mine ? made_anew(task, look->entry, look->head) : NULL;

    if (list->n_judged++ == list->check_at && look->copy && !task->store->stopping) {
        check_entry(task, look->entry);
    }
    if (look->copy) {
        if (cosmos_list_fits(task->op, look->copy)) {
            json_array_append_new(task->found, ac_cosmos_thread_of(look->copy));
        }
        return;
    }
    if (mine && cosmos_list_fits(task->op, look->head)) {
        json_array_append_new(task->found, ac_cosmos_thread_of(look->head));
    }
    if (made || (!mine && age_of(task, look->entry) > OVER_AFTER)) {
        mend_entry(task, look->entry, made);
    }
}

/* false: the task has ended. */
static bool window_judge(ac_cosmos_task_t *task)
{
    list_t *list = task->state;
    bool failed = list->err.kind != AC_OK;

    for (int i = 0; i < list->n_looks; i++) {
        if (!failed) {
            judge(task, &list->looks[i]);
        }
        json_decref(list->looks[i].head);
    }
    list->n_looks = 0;
    if (failed) {
        ac_cosmos_end_with(task, &list->err);
    }
    return !failed;
}

static void on_look(void *baton, const ac_cosmos_reply_t *reply)
{
    look_t *look = baton;
    list_t *list = look->task->state;

    if (reply->err.kind != AC_OK && list->err.kind == AC_OK) {
        list->err = reply->err;
    }
    if (reply->status == 200) {
        look->head = json_incref(reply->body);
    }
    if (--list->n_open == 0 && window_judge(look->task)) {
        window_next(look->task);
    }
}

static void cosmos_list_look_at(ac_cosmos_task_t *task, const json_t *entry)
{
    list_t *list = task->state;
    look_t *look = &list->looks[list->n_looks++];
    const char *id = ac_json_peek_string(entry, "id", "");
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ, .place = AC_COSMOS_MESSAGES, .key = id, .id = id};

    *look = (look_t){.task = task, .entry = entry, .copy = copy_of(task->store, entry)};
    if (!look->copy) {
        list->n_open++;
        ac_cosmos_call(task, &request, on_look, look);
    }
}

static void on_entries(ac_cosmos_task_t *task)
{
    list_t *list = task->state;

    if (list->n_judged == 0 && json_array_size(task->rows) > 0 && ++task->store->n_lists % CHECK_EACH == 0) {
        list->check_at = (int)(ac_random() % json_array_size(task->rows));
    }
    list->ended = !task->more;
    task->row = 0;
    window_next(task);
}

/* How many more there may be: one behind the page tells whether there is another. */
static int wanted(const ac_cosmos_task_t *task)
{
    const list_t *list = task->state;
    return list->of == AC_COSMOS_UNCOPIED ? LOOKS : task->op->page.limit + 1 - (int)json_array_size(task->found);
}

static void entries_next(ac_cosmos_task_t *task)
{
    list_t *list = task->state;
    const ac_store_op_t *op = task->op;
    int64_t want = list->n_skip + wanted(task);
    ac_cosmos_select_t select = {
        .place = AC_COSMOS_THREADS,
        .key = op->owner,
        .want = want < 1000 ? (int)want : 1000,
        .sql = ac_cosmos_list_sql(&op->page, list->of),
        .parameters = parameters_of(task, false),
    };

    if (list->of == AC_COSMOS_UNCOPIED) {
        select.want = 0;
    }
    ac_cosmos_select(task, &select, on_entries);
}

/* The next few entries, as many as may still be wanted. */
static void window_fill(ac_cosmos_task_t *task)
{
    list_t *list = task->state;
    const json_t *entry;

    while (list->n_looks < wanted(task) && list->n_looks < LOOKS && list->n_open < WINDOW &&
           (entry = json_array_get(task->rows, task->row))) {
        task->row++;
        apr_cpystrn(list->after, ac_json_peek_string(entry, "id", ""), sizeof(list->after));
        apr_cpystrn(list->time, ac_json_peek_string(json_object_get(entry, "copy"), "updated_at", ""),
                    sizeof(list->time));
        if (list->n_skip > 0) {
            list->n_skip--;
        } else {
            cosmos_list_look_at(task, entry);
        }
    }
}

static void window_next(ac_cosmos_task_t *task)
{
    list_t *list = task->state;

    do {
        window_fill(task);
        if (list->n_open > 0 || (list->n_looks > 0 && !window_judge(task))) {
            return;
        }
    } while (wanted(task) > 0 && json_array_get(task->rows, task->row));
    if (wanted(task) <= 0 || list->ended) {
        list_done(task);
    } else {
        entries_next(task);
    }
}

void ac_cosmos_thread_list(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    list_t *list = ac_alloc(sizeof(*list));
    const char *after;

    task->state = list;
    task->found = json_array();
    list->check_at = -1;
    ac_err_init(&list->err);
    if (op->page.by_update && !task->store->by_update && ac_id_valid(op->page.after, "thread_")) {
        op->page.by_update = false; /* it goes on as it began */
    }
    after = *op->page.after ? ac_store_cursor_read(list->time, &op->page) : AC_COSMOS_CURSOR_NONE;
    if (!after) {
        ac_cosmos_end(task, ac_err_set(&op->err, AC_INVALID_REQUEST, "after is no cursor of this list"));
        return;
    }
    list->of = op->page.by_update && task->store->by_update ? AC_COSMOS_UNCOPIED : AC_COSMOS_BY_ID;
    apr_cpystrn(list->after, after, sizeof(list->after));
    list->n_skip = op->page.by_offset ? op->page.offset : 0;
    entries_next(task);
}
