/* SPDX-License-Identifier: Apache-2.0 */
/* The request that runs an agent: its body, and the start of the turn. */
#include "api_internal.h"

#include <string.h>

#include <openssl/evp.h>

#include "apr_strings.h"

/* ---- the body ---- */

/* The length in bytes of the white space at text, which is not empty; 0: a visible character. */
static size_t skip_blank(const char *text)
{
    static const char *const blanks[] = {"\xc2\xa0",     "\xc2\x85",     "\xe1\x9a\x80", "\xe2\x80\xa8", "\xe2\x80\xa9",
                                         "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80", "\xef\xbb\xbf", NULL};
    if ((unsigned char)*text <= 0x20 || *text == 0x7f) {
        return 1;
    }
    /* U+2000 to U+200D: spaces of all widths, none included */
    if (strncmp(text, "\xe2\x80", 2) == 0 && (unsigned char)text[2] >= 0x80 && (unsigned char)text[2] <= 0x8d) {
        return 3;
    }
    for (int i = 0; blanks[i]; i++) {
        size_t len = strlen(blanks[i]);
        if (strncmp(text, blanks[i], len) == 0) {
            return len;
        }
    }
    return 0;
}

static bool chat_request_is_blank(const char *text)
{
    size_t n = 1;
    while (*text && n) {
        n = skip_blank(text);
        text += n;
    }
    return !*text;
}

apr_status_t ac_chat_request_check(ac_request_t *rq, const char *content, const char *name, bool from_query)
{
    char pointer[AC_ERR_POINTER_SIZE] = "";
    if (!from_query) {
        ac_json_pointer_add(pointer, name);
    }
    if (strlen(content) > AC_MAX_CONTENT) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "%s may have at most %d bytes", name,
                             AC_MAX_CONTENT);
    }
    if (chat_request_is_blank(content)) {
        return ac_err_set_at(&rq->err, AC_MESSAGE_EMPTY, pointer, "%s has nothing but white space", name);
    }
    return APR_SUCCESS;
}

/* A turn that answers a stored question has neither a message nor a place of its own. */
static apr_status_t check_regenerate(ac_request_t *rq, const char *content)
{
    const char *const refused[] = {content, "parent_id", "metadata"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        char pointer[AC_ERR_POINTER_SIZE] = "";
        if (json_object_get(rq->body, refused[i])) {
            ac_json_pointer_add(pointer, refused[i]);
            return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "%s cannot be given with regenerate",
                                 refused[i]);
        }
    }
    return APR_SUCCESS;
}

/* On which branch the turn is. The ids' messages are looked up when the thread is read. */
static apr_status_t read_branch(ac_request_t *rq, ac_chat_request_t *chat, const ac_chat_request_form_t *form)
{
    const json_t *parent = json_object_get(rq->body, "parent_id");
    apr_status_t status = ac_json_string(&chat->regenerate, rq->body, "regenerate", false, &rq->err);
    if (status == APR_SUCCESS && chat->regenerate) {
        status = check_regenerate(rq, form->content);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_string(&chat->parent_id, rq->body, "parent_id", false, &rq->err);
    }
    if (status == APR_SUCCESS && chat->parent_id && !ac_id_valid(chat->parent_id, "msg_")) {
        status = ac_err_set_at(&rq->err, AC_NOT_FOUND, "/parent_id", "the thread has no message with this id");
    }
    if (status == APR_SUCCESS && chat->regenerate && !ac_id_valid(chat->regenerate, "msg_")) {
        status = ac_err_set_at(&rq->err, AC_NOT_FOUND, "/regenerate", "the thread has no message with this id");
    }
    if (json_is_null(parent)) {
        chat->parent_id = "";
    }
    return status;
}

/* A message is named that only a thread can have. */
static apr_status_t check_thread(ac_request_t *rq, const ac_chat_request_t *chat)
{
    bool named = chat->regenerate || (chat->parent_id && *chat->parent_id);
    return !named || chat->thread_id
        ? APR_SUCCESS
        : ac_err_set_at(&rq->err, AC_INVALID_REQUEST, chat->regenerate ? "/regenerate" : "/parent_id",
                        "%s needs the thread of its message", chat->regenerate ? "regenerate" : "parent_id");
}

/* What happens while the thread is busy, and whether the request waits for the answer. */
static apr_status_t read_patience(ac_request_t *rq, ac_chat_request_t *chat)
{
    static const char *const words[] = {"reject", "enqueue", "interrupt"};
    const char *word = NULL;
    int policy = 0;
    apr_status_t status = ac_json_string(&word, rq->body, "on_busy", false, &rq->err);
    chat->on_busy = (ac_busy_e)rq->mount->busy.policy;
    while (word && policy < 3 && strcmp(word, words[policy]) != 0) {
        policy++;
    }
    if (status == APR_SUCCESS && policy == 3) {
        status = ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/on_busy", "must be reject, enqueue or interrupt");
    }
    if (word) {
        chat->on_busy = (ac_busy_e)policy;
    }
    if (status == APR_SUCCESS) {
        status = ac_json_bool(&chat->background, rq->body, "background", false, &rq->err);
    }
    if (status == APR_SUCCESS && chat->background && json_is_true(json_object_get(rq->body, "stream"))) {
        status = ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/background",
                               "the answer in the background is not streamed; follow it at /runs/{id}/events");
    }
    return status;
}

/* A request names a webhook of the configuration; it can never give a URL. */
static apr_status_t read_webhook(ac_request_t *rq, ac_chat_request_t *chat)
{
    const char *name = NULL;
    apr_status_t status = ac_json_string(&name, rq->body, "webhook", false, &rq->err);
    chat->has_webhook = json_object_get(rq->body, "webhook") != NULL;
    chat->webhook = name ? ac_webhook_config_find(ac_conf()->webhooks, name) : NULL;
    return status != APR_SUCCESS || !name || chat->webhook
        ? status
        : ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/webhook", "there is no webhook of this name");
}

static apr_status_t read_options(ac_request_t *rq, ac_chat_request_t *chat, const ac_chat_request_form_t *form)
{
    const char *agent_id = NULL;
    bool fallback = ac_request_prefers_stream(rq, form->streams);
    apr_status_t status = ac_json_bool(&chat->stream, rq->body, "stream", fallback, &rq->err);
    if (status == APR_SUCCESS) {
        status = read_patience(rq, chat);
    }
    if (status == APR_SUCCESS) {
        status = read_webhook(rq, chat);
    }
    if (status == APR_SUCCESS) {
        status = ac_compat_thread_id(rq, &chat->thread_id);
    }
    if (status == APR_SUCCESS) {
        chat->metadata = json_object_get(rq->body, "metadata");
        status = ac_record_check_metadata(chat->metadata, &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_string(&agent_id, rq->body, "agent_id", false, &rq->err);
    }
    if (status == APR_SUCCESS && agent_id) {
        status = ac_request_agents_find(rq, &chat->agent, agent_id, "/agent_id", true);
    }
    return status;
}

/* The files that the parts of a message name. */
static apr_status_t read_files(ac_request_t *rq, ac_chat_request_t *chat, const ac_content_t *content)
{
    for (int i = 0; i < content->n_files; i++) {
        const ac_content_file_t *file = &content->files[i];
        apr_status_t status = ac_attachments_find(&chat->attachments, rq, file->file_id, file->image, file->part);
        if (status != APR_SUCCESS) {
            bool on = ac_conf()->files.on;
            const char *place = on ? apr_psprintf(rq->r->pool, "/%d/file_id", file->part) : "";
            apr_cpystrn(rq->err.pointer, apr_pstrcat(rq->r->pool, "/", chat->attachments.member, place, NULL),
                        sizeof(rq->err.pointer));
            return status;
        }
    }
    return APR_SUCCESS;
}

/* A message of text, or of texts and files. */
static apr_status_t chat_request_read_content(ac_request_t *rq, ac_chat_request_t *chat,
                                              const ac_chat_request_form_t *form)
{
    const json_t *value = json_object_get(rq->body, form->content);
    ac_content_t content;
    if (!json_is_array(value) || !form->takes_parts) {
        apr_status_t status = ac_json_string(&chat->content, rq->body, form->content, true, &rq->err);
        return status == APR_SUCCESS ? ac_chat_request_check(rq, chat->content, form->content, false) : status;
    }
    apr_status_t status = ac_content_read(&content, value, form->content, &rq->err);
    if (status != APR_SUCCESS) {
        return status;
    }
    chat->attachments.member = form->content;
    chat->content = apr_pstrmemdup(rq->r->pool, content.text.data ? content.text.data : "", content.text.len);
    status = content.n_files ? read_files(rq, chat, &content)
                             : ac_chat_request_check(rq, chat->content, form->content, false);
    ac_content_free(&content);
    return status;
}

apr_status_t ac_chat_request_read(ac_request_t *rq, ac_chat_request_t *chat, const ac_chat_request_form_t *form)
{
    memset(chat, 0, sizeof(*chat));
    apr_status_t status = ac_request_body(rq, true);
    if (status == APR_SUCCESS) {
        status = ac_json_only(rq->body, form->members, &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = read_branch(rq, chat, form);
    }
    if (status == APR_SUCCESS && !chat->regenerate) {
        status = chat_request_read_content(rq, chat, form);
    }
    return status == APR_SUCCESS ? read_options(rq, chat, form) : status;
}

/* ---- a request that is repeated ---- */

apr_status_t ac_chat_request_last_event(ac_request_t *rq, uint64_t *pafter, bool *pgiven, const char *name)
{
    const char *header = apr_table_get(rq->r->headers_in, "Last-Event-ID");
    const char *text = header && *header ? header : name ? ac_query_get(rq, name) : NULL;
    *pafter = 0;
    *pgiven = text != NULL;
    if (!text) {
        return APR_SUCCESS;
    }
    size_t len = strlen(text);
    if (!len || len > 18 || strspn(text, "0123456789") != len) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "%s is not the id of an event",
                          header && *header ? "Last-Event-ID" : name);
    }
    *pafter = (uint64_t)apr_atoi64(text);
    return APR_SUCCESS;
}

static apr_status_t chat_request_read_key(ac_request_t *rq, const char **pkey)
{
    const char *key = apr_table_get(rq->r->headers_in, "Idempotency-Key");
    *pkey = key && *key ? key : NULL;
    if (!*pkey) {
        return APR_SUCCESS;
    }
    size_t len = strlen(key);
    for (size_t i = 0; i < len; i++) {
        if (len > AC_MAX_KEY || key[i] <= 0x20 || key[i] >= 0x7f) {
            return ac_err_set(&rq->err, AC_INVALID_REQUEST,
                              "Idempotency-Key must have at most %d visible ASCII characters, "
                              "and no space",
                              AC_MAX_KEY);
        }
    }
    return APR_SUCCESS;
}

apr_status_t ac_chat_request_hash(char hash[AC_KEY_HASH_SIZE], const char *text, ac_err_t *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (!text || !EVP_Digest(text, strlen(text), digest, &len, EVP_sha256(), NULL)) {
        return ac_err_set(err, AC_INTERNAL, "memory ran out");
    }
    ap_bin2hex(digest, len, hash);
    return APR_SUCCESS;
}

/* The hash of path and body. The member stream is no part of it: it only chooses how the answer is delivered. */
static apr_status_t hash_request(char hash[AC_KEY_HASH_SIZE], ac_request_t *rq)
{
    json_t *body = json_copy(rq->body);
    json_object_del(body, "stream");
    char *text = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(body);
    const char *whole = text ? apr_pstrcat(rq->r->pool, rq->path, "\n", text, NULL) : NULL;
    free(text);
    return ac_chat_request_hash(hash, whole, &rq->err);
}

apr_status_t ac_chat_request_earlier(ac_request_t *rq, const char *key, const char *hash, apr_time_t since,
                                     const char **prun_id)
{
    char text[AC_TIME_SIZE];
    ac_store_op_t *op = ac_store_op_create(AC_STORE_KEY_GET, rq->owner, NULL), *result = NULL;
    *prun_id = NULL;
    if (op) {
        ac_time_format(text, since);
        op->in = json_pack("{s:s, s:s}", "key", key, "since", text);
    }
    apr_status_t status = ac_request_store(rq, op, &result);
    if (status != APR_SUCCESS && rq->err.kind == AC_NOT_FOUND) {
        ac_err_init(&rq->err);
        return APR_SUCCESS;
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    if (strcmp(ac_json_peek_string(result->out, "request_hash", ""), hash) != 0) {
        return ac_err_set(&rq->err, AC_IDEMPOTENCY_CONFLICT, "this Idempotency-Key was used for another request");
    }
    *prun_id = ac_json_peek_string(result->out, "run_id", NULL);
    rq->unstored = !*ac_json_peek_string(result->out, "thread_id", "");
    return APR_SUCCESS;
}

/* The OpenAI SDKs give no key. They number the attempts of a request from 0 on, which are equal otherwise. Only where
 * nothing is stored; threads recognize a repeated message themselves. errors: none; without it the request is answered
 * all the same. */
static apr_status_t find_attempt(ac_request_t *rq, ac_turn_t *turn, const char **prun_id)
{
    const char *count = apr_table_get(rq->r->headers_in, "X-Stainless-Retry-Count");
    const ac_engine_conf_t *conf = &ac_conf()->engine;
    if (!count || !ac_child()->event_dir) {
        return APR_SUCCESS;
    }
    if (hash_request(turn->key_hash, rq) != APR_SUCCESS) {
        return ac_err_set(&rq->err, AC_INTERNAL, "memory ran out");
    }
    bool first = apr_atoi64(count) == 0;
    /* No client's key has a blank. */
    turn->key = strdup(apr_pstrcat(rq->r->pool, "attempt ", turn->key_hash, NULL));
    turn->key_since = first ? AC_KEY_IS_NEW : apr_time_now() - conf->run_timeout - conf->log_keep;
    turn->key_optional = true;
    if (!first && turn->key &&
        ac_chat_request_earlier(rq, turn->key, turn->key_hash, turn->key_since, prun_id) != APR_SUCCESS) {
        ac_err_init(&rq->err);
    }
    return APR_SUCCESS;
}

/* Idempotency-Key, and Last-Event-ID, which does not say the run and so needs the key. *prun_id: as above. */
static apr_status_t read_earlier(ac_request_t *rq, ac_turn_t *turn, const char **prun_id)
{
    const char *key = NULL;
    bool given = false, made = turn->key != NULL;
    apr_status_t status = made ? APR_SUCCESS : chat_request_read_key(rq, &key);
    *prun_id = NULL;
    if (status == APR_SUCCESS && turn->stateless && !key) {
        return find_attempt(rq, turn, prun_id);
    }
    if (status == APR_SUCCESS && !made) {
        status = ac_chat_request_last_event(rq, &turn->after, &given, NULL);
    }
    if (status == APR_SUCCESS && given && !key) {
        status = ac_err_set(&rq->err, AC_INVALID_REQUEST,
                            "Last-Event-ID resumes a message that was sent with an "
                            "Idempotency-Key, which this request lacks; GET /runs/{id}/events needs no key");
    }
    if (status != APR_SUCCESS || (!key && !made)) {
        return status;
    }
    turn->key = made ? turn->key : strdup(key);
    if (!turn->key || hash_request(turn->key_hash, rq) != APR_SUCCESS) {
        return ac_err_set(&rq->err, AC_INTERNAL, "memory ran out");
    }
    status = ac_chat_request_earlier(rq, turn->key, turn->key_hash, turn->key_since, prun_id);
    if (made && status != APR_SUCCESS && rq->err.kind == AC_IDEMPOTENCY_CONFLICT) {
        /* Its client counts its requests from the beginning again. */
        ac_err_init(&rq->err);
        free(turn->key);
        turn->key = NULL;
        status = APR_SUCCESS;
    }
    return status;
}

/* ---- the turn ---- */

static void set_webhook(ac_turn_t *turn, const ac_webhook_t *webhook)
{
    json_decref(turn->webhook);
    turn->webhook = webhook ? ac_webhook_config_json(webhook) : NULL;
}

ac_turn_t *ac_chat_request_turn(ac_request_t *rq, const ac_agent_t *agent, const char *content)
{
    ac_turn_t *turn = ac_turn_create(agent, rq->owner, content);
    if (!turn) {
        ac_err_set(&rq->err, AC_INTERNAL, "memory ran out");
        return NULL;
    }
    if (ac_response_format_read(&turn->format, rq) != APR_SUCCESS) {
        ac_turn_free(turn);
        return NULL;
    }
    turn->agents = ac_agents_ref(rq->agents);
    turn->files = rq->files ? ac_files_memory_ref(rq->files) : NULL;
    apr_cpystrn(turn->request_id, rq->request_id, sizeof(turn->request_id));
    turn->protocol = ac_protocol_id(rq->route);
    turn->leave = rq->mount->on_disconnect;
    if (rq->mount->default_webhook) {
        set_webhook(turn, ac_webhook_config_find(ac_conf()->webhooks, rq->mount->default_webhook));
    }
    turn->quota = ac_limits_quota(rq);
    ac_quota_ref(turn->quota);
    ac_turn_set_trace(turn, &rq->trace);
    turn->summary = ac_run_summary_ref(ac_request_summary(rq));
    return turn;
}

/* Where the run of an answer in the background is. */
static void set_location(ac_request_t *rq, const char *run_id)
{
    apr_table_setn(rq->r->headers_out, "Location",
                   apr_pstrcat(rq->r->pool, ac_config_mount_prefix(rq->r), "/runs/", run_id, NULL));
}

int ac_chat_request_deliver(ac_request_t *rq, ac_turn_t *turn, bool stream)
{
    const char *run_id = NULL;
    rq->doing = "running the agent";
    apr_status_t status = read_earlier(rq, turn, &run_id);
    if (status == APR_SUCCESS && rq->background) {
        set_location(rq, run_id ? run_id : turn->run_id);
    }
    if (status == APR_SUCCESS && !run_id) {
        status = ac_attachments_store(rq, turn);
    }
    ac_request_body_free(rq);
    if (status == APR_SUCCESS && !run_id) {
        return ac_delivery_run(rq, turn, stream);
    }
    uint64_t after = turn->after;
    ac_turn_free(turn);
    return status == APR_SUCCESS ? ac_delivery_follow(rq, run_id, after, stream) : ac_reply_problem(rq, NULL);
}

int ac_chat_request_start(ac_request_t *rq, const ac_chat_request_t *chat)
{
    const ac_agents_t *agents;
    /* The thread's own agent may be one that this child does not know yet. */
    if (check_thread(rq, chat) != APR_SUCCESS ||
        ac_request_agents_load(rq, &agents, !chat->agent && chat->thread_id) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    ac_turn_t *turn = ac_chat_request_turn(rq, chat->agent, chat->content ? chat->content : "");
    if (!turn) {
        return ac_reply_problem(rq, NULL);
    }
    turn->fallback_agent = ac_request_agents_default(rq);
    turn->stateless = chat->stateless;
    turn->on_busy = chat->on_busy;
    turn->queue_most = rq->mount->busy.most;
    turn->queue_wait = rq->mount->busy.wait;
    if (chat->has_webhook) {
        set_webhook(turn, chat->webhook);
    }
    rq->background = chat->background;
    if (chat->background) {
        turn->leave = -1;
    }
    apr_cpystrn(turn->thread_id, chat->thread_id ? chat->thread_id : "", sizeof(turn->thread_id));
    turn->has_parent = chat->parent_id != NULL && chat->thread_id;
    apr_cpystrn(turn->parent_id, turn->has_parent ? chat->parent_id : "", sizeof(turn->parent_id));
    apr_cpystrn(turn->regenerate, chat->regenerate ? chat->regenerate : "", sizeof(turn->regenerate));
    if (chat->metadata && !json_is_null(chat->metadata)) {
        /* A copy for the loop thread: the body is freed with the request. */
        turn->metadata = json_deep_copy(chat->metadata);
    }
    ac_attachments_move(&chat->attachments, turn);
    return ac_chat_request_deliver(rq, turn, chat->stream && !chat->background);
}
