/* SPDX-License-Identifier: Apache-2.0 */
/* Searching the Cosmos DB store: titles, and the words of messages where their container has a full-text index.
 *
 * A list judges the owner's threads in their order, many at a time. One query asks the index which messages of these
 * threads have the words, so a search needs no member that older documents lack, reads partitions of its owner's
 * threads only, and stops when the page is full. */
#include "cosmos_internal.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define PARAMETER 24

/* The service's index leaves these words out, and finds nothing by one of them alone.
 * source: Azure/azure-cosmos-dotnet-v3, issue 5943; the words are those that most analyzers of English have. */
static const char *const left_out[] = {
    "a",    "an", "and", "are", "as",   "at",   "be",   "but",   "by",  "do",    "for",  "from",  "had",   "has",
    "have", "he", "how", "i",   "if",   "in",   "into", "is",    "it",  "its",   "me",   "my",    "no",    "not",
    "of",   "on", "or",  "our", "she",  "so",   "such", "that",  "the", "their", "then", "there", "these", "they",
    "this", "to", "was", "we",  "were", "what", "when", "which", "who", "will",  "with", "you",   "your",
};

static bool is_left_out(const ac_words_query_t *query, int phrase)
{
    const char *word = query->words[query->phrases[phrase].first];

    for (size_t i = 0; query->phrases[phrase].n == 1 && i < sizeof(left_out) / sizeof(*left_out); i++) {
        if (strcmp(word, left_out[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The number of phrases that the index can find. */
static int n_indexed(const ac_words_query_t *query)
{
    int n = 0;

    for (int i = 0; i < query->n_phrases; i++) {
        n += !is_left_out(query, i);
    }
    return n;
}

bool ac_cosmos_search_has_words(const ac_cosmos_task_t *task)
{
    ac_words_query_t query;

    if (!task->store->containers.full_text || !json_object_get(task->op->in, "q")) {
        return false;
    }
    ac_words_query(&query, ac_json_peek_string(task->op->in, "q", ""));
    return n_indexed(&query) > 0;
}

/* ---- queries ---- */

/* Adds "name(@n0, @n1, …)", and the strings as parameters. */
static void put_strings(ac_buf_t *sql, json_t *parameters, const char *before, char letter, const json_t *strings)
{
    char name[PARAMETER];
    const json_t *one;
    size_t i;

    ac_buf_str(sql, before);
    json_array_foreach(strings, i, one)
    {
        apr_snprintf(name, sizeof(name), "@%c%d", letter, (int)i);
        ac_buf_str(sql, i ? ", " : "");
        ac_buf_str(sql, name);
        ac_json_put(parameters, name, json_incref((json_t *)one));
    }
    ac_buf_str(sql, ")");
}

/* The phrases as they were typed: the service splits words by its own rules. */
static json_t *phrases_typed(const char *text)
{
    ac_words_query_t query;
    json_t *typed = json_array();

    ac_words_query(&query, text);
    for (int i = 0; i < query.n_phrases; i++) {
        if (!is_left_out(&query, i)) {
            json_array_append_new(typed,
                                  json_stringn(text + query.phrases[i].start,
                                               query.phrases[i].end - query.phrases[i].start));
        }
    }
    return typed;
}

static void search_run(ac_cosmos_task_t *task, ac_buf_t *sql, ac_cosmos_query_t *query, ac_cosmos_step_fn *fn)
{
    query->container = AC_COSMOS_MESSAGES;
    query->sql = sql->data;
    if (sql->failed) {
        json_decref(query->parameters);
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
    } else {
        ac_cosmos_query_run(task, query, fn);
    }
    ac_buf_free(sql);
}

static void search_on_places(ac_cosmos_task_t *task)
{
    ac_cosmos_t *store = task->store;

    if (task->refused && store->containers.full_text) {
        store->containers.full_text = false;
        ac_log(AC_M233, 0,
               "store cosmos[%s/%s]: the service refuses full-text queries (400); GET /threads?q= finds titles only",
               store->conf.host, store->conf.database);
    }
    ac_cosmos_task_return(task);
}

void ac_cosmos_search_run(ac_cosmos_task_t *task, json_t *threads, ac_cosmos_step_fn *fn)
{
    ac_cosmos_query_t query = {.refusable = true, .parameters = json_object()};
    json_t *phrases = phrases_typed(ac_json_peek_string(task->op->in, "q", ""));
    ac_buf_t sql;

    ac_buf_init(&sql, AC_MAX_REQUEST);
    put_strings(&sql, query.parameters, "SELECT c.id, c.thread_id, c.seq FROM c WHERE c.thread_id IN (", 't', threads);
    put_strings(&sql, query.parameters, " AND c.type = 'message' AND FullTextContainsAll(c.content, ", 'w', phrases);
    json_decref(threads);
    json_decref(phrases);
    ac_cosmos_task_then(task, fn);
    search_run(task, &sql, &query, search_on_places);
}

/* ---- what is shown ---- */

/* The newest of the thread's messages among the places, or NULL. */
static const json_t *newest_place(const json_t *places, const char *thread_id)
{
    const json_t *place, *newest = NULL;
    size_t i;

    json_array_foreach(places, i, place)
    {
        if (strcmp(ac_json_peek_string(place, "thread_id", ""), thread_id) == 0 &&
            ac_json_peek_int(place, "seq", 0) > ac_json_peek_int(newest, "seq", 0)) {
            newest = place;
        }
    }
    return newest;
}

json_t *ac_cosmos_search_shown(const ac_store_op_t *op, const json_t *thread, const json_t *places)
{
    const char *title = ac_json_peek_string(thread, "title", "");
    ac_words_query_t query;
    json_t *shown, *match;

    if (!json_object_get(op->in, "q")) {
        return ac_cosmos_doc_thread(thread);
    }
    const json_t *place = newest_place(places, ac_json_peek_string(thread, "id", ""));
    ac_words_query(&query, ac_json_peek_string(op->in, "q", ""));
    if (!place && !ac_words_match(&query, title)) {
        return NULL;
    }
    match = json_object();
    shown = ac_cosmos_doc_thread(thread);
    ac_json_put(match, "message_id", place ? json_incref(json_object_get(place, "id")) : json_null());
    ac_json_put(match, "seq", place ? json_incref(json_object_get(place, "seq")) : json_null());
    ac_words_snippet(match, &query, title);
    ac_json_put(shown, "match", match);
    return shown;
}

static void search_on_texts(ac_cosmos_task_t *task)
{
    ac_words_query_t query;
    json_t *thread;
    size_t i;

    ac_words_query(&query, ac_json_peek_string(task->op->in, "q", ""));
    json_array_foreach(task->found, i, thread)
    {
        json_t *match = json_object_get(thread, "match");
        const json_t *message = ac_cosmos_doc_find(task->rows, ac_json_peek_string(match, "message_id", ""));
        if (message) {
            ac_words_snippet(match, &query, ac_json_peek_string(message, "content", ""));
        }
    }
    ac_cosmos_task_return(task);
}

void ac_cosmos_search_snippets(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_query_t query = {.parameters = json_object()};
    json_t *threads = json_array(), *messages = json_array(), *thread;
    ac_buf_t sql;
    size_t i;

    json_array_foreach(task->found, i, thread)
    {
        json_t *message_id = json_object_get(json_object_get(thread, "match"), "message_id");
        if (json_is_string(message_id)) {
            json_array_append(threads, json_object_get(thread, "id"));
            json_array_append(messages, message_id);
        }
    }
    bool any = json_array_size(threads) > 0;
    ac_buf_init(&sql, AC_MAX_REQUEST);
    put_strings(&sql, query.parameters, "SELECT c.id, c.content FROM c WHERE c.thread_id IN (", 't', threads);
    put_strings(&sql, query.parameters, " AND c.id IN (", 'm', messages);
    json_decref(threads);
    json_decref(messages);
    ac_cosmos_task_then(task, fn);
    if (any) {
        search_run(task, &sql, &query, search_on_texts);
    } else {
        json_decref(query.parameters);
        ac_buf_free(&sql);
        ac_cosmos_task_return(task);
    }
}
