/* SPDX-License-Identifier: Apache-2.0 */
/* Taking along: a conversation as Markdown or JSON, and all that an owner has, as JSON lines. Both are sent while they
 * are read, page by page. */
#include "api_internal.h"

#include <string.h>

#include "apr_strings.h"

/* ---- reading ---- */

typedef struct reader_t {
    ac_reply_lines_t lines;
    json_t *counts; /* of what was sent, by `object` */
} reader_t;

/* Carries out op, which may be NULL, and returns its result in *pout, a reference. */
static bool ask(reader_t *reader, ac_store_op_t *op, json_t **pout)
{
    ac_request_t *rq = reader->lines.rq;
    ac_store_op_t *result;
    bool fine = ac_request_store(rq, op, &result) == APR_SUCCESS;
    *pout = fine ? json_incref(result->out) : NULL;
    ac_request_store_free(rq, result);
    return fine;
}

static ac_store_op_t *page_op(reader_t *reader, ac_store_verb_e verb, const char *id, const char *after)
{
    ac_store_op_t *op = ac_store_op_create(verb, reader->lines.rq->owner, id);
    if (op) {
        op->page.limit = AC_MAX_PAGE;
        apr_cpystrn(op->page.after, after ? after : "", sizeof(op->page.after));
    }
    return op;
}

/* Sends a line; consumes value. */
static bool send_line(reader_t *reader, const char *object, json_t *value)
{
    ac_json_put(value, "object", json_string(object));
    ac_json_put(reader->counts, object, json_integer(ac_json_peek_int(reader->counts, object, 0) + 1));
    bool fine = ac_reply_lines_add(&reader->lines, value);
    json_decref(value);
    return fine;
}

/* ---- GET /me/export ---- */

static bool send_messages(reader_t *reader, const char *thread_id)
{
    json_t *out, *item;
    int64_t after = 0;
    bool fine = true, more = true;
    size_t i;
    while (fine && more) {
        ac_store_op_t *op = page_op(reader, AC_STORE_EXPORT_MESSAGES, thread_id, NULL);
        if (op) {
            op->page.after_seq = after;
        }
        if (!ask(reader, op, &out)) {
            return false;
        }
        json_array_foreach(json_object_get(out, "data"), i, item)
        {
            after = ac_json_peek_int(item, "seq", after);
            ac_record_show_parts(item);
            ac_record_show_feedback(item);
            fine = fine && send_line(reader, "message", json_incref(item));
        }
        more = json_is_integer(json_object_get(out, "next"));
        json_decref(out);
    }
    return fine;
}

static bool send_runs(reader_t *reader, const char *thread_id)
{
    json_t *out, *item, *step;
    char after[AC_ID_SIZE] = "";
    bool fine = true, more = true;
    size_t i, k;
    while (fine && more) {
        if (!ask(reader, page_op(reader, AC_STORE_EXPORT_RUNS, thread_id, after), &out)) {
            return false;
        }
        json_array_foreach(json_object_get(out, "data"), i, item)
        {
            fine = fine && send_line(reader, "run", json_incref(json_object_get(item, "run")));
            json_array_foreach(json_object_get(item, "steps"), k, step)
            {
                fine = fine && send_line(reader, "step", json_incref(step));
            }
        }
        more = json_is_string(json_object_get(out, "next"));
        apr_cpystrn(after, ac_json_peek_string(out, "next", ""), sizeof(after));
        json_decref(out);
    }
    return fine;
}

/* A thread may be removed while it is exported; the next one follows. */
static bool send_thread(reader_t *reader, const json_t *thread)
{
    ac_request_t *rq = reader->lines.rq;
    const char *id = ac_json_peek_string(thread, "id", "");
    bool fine = send_line(reader, "thread", json_deep_copy(thread)) && send_messages(reader, id) &&
        send_runs(reader, id);
    if (!fine && rq->err.kind == AC_NOT_FOUND) {
        ac_err_init(&rq->err);
        return !reader->lines.gone;
    }
    return fine;
}

/* All threads with this status ("": all that are not deleted), each with its contents. After each page follows a line
 * with the position at which an interrupted export can continue. */
static bool send_threads(reader_t *reader, const char *status, const char *from)
{
    json_t *out, *thread;
    char after[AC_ID_SIZE + 24];
    bool fine = true, more = true;
    size_t i;
    apr_cpystrn(after, from, sizeof(after));
    while (fine && more) {
        ac_store_op_t *op = page_op(reader, AC_STORE_THREAD_LIST, NULL, after);
        if (op) {
            apr_cpystrn(op->page.status, status, sizeof(op->page.status));
        }
        if (!ask(reader, op, &out)) {
            return false;
        }
        json_array_foreach(json_object_get(out, "data"), i, thread)
        {
            fine = fine && send_thread(reader, thread);
        }
        more = json_is_true(json_object_get(out, "has_more"));
        apr_cpystrn(after, ac_json_peek_string(out, "next", ""), sizeof(after));
        json_decref(out);
        if (fine && more) {
            char *text = apr_psprintf(reader->lines.rq->r->pool, "%s:%s", *status ? status : "kept", after);
            fine = send_line(reader, "position", json_pack("{s:s}", "after", text));
        }
    }
    return fine;
}

static bool send_files(reader_t *reader)
{
    json_t *out, *item;
    char after[AC_ID_SIZE + 24] = "";
    bool fine = true, more = true;
    size_t i;
    while (fine && more) {
        if (!ask(reader, page_op(reader, AC_STORE_FILE_LIST, NULL, after), &out)) {
            ac_err_t *err = &reader->lines.rq->err;
            bool none = err->kind == AC_INVALID_REQUEST; /* a store without files */
            if (none) {
                ac_err_init(err);
            }
            return none;
        }
        json_array_foreach(json_object_get(out, "data"), i, item)
        {
            fine = fine && send_line(reader, "file", json_incref(item));
        }
        more = json_is_true(json_object_get(out, "has_more"));
        apr_cpystrn(after, ac_json_peek_string(out, "next", ""), sizeof(after));
        json_decref(out);
    }
    return fine;
}

static bool send_usage(reader_t *reader)
{
    json_t *out, *item;
    bool fine = true;
    size_t i;
    ac_store_op_t *op = ac_store_op_create(AC_STORE_USAGE_SUM, reader->lines.rq->owner, NULL);
    if (op) {
        op->in = json_pack("{s:s, s:s, s:[s]}", "from", "2000-01-01", "to", "9999-12-31", "by", "day");
    }
    if (!ask(reader, op, &out)) {
        return false;
    }
    json_array_foreach(json_object_get(out, "data"), i, item)
    {
        fine = fine && send_line(reader, "usage", json_incref(item));
    }
    json_decref(out);
    return fine;
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
    reader_t reader = {.counts = json_object()};
    const char *kept, *deleted;
    rq->doing = "exporting";
    if (me_read_after(rq, &kept, &deleted) != APR_SUCCESS) {
        json_decref(reader.counts);
        return ac_reply_problem(rq, NULL);
    }
    rq->audit.event = AC_AUDIT_EXPORTED;
    apr_table_setn(rq->r->headers_out, "Content-Disposition", "attachment; filename=\"export.jsonl\"");
    ac_reply_lines_begin(&reader.lines, rq, AC_REPLY_LINES_TYPE);
    json_t *head = json_pack("{s:s, s:o, s:i}", "owner", rq->owner, "at", ac_time_json(apr_time_now()), "version", 1);
    bool fine = send_line(&reader, "export", head) && (!kept || send_threads(&reader, "", kept)) &&
        send_threads(&reader, "deleted", deleted) && send_files(&reader) && send_usage(&reader);
    if (fine) {
        json_t *counts = json_deep_copy(reader.counts);
        send_line(&reader, "end", json_pack("{s:o}", "counts", counts));
    }
    json_decref(reader.counts);
    return ac_reply_lines_end(&reader.lines);
}

/* ---- GET /threads/{id}/export ---- */

typedef struct conversation_t {
    reader_t reader;
    bool markdown, all;
    json_t *thread;
    int64_t n; /* messages that were sent */
} conversation_t;

/* The steps of the answer's run; NULL without any. */
static json_t *steps_of(conversation_t *of, const json_t *message)
{
    ac_request_t *rq = of->reader.lines.rq;
    const char *run_id = ac_json_peek_string(message, "run_id", NULL);
    json_t *out = NULL, *steps;
    if (!run_id || strcmp(ac_json_peek_string(message, "role", ""), "assistant") != 0 ||
        (of->markdown && !json_array_size(json_object_get(message, "tool_calls")))) {
        return NULL;
    }
    if (!ask(&of->reader, page_op(&of->reader, AC_STORE_STEP_LIST, run_id, NULL), &out)) {
        if (rq->err.kind == AC_NOT_FOUND) { /* the run has expired */
            ac_err_init(&rq->err);
        }
        return NULL;
    }
    steps = json_incref(json_object_get(out, "data"));
    json_decref(out);
    return steps;
}

static bool send_message(conversation_t *of, json_t *message)
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
    bool fine = !text.failed && ac_reply_lines_text(&of->reader.lines, text.data, text.len);
    ac_buf_free(&text);
    return fine;
}

static bool conversation_send(conversation_t *of, const char *id)
{
    json_t *out, *message;
    int64_t after = 0;
    bool fine = true, more = true;
    size_t i;
    while (fine && more && of->reader.lines.rq->err.kind == AC_OK) {
        ac_store_op_t *op = page_op(&of->reader, AC_STORE_MESSAGE_LIST, id, NULL);
        if (op) {
            op->page.after_seq = after;
            op->in = of->all ? json_pack("{s:b}", "all", 1) : NULL;
        }
        if (!ask(&of->reader, op, &out)) {
            return false;
        }
        json_array_foreach(json_object_get(out, "data"), i, message)
        {
            fine = fine && send_message(of, message);
        }
        more = json_is_true(json_object_get(out, "has_more"));
        after = ac_json_peek_int(out, "next", after);
        json_decref(out);
    }
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
static void send_frame(conversation_t *of, bool end)
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
    ac_reply_lines_text(&of->reader.lines, text.data ? text.data : "", text.len);
    ac_buf_free(&text);
}

int ac_api_export_thread(ac_request_t *rq)
{
    conversation_t of = {.markdown = false};
    rq->doing = "exporting the conversation";
    if (read_form(rq, &of) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    ac_reply_lines_begin(&of.reader.lines, rq, of.markdown ? "text/markdown; charset=utf-8" : "application/json");
    if (!ask(&of.reader, ac_store_op_create(AC_STORE_THREAD_GET, rq->owner, rq->args[0]), &of.thread)) {
        return ac_reply_problem(rq, NULL);
    }
    apr_table_setn(rq->r->headers_out, "Content-Disposition",
                   apr_psprintf(rq->r->pool, "attachment; filename=\"%s.%s\"", rq->args[0],
                                of.markdown ? "md" : "json"));
    send_frame(&of, false);
    if (conversation_send(&of, rq->args[0])) {
        send_frame(&of, true);
    }
    json_decref(of.thread);
    return ac_reply_lines_end(&of.reader.lines);
}
