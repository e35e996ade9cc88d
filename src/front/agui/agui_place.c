/* SPDX-License-Identifier: Apache-2.0 */
/* What is new in the messages of a client, which has all of them, and where it belongs in the stored thread. Clients
 * say neither: a message behind another one than the thread's last is on a branch of its own, a known one with another
 * text is edited, and one that is known and the last is to be answered once more. */
#include "agui_internal.h"

#include <string.h>

#include "apr_strings.h"

typedef struct reader_t {
    ac_agui_place_t *place;
    ac_request_t *rq;
    ac_agui_input_t *input;
    const json_t *loaded, *list;
    size_t from, to;          /* the new messages are among these, `to` is behind them */
    const json_t *last_known; /* the newest one of the client's messages that the thread has; NULL: none */
} reader_t;

static bool has_role(const json_t *message, const char *role)
{
    return strcmp(ac_json_peek_string(message, "role", ""), role) == 0;
}

static const char *agui_place_id_of(const json_t *message)
{
    return ac_json_peek_string(message, "id", "");
}

/* The stored message of which this one of the client's is, or is a part. */
static const json_t *stored_of(const json_t *loaded, const json_t *message)
{
    const json_t *list = json_object_get(loaded, "messages"), *found;
    if (has_role(message, "user")) {
        return ac_request_thread_message(loaded, agui_place_id_of(message));
    }
    for (size_t i = json_array_size(list); i-- > 0;) {
        found = json_array_get(list, i);
        const char *run_id = ac_json_peek_string(found, "run_id", "");
        if (ac_record_is_answer(found) && ac_agui_id_is_of_run(agui_place_id_of(message), run_id)) {
            return found;
        }
    }
    return NULL;
}

const json_t *ac_agui_place_sent(const json_t *messages)
{
    for (size_t i = json_array_size(messages); i-- > 0;) {
        const json_t *message = json_array_get(messages, i);
        const char *call;
        char run_id[AC_ID_SIZE];
        if (has_role(message, "user") ||
            (has_role(message, "tool") && !ac_agui_id_read_call(run_id, &call, agui_place_id_of(message)))) {
            return message;
        }
    }
    return NULL;
}

static apr_status_t agui_place_add_files(reader_t *reader, const ac_attachments_t *files, size_t at)
{
    ac_attachments_t *all = &reader->place->attachments;
    size_t n = json_array_size(all->list);
    if (n + json_array_size(files->list) > AC_MAX_ATTACHMENTS) {
        return ac_err_set_at(&reader->rq->err, AC_INVALID_REQUEST,
                             apr_psprintf(reader->rq->r->pool, "/messages/%" APR_SIZE_T_FMT, at),
                             "a message may have %d files at most", AC_MAX_ATTACHMENTS);
    }
    if (all->list) {
        json_array_extend(all->list, files->list);
    } else {
        all->list = files->list;
    }
    for (; n < json_array_size(all->list); n++) {
        all->parts[n] = (int)at;
    }
    all->member = "messages";
    return APR_SUCCESS;
}

/* The user's messages from..to, as one. */
static apr_status_t agui_place_join(reader_t *reader)
{
    apr_pool_t *p = reader->rq->r->pool;
    ac_agui_place_t *place = reader->place;
    ac_parts_t parts;
    for (size_t i = reader->from; i < reader->to; i++) {
        const json_t *message = json_array_get(reader->list, i);
        if (!has_role(message, "user")) {
            continue;
        }
        apr_status_t status = ac_agui_input_parts(&parts, reader->rq, message, i);
        if (status == APR_SUCCESS) {
            status = agui_place_add_files(reader, &parts.attachments, i);
        }
        if (status != APR_SUCCESS) {
            return status;
        }
        place->text = *place->text && *parts.content ? apr_pstrcat(p, place->text, "\n\n", parts.content, NULL)
            : *parts.content                         ? parts.content
                                                     : place->text;
        place->id = agui_place_id_of(message);
        place->asks = true;
    }
    return APR_SUCCESS;
}

/* The message has a text or a file. */
static apr_status_t agui_place_check(const reader_t *reader)
{
    const ac_agui_place_t *place = reader->place;
    return place->attachments.list && !*place->text ? APR_SUCCESS
                                                    : ac_chat_request_check(reader->rq, place->text, "messages", false);
}

/* A message of the tree is the parent, unless the path ends with it. */
static void agui_place_follow(reader_t *reader, const json_t *stored)
{
    const char *id = ac_json_peek_string(stored, "id", NULL);
    bool ends = id && strcmp(id, agui_place_id_of(ac_request_thread_last(reader->loaded))) == 0;
    reader->place->place.parent = ends ? NULL : id;
}

/* The client's newest message is one that it has sent before. */
static apr_status_t place_known(reader_t *reader, const json_t *stored)
{
    apr_status_t status = agui_place_join(reader);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (strcmp(ac_json_peek_string(stored, "content", ""), reader->place->text) == 0) {
        reader->place->place.again = agui_place_id_of(stored);
        reader->place->text = "";
        reader->place->attachments.list = NULL;
        return APR_SUCCESS;
    }
    reader->place->place.parent = ac_json_peek_string(stored, "parent_id", "");
    return agui_place_check(reader);
}

/* The results of the calls that the stored answer leaves to its client. */
static apr_status_t agui_place_read_results(reader_t *reader, const json_t *answer)
{
    json_t *calls = ac_client_tools_calls(answer);
    apr_status_t status = APR_SUCCESS;
    for (size_t i = reader->from; calls && i < reader->to && status == APR_SUCCESS; i++) {
        const json_t *message = json_array_get(reader->list, i);
        const char *id = NULL, *text, *error = ac_json_peek_string(message, "error", NULL);
        char run_id[AC_ID_SIZE];
        const json_t *awaited = json_array_get(calls, 0);
        if (!has_role(message, "tool") ||
            !ac_agui_id_read_call(run_id, &id, ac_json_peek_string(message, "toolCallId", "")) ||
            strcmp(run_id, ac_json_peek_string(answer, "run_id", "")) != 0) {
            continue;
        }
        for (size_t k = 0; k < json_array_size(calls); k++) {
            awaited = json_array_get(calls, k);
            if (strcmp(agui_place_id_of(awaited), id) == 0) {
                break;
            }
        }
        if (strcmp(agui_place_id_of(awaited), id) != 0) {
            continue; /* a call of the agent's own tools, whose result is stored */
        }
        status = ac_agui_input_text(&text, reader->rq, message, i);
        if (status == APR_SUCCESS) {
            json_t *result = error ? NULL : ac_json_text(text);
            status = ac_client_tools_answer(&reader->input->tools, id, result, error,
                                            apr_psprintf(reader->rq->r->pool, "/messages/%" APR_SIZE_T_FMT, i),
                                            &reader->rq->err);
            json_decref(result);
        }
    }
    json_decref(calls);
    return status;
}

/* The end of the client's messages is new. */
static apr_status_t place_new(reader_t *reader)
{
    const json_t *known = reader->last_known;
    apr_status_t status = ac_record_is_answer(known) ? agui_place_read_results(reader, known) : APR_SUCCESS;
    if (status == APR_SUCCESS) {
        status = agui_place_join(reader);
    }
    agui_place_follow(reader, known);
    reader->place->lacks_history = !known && ac_request_thread_last(reader->loaded);
    return status == APR_SUCCESS && reader->place->asks && !reader->input->tools.results ? agui_place_check(reader)
                                                                                         : status;
}

apr_status_t ac_agui_place_find(ac_agui_place_t *place, ac_request_t *rq, ac_agui_input_t *input, const json_t *loaded)
{
    reader_t reader = {.place = place, .rq = rq, .input = input, .loaded = loaded, .list = input->messages};
    const json_t *message;
    size_t i, begin = 0; /* of what follows the last answer that the client has */
    memset(place, 0, sizeof(*place));
    place->text = place->id = "";
    json_array_foreach((json_t *)input->messages, i, message)
    {
        bool answer = has_role(message, "assistant");
        begin = answer ? i + 1 : begin;
        reader.to = answer || has_role(message, "user") || has_role(message, "tool") ? i + 1 : reader.to;
    }
    reader.from = begin;
    for (i = 0; i < reader.to; i++) {
        message = json_array_get(input->messages, i);
        bool asks = has_role(message, "user");
        const json_t *stored = asks || has_role(message, "assistant") ? stored_of(loaded, message) : NULL;
        if (stored && asks && i >= begin && i + 1 == reader.to) {
            return place_known(&reader, stored);
        }
        if (stored) {
            reader.last_known = stored;
            reader.from = i >= begin ? i + 1 : reader.from;
        }
    }
    return place_new(&reader);
}
