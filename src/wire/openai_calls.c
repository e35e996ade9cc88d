/* SPDX-License-Identifier: Apache-2.0 */
/* Chat completions: tool calls assembled from their fragments, by index and id, in the numberings of the various
 * servers. */
#include "openai_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_GIVEN 512     /* bytes of an id or a name */
#define LEGACY_INDEX (-2) /* of a function_call, which has no index */

/* The contents of one fragment. */
typedef struct fragment_t {
    int64_t index;         /* -1: not given */
    const char *id, *name; /* NULL if absent, null or empty */
    char number[24];       /* the text of an id that is a number */
    const char *arguments;
    size_t len;
    char *dumped; /* owned: arguments that came as an object */
} fragment_t;

static const char *text_of(const json_t *value)
{
    const char *text = json_string_value(value);
    return text && *text ? text : NULL;
}

static apr_status_t read_fragment(fragment_t *part, const json_t *fragment, const json_t *function, ac_err_t *err)
{
    const json_t *id = json_object_get(fragment, "id"), *index = json_object_get(fragment, "index");
    const json_t *arguments = json_object_get(function, "arguments");
    memset(part, 0, sizeof(*part));
    part->index = json_is_integer(index) && json_integer_value(index) >= 0 ? (int64_t)json_integer_value(index) : -1;
    part->name = text_of(json_object_get(function, "name"));
    part->id = text_of(id);
    if (json_is_integer(id)) {
        snprintf(part->number, sizeof(part->number), "%" JSON_INTEGER_FORMAT, json_integer_value(id));
        part->id = part->number;
    }
    part->arguments = "";
    if (json_is_string(arguments)) {
        part->arguments = json_string_value(arguments);
        part->len = json_string_length(arguments);
    } else if (json_is_object(arguments) || json_is_array(arguments)) {
        part->dumped = ac_json_dump(arguments, &part->len);
        part->arguments = part->dumped;
        if (!part->dumped) {
            return ac_err_set(err, AC_INTERNAL, "memory ran out");
        }
    }
    if ((part->id && strlen(part->id) > MAX_GIVEN) || (part->name && strlen(part->name) > MAX_GIVEN)) {
        return ac_err_set(err, AC_MODEL_ERROR, "the model sent a tool call whose id or name is too long");
    }
    return APR_SUCCESS;
}

/* ---- the call of a fragment ---- */

static ac_openai_call_t *latest(ac_openai_answer_t *answer, int64_t index)
{
    for (int i = answer->n_calls - 1; i >= 0; i--) {
        if (index == -1 || answer->calls[i].index == index) {
            return &answer->calls[i];
        }
    }
    return NULL;
}

static ac_openai_call_t *openai_call_by_id(ac_openai_answer_t *answer, const char *id, int64_t index)
{
    for (int i = answer->n_calls - 1; i >= 0; i--) {
        ac_openai_call_t *call = &answer->calls[i];
        if (call->given_id && strcmp(call->given_id, id) == 0 && (index == -1 || call->index == index)) {
            return call;
        }
    }
    return NULL;
}

static bool openai_call_is_whole(const ac_buf_t *arguments)
{
    json_t *value = arguments->len ? json_loadb(arguments->data, arguments->len, 0, NULL) : NULL;
    json_decref(value);
    return value != NULL;
}

/* Whether a fragment without an id begins a call: it has another name than the current call, or a second complete set
 * of arguments. A repeated name continues the call. */
static bool begins_unnamed(const ac_openai_call_t *call, const fragment_t *part)
{
    if (!part->name || !call->name) {
        return false;
    }
    return strcmp(part->name, call->name) != 0 ||
        (part->len && *part->arguments == '{' && openai_call_is_whole(&call->arguments));
}

/* The call that the fragment continues, or NULL if it begins one. */
static ac_openai_call_t *openai_call_find_call(ac_openai_answer_t *answer, const fragment_t *part)
{
    if (part->id) {
        ac_openai_call_t *call = openai_call_by_id(answer, part->id, part->index);
        if (call) {
            return call;
        }
    }
    ac_openai_call_t *call = latest(answer, part->index);
    if (!call) {
        return NULL;
    }
    if (part->id && call->given_id) {
        /* Servers that number every call 0 distinguish calls by id. Others make a new id for each fragment, but not a
         * new name. */
        return part->name || !call->name ? NULL : call;
    }
    return begins_unnamed(call, part) ? NULL : call;
}

static bool id_taken(const ac_openai_answer_t *answer, const char *id)
{
    for (int i = 0; i < answer->n_calls; i++) {
        if (answer->calls[i].id && strcmp(answer->calls[i].id, id) == 0) {
            return true;
        }
    }
    return false;
}

/* Gives the call a unique id: the given one, with a suffix if another call has it, or a generated one. */
static bool openai_call_set_id(ac_openai_answer_t *answer, ac_openai_call_t *call, const char *given)
{
    char id[MAX_GIVEN + 16];
    if (!given) {
        ac_id_make(id, "call_");
    } else {
        snprintf(id, sizeof(id), "%s", given);
        for (int n = 2; id_taken(answer, id); n++) {
            snprintf(id, sizeof(id), "%s_%d", given, n);
        }
        call->given_id = strdup(given);
    }
    call->id = strdup(id);
    return call->id && (!given || call->given_id);
}

static ac_openai_call_t *openai_call_add_call(ac_openai_answer_t *answer, int64_t index, ac_err_t *err)
{
    if (answer->n_calls == AC_MAX_TOOL_CALLS) {
        ac_err_set(err, AC_MODEL_ERROR, "the model asked for more than %d tools at once", AC_MAX_TOOL_CALLS);
        return NULL;
    }
    if (!answer->calls) {
        answer->calls = calloc(AC_MAX_TOOL_CALLS, sizeof(*answer->calls));
        if (!answer->calls) {
            ac_err_set(err, AC_INTERNAL, "memory ran out");
            return NULL;
        }
    }
    ac_openai_call_t *call = &answer->calls[answer->n_calls++];
    call->index = index;
    ac_buf_init(&call->arguments, AC_MAX_TOOL_ARGUMENTS);
    answer->started = true;
    return call;
}

/* ---- announcing calls ---- */

static int openai_call_place(const ac_openai_answer_t *answer, const ac_openai_call_t *call)
{
    return (int)(call - answer->calls);
}

static bool announce(ac_openai_answer_t *answer, ac_openai_call_t *call)
{
    if (!call->id && !openai_call_set_id(answer, call, NULL)) {
        return false;
    }
    call->announced = true;
    answer->cb->on_tool_start(answer->baton, openai_call_place(answer, call), call->id, call->name);
    if (call->arguments.len) {
        answer->cb->on_tool_args(answer->baton, openai_call_place(answer, call), call->arguments.data,
                                 call->arguments.len);
    }
    return true;
}

static apr_status_t extend(ac_openai_answer_t *answer, ac_openai_call_t *call, const fragment_t *part, ac_err_t *err)
{
    bool had = true;
    if (part->id && !call->id) {
        had = openai_call_set_id(answer, call, part->id);
    }
    if (part->name && !call->name) {
        call->name = strdup(part->name);
        had = had && call->name;
    }
    if (!had) {
        return ac_err_set(err, AC_INTERNAL, "memory ran out");
    }
    if (part->len && ac_buf_add(&call->arguments, part->arguments, part->len) != APR_SUCCESS) {
        return ac_err_set(err, AC_MODEL_ERROR, "the model wrote more than %d bytes of arguments for one tool",
                          AC_MAX_TOOL_ARGUMENTS);
    }
    if (call->announced) {
        if (part->len) {
            answer->cb->on_tool_args(answer->baton, openai_call_place(answer, call), part->arguments, part->len);
        }
        return APR_SUCCESS;
    }
    /* An id may still come until the arguments begin. */
    if (call->name && (call->id || call->arguments.len) && !announce(answer, call)) {
        return ac_err_set(err, AC_INTERNAL, "memory ran out");
    }
    return APR_SUCCESS;
}

static apr_status_t openai_call_take(ac_openai_answer_t *answer, fragment_t *part, ac_err_t *err)
{
    ac_openai_call_t *call = openai_call_find_call(answer, part);
    if (!call && !part->id && !part->name && !part->len) {
        return APR_SUCCESS;
    }
    if (!call) {
        call = openai_call_add_call(answer, part->index, err);
    }
    return call ? extend(answer, call, part, err) : APR_EGENERAL;
}

apr_status_t ac_openai_call_fragment(ac_openai_answer_t *answer, const json_t *fragment, ac_err_t *err)
{
    if (!json_is_object(fragment)) {
        return APR_SUCCESS;
    }
    fragment_t part;
    apr_status_t status = read_fragment(&part, fragment, json_object_get(fragment, "function"), err);
    if (status == APR_SUCCESS) {
        status = openai_call_take(answer, &part, err);
    }
    free(part.dumped);
    return status;
}

apr_status_t ac_openai_call_legacy(ac_openai_answer_t *answer, const json_t *function, ac_err_t *err)
{
    fragment_t part;
    apr_status_t status = read_fragment(&part, NULL, function, err);
    part.index = LEGACY_INDEX;
    if (status == APR_SUCCESS) {
        status = openai_call_take(answer, &part, err);
    }
    free(part.dumped);
    return status;
}

apr_status_t ac_openai_call_whole(ac_openai_answer_t *answer, const json_t *fragment, ac_err_t *err)
{
    fragment_t part;
    apr_status_t status = read_fragment(&part, fragment, json_object_get(fragment, "function"), err);
    ac_openai_call_t *call = status == APR_SUCCESS ? openai_call_find_call(answer, &part) : NULL;
    if (call && call->arguments.len && part.len) {
        size_t had = call->arguments.len;
        if (part.len >= had && memcmp(part.arguments, call->arguments.data, had) == 0) {
            part.arguments += had;
            part.len -= had;
        } else if (part.len <= AC_MAX_TOOL_ARGUMENTS) {
            ac_buf_clear(&call->arguments);
            ac_buf_add(&call->arguments, part.arguments, part.len);
            part.len = 0;
        }
    }
    if (status == APR_SUCCESS) {
        status = call   ? extend(answer, call, &part, err)
            : part.name ? openai_call_take(answer, &part, err)
                        : APR_SUCCESS; /* its item has all of it */
    }
    free(part.dumped);
    return status;
}

apr_status_t ac_openai_call_question(ac_openai_answer_t *answer, const json_t *fragment, ac_err_t *err)
{
    fragment_t part;
    apr_status_t status = read_fragment(&part, fragment, json_object_get(fragment, "function"), err);
    ac_openai_call_t *call = status == APR_SUCCESS ? openai_call_add_call(answer, -1, err) : NULL;
    if (call) {
        call->approval = call->announced = true;
        call->name = strdup(part.name ? part.name : "tool");
        ac_buf_add(&call->arguments, part.arguments, part.len);
        if (!openai_call_set_id(answer, call, part.id) || !call->name || call->arguments.failed) {
            status = ac_err_set(err, AC_INTERNAL, "memory ran out");
        }
    }
    free(part.dumped);
    return call ? status : APR_EGENERAL;
}

apr_status_t ac_openai_calls_end(ac_openai_answer_t *answer, ac_err_t *err)
{
    for (int i = 0; i < answer->n_calls; i++) {
        ac_openai_call_t *call = &answer->calls[i];
        if (!call->name) {
            return ac_err_set(err, AC_MODEL_ERROR, "the model called a tool without naming it");
        }
        if (!call->announced && !announce(answer, call)) {
            return ac_err_set(err, AC_INTERNAL, "memory ran out");
        }
    }
    return APR_SUCCESS;
}

void ac_openai_calls_free(ac_openai_answer_t *answer)
{
    for (int i = 0; i < answer->n_calls; i++) {
        free(answer->calls[i].id);
        free(answer->calls[i].given_id);
        free(answer->calls[i].name);
        ac_buf_free(&answer->calls[i].arguments);
    }
    free(answer->calls);
    free(answer->list);
    answer->calls = NULL;
    answer->list = NULL;
    answer->n_calls = 0;
}
