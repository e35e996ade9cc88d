/* SPDX-License-Identifier: Apache-2.0 */
/* Calls through a store's table: operations, the delivery of their results, and a worker's wait for one. */
#include "back.h"

#include <apr_strings.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* owned: the verb is about one owner's data, and needs an owner. */
static const struct {
    const char *name;
    bool owned;
} verbs[AC_STORE_N_VERBS] = {
    [AC_STORE_PING] = {"ping", false},
    [AC_STORE_THREAD_CREATE] = {"thread create", true},
    [AC_STORE_THREAD_GET] = {"thread get", true},
    [AC_STORE_THREAD_LIST] = {"thread list", true},
    [AC_STORE_THREAD_UPDATE] = {"thread update", true},
    [AC_STORE_THREAD_DELETE] = {"thread delete", true},
    [AC_STORE_THREAD_RESTORE] = {"thread restore", true},
    [AC_STORE_MESSAGE_LIST] = {"message list", true},
    [AC_STORE_TURN_LOAD] = {"turn load", true},
    [AC_STORE_TURN_OPEN] = {"turn open", true},
    [AC_STORE_TURN_CLOSE] = {"turn close", true},
    [AC_STORE_RUN_GET] = {"run get", true},
    [AC_STORE_RUN_LIST] = {"run list", true},
    [AC_STORE_STEP_LIST] = {"step list", true},
    [AC_STORE_PURGE] = {"purge", false},
    [AC_STORE_EXPORT_THREADS] = {"export threads", false},
    [AC_STORE_EXPORT_MESSAGES] = {"export messages", false},
    [AC_STORE_EXPORT_RUNS] = {"export runs", false},
    [AC_STORE_IMPORT] = {"import", false},
    [AC_STORE_KEY_GET] = {"key get", true},
    [AC_STORE_KEY_PUT] = {"key put", true},
    [AC_STORE_AGENT_LIST] = {"agent list", false},
    [AC_STORE_AGENT_PUT] = {"agent put", false},
    [AC_STORE_AGENT_DELETE] = {"agent delete", false},
    [AC_STORE_RUN_CANCEL] = {"run cancel", true},
    [AC_STORE_RUN_SUSPEND] = {"run suspend", true},
    [AC_STORE_APPROVAL_DECIDE] = {"approval decide", true},
    [AC_STORE_SUSPENDED_LIST] = {"suspended list", false},
    [AC_STORE_RUN_CHECK] = {"run check", true},
    [AC_STORE_USAGE_SUM] = {"usage sum", true},
    [AC_STORE_USAGE_SUM_ALL] = {"usage sum all", false},
    [AC_STORE_EXPORT_USAGE] = {"export usage", false},
    [AC_STORE_IMPORT_USAGE] = {"import usage", false},
    [AC_STORE_FILE_PUT] = {"file put", true},
    [AC_STORE_FILE_GET] = {"file get", true},
    [AC_STORE_FILE_LIST] = {"file list", true},
    [AC_STORE_FILE_DELETE] = {"file delete", true},
    [AC_STORE_FILE_SWEEP] = {"file sweep", false},
    [AC_STORE_EXPORT_FILES] = {"export files", false},
    [AC_STORE_IMPORT_FILES] = {"import files", false},
    [AC_STORE_FEEDBACK_PUT] = {"feedback put", true},
    [AC_STORE_FEEDBACK_LIST] = {"feedback list", false},
    [AC_STORE_OWNER_ERASE] = {"owner erase", true},
    [AC_STORE_USAGE_ADD] = {"usage add", true},
    [AC_STORE_OWNER_ERASED] = {"owner erased", true},
    [AC_STORE_TURN_QUEUE] = {"turn queue", true},
    [AC_STORE_TURN_UNQUEUE] = {"turn unqueue", true},
    [AC_STORE_QUEUED_LIST] = {"queued list", false},
    [AC_STORE_WEBHOOK_LIST] = {"webhook list", true},
    [AC_STORE_WEBHOOK_DUE] = {"webhook due", false},
    [AC_STORE_WEBHOOK_ACQUIRE] = {"webhook acquire", true},
    [AC_STORE_WEBHOOK_REPORT] = {"webhook report", true},
    [AC_STORE_MESSAGE_MARK] = {"message mark", true},
    [AC_STORE_MESSAGE_DELETE] = {"message delete", true},
};

const char *ac_store_verb_name(ac_store_verb_e verb)
{
    return verb >= 0 && verb < AC_STORE_N_VERBS ? verbs[verb].name : "unknown";
}

void ac_store_verb_code(char code[AC_STORE_VERB_SIZE], ac_store_verb_e verb)
{
    apr_cpystrn(code, ac_store_verb_name(verb), AC_STORE_VERB_SIZE);
    for (char *c = code; (c = strchr(c, ' ')) != NULL;) {
        *c = '_';
    }
}

const char *ac_store_owner_problem(const char *owner)
{
    size_t len = owner ? strlen(owner) : 0;

    if (!len || len >= AC_OWNER_SIZE) {
        return len ? "has more than 255 bytes" : "is empty";
    }
    if (!ac_utf8_valid(owner, len)) {
        return "is not valid UTF-8";
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)owner[i] < 0x20 || owner[i] == 0x7f) {
            return "has a control character";
        }
    }
    return *owner == ' ' ? "begins with a blank" : NULL;
}
_Static_assert(AC_OWNER_SIZE == 256, "what ac_store_owner_problem() says");

static bool copy_checked(char *to, size_t size, const char *from)
{
    size_t len = from ? strlen(from) : 0;

    if (len >= size) {
        return false;
    }
    if (len) {
        memcpy(to, from, len);
    }
    to[len] = '\0';
    return true;
}

/* An operation that a store makes for itself has a verb outside of the table, and no owner. */
static bool is_owned(ac_store_verb_e verb)
{
    return verb >= 0 && verb < AC_STORE_N_VERBS && verbs[verb].owned;
}

ac_store_op_t *ac_store_op_create(ac_store_verb_e verb, const char *owner, const char *id)
{
    ac_store_op_t *op = ac_alloc(sizeof(*op));

    op->verb = verb;
    ac_err_init(&op->err);
    if ((is_owned(verb) && ac_store_owner_problem(owner)) || !copy_checked(op->owner, sizeof(op->owner), owner) ||
        !copy_checked(op->id, sizeof(op->id), id)) {
        free(op);
        return NULL;
    }
    return op;
}

void ac_store_op_free(ac_store_op_t *op)
{
    if (!op) {
        return;
    }
    json_decref(op->in);
    json_decref(op->out);
    ac_trace_clear(&op->trace);
    free(op);
}

void ac_store_op_trace(ac_store_op_t *op, const ac_trace_t *trace)
{
    ac_trace_clear(&op->trace);
    if (trace) {
        ac_trace_copy(&op->trace, trace);
    }
}

static void store_deliver(void *baton)
{
    ac_store_op_t *op = baton;

    op->done(op);
}

void ac_store_done(ac_store_op_t *op)
{
    op->next = NULL;
    if (op->home) {
        ac_loop_post(op->home, store_deliver, op);
    } else {
        op->done(op);
    }
}

/* ---- the span of an operation ---- */

static ac_span_t *store_span(const ac_store_t *store, const ac_store_op_t *op)
{
    char name[AC_STORE_VERB_SIZE];
    ac_span_t *span = store->vt->flags & AC_STORE_SPANS ? NULL : ac_span_begin(AC_SPAN_STORE, &op->trace);
    if (!span) {
        return NULL;
    }
    ac_store_verb_code(name, op->verb);
    ac_span_name(span, "%s%s%s", name, store->name ? " " : "", store->name ? store->name : "");
    ac_span_text(span, AC_ATTRIBUTE_DB_SYSTEM_NAME, store->vt->name);
    ac_span_text(span, AC_ATTRIBUTE_DB_OPERATION_NAME, name);
    ac_span_text(span, AC_ATTRIBUTE_DB_QUERY_SUMMARY, name);
    ac_span_text(span, AC_ATTRIBUTE_DB_NAMESPACE, store->name);
    return span;
}

/* What a caller did wrong, or found missing, is no failure of the store. */
static void store_span_end(ac_store_op_t *op, ac_kind_e kind)
{
    const json_t *rows = json_object_get(op->out, op->verb == AC_STORE_TURN_LOAD ? "messages" : "data");
    if (json_is_array(rows)) {
        ac_span_integer(op->span, AC_ATTRIBUTE_DB_RESPONSE_RETURNED_ROWS, (int64_t)json_array_size(rows));
    }
    if (strcmp(ac_err_row(kind)->fault, "client") != 0) {
        ac_span_fail(op->span, kind);
    }
    ac_span_end(op->span);
    op->span = NULL;
}

/* The operation has come back to its caller's side. */
static void store_count(ac_store_op_t *op)
{
    ac_kind_e kind = op->status == APR_SUCCESS ? AC_OK : op->err.kind ? op->err.kind : AC_STORE_ERROR;

    if (op->span) {
        store_span_end(op, kind);
    }
    ac_metrics_add(AC_METRIC_STORE_OPERATIONS, AC_LABELS(op->metric, op->verb, kind), 1);
    ac_metrics_observe(AC_METRIC_STORE_OPERATION_DURATION, AC_LABELS(op->metric, op->verb), ac_clock() - op->began,
                       NULL);
    op->done = op->caller;
    op->done(op);
}

void ac_store_call_post(const ac_store_t *store, ac_loop_t *home, ac_store_op_t *op, void (*done)(ac_store_op_t *op),
                        void *baton)
{
    if (is_owned(op->verb) && !*op->owner) {
        abort(); /* no result would be correct */
    }
    op->home = home;
    op->caller = done;
    op->done = store_count;
    op->began = ac_clock();
    op->metric = store->metric;
    op->baton = baton;
    op->span = store_span(store, op);
    store->vt->start_post(store->self, op);
}

/* ---- conditions ---- */

/* "2026-11-23T08:00:00.000Z_thread_…" by update, else the id alone. */
json_t *ac_store_cursor(const ac_page_t *page, const json_t *data)
{
    const json_t *last = json_array_get(data, json_array_size(data) - 1);
    const char *id = ac_json_peek_string(last, "id", "");

    return page->by_update ? json_sprintf("%s_%s", ac_json_peek_string(last, "updated_at", ""), id) : json_string(id);
}

const char *ac_store_cursor_read(char time[AC_TIME_SIZE], const ac_page_t *page)
{
    const char *id = page->after, *end = strchr(id, '_');
    size_t len = end ? (size_t)(end - id) : AC_TIME_SIZE;
    apr_time_t when;

    *time = '\0';
    if (page->by_update) {
        if (len >= AC_TIME_SIZE) {
            return NULL;
        }
        memcpy(time, id, len);
        time[len] = '\0';
        id = end + 1;
        if (!ac_time_parse(&when, time)) {
            return NULL;
        }
    }
    return ac_id_valid(id, "thread_") ? id : NULL;
}

void ac_store_etag_set(ac_store_op_t *op, int64_t version)
{
    snprintf(op->etag, sizeof(op->etag), "\"%" PRId64 "\"", version);
}

/* If-Match by strong comparison: "*", or one of a list of quoted tags. */
static bool etag_matches(const char *if_match, int64_t version)
{
    char etag[AC_ETAG_SIZE];
    size_t len = (size_t)snprintf(etag, sizeof(etag), "\"%" PRId64 "\"", version);
    const char *at = if_match;

    while (*at) {
        at += strspn(at, " \t,");
        if (*at == '*' || strncmp(at, etag, len) == 0) {
            return true;
        }
        at += strcspn(at, ",");
    }
    return !*if_match;
}

apr_status_t ac_store_thread_check(ac_store_op_t *op, const json_t *thread, int64_t version)
{
    const char *wanted = ac_json_peek_string(op->in, "status", "active");
    const json_t *was = json_object_get(op->in, "title_was");

    if (!etag_matches(op->if_match, version)) {
        return ac_err_set(&op->err, AC_PRECONDITION_FAILED, "the thread was changed meanwhile");
    }
    if (was && !json_equal(was, json_object_get(thread, "title"))) {
        return ac_err_set(&op->err, AC_PRECONDITION_FAILED, "the title was changed meanwhile");
    }
    if (strcmp(wanted, "active") != 0 && strcmp(wanted, "archived") != 0) {
        return ac_err_set_at(&op->err, AC_INVALID_REQUEST, "/status", "must be active or archived");
    }
    return APR_SUCCESS;
}

json_t *ac_store_marks(const json_t *message)
{
    json_t *marks = json_pack("{s:O*, s:O*}", "summary", json_object_get(message, "summary"), "deleted",
                              json_object_get(message, "deleted"));
    if (json_object_size(marks) == 0) {
        json_decref(marks);
        return NULL;
    }
    return marks;
}

json_t *ac_store_deleted(const json_t *message)
{
    static const char *const kept[] = {"id", "thread_id", "parent_id", "seq", "role", "run_id", "timestamp"};
    json_t *reason = json_object_get(json_object_get(message, "metadata"), "finish_reason"), *left = json_object();
    for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
        json_t *value = json_object_get(message, kept[i]);
        if (value) {
            ac_json_put(left, kept[i], json_incref(value));
        }
    }
    ac_json_put(left, "content", json_string(""));
    ac_json_put(left, "tool_calls", json_null());
    ac_json_put(left, "metadata", json_pack("{s:O*}", "finish_reason", reason));
    ac_json_put(left, "deleted", json_true());
    return left;
}

bool ac_store_title_is_of(const json_t *title, const json_t *message)
{
    const char *content = ac_json_peek_string(message, "content", "");
    const char *name = ac_json_peek_string(json_array_get(json_object_get(message, "attachments"), 0), "name", NULL);
    json_t *made = ac_record_title(*content || !name ? content : name);
    bool same = json_equal(title, made);
    json_decref(made);
    return same;
}

apr_status_t ac_store_deleted_check(ac_store_op_t *op, const json_t *thread)
{
    return ac_json_peek_int(op->in, "deleted_messages", 0) == ac_json_peek_int(thread, "deleted_messages", 0)
        ? APR_SUCCESS
        : ac_err_set(&op->err, AC_PRECONDITION_FAILED, "messages of the thread were deleted concurrently");
}

apr_status_t ac_store_agent_check(ac_store_op_t *op, const char *etag)
{
    if (!*etag && op->verb == AC_STORE_AGENT_DELETE) {
        return ac_err_set(&op->err, AC_NOT_FOUND, "no agent with this id");
    }
    if (*etag && json_is_true(json_object_get(op->in, "fresh"))) {
        return ac_err_set(&op->err, AC_PRECONDITION_FAILED, "there is an agent of this id");
    }
    if (*op->if_match && !*etag) {
        return ac_err_set(&op->err, AC_PRECONDITION_FAILED, "there is no agent of this id");
    }
    if (*op->if_match && strcmp(op->if_match, "*") != 0 && strcmp(op->if_match, etag) != 0) {
        return ac_err_set(&op->err, AC_PRECONDITION_FAILED, "the agent was changed meanwhile");
    }
    return APR_SUCCESS;
}

static apr_status_t decide_one(json_t *calls, ac_store_op_t *op)
{
    const char *call_id = NULL, *reason = ac_json_peek_string(op->in, "reason", NULL);
    json_t *call, *approve = json_object_get(op->in, "approve");
    apr_status_t status = ac_json_string(&call_id, op->in, "call_id", true, &op->err);

    if (status != APR_SUCCESS) {
        return status;
    }
    call = json_object_get(calls, call_id);
    if (!call || !json_is_null(call)) {
        return ac_err_set(&op->err, AC_NOT_WAITING,
                          call ? "this call has been decided" : "the run does not wait for this call");
    }
    json_object_set_new(calls, call_id,
                        json_pack("{s:b, s:o*, s:O*}", "approve", json_is_true(approve), "reason",
                                  reason ? json_string(reason) : NULL, "content", json_object_get(op->in, "content")));
    return APR_SUCCESS;
}

apr_status_t ac_store_approval_decide(int *pn_open, json_t *calls, const char *until, ac_store_op_t *op)
{
    const char *now = ac_json_peek_string(op->in, "expired", NULL), *id;
    bool cancel = json_is_true(json_object_get(op->in, "cancel"));
    json_t *call;
    void *next;
    apr_status_t status = now || cancel ? APR_SUCCESS : decide_one(calls, op);

    *pn_open = 0;
    if (now && strcmp(until ? until : "", now) >= 0) {
        return ac_err_set(&op->err, AC_NOT_WAITING, "there is still time");
    }
    json_object_foreach_safe(calls, next, id, call)
    {
        if (json_is_null(call) && now) {
            json_object_set_new(calls, id, json_pack("{s:b, s:b}", "approve", 0, "expired", 1));
        }
        *pn_open += json_is_null(call) && !now && !cancel;
    }
    return status;
}

/* ---- a worker that waits ---- */

static void store_on_answer(ac_store_op_t *op)
{
    ac_handover_t *handover = op->baton;

    if (!ac_handover_answer(handover)) {
        ac_store_op_free(op);
        free(handover);
    }
}

apr_status_t ac_store_wait(const ac_store_t *store, ac_store_op_t **pop, apr_interval_time_t timeout, ac_err_t *err)
{
    ac_store_op_t *op = *pop;
    apr_time_t deadline = ac_clock() + timeout;
    ac_handover_t *handover = ac_alloc(sizeof(*handover));

    *pop = NULL;
    ac_handover_begin(handover);
    if (!op->deadline || op->deadline > deadline) {
        op->deadline = deadline;
    }
    ac_store_call_post(store, NULL, op, store_on_answer, handover);
    if (!ac_handover_wait(handover, deadline)) {
        return ac_err_set(err, AC_STORE_TIMEOUT, "the store did not answer in time");
    }
    free(handover);
    *pop = op;
    if (op->status != APR_SUCCESS && err && err->kind == AC_OK) {
        *err = op->err;
    }
    return op->status;
}
