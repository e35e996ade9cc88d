/* SPDX-License-Identifier: Apache-2.0 */
/* Taking along: a conversation as Markdown or JSON, and all that an owner has, as JSON lines. Both are sent while they
 * are read, page by page. */
#include "api_internal.h"

#include <string.h>

#include "apr_strings.h"

/* ---- reading, page by page ---- */

#define CONTENTS_FIRST 10           /* items of the first page of contents */
#define CONTENTS_BYTES (512 * 1024) /* of a page of contents, approximately: an item may have megabytes */

typedef struct pages_t { /* a place in a list of the store */
    json_t *page;        /* read last; NULL: none yet */
    size_t at;           /* the next item of it */
    bool last;           /* no page follows */
    char after[AC_ID_SIZE + 24];
    int64_t after_seq;
    int limit;       /* items of a page of contents; 0: the most */
    int64_t n_added; /* bytes of the answer before the page */
} pages_t;

static void pages_begin(pages_t *pages, const char *after)
{
    json_decref(pages->page);
    *pages = (pages_t){.limit = pages->limit};
    apr_cpystrn(pages->after, after, sizeof(pages->after));
}

static bool page_is_over(const pages_t *pages)
{
    return pages->at >= json_array_size(json_object_get(pages->page, "data"));
}

/* Makes the next page of contents shorter or longer, by what the one before has become. */
static void pages_fit(pages_t *pages, const ac_reply_lines_t *lines)
{
    int64_t n = lines->n_added - pages->n_added;
    if (!pages->limit) {
        pages->limit = CONTENTS_FIRST;
    } else if (pages->page && n > CONTENTS_BYTES) {
        int64_t fitting = pages->limit * (int64_t)CONTENTS_BYTES / n;
        pages->limit = fitting ? (int)fitting : 1;
    } else if (pages->page && n < CONTENTS_BYTES / 2) {
        pages->limit = 2 * pages->limit < AC_MAX_PAGE ? 2 * pages->limit : AC_MAX_PAGE;
    }
    pages->n_added = lines->n_added;
}

/* Carries out op, which may be NULL, and returns its result in *pout, a reference. */
static bool ask(ac_request_t *rq, ac_store_op_t *op, json_t **pout)
{
    ac_store_op_t *result;
    bool fine = ac_request_store(rq, op, &result) == APR_SUCCESS;
    *pout = fine ? json_incref(result->out) : NULL;
    ac_request_store_free(rq, result);
    return fine;
}

static ac_store_op_t *page_op(const ac_request_t *rq, ac_store_verb_e verb, const char *id, const pages_t *pages)
{
    ac_store_op_t *op = ac_store_op_create(verb, rq->owner, id);
    if (op) {
        op->page.limit = pages->limit ? pages->limit : AC_MAX_PAGE;
        op->page.after_seq = pages->after_seq;
        apr_cpystrn(op->page.after, pages->after, sizeof(op->page.after));
    }
    return op;
}

/* Reads the next page by op, which is consumed. */
static bool page_read(pages_t *pages, ac_request_t *rq, ac_store_op_t *op)
{
    json_decref(pages->page);
    pages->at = 0;
    if (!ask(rq, op, &pages->page)) {
        return false;
    }
    const json_t *next = json_object_get(pages->page, "next"), *more = json_object_get(pages->page, "has_more");
    pages->last = more ? !json_is_true(more) : !next || json_is_null(next);
    pages->after_seq = json_is_integer(next) ? json_integer_value(next) : pages->after_seq;
    apr_cpystrn(pages->after, json_is_string(next) ? json_string_value(next) : "", sizeof(pages->after));
    return true;
}

/* The next item of the page that was read last; borrowed. */
static json_t *page_item(pages_t *pages)
{
    return json_array_get(json_object_get(pages->page, "data"), pages->at++);
}

/* ---- GET /me/export ---- */

typedef struct all_t all_t;
typedef bool phase_fn(all_t *all); /* sends a line or reads a page. false: an error */
struct all_t {                     /* what an owner has; in rq's pool */
    ac_request_t *rq;
    ac_reply_lines_t *lines;
    phase_fn *phase;                    /* NULL: all is sent */
    json_t *counts;                     /* of what was sent, by `object` */
    const char *status, *after_deleted; /* of the threads: "" and then "deleted"; where those begin */
    pages_t threads, contents;          /* the contents of a thread, or what comes after the threads */
    char thread_id[AC_ID_SIZE];
};

/* Sends a line; consumes value. */
static bool send_line(all_t *all, const char *object, json_t *value)
{
    ac_json_put(value, "object", json_string(object));
    ac_json_put(all->counts, object, json_integer(ac_json_peek_int(all->counts, object, 0) + 1));
    bool fine = ac_reply_lines_add(all->lines, value);
    json_decref(value);
    return fine;
}

static void enter_phase(all_t *all, phase_fn *phase)
{
    all->phase = phase;
    pages_begin(&all->contents, "");
}

static bool send_end(all_t *all)
{
    all->phase = NULL;
    return send_line(all, "end", json_pack("{s:o}", "counts", json_deep_copy(all->counts)));
}

static bool send_usage(all_t *all)
{
    json_t *out, *item;
    bool fine = true;
    size_t i;
    ac_store_op_t *op = ac_store_op_create(AC_STORE_USAGE_SUM, all->rq->owner, NULL);
    if (op) {
        op->in = json_pack("{s:s, s:s, s:[s]}", "from", "2000-01-01", "to", "9999-12-31", "by", "day");
    }
    if (!ask(all->rq, op, &out)) {
        return false;
    }
    json_array_foreach(json_object_get(out, "data"), i, item)
    {
        fine = fine && send_line(all, "usage", json_incref(item));
    }
    json_decref(out);
    enter_phase(all, send_end);
    return fine;
}

static bool send_files(all_t *all)
{
    pages_t *pages = &all->contents;
    ac_err_t *err = &all->rq->err;
    if (!page_is_over(pages)) {
        return send_line(all, "file", json_incref(page_item(pages)));
    }
    if (pages->last) {
        enter_phase(all, send_usage);
        return true;
    }
    if (page_read(pages, all->rq, page_op(all->rq, AC_STORE_FILE_LIST, NULL, pages))) {
        return true;
    }
    bool none = err->kind == AC_INVALID_REQUEST; /* a store without files */
    if (none) {
        ac_err_init(err);
        enter_phase(all, send_usage);
    }
    return none;
}

static bool send_threads(all_t *all);

/* Reads the next page of a thread's contents. A thread may be removed while it is exported; the next one follows. */
static bool read_contents(all_t *all, ac_store_verb_e verb)
{
    pages_t *pages = &all->contents;
    pages_fit(pages, all->lines);
    if (page_read(pages, all->rq, page_op(all->rq, verb, all->thread_id, pages))) {
        return true;
    }
    bool removed = all->rq->err.kind == AC_NOT_FOUND;
    if (removed) {
        ac_err_init(&all->rq->err);
        enter_phase(all, send_threads);
    }
    return removed;
}

static bool send_runs(all_t *all)
{
    pages_t *pages = &all->contents;
    if (page_is_over(pages) && pages->last) {
        enter_phase(all, send_threads);
        return true;
    }
    if (page_is_over(pages)) {
        return read_contents(all, AC_STORE_EXPORT_RUNS);
    }
    const json_t *item = page_item(pages);
    json_t *step;
    size_t i;
    bool fine = send_line(all, "run", json_incref(json_object_get(item, "run")));
    json_array_foreach(json_object_get(item, "steps"), i, step)
    {
        fine = fine && send_line(all, "step", json_incref(step));
    }
    return fine;
}

static bool send_messages(all_t *all)
{
    pages_t *pages = &all->contents;
    if (page_is_over(pages) && pages->last) {
        enter_phase(all, send_runs);
        return true;
    }
    if (page_is_over(pages)) {
        return read_contents(all, AC_STORE_EXPORT_MESSAGES);
    }
    json_t *item = page_item(pages);
    ac_record_show_parts(item);
    ac_record_show_feedback(item);
    return send_line(all, "message", json_incref(item));
}

/* The threads with this status ("": all that are not deleted) are sent. */
static void end_threads(all_t *all)
{
    if (all->after_deleted) {
        all->status = "deleted";
        pages_begin(&all->threads, all->after_deleted);
        all->after_deleted = NULL;
    } else {
        enter_phase(all, send_files);
    }
}

/* All threads, each with its contents. After each page follows a line with the position at which an interrupted export
 * can continue. */
static bool send_threads(all_t *all)
{
    pages_t *pages = &all->threads;
    if (!page_is_over(pages)) {
        const json_t *thread = page_item(pages);
        apr_cpystrn(all->thread_id, ac_json_peek_string(thread, "id", ""), sizeof(all->thread_id));
        enter_phase(all, send_messages);
        return send_line(all, "thread", json_deep_copy(thread));
    }
    if (pages->last) {
        end_threads(all);
        return true;
    }
    bool fine = true;
    if (pages->page) {
        char *text = apr_psprintf(all->rq->r->pool, "%s:%s", *all->status ? all->status : "kept", pages->after);
        fine = send_line(all, "position", json_pack("{s:s}", "after", text));
    }
    ac_store_op_t *op = page_op(all->rq, AC_STORE_THREAD_LIST, NULL, pages);
    if (op) {
        apr_cpystrn(op->page.status, all->status, sizeof(op->page.status));
    }
    return page_read(pages, all->rq, op) && fine;
}

static bool send_head(all_t *all)
{
    json_t *head =
        json_pack("{s:s, s:o, s:i}", "owner", all->rq->owner, "at", ac_time_json(apr_time_now()), "version", 1);
    all->phase = send_threads;
    return send_line(all, "export", head);
}

static bool all_next(ac_reply_lines_t *lines, void *baton)
{
    all_t *all = baton;
    all->lines = lines;
    return all->phase(all) && all->phase;
}

static apr_status_t all_free(void *baton)
{
    all_t *all = baton;
    json_decref(all->counts);
    json_decref(all->threads.page);
    json_decref(all->contents.page);
    return APR_SUCCESS;
}

static apr_status_t me_read_after(ac_request_t *rq, const char **pkept, const char **pdeleted)
{
    const char *after = ac_query_get(rq, "after"), *colon = after ? strchr(after, ':') : NULL;
    *pkept = *pdeleted = "";
    if (!after) {
        return APR_SUCCESS;
    }
    if (colon && strncmp(after, "kept:", 5) == 0 && ac_id_valid(colon + 1, "thread_")) {
        *pkept = colon + 1;
        return APR_SUCCESS;
    }
    if (colon && strncmp(after, "deleted:", 8) == 0 && ac_id_valid(colon + 1, "thread_")) {
        *pkept = NULL;
        *pdeleted = colon + 1;
        return APR_SUCCESS;
    }
    return ac_err_set(&rq->err, AC_INVALID_REQUEST, "after is no position of an export");
}

int ac_api_export_me(ac_request_t *rq)
{
    const char *kept, *deleted;
    rq->doing = "exporting";
    if (me_read_after(rq, &kept, &deleted) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    rq->audit.event = AC_AUDIT_EXPORTED;
    apr_table_setn(rq->r->headers_out, "Content-Disposition", "attachment; filename=\"export.jsonl\"");
    all_t *all = apr_pcalloc(rq->r->pool, sizeof(*all));
    all->rq = rq;
    all->phase = send_head;
    all->counts = json_object();
    all->status = kept ? "" : "deleted";
    all->after_deleted = kept ? deleted : NULL;
    pages_begin(&all->threads, kept ? kept : deleted);
    apr_pool_cleanup_register(rq->r->pool, all, all_free, apr_pool_cleanup_null);
    return ac_reply_lines(rq, AC_REPLY_LINES_TYPE, all_next, all);
}

/* ---- GET /threads/{id}/export ---- */

typedef struct conversation_t { /* in rq's pool */
    ac_request_t *rq;
    bool markdown, all;
    json_t *thread;
    int64_t n; /* messages that were sent */
    bool begun;
    pages_t messages;
} conversation_t;

/* The steps of the answer's run; NULL without any. */
static json_t *steps_of(conversation_t *of, const json_t *message)
{
    static const pages_t first = {.page = NULL};
    ac_request_t *rq = of->rq;
    const char *run_id = ac_json_peek_string(message, "run_id", NULL);
    json_t *out = NULL, *steps;
    if (!run_id || strcmp(ac_json_peek_string(message, "role", ""), "assistant") != 0 ||
        (of->markdown && !json_array_size(json_object_get(message, "tool_calls")))) {
        return NULL;
    }
    if (!ask(rq, page_op(rq, AC_STORE_STEP_LIST, run_id, &first), &out)) {
        if (rq->err.kind == AC_NOT_FOUND) { /* the run has expired */
            ac_err_init(&rq->err);
        }
        return NULL;
    }
    steps = json_incref(json_object_get(out, "data"));
    json_decref(out);
    return steps;
}

static bool send_message(conversation_t *of, ac_reply_lines_t *lines, json_t *message)
{
    json_t *steps = steps_of(of, message);
    ac_buf_t text;
    ac_buf_init(&text, AC_MAX_JSON_TEXT);
    if (of->markdown) {
        ac_export_markdown_message(&text, message, steps);
    } else {
        ac_record_show_parts(message);
        ac_record_show_feedback(message);
        if (steps) {
            ac_json_put(message, "steps", json_incref(steps));
        }
        size_t len;
        char *dump = ac_json_dump(message, &len);
        ac_buf_printf(&text, "%s\n", of->n ? "," : "");
        ac_buf_add(&text, dump ? dump : "null", dump ? len : 4);
        free(dump);
    }
    of->n++;
    json_decref(steps);
    bool fine = !text.failed && ac_reply_lines_text(lines, text.data, text.len);
    ac_buf_free(&text);
    return fine;
}

static apr_status_t read_form(ac_request_t *rq, conversation_t *of)
{
    const char *format = ac_query_get(rq, "format");
    of->markdown = !format || strcmp(format, "markdown") == 0;
    apr_status_t status = ac_query_bool(rq, &of->all, "all", false);
    if (status == APR_SUCCESS && format && !of->markdown && strcmp(format, "json") != 0) {
        status = ac_err_set(&rq->err, AC_INVALID_REQUEST, "format must be markdown or json");
    }
    if (status == APR_SUCCESS && of->markdown && of->all) {
        status = ac_err_set(&rq->err, AC_INVALID_REQUEST, "all needs format=json: Markdown has no branches");
    }
    if (status == APR_SUCCESS && !ac_id_valid(rq->args[0], "thread_")) {
        status = ac_err_set(&rq->err, AC_NOT_FOUND, "no thread with this id");
    }
    return status;
}

/* The beginning of the answer; `end` closes the JSON document. */
static bool send_frame(conversation_t *of, ac_reply_lines_t *lines, bool end)
{
    ac_buf_t text;
    size_t len;
    char *dump = ac_json_dump(of->thread, &len);
    ac_buf_init(&text, AC_MAX_JSON_TEXT);
    if (of->markdown && !end) {
        ac_export_markdown_begin(&text, of->thread);
    } else if (!of->markdown) {
        ac_buf_str(&text, end ? "\n]}\n" : "{\"object\":\"conversation\",\"thread\":");
        ac_buf_str(&text, end || !dump ? "" : dump);
        ac_buf_str(&text, end ? "" : ",\"messages\":[");
    }
    free(dump);
    bool fine = !text.failed && ac_reply_lines_text(lines, text.data ? text.data : "", text.len);
    ac_buf_free(&text);
    return fine;
}

static bool conversation_next(ac_reply_lines_t *lines, void *baton)
{
    conversation_t *of = baton;
    pages_t *pages = &of->messages;
    if (!of->begun) {
        of->begun = true;
        return send_frame(of, lines, false);
    }
    if (!page_is_over(pages)) {
        return send_message(of, lines, page_item(pages));
    }
    if (pages->last) {
        send_frame(of, lines, true);
        return false;
    }
    pages_fit(pages, lines);
    ac_store_op_t *op = page_op(of->rq, AC_STORE_MESSAGE_LIST, of->rq->args[0], pages);
    if (op) {
        op->in = of->all ? json_pack("{s:b}", "all", 1) : NULL;
    }
    return page_read(pages, of->rq, op);
}

static apr_status_t conversation_free(void *baton)
{
    conversation_t *of = baton;
    json_decref(of->thread);
    json_decref(of->messages.page);
    return APR_SUCCESS;
}

int ac_api_export_thread(ac_request_t *rq)
{
    conversation_t *of = apr_pcalloc(rq->r->pool, sizeof(*of));
    of->rq = rq;
    rq->doing = "exporting the conversation";
    if (read_form(rq, of) != APR_SUCCESS ||
        !ask(rq, ac_store_op_create(AC_STORE_THREAD_GET, rq->owner, rq->args[0]), &of->thread)) {
        return ac_reply_problem(rq, NULL);
    }
    apr_pool_cleanup_register(rq->r->pool, of, conversation_free, apr_pool_cleanup_null);
    apr_table_setn(rq->r->headers_out, "Content-Disposition",
                   apr_psprintf(rq->r->pool, "attachment; filename=\"%s.%s\"", rq->args[0],
                                of->markdown ? "md" : "json"));
    return ac_reply_lines(rq, of->markdown ? "text/markdown; charset=utf-8" : "application/json", conversation_next,
                          of);
}
