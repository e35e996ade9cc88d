/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of a chat completion: AgentChatOpenAI threads=. The API has no conversations, so its clients send all
 * messages each time, and some name the conversation in a header field. Only what the user has said is compared: the
 * stored answers are never replaced by those that a client sends. Clients send requests of their own with the same
 * name, for titles, tags and searches: one message that does not continue the conversation. */
#include "v1_internal.h"

#include <string.h>

#include "apr_strings.h"

/* What the user has said, in order; of a stored message its index, too. */
typedef struct words_t {
    const char *text;
    size_t at;
} words_t;

/* The text of a message, and what its files are: one that has been sent again has another id. */
static const char *words_text(apr_pool_t *p, const char *text, const json_t *files)
{
    const json_t *file;
    size_t i;
    json_array_foreach((json_t *)files, i, file)
    {
        text = apr_psprintf(p, "%s\n%s\n%s\n%" APR_INT64_T_FMT, text, ac_json_peek_string(file, "name", ""),
                            ac_json_peek_string(file, "type", ""), ac_json_peek_int(file, "size", 0));
    }
    return text;
}

static apr_array_header_t *words_of(apr_pool_t *p, const json_t *messages)
{
    apr_array_header_t *words = apr_array_make(p, 16, sizeof(words_t));
    const json_t *message;
    size_t i;
    json_array_foreach((json_t *)messages, i, message)
    {
        const char *text =
            words_text(p, ac_json_peek_string(message, "content", ""), json_object_get(message, "attachments"));
        if (strcmp(ac_json_peek_string(message, "role", ""), "user") == 0 && *text) {
            APR_ARRAY_PUSH(words, words_t) = (words_t){text, i};
        }
    }
    return words;
}

static const words_t *word(const apr_array_header_t *words, int i)
{
    return &APR_ARRAY_IDX(words, i, words_t);
}

/* Whether the client's messages are those that end with the n-th stored one. Clients drop old messages, and only the
 * newest stored ones are read, so that only the newer ends are compared. */
static bool ends_at(const apr_array_header_t *sent, const apr_array_header_t *stored, int n)
{
    int common = sent->nelts < n ? sent->nelts : n;
    for (int i = 1; i <= common; i++) {
        if (strcmp(word(sent, sent->nelts - i)->text, word(stored, n - i)->text) != 0) {
            return false;
        }
    }
    return n == 0 ? sent->nelts == 0 : common > 0;
}

static void place(ac_v1_thread_t *thread, ac_request_t *rq, const ac_v1_messages_t *messages, const json_t *loaded)
{
    const json_t *list = json_object_get(loaded, "messages");
    const apr_array_header_t *sent = words_of(rq->r->pool, messages->history.list),
                             *stored = words_of(rq->r->pool, list);
    const char *said = words_text(rq->r->pool, messages->content, messages->attachments.list);
    const char *name = thread->name, *retries = apr_table_get(rq->r->headers_in, "X-Stainless-Retry-Count");
    thread->name = NULL;
    for (int n = stored->nelts; n >= 0; n--) {
        const json_t *next = n < stored->nelts ? json_array_get(list, word(stored, n)->at) : NULL;
        bool same = next && strcmp(word(stored, n)->text, said) == 0;
        if (!ends_at(sent, stored, n) || (next && !same && (n == 0 || !*said))) {
            continue;
        }
        thread->name = name;
        if (same) {
            const char *run_id = ac_json_peek_string(next, "run_id", "");
            bool active = strcmp(ac_json_peek_string(loaded, "active_run", ""), run_id) == 0;
            bool repeated = n == stored->nelts - 1 && (active || (retries && apr_atoi64(retries) > 0));
            thread->place.run_id = repeated && *run_id ? run_id : NULL;
            thread->place.again = thread->place.run_id ? NULL : ac_json_peek_string(next, "id", NULL);
        } else if (next) {
            thread->place.parent = ac_json_peek_string(next, "parent_id", "");
        }
        return;
    }
}

/* The name that the client gives; NULL: none. */
static const char *v1_thread_name(const ac_request_t *rq, const char **ppointer)
{
    const char *header = rq->mount->openai.threads, *name;
    *ppointer = "/metadata/thread_id";
    if (!header || strcmp(header, "off") == 0) {
        return NULL;
    }
    name = ac_json_peek_string(json_object_get(rq->body, "metadata"), "thread_id", NULL);
    if (!name) {
        *ppointer = "";
        name = apr_table_get(rq->r->headers_in, header);
    }
    return name && *name ? name : NULL;
}

apr_status_t ac_v1_thread_find(ac_v1_thread_t *thread, ac_request_t *rq, const ac_v1_messages_t *messages)
{
    const char *pointer;
    const json_t *loaded;
    memset(thread, 0, sizeof(*thread));
    thread->name = v1_thread_name(rq, &pointer);
    if (!thread->name) {
        return APR_SUCCESS;
    }
    apr_status_t status = ac_request_thread_load(rq, &loaded, thread->name, pointer);
    if (status == APR_SUCCESS) {
        place(thread, rq, messages, loaded);
    }
    return status;
}
