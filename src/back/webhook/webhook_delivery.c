/* SPDX-License-Identifier: Apache-2.0 */
/* The documents of webhook deliveries: what a run's end becomes, how a process acquires one, and what an attempt
 * changes. Pure. */
#include "webhook.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define ASKS "run.approval_required"
#define CLOCK_ERROR \
    apr_time_from_sec(2) /* of processes that share a store: one comes early for a delivery of its own */

/* ---- from a run ---- */

static const char *event_type(const json_t *run, bool asks)
{
    const char *status = ac_json_peek_string(run, "status", "");
    if (asks) {
        return ASKS;
    }
    return strcmp(status, "completed") == 0                                   ? "run.completed"
        : strcmp(status, "cancelled") == 0                                    ? "run.cancelled"
        : strcmp(status, "failed") == 0 || strcmp(status, "interrupted") == 0 ? "run.failed"
                                                                              : NULL;
}

static bool event_is_wanted(const json_t *run, const char *type)
{
    const json_t *webhook = json_object_get(run, "webhook"), *events = json_object_get(webhook, "events"), *event;
    size_t i;
    if (!*ac_json_peek_string(webhook, "name", "")) {
        return false;
    }
    json_array_foreach((json_t *)events, i, event)
    {
        if (json_is_string(event) && strcmp(json_string_value(event), type) == 0) {
            return true;
        }
    }
    return !events;
}

bool ac_webhook_delivery_same(const json_t *run, const json_t *earlier)
{
    const char *type = event_type(run, false), *before = event_type(earlier, false);
    return type && before && strcmp(type, before) == 0;
}

/* "run_…_completed": the same for each attempt to store it. A run may ask several times, each time for other calls. */
static void delivery_id(char id[AC_WEBHOOK_ID_SIZE], const json_t *run, const char *type, const json_t *asks)
{
    const char *step = ac_json_peek_string(json_array_get(asks, 0), "id", "");
    apr_snprintf(id, AC_WEBHOOK_ID_SIZE, "%s_%s%s%s", ac_json_peek_string(run, "id", ""), strchr(type, '.') + 1,
                 *step ? "_" : "", step);
}

static json_t *error_code(const json_t *run)
{
    const char *code = ac_json_peek_string(json_object_get(run, "error"), "code", NULL);
    return code ? json_pack("{s:s}", "code", code) : json_null();
}

static json_t *member_of(const json_t *from, const char *name)
{
    json_t *value = json_object_get(from, name);
    return value ? json_deep_copy(value) : json_null();
}

/* Ids, a state and counts; nothing that anybody has said. */
static json_t *delivery_data(const ac_webhook_cause_t *cause)
{
    static const char *const names[] = {"thread_id", "agent_id", "status", "usage"};
    json_t *data = json_object();
    ac_json_put(data, "run_id", member_of(cause->run, "id"));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ac_json_put(data, names[i], member_of(cause->run, names[i]));
    }
    ac_json_put(data, "error", error_code(cause->run));
    ac_json_put(data, "message_id", member_of(cause->message, "id"));
    return data;
}

static json_t *trace_of(const ac_trace_t *trace)
{
    char text[AC_TRACEPARENT_SIZE] = "";
    if (trace) {
        ac_trace_format(trace, text);
    }
    return ac_json_text(*text ? text : NULL);
}

json_t *ac_webhook_delivery_make(const ac_webhook_cause_t *cause)
{
    static const char *const unset[] = {"token",        "process", "last_attempt_at", "last_status", "last_error",
                                        "delivered_at", NULL};
    const char *type = event_type(cause->run, cause->asks != NULL);
    char id[AC_WEBHOOK_ID_SIZE];
    if (!type || !event_is_wanted(cause->run, type)) {
        return NULL;
    }
    delivery_id(id, cause->run, type, cause->asks);
    json_t *delivery = json_object();
    ac_json_put(delivery, "id", json_string(id));
    ac_json_put(delivery, "run_id", member_of(cause->run, "id"));
    ac_json_put(delivery, "thread_id", member_of(cause->run, "thread_id"));
    ac_json_put(delivery, "owner", ac_json_text(cause->owner));
    ac_json_put(delivery, "webhook", member_of(json_object_get(cause->run, "webhook"), "name"));
    ac_json_put(delivery, "type", json_string(type));
    ac_json_put(delivery, "created_at", ac_time_json(cause->now));
    ac_json_put(delivery, "state", json_string("pending"));
    ac_json_put(delivery, "attempts", json_integer(0));
    ac_json_put(delivery, "due_at", ac_time_json(cause->now));
    for (int i = 0; unset[i]; i++) {
        ac_json_put(delivery, unset[i], json_null());
    }
    ac_json_put(delivery, "trace", trace_of(cause->trace));
    ac_json_put(delivery, "data", delivery_data(cause));
    return delivery;
}

/* ---- acquiring ---- */

static apr_time_t due_time(const json_t *delivery)
{
    apr_time_t due;
    return ac_time_parse(&due, ac_json_peek_string(delivery, "due_at", "")) ? due : 0;
}

static bool is_pending(const json_t *delivery)
{
    return strcmp(ac_json_peek_string(delivery, "state", ""), "pending") == 0 && due_time(delivery);
}

static bool has_token(const json_t *delivery, const ac_store_op_t *op)
{
    const char *token = ac_json_peek_string(op->in, "token", "");
    return *token && strcmp(ac_json_peek_string(delivery, "token", ""), token) == 0;
}

static json_t *after_ms(const json_t *in, const char *name, apr_time_t now)
{
    return ac_time_json(now + apr_time_from_msec(ac_json_peek_int(in, name, 0)));
}

apr_status_t ac_webhook_delivery_acquire(bool *pdone, json_t *delivery, ac_store_op_t *op, apr_time_t now)
{
    const char *ours = ac_json_peek_string(op->in, "process", ""),
               *theirs = ac_json_peek_string(delivery, "process", "");
    *pdone = is_pending(delivery) && *theirs && has_token(delivery, op);
    if (*pdone) {
        return APR_SUCCESS;
    }
    bool is_due = *theirs ? due_time(delivery) <= now || ac_process_died(ours, theirs)
                          : due_time(delivery) <= now + CLOCK_ERROR;
    if (!is_pending(delivery) || !is_due) {
        return ac_err_set(&op->err, AC_PRECONDITION_FAILED, "the delivery is not due");
    }
    ac_json_put(delivery, "attempts", json_integer(ac_json_peek_int(delivery, "attempts", 0) + 1));
    ac_json_put(delivery, "token", member_of(op->in, "token"));
    ac_json_put(delivery, "process", json_string(ours));
    ac_json_put(delivery, "last_attempt_at", ac_time_json(now));
    ac_json_put(delivery, "due_at", after_ms(op->in, "lease", now));
    return APR_SUCCESS;
}

apr_status_t ac_webhook_delivery_report(bool *pdone, json_t *delivery, ac_store_op_t *op, apr_time_t now)
{
    const char *state = ac_json_peek_string(op->in, "state", "");
    bool pending = strcmp(state, "pending") == 0;
    *pdone = false;
    if (!has_token(delivery, op)) {
        return ac_err_set(&op->err, AC_PRECONDITION_FAILED, "another process has the delivery");
    }
    *pdone = !*ac_json_peek_string(delivery, "process", "");
    if (*pdone) {
        return APR_SUCCESS;
    }
    ac_json_put(delivery, "state", json_string(state));
    ac_json_put(delivery, "process", json_null());
    ac_json_put(delivery, "last_status", member_of(op->in, "status"));
    ac_json_put(delivery, "last_error", member_of(op->in, "error"));
    ac_json_put(delivery, "due_at", pending ? after_ms(op->in, "wait", now) : json_null());
    if (strcmp(state, "delivered") == 0) {
        ac_json_put(delivery, "delivered_at", ac_time_json(now));
    }
    return APR_SUCCESS;
}

/* ---- rows ---- */

json_t *ac_webhook_delivery_row(const json_t *delivery, apr_time_t now)
{
    static const char *const names[] = {"id", "thread_id", "owner", "webhook", "process", NULL};
    json_t *row = json_object();
    for (int i = 0; names[i]; i++) {
        ac_json_put(row, names[i], member_of(delivery, names[i]));
    }
    ac_json_put(row, "wait", json_integer(apr_time_as_msec(due_time(delivery) - now)));
    return row;
}

static json_t *shown_delivery(const json_t *delivery)
{
    static const char *const names[] = {"id",          "type",       "state",
                                        "created_at",  "attempts",   "last_attempt_at",
                                        "last_status", "last_error", "delivered_at",
                                        NULL};
    json_t *shown = json_object();
    for (int i = 0; names[i]; i++) {
        ac_json_put(shown, names[i], member_of(delivery, names[i]));
    }
    ac_json_put(shown, "next_attempt_at", member_of(delivery, "due_at"));
    return shown;
}

/* A run ends after its approvals. The clock of a store does not always say so: what two processes see of it may differ
 * by some milliseconds. */
static int by_order(const void *a, const void *b)
{
    const json_t *const *left = a, *const *right = b;
    int ends = (strcmp(ac_json_peek_string(*left, "type", ""), ASKS) != 0) -
        (strcmp(ac_json_peek_string(*right, "type", ""), ASKS) != 0);
    int order = ends
        ? ends
        : strcmp(ac_json_peek_string(*left, "created_at", ""), ac_json_peek_string(*right, "created_at", ""));
    return order ? order : strcmp(ac_json_peek_string(*left, "id", ""), ac_json_peek_string(*right, "id", ""));
}

json_t *ac_webhook_delivery_list(const json_t *deliveries)
{
    size_t n = json_array_size(deliveries);
    json_t **shown = ac_alloc((n + 1) * sizeof *shown), *data = json_array();
    for (size_t i = 0; i < n; i++) {
        shown[i] = shown_delivery(json_array_get(deliveries, i));
    }
    qsort(shown, n, sizeof *shown, by_order);
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(data, shown[i]);
    }
    free(shown);
    return json_pack("{s:o}", "data", data);
}
