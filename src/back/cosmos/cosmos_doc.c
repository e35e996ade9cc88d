/* SPDX-License-Identifier: Apache-2.0 */
/* Documents of the Cosmos DB store: conversion from domain objects in the form of the API, and back. */
#include "cosmos_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAFE_INTEGER INT64_C(9007199254740991) /* the largest that binary floating point represents exactly */
#define COPY_MOST 4096     /* bytes of a thread's copy in its entry; of a larger thread, lists read the document */
#define STUB_CONTENT 65536 /* bytes of a large message's content that its stub shows */

/* Members that the service, or this store, adds to a document. */
static const char *const service_members[] = {"_rid", "_self", "_etag", "_attachments", "_ts", "_lsn", "ttl", NULL};

static void drop_all(json_t *doc, const char *const *names)
{
    for (; *names; names++) {
        json_object_del(doc, *names);
    }
}

static bool copy_member(json_t *to, const json_t *from, const char *name)
{
    json_t *value = json_object_get(from, name);
    return ac_json_put(to, name, value ? json_incref(value) : json_null());
}

static bool copy_marks(json_t *to, const json_t *from)
{
    json_t *marks = ac_store_marks(from);
    bool fine = !marks || json_object_update(to, marks) == 0;
    json_decref(marks);
    return fine;
}

/* ---- threads ---- */

const json_t *ac_cosmos_doc_find(const json_t *docs, const char *id)
{
    const json_t *doc;
    size_t i;
    json_array_foreach(docs, i, doc)
    {
        if (strcmp(ac_json_peek_string(doc, "id", ""), id) == 0) {
            return doc;
        }
    }
    return NULL;
}

json_t *ac_cosmos_doc_thread(const json_t *head)
{
    static const char *const names[] = {"id",         "title",      "agent_id", "status", "metadata", "message_count",
                                        "created_at", "updated_at", NULL};
    json_t *thread = json_object(),
           *leaf = json_object_get(json_object_get(json_object_get(head, "tree"), "leaf"), "id");
    bool fine = thread != NULL;
    for (int i = 0; names[i]; i++) {
        fine = copy_member(thread, head, names[i]) && fine;
    }
    fine = ac_json_put(thread, "pinned", json_boolean(json_is_true(json_object_get(head, "pinned")))) && fine;
    if (json_is_null(json_object_get(thread, "metadata"))) {
        fine = ac_json_put(thread, "metadata", json_object()) && fine;
    }
    if (!leaf) { /* a copy in an entry has no tree */
        leaf = json_object_get(head, "leaf");
    }
    if (json_object_get(head, "deleted_messages")) {
        fine = copy_member(thread, head, "deleted_messages") && fine;
    }
    fine = ac_json_put(thread, "leaf", leaf ? json_incref(leaf) : json_null()) && fine;
    if (!fine) {
        json_decref(thread);
        return NULL;
    }
    return thread;
}

static json_t *string_or_null(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    return json_is_string(value) ? json_incref(value) : json_null();
}

apr_status_t ac_cosmos_doc_make_thread(json_t **phead, const json_t *thread, const char *id, const char *owner,
                                       ac_err_t *err)
{
    static const char *const required[] = {"status", "created_at", "updated_at", NULL};
    json_t *head, *metadata = json_object_get(thread, "metadata");
    const char *text;
    bool fine;
    *phead = NULL;
    for (int i = 0; required[i]; i++) {
        apr_status_t status = ac_json_string(&text, thread, required[i], true, err);
        if (status != APR_SUCCESS) {
            return status;
        }
    }
    head = json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:n}", "id", id, "thread_id", id, "type", "thread", "owner", owner,
                     "message_count", 0, "version", 1, "active_run");
    fine = ac_json_put(head, "title", string_or_null(thread, "title"));
    fine = ac_json_put(head, "agent_id", string_or_null(thread, "agent_id")) && fine;
    fine = ac_json_put(head, "metadata", json_is_object(metadata) ? json_incref(metadata) : json_object()) && fine;
    fine = ac_json_put(head, "pinned", json_boolean(json_is_true(json_object_get(thread, "pinned")))) && fine;
    for (int i = 0; required[i]; i++) {
        fine = copy_member(head, thread, required[i]) && fine;
    }
    if (!fine) {
        json_decref(head);
        return ac_err_set(err, AC_INTERNAL, "out of memory");
    }
    *phead = head;
    return APR_SUCCESS;
}

int64_t ac_cosmos_doc_version(const json_t *head)
{
    return ac_json_peek_int(head, "version", 0);
}

/* The members by which lists filter. They are copies: an entry may be written after the operation, which owns the
 * thread's document, has ended. */
static json_t *index_base(const json_t *head)
{
    static const char *const names[] = {"status", "agent_id", "created_at", NULL};
    const json_t *labels = json_object_get(json_object_get(head, "metadata"), "labels");
    const char *id = ac_json_peek_string(head, "id", "");
    json_t *index = json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", id, "owner", ac_json_peek_string(head, "owner", ""),
                              "type", "thread", "thread_id", id, "key", id);
    for (int i = 0; index && names[i]; i++) {
        json_t *value = json_object_get(head, names[i]);
        ac_json_put(index, names[i], value ? json_deep_copy(value) : json_null());
    }
    if (json_is_true(json_object_get(head, "pinned"))) {
        ac_json_put(index, "pinned", json_true());
    }
    if (json_is_array(labels)) {
        ac_json_put(index, "labels", json_deep_copy(labels));
    }
    return index;
}

json_t *ac_cosmos_doc_make_marked_entry(const json_t *head, const char *change)
{
    json_t *index = index_base(head);
    ac_json_put(index, "changing", json_true());
    ac_json_put(index, "change", json_string(change));
    return index;
}

json_t *ac_cosmos_doc_make_entry(const json_t *head)
{
    json_t *index = index_base(head), *thread = ac_cosmos_doc_thread(head);
    size_t len = 0;
    char *text;
    if (json_is_null(json_object_get(thread, "leaf"))) {
        json_object_del(thread, "leaf"); /* of a line: as in older entries */
    }
    text = ac_json_dump(thread, &len);
    if (text && len <= COPY_MOST) {
        ac_json_put(index, "copy", json_deep_copy(thread));
        ac_json_put(index, "version", json_integer(ac_cosmos_doc_version(head)));
        ac_json_put(index, "head_ts", json_integer(ac_json_peek_int(head, "_ts", 0)));
    }
    free(text);
    json_decref(thread);
    return index;
}

/* ---- messages ---- */

/* Other programs expect a message's tool calls in its metadata. A member of that name from the caller is stored under
 * another name. */
static bool put_metadata(json_t *doc, const json_t *message)
{
    json_t *given = json_object_get(message, "metadata"), *calls = json_object_get(message, "tool_calls");
    json_t *metadata = json_is_object(given) ? json_copy(given) : json_object(),
           *own = json_object_get(metadata, "tool_calls");
    bool fine = true;
    if (own) {
        fine = ac_json_put(doc, "own_tool_calls", json_incref(own));
    }
    if (!json_is_object(given)) {
        fine = ac_json_put(doc, "no_metadata", json_true());
    }
    if (own || (calls && !json_is_null(calls))) {
        fine = ac_json_put(metadata, "tool_calls", calls ? json_incref(calls) : json_null()) && fine;
    }
    return ac_json_put(doc, "metadata", metadata) && fine;
}

apr_status_t ac_cosmos_doc_make_message(json_t **pdoc, const json_t *message, const char *thread_id, ac_err_t *err)
{
    const json_t *content = json_object_get(message, "content");
    const char *id, *role, *timestamp;
    apr_status_t status = ac_json_string(&id, message, "id", true, err);
    json_t *doc;
    bool fine;
    *pdoc = NULL;
    if (status == APR_SUCCESS) {
        status = ac_json_string(&role, message, "role", true, err);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_string(&timestamp, message, "timestamp", true, err);
    }
    if (status == APR_SUCCESS && content && !json_is_string(content) && !json_is_null(content)) {
        status = ac_err_set_at(err, AC_INVALID_REQUEST, "/message/content", "must be a string");
    }
    if (status == APR_SUCCESS && strlen(id) >= AC_ID_SIZE) {
        status = ac_err_set_at(err, AC_INVALID_REQUEST, "/message/id", "too long");
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    doc = json_pack("{s:s, s:s, s:s, s:s}", "id", id, "thread_id", thread_id, "type", "message", "role", role);
    fine = copy_member(doc, message, "content");
    fine = copy_member(doc, message, "timestamp") && fine;
    fine = copy_member(doc, message, "run_id") && fine;
    if (json_object_get(message, "feedback")) {
        fine = copy_member(doc, message, "feedback") && fine;
    }
    fine = copy_marks(doc, message) && fine;
    fine = put_metadata(doc, message) && fine;
    if (json_is_array(json_object_get(message, "attachments"))) {
        fine = copy_member(doc, message, "attachments") && fine;
    }
    if (json_object_get(message, "parent_id")) {
        fine = copy_member(doc, message, "parent_id") && fine;
    }
    if (!fine) {
        json_decref(doc);
        return ac_err_set(err, AC_INTERNAL, "out of memory");
    }
    *pdoc = doc;
    return APR_SUCCESS;
}

json_t *ac_cosmos_doc_message(const json_t *doc)
{
    static const char *const names[] = {"id", "thread_id", "parent_id", "seq", "role", "content", NULL};
    json_t *message = json_object(), *given = json_object_get(doc, "metadata"),
           *own = json_object_get(doc, "own_tool_calls");
    json_t *metadata = json_is_object(given) ? json_copy(given) : json_object();
    bool fine = message != NULL;
    for (int i = 0; names[i]; i++) {
        fine = copy_member(message, doc, names[i]) && fine;
    }
    fine = copy_member(message, metadata, "tool_calls") && fine;
    fine = copy_member(message, doc, "run_id") && fine;
    fine = copy_member(message, doc, "timestamp") && fine;
    json_object_del(metadata, "tool_calls");
    if (own) {
        fine = ac_json_put(metadata, "tool_calls", json_incref(own)) && fine;
    }
    if (json_is_true(json_object_get(doc, "no_metadata"))) {
        json_decref(metadata);
        metadata = json_null();
    }
    fine = ac_json_put(message, "metadata", metadata) && fine;
    if (json_object_get(doc, "attachments")) {
        fine = copy_member(message, doc, "attachments") && fine;
    }
    if (json_object_get(doc, "feedback")) {
        fine = copy_member(message, doc, "feedback") && fine;
    }
    fine = copy_marks(message, doc) && fine;
    if (!fine) {
        json_decref(message);
        return NULL;
    }
    return message;
}

/* ---- runs and steps ---- */

apr_status_t ac_cosmos_doc_make_run(json_t **pdoc, const json_t *run, const ac_store_op_t *op, ac_err_t *err)
{
    static const char *const required[] = {"id", "status", "created_at", NULL};
    const char *text = NULL;
    bool fine;
    *pdoc = NULL;
    for (int i = 0; required[i]; i++) {
        apr_status_t status = ac_json_string(&text, run, required[i], true, err);
        if (status == APR_SUCCESS && i == 0 && strlen(text) >= AC_ID_SIZE) {
            status = ac_err_set_at(err, AC_INVALID_REQUEST, "/run/id", "too long");
        }
        if (status != APR_SUCCESS) {
            return status;
        }
    }
    *pdoc = json_copy((json_t *)run);
    fine = ac_json_put(*pdoc, "thread_id", json_string(op->id));
    fine = ac_json_put(*pdoc, "type", json_string("run")) && fine;
    fine = ac_json_put(*pdoc, "owner", ac_json_text(op->owner)) && fine;
    return fine ? APR_SUCCESS : ac_err_set(err, AC_INTERNAL, "out of memory");
}

json_t *ac_cosmos_doc_run(const json_t *doc)
{
    static const char *const ours[] = {"type", "owner", NULL};
    json_t *run = json_copy((json_t *)doc);
    drop_all(run, service_members);
    drop_all(run, ours);
    ac_cosmos_doc_clear_lease(run);
    return run;
}

void ac_cosmos_doc_clear_lease(json_t *run)
{
    static const char *const names[] = {"holder", "lease_until", "cancel_requested", NULL};
    drop_all(run, names);
}

json_t *ac_cosmos_doc_make_run_entry(const char *owner, const char *run_id, const char *thread_id,
                                     const char *message_id)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", run_id, "owner", owner, "type", "run", "thread_id", thread_id,
                     "key", message_id);
}

void ac_cosmos_doc_steps_id(char id[AC_ID_SIZE + 8], const char *run_id)
{
    snprintf(id, AC_ID_SIZE + 8, "%.*s_steps", AC_ID_SIZE - 1, run_id);
}

void ac_cosmos_doc_suspended_id(char id[AC_ID_SIZE + 8], const char *run_id)
{
    snprintf(id, AC_ID_SIZE + 8, "%.*s_wait", AC_ID_SIZE - 1, run_id);
}

apr_status_t ac_cosmos_doc_make_steps(json_t **pdoc, const json_t *steps, const char *run_id, const char *thread_id,
                                      ac_err_t *err)
{
    char id[AC_ID_SIZE + 8];
    const char *text;
    const json_t *step;
    size_t i;
    *pdoc = NULL;
    json_array_foreach(steps, i, step)
    {
        apr_status_t status = ac_json_string(&text, step, "id", true, err);
        if (status != APR_SUCCESS) {
            return status;
        }
    }
    if (json_array_size(steps) == 0) {
        return APR_SUCCESS;
    }
    ac_cosmos_doc_steps_id(id, run_id);
    *pdoc = json_pack("{s:s, s:s, s:s, s:s, s:O}", "id", id, "thread_id", thread_id, "type", "steps", "run_id", run_id,
                      "steps", steps);
    return *pdoc ? APR_SUCCESS : ac_err_set(err, AC_INTERNAL, "out of memory");
}

/* ---- leases ---- */

bool ac_cosmos_doc_past(const json_t *doc, const char *name, apr_time_t now)
{
    char text[AC_TIME_SIZE];
    ac_time_format(text, now);
    return strcmp(ac_json_peek_string(doc, name, ""), text) < 0;
}

/* ---- parts ---- */

void ac_cosmos_doc_part_id(char id[AC_ID_SIZE + 16], const char *doc_id, int part)
{
    snprintf(id, AC_ID_SIZE + 16, "%.*s_%d", AC_ID_SIZE + 4, doc_id, part);
}

/* Whether every reader represents the document's numbers exactly. */
static bool is_safe(const json_t *value)
{
    const char *name;
    json_t *member;
    size_t i;
    if (json_is_integer(value)) {
        return json_integer_value(value) <= SAFE_INTEGER && json_integer_value(value) >= -SAFE_INTEGER;
    }
    json_object_foreach((json_t *)value, name, member)
    {
        if (!is_safe(member)) {
            return false;
        }
    }
    json_array_foreach(value, i, member)
    {
        if (!is_safe(member)) {
            return false;
        }
    }
    return true;
}

/* The stub of a document that is stored in parts: its small members, and the beginning of its content for programs that
 * do not know parts. */
static json_t *stub_make(const json_t *doc, int n_parts)
{
    json_t *stub = json_copy((json_t *)doc), *content = json_object_get(doc, "content");
    const json_t *metadata = json_object_get(doc, "metadata");
    bool fine = ac_json_put(stub, "parts", json_integer(n_parts));
    if (json_is_string(content) && json_string_length(content) > STUB_CONTENT) {
        const char *text = json_string_value(content);
        fine = ac_json_put(stub, "content", json_stringn(text, ac_utf8_whole(text, STUB_CONTENT))) && fine;
    }
    if (metadata) {
        fine = ac_json_put(stub, "metadata",
                           json_pack("{s:O*, s:O*, s:O*}", "model", json_object_get(metadata, "model"), "finish_reason",
                                     json_object_get(metadata, "finish_reason"), "came_with",
                                     json_object_get(metadata, "came_with"))) &&
            fine;
    }
    json_object_del(stub, "steps");
    json_object_del(stub, "state");
    json_object_del(stub, "asks");
    json_object_del(stub, "own_tool_calls");
    if (!fine) {
        json_decref(stub);
        return NULL;
    }
    return stub;
}

apr_status_t ac_cosmos_doc_split(json_t **pdoc, json_t *parts, ac_err_t *err)
{
    size_t len = 0, at = 0;
    char *text = *pdoc ? ac_json_dump(*pdoc, &len) : NULL, id[AC_ID_SIZE + 16];
    const char *doc_id = ac_json_peek_string(*pdoc, "id", "");
    json_t *stub;
    int n = 0;
    bool fine = text != NULL || !*pdoc;
    if (!text || (len <= AC_COSMOS_SPLIT && is_safe(*pdoc))) {
        free(text);
        return fine ? APR_SUCCESS : ac_err_set(err, AC_INTERNAL, "out of memory");
    }
    while (fine && at < len) {
        size_t slice = len - at < AC_COSMOS_SPLIT ? len - at : ac_utf8_whole(text + at, AC_COSMOS_SPLIT);
        ac_cosmos_doc_part_id(id, doc_id, ++n);
        fine = json_array_append_new(parts,
                                     json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", id, "thread_id",
                                               ac_json_peek_string(*pdoc, "thread_id", ""), "type", "part", "of",
                                               doc_id, "text", json_stringn(text + at, slice))) == 0;
        at += slice;
    }
    free(text);
    stub = fine ? stub_make(*pdoc, n) : NULL;
    if (!stub) {
        return ac_err_set(err, AC_INTERNAL, "out of memory");
    }
    json_decref(*pdoc);
    *pdoc = stub;
    return APR_SUCCESS;
}
