/* SPDX-License-Identifier: Apache-2.0 */
/* A request that speaks to an agent: its body, the agent it means, and the start of the turn. */
#include "front.h"

#include <string.h>

#include "apr_strings.h"

/* ---- which agent ---- */

static apr_status_t check_active(ac_request_t *rq, const ac_agent_t *agent, const char *pointer)
{
    if (!strcmp(agent->status, "active")) {
        return APR_SUCCESS;
    }
    return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "the agent is inactive");
}

apr_status_t ac_talk_agent(ac_request_t *rq, const ac_agent_t **pagent, const char *id, const char *pointer,
                           bool active)
{
    *pagent = ac_registry_agent(&ac_child()->conf->registry, id);
    if (!*pagent) {
        return ac_err_set_at(&rq->err, AC_NOT_FOUND, pointer, "no agent with this id");
    }
    return active ? check_active(rq, *pagent, pointer) : APR_SUCCESS;
}

static const ac_agent_t *default_agent(const ac_request_t *rq)
{
    return rq->mount->default_agent ? rq->mount->default_agent : ac_child()->conf->registry.default_agent;
}

apr_status_t ac_talk_default_agent(ac_request_t *rq, const ac_agent_t **pagent)
{
    *pagent = default_agent(rq);
    if (!*pagent) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "no agent was named and the server has no default agent; its "
                          "administrator can set one with AgentChatDefaultAgent");
    }
    return check_active(rq, *pagent, "");
}

/* ---- what is said ---- */

/* Bytes of the white space at text, which is not empty; 0: something to be seen. */
static size_t skip_blank(const char *text)
{
    static const char *const blanks[] = {"\xc2\xa0", "\xc2\x85", "\xe1\x9a\x80", "\xe2\x80\xa8", "\xe2\x80\xa9",
                                         "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80", "\xef\xbb\xbf", NULL};
    if ((unsigned char)*text <= 0x20 || *text == 0x7f) {
        return 1;
    }
    /* U+2000 to U+200D: spaces of all widths, none included */
    if (!strncmp(text, "\xe2\x80", 2) && (unsigned char)text[2] >= 0x80 && (unsigned char)text[2] <= 0x8d) {
        return 3;
    }
    for (int i = 0; blanks[i]; i++) {
        size_t len = strlen(blanks[i]);
        if (!strncmp(text, blanks[i], len)) {
            return len;
        }
    }
    return 0;
}

static bool is_blank(const char *text)
{
    size_t n = 1;
    while (*text && n) {
        n = skip_blank(text);
        text += n;
    }
    return !*text;
}

apr_status_t ac_talk_check(ac_request_t *rq, const char *content, const char *name, bool from_query)
{
    char pointer[AC_ERR_POINTER_SIZE] = "";
    if (!from_query) {
        ac_pointer_add(pointer, name);
    }
    if (strlen(content) > AC_MAX_CONTENT) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "%s may have at most %d bytes", name,
                             AC_MAX_CONTENT);
    }
    if (is_blank(content)) {
        return ac_err_set_at(&rq->err, AC_MESSAGE_EMPTY, pointer, "%s has nothing but white space", name);
    }
    return APR_SUCCESS;
}

/* The thread it goes on with: thread_id, or conversation_id as an older client calls it. */
static apr_status_t read_thread_id(ac_request_t *rq, ac_talk_t *talk)
{
    const char *thread_id, *conversation_id;
    ac_err_t *err = &rq->err;
    apr_status_t status = ac_json_string(&thread_id, rq->body, "thread_id", false, err);
    if (status == APR_SUCCESS) {
        status = ac_json_string(&conversation_id, rq->body, "conversation_id", false, err);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    if (thread_id && conversation_id && strcmp(thread_id, conversation_id)) {
        return ac_err_set_at(err, AC_INVALID_REQUEST, "/conversation_id", "conversation_id and thread_id mean the same "
                             "and differ");
    }
    talk->thread_id = thread_id ? thread_id : conversation_id;
    if (talk->thread_id && !ac_id_valid(talk->thread_id, "thread_")) {
        return ac_err_set_at(err, AC_NOT_FOUND, thread_id ? "/thread_id" : "/conversation_id",
                             "no thread with this id");
    }
    return APR_SUCCESS;
}

static apr_status_t read_options(ac_request_t *rq, ac_talk_t *talk, const ac_talk_form_t *form)
{
    const char *agent_id = NULL;
    bool fallback = ac_request_prefers_stream(rq, form->streams);
    apr_status_t status = ac_json_bool(&talk->stream, rq->body, "stream", fallback, &rq->err);
    if (status == APR_SUCCESS) {
        status = read_thread_id(rq, talk);
    }
    if (status == APR_SUCCESS) {
        talk->metadata = json_object_get(rq->body, "metadata");
        status = ac_record_check_metadata(talk->metadata, &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_string(&agent_id, rq->body, "agent_id", false, &rq->err);
    }
    if (status == APR_SUCCESS && agent_id) {
        status = ac_talk_agent(rq, &talk->agent, agent_id, "/agent_id", true);
    }
    return status;
}

apr_status_t ac_talk_read(ac_request_t *rq, ac_talk_t *talk, const ac_talk_form_t *form)
{
    memset(talk, 0, sizeof(*talk));
    apr_status_t status = ac_request_body(rq, true);
    if (status == APR_SUCCESS) {
        status = ac_json_only(rq->body, form->members, &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_string(&talk->content, rq->body, form->content, true, &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_talk_check(rq, talk->content, form->content, false);
    }
    return status == APR_SUCCESS ? read_options(rq, talk, form) : status;
}

/* ---- the turn ---- */

int ac_talk_start(ac_request_t *rq, const ac_talk_t *talk, const ac_dialect_t *dialect)
{
    ac_turn_t *turn = ac_turn_create(talk->agent, rq->owner, talk->content);
    if (!turn) {
        ac_err_set(&rq->err, AC_INTERNAL, "memory ran out");
        return ac_reply_problem(rq, NULL);
    }
    turn->fallback_agent = default_agent(rq);
    turn->stateless = talk->stateless;
    apr_cpystrn(turn->thread_id, talk->thread_id ? talk->thread_id : "", sizeof(turn->thread_id));
    apr_cpystrn(turn->request_id, rq->request_id, sizeof(turn->request_id));
    if (talk->metadata && !json_is_null(talk->metadata)) {
        /* A copy: the loop thread will own it, and the body is freed with the request. */
        turn->metadata = json_deep_copy(talk->metadata);
    }
    rq->doing = "running the agent";
    return ac_stream_run(rq, turn, dialect);
}
