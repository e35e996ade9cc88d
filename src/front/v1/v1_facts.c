/* SPDX-License-Identifier: Apache-2.0 */
/* What a response shows of its request. Clients want all members of a response, also those that an agent does not
 * have. */
#include "v1_response.h"

#include <string.h>

#include <openssl/evp.h>

const json_t *ac_v1_facts_of(const json_t *message)
{
    const json_t *facts = json_object_get(json_object_get(message, "metadata"), AC_V1_FACTS);
    return json_is_object(facts) ? facts : NULL;
}

/* An agent has its own model, instructions and tools; a history that is too long for it is cut. */
static json_t *fixed_members(void)
{
    return json_pack(
        "{s:n, s:n, s:b, s:n, s:{s:n, s:n}, s:n, s:s, s:i, s:i, s:i, s:i, s:i, s:{s:{s:s}}, s:s, s:[], s:s}",
        "instructions", "max_tool_calls", "parallel_tool_calls", 1, "prompt_cache_key", "reasoning", "effort",
        "summary", "safety_identifier", "service_tier", "default", "temperature", 1, "top_p", 1, "presence_penalty", 0,
        "frequency_penalty", 0, "top_logprobs", 0, "text", "format", "type", "text", "tool_choice", "auto", "tools",
        "truncation", "auto");
}

static void take_fact(json_t *members, const json_t *facts, const char *name, json_t *fallback)
{
    json_t *value = json_object_get(facts, name);
    ac_json_put(members, name, value ? json_incref(value) : json_incref(fallback));
    json_decref(fallback);
}

/* The response before a segment: resp_X, or resp_X_N. */
static json_t *response_before(const char *run_id, unsigned segment)
{
    char id[AC_V1_ID_SIZE], number[16];
    apr_snprintf(number, sizeof(number), "%u", segment - 1);
    ac_v1_id_write(id, "resp_", run_id, segment > 1 ? number : NULL);
    return json_string(id);
}

ac_v1_response_view_t *ac_v1_facts_view(ac_request_t *rq, const json_t *facts, const char *agent_id, unsigned segment,
                                        const char *run_id)
{
    json_t *members = fixed_members();
    size_t len = 0;
    take_fact(members, facts, "model", ac_json_text(agent_id));
    take_fact(members, facts, "background", json_false());
    take_fact(members, facts, "store", json_true());
    take_fact(members, facts, "max_output_tokens", json_null());
    take_fact(members, facts, "metadata", json_object());
    take_fact(members, facts, "previous_response_id", json_null());
    if (json_object_get(facts, "text")) {
        ac_json_put(members, "text", json_incref(json_object_get(facts, "text")));
    }
    if (segment) {
        ac_json_put(members, "previous_response_id", response_before(run_id, segment));
    }
    char *text = ac_json_dump(members, &len);
    json_decref(members);
    if (!text) {
        ac_err_set(&rq->err, AC_INTERNAL, "memory ran out");
        return NULL;
    }
    ac_v1_response_view_t *view = ac_request_view_make(rq, sizeof(*view) + len);
    text[len - 1] = '\0'; /* the braces are the response's */
    memcpy(view->members, text, len);
    *view->members = ',';
    free(text);
    view->segment = segment;
    view->after = -1;
    view->in_conversation = json_is_true(json_object_get(facts, "conversation"));
    return view;
}

const char *ac_v1_facts_hash(ac_request_t *rq)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    char *text = json_dumps(rq->body, JSON_COMPACT | JSON_SORT_KEYS);
    char *hash = apr_palloc(rq->r->pool, 2 * EVP_MAX_MD_SIZE + 1);
    bool fine = text && EVP_Digest(text, strlen(text), digest, &n, EVP_sha256(), NULL);
    free(text);
    if (!fine) {
        ac_err_set(&rq->err, AC_INTERNAL, "memory ran out");
        return NULL;
    }
    ac_text_hex(hash, digest, n);
    return hash;
}
