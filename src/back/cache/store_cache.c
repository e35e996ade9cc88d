/* SPDX-License-Identifier: Apache-2.0 */
/* A store with a cache in front of it. It serves TURN_LOAD only. Staleness is harmless: TURN_OPEN is conditional on the
 * last message that the model was shown (`after`), so a stale read fails before the client gets anything, and the turn
 * is repeated from the store. */
#include "cache_backend.h"

#include <openssl/evp.h>
#include <stdatomic.h>
#include <string.h>

struct ac_store_cache_t {
    ac_store_vt vt; /* a copy with the original store's name */
    ac_store_t store;
    ac_cache_t place;
    ac_loop_t *loop; /* for operations without a loop of their own; NULL: the store answers these */
    bool check;
    unsigned char scope[AC_CACHE_KEY];
    atomic_int_fast64_t n_hits, n_misses, n_stale;
};

typedef struct call_t { /* an operation that this file observes */
    ac_store_cache_t *cache;
    ac_store_op_t *op;
    void (*done)(ac_store_op_t *op); /* the caller's */
    void *baton;
    unsigned char key[AC_CACHE_KEY];
    json_t *known; /* the cached entry, while the thread is compared with the store */
} call_t;

static void store_cache_hash(unsigned char digest[AC_CACHE_KEY], const char *text, size_t len)
{
    if (!EVP_Digest(text, len, digest, NULL, EVP_sha256(), NULL)) {
        abort();
    }
}

static void store_cache_make_key(unsigned char key[AC_CACHE_KEY], const ac_store_cache_t *cache, const char *owner,
                                 const char *id)
{
    char text[AC_CACHE_KEY + AC_OWNER_SIZE + AC_ID_SIZE];
    size_t owner_len = strlen(owner) + 1, id_len = strlen(id);
    if (owner_len > AC_OWNER_SIZE || id_len >= AC_ID_SIZE) {
        abort();
    }
    memcpy(text, cache->scope, AC_CACHE_KEY);
    memcpy(text + AC_CACHE_KEY, owner, owner_len);
    memcpy(text + AC_CACHE_KEY + owner_len, id, id_len);
    store_cache_hash(key, text, AC_CACHE_KEY + owner_len + id_len);
}

/* The store's answer to op comes to done, with the call as its baton. */
static call_t *store_cache_watch(ac_store_cache_t *cache, ac_store_op_t *op, void (*done)(ac_store_op_t *op))
{
    call_t *call = ac_alloc(sizeof(*call));
    call->cache = cache;
    call->op = op;
    call->done = op->done;
    call->baton = op->baton;
    op->done = done;
    op->baton = call;
    return call;
}

static ac_store_op_t *unwatch(call_t *call)
{
    ac_store_op_t *op = call->op;
    op->done = call->done;
    op->baton = call->baton;
    json_decref(call->known);
    free(call);
    return op;
}

static void store_cache_write_entry(call_t *call, ac_cache_way_e way, json_t *part, ac_cache_written_fn *fn)
{
    const ac_cache_t *place = &call->cache->place;
    ac_cache_write_t write = {.way = way, .text = ""};
    char *text = part ? ac_json_dump(part, &write.len) : NULL;
    json_decref(part);
    memcpy(write.key, call->key, AC_CACHE_KEY);
    if (text) {
        write.text = text;
    } else {
        write.way = AC_CACHE_DROP;
    }
    place->vt->write(place->self, &write, fn, call);
    free(text);
}

/* ---- the contents of an entry ----
 *  first part: {thread, messages, limit: the number of newest messages that were requested, run: the active one's
 * id|null}
 *  further parts: {thread, message, opens: run} of an opening write, {message|null, ends: run} of a closing write. */

#define NO_LIMIT 1000000000
#define MOST INT64_C(1000000000000) /* messages of a thread; an entry with a larger count is not ours */

static const json_t *last_message(const json_t *entry)
{
    const json_t *messages = json_object_get(entry, "messages");
    return json_array_get(messages, json_array_size(messages) - 1);
}

/* Whether the message follows the entry's path. */
static bool is_next(const json_t *entry, const json_t *message)
{
    return !json_object_get(message, "parent_id") || /* the store has no branches */
        strcmp(ac_json_peek_string(message, "parent_id", ""), ac_json_peek_string(last_message(entry), "id", "")) == 0;
}

/* Returns false if the message is not the next one, or on another branch. */
static bool add_message(json_t *entry, json_t *message)
{
    json_t *thread = json_object_get(entry, "thread"), *id = json_object_get(message, "id");
    bool branched = json_is_string(json_object_get(thread, "leaf"));
    int64_t count = ac_json_peek_int(thread, "message_count", 0), seq = ac_json_peek_int(message, "seq", 0);
    if (!json_is_object(message) || (seq > 0 && seq <= count)) { /* no message; or the same write again */
        return true;
    }
    return count < MOST && seq == count + 1 && is_next(entry, message) &&
        json_array_append(json_object_get(entry, "messages"), message) == 0 &&
        ac_json_put(thread, "message_count", json_integer(seq)) &&
        (!branched || ac_json_put(thread, "leaf", json_incref(id))) &&
        ac_json_put(thread, "updated_at", json_incref(json_object_get(message, "timestamp")));
}

static bool add_part(json_t *entry, const json_t *part)
{
    json_t *opens = json_object_get(part, "opens"), *ends = json_object_get(part, "ends"),
           *thread = json_object_get(part, "thread");
    if (!add_message(entry, json_object_get(part, "message"))) {
        return false;
    }
    if (opens) {
        return json_is_object(thread) && json_object_set(entry, "thread", thread) == 0 &&
            json_object_set(entry, "run", opens) == 0;
    }
    return ends &&
        (!json_equal(json_object_get(entry, "run"), ends) || json_object_set_new(entry, "run", json_null()) == 0);
}

/* Whether the entry is about this thread, and its messages are those of the current path's end: in a thread that has
 * never branched, consecutive up to its message_count. */
static bool store_cache_is_whole(const json_t *entry, const char *id)
{
    const json_t *thread = json_object_get(entry, "thread"), *messages = json_object_get(entry, "messages");
    const char *leaf = ac_json_peek_string(thread, "leaf", NULL);
    int64_t count = ac_json_peek_int(thread, "message_count", -1);
    int64_t seq = count < 0 ? -1 : count - (int64_t)json_array_size(messages);
    size_t i;
    json_t *message;
    if (!json_is_array(messages) || count > MOST || seq < 0 || strcmp(ac_json_peek_string(thread, "id", ""), id) != 0 ||
        (leaf && strcmp(leaf, ac_json_peek_string(last_message(entry), "id", "")) != 0)) {
        return false;
    }
    seq = leaf ? 0 : seq;
    json_array_foreach((json_t *)messages, i, message)
    {
        int64_t next = ac_json_peek_int(message, "seq", 0);
        if (next <= seq || (!leaf && next != seq + 1)) {
            return false;
        }
        seq = next;
    }
    return true;
}

/* New reference; NULL: the parts do not match. */
static json_t *join_parts(int *pn_parts, const ac_buf_t *texts, const char *id)
{
    json_t *entry = NULL;
    bool fine = texts->len > 0;
    *pn_parts = 0;
    for (size_t at = 0, len; at < texts->len && fine; at += len + 1) {
        len = strlen(texts->data + at);
        json_t *part = json_loadb(texts->data + at, len, 0, NULL);
        if (!part) {
            fine = false;
        } else if (!entry) {
            entry = json_incref(part);
        } else {
            fine = add_part(entry, part);
        }
        json_decref(part);
        ++*pn_parts;
    }
    if (!fine || !store_cache_is_whole(entry, id)) {
        json_decref(entry);
        return NULL;
    }
    return entry;
}

/* ---- TURN_LOAD ---- */

static json_t *first_part(const json_t *loaded, json_int_t limit, json_t *run)
{
    return json_pack("{s:O, s:O, s:I, s:o}", "thread", json_object_get(loaded, "thread"), "messages",
                     json_object_get(loaded, "messages"), "limit", limit, "run", run);
}

static void store_cache_on_loaded(ac_store_op_t *op)
{
    call_t *call = op->baton;
    if (op->status == APR_SUCCESS && json_is_null(json_object_get(op->out, "active_run")) &&
        json_array_size(json_object_get(op->out, "queue")) == 0) {
        store_cache_write_entry(call, AC_CACHE_PUT, first_part(op->out, op->page.limit, json_null()), NULL);
    }
    unwatch(call);
    op->done(op);
}

static void store_cache_load(call_t *call)
{
    const ac_store_t *store = &call->cache->store;
    atomic_fetch_add(&call->cache->n_misses, 1);
    ac_metrics_add(AC_METRIC_CACHE_LOOKUPS, AC_LABELS(AC_CACHE_MISS), 1);
    call->op->done = store_cache_on_loaded;
    store->vt->start_post(store->self, call->op);
}

static void store_cache_deliver(void *baton)
{
    ac_store_op_t *op = baton;
    op->done(op);
}

/* Consumes out. Not inside of the caller's call. */
static void store_cache_answer(call_t *call, json_t *out)
{
    atomic_fetch_add(&call->cache->n_hits, 1);
    ac_metrics_add(AC_METRIC_CACHE_LOOKUPS, AC_LABELS(AC_CACHE_HIT), 1);
    ac_loop_t *loop = call->cache->loop;
    ac_store_op_t *op = unwatch(call);
    ac_span_free(op->span); /* no store was asked */
    op->span = NULL;
    op->out = out;
    op->status = APR_SUCCESS;
    ac_loop_post(op->home ? op->home : loop, store_cache_deliver, op);
}

/* Handles the thread that the store returned, for comparison with the cached messages. Nothing else refers to the entry
 * by then. */
static void store_cache_on_looked(ac_store_op_t *look)
{
    call_t *call = look->baton;
    apr_status_t status = look->status;
    ac_err_t err = look->err;
    call->op->charge += look->charge;
    const json_t *known = json_object_get(call->known, "thread");
    int64_t before = ac_json_peek_int(known, "message_count", 0),
            deleted = ac_json_peek_int(known, "deleted_messages", 0);
    bool same = ac_json_peek_int(look->out, "message_count", -1) == before &&
        ac_json_peek_int(look->out, "deleted_messages", 0) == deleted &&
        strcmp(ac_json_peek_string(look->out, "leaf", ""), ac_json_peek_string(known, "leaf", "")) == 0;
    if (status == APR_SUCCESS && same) {
        json_object_set(call->known, "thread", look->out);
    }
    ac_store_op_free(look);
    if (status != APR_SUCCESS) {
        ac_store_op_t *op = unwatch(call);
        op->status = status;
        op->err = err;
        op->done(op);
    } else if (!same) {
        atomic_fetch_add(&call->cache->n_stale, 1);
        ac_metrics_add(AC_METRIC_CACHE_LOOKUPS, AC_LABELS(AC_CACHE_STALE), 1);
        store_cache_load(call);
    } else {
        store_cache_answer(call, json_incref(call->known));
    }
}

static void store_cache_look(call_t *call)
{
    ac_store_op_t *op = ac_store_op_create(AC_STORE_THREAD_GET, call->op->owner, call->op->id);
    if (!op) {
        abort();
    }
    op->deadline = call->op->deadline;
    ac_store_op_trace(op, &call->op->trace);
    ac_store_call_post(&call->cache->store, call->op->home, op, store_cache_on_looked, call);
}

/* The answer of TURN_LOAD from an entry; NULL: the entry does not contain enough. */
static json_t *out_of(json_t *entry, int limit)
{
    json_t *messages = json_object_get(entry, "messages");
    size_t n = json_array_size(messages);
    if (!json_is_null(json_object_get(entry, "run")) || ac_json_peek_int(entry, "limit", 0) < limit) {
        return NULL;
    }
    for (; n > (size_t)limit; n--) {
        json_array_remove(messages, 0);
    }
    const json_t *last = last_message(entry);
    return json_pack("{s:O, s:O, s:n, s:O?, s:I}", "thread", json_object_get(entry, "thread"), "messages", messages,
                     "active_run", "parent_id", json_object_get(last, "id"), "parent_seq",
                     (json_int_t)ac_json_peek_int(last, "seq", 0));
}

static void on_read(void *baton, const ac_buf_t *texts)
{
    call_t *call = baton;
    int n_parts = 0, limit = call->op->page.limit;
    json_t *entry = join_parts(&n_parts, texts, call->op->id), *out = entry ? out_of(entry, limit) : NULL;
    if (texts->len && !entry) {
        store_cache_write_entry(call, AC_CACHE_DROP, NULL, NULL);
    } else if (out && n_parts > AC_MAX_CACHED_PARTS) {
        store_cache_write_entry(call, AC_CACHE_PUT, first_part(out, limit, json_null()), NULL);
    }
    json_decref(entry);
    if (!out) {
        store_cache_load(call);
    } else if (call->cache->check) {
        call->known = out;
        store_cache_look(call);
    } else {
        store_cache_answer(call, out);
    }
}

/* The cache has current paths only. */
static bool is_elsewhere(const ac_store_op_t *op)
{
    return json_object_get(op->in, "parent_id") || json_object_get(op->in, "regenerate");
}

static void start_load(ac_store_cache_t *cache, ac_store_op_t *op)
{
    call_t *call = store_cache_watch(cache, op, store_cache_on_loaded);
    store_cache_make_key(call->key, cache, op->owner, op->id);
    if (json_is_true(json_object_get(op->in, "fresh"))) {
        store_cache_load(call);
    } else {
        cache->place.vt->read(cache->place.self, call->key, on_read, call);
    }
}

/* ---- writes ---- */

static void store_cache_on_written(void *baton)
{
    ac_store_op_t *op = unwatch(baton);
    op->done(op);
}

static json_t *opened_part(const ac_store_op_t *op, bool fresh)
{
    json_t *run = json_object_get(json_object_get(op->in, "run"), "id");
    json_t *thread = json_object_get(op->out, "thread"), *message = json_object_get(op->out, "message");
    if (!fresh) {
        return json_pack("{s:O, s:O, s:O}", "thread", thread, "message", message, "opens", run);
    }
    json_t *out = json_pack("{s:O, s:[O]}", "thread", thread, "messages", message);
    json_t *part = out ? first_part(out, NO_LIMIT, json_incref(run)) : NULL;
    json_decref(out);
    return part;
}

/* Runs before the caller gets the answer. After any error the entry is dropped: it may have caused the error, or its
 * state is unknown. */
static void store_cache_on_changed(ac_store_op_t *op)
{
    call_t *call = op->baton;
    bool fresh = json_is_object(json_object_get(op->in, "thread"));
    /* Else it has stored more messages than it answers with, or no run. */
    bool whole = !json_object_get(op->in, "earlier") && json_is_object(json_object_get(op->in, "run"));
    if (op->status == APR_SUCCESS && op->verb == AC_STORE_TURN_OPEN && whole) {
        store_cache_write_entry(call, fresh ? AC_CACHE_PUT : AC_CACHE_ADD, opened_part(op, fresh),
                                store_cache_on_written);
    } else if (op->status == APR_SUCCESS && op->verb == AC_STORE_TURN_CLOSE && !json_object_get(op->in, "agent_id")) {
        json_t *message = json_object_get(op->out, "message"),
               *run = json_object_get(json_object_get(op->in, "run"), "id");
        store_cache_write_entry(call, AC_CACHE_ADD, json_pack("{s:O?, s:O}", "message", message, "ends", run),
                                store_cache_on_written);
    } else {
        if (op->verb == AC_STORE_TURN_OPEN && op->err.kind == AC_PRECONDITION_FAILED) {
            atomic_fetch_add(&call->cache->n_stale, 1);
        }
        store_cache_write_entry(call, AC_CACHE_DROP, NULL, store_cache_on_written);
    }
}

static void start_change(ac_store_cache_t *cache, ac_store_op_t *op)
{
    const char *owner = op->owner;
    if (op->verb == AC_STORE_IMPORT) {
        owner = ac_json_peek_string(json_object_get(op->in, "thread"), "owner", "");
    }
    call_t *call = store_cache_watch(cache, op, store_cache_on_changed);
    store_cache_make_key(call->key, cache, strlen(owner) < AC_OWNER_SIZE ? owner : "", op->id);
    cache->store.vt->start_post(cache->store.self, op);
}

static void store_cache_on_erased(ac_store_op_t *op)
{
    call_t *call = op->baton;
    const json_t *id;
    size_t i;
    const json_t *threads = op->verb == AC_STORE_OWNER_ERASED
        ? json_object_get(op->in, "threads")
        : json_object_get(json_object_get(op->out, "traces"), "threads");
    json_array_foreach(threads, i, id)
    {
        store_cache_make_key(call->key, call->cache, op->owner, json_string_value(id));
        store_cache_write_entry(call, AC_CACHE_DROP, NULL, NULL);
    }
    unwatch(call);
    op->done(op);
}

/* ---- counts ---- */

static void store_cache_on_pinged(ac_store_op_t *op)
{
    call_t *call = op->baton;
    ac_store_cache_t *cache = call->cache;
    if (!op->out) {
        op->out = json_object();
    }
    ac_json_put(op->out, "cache_hits", json_integer(atomic_load(&cache->n_hits)));
    ac_json_put(op->out, "cache_misses", json_integer(atomic_load(&cache->n_misses)));
    ac_json_put(op->out, "cache_stale", json_integer(atomic_load(&cache->n_stale)));
    unwatch(call);
    op->done(op);
}

/* ---- the table of functions ---- */

static apr_status_t store_cache_child_init(void *self, const ac_host_t *host, ac_err_t *err)
{
    ac_store_cache_t *cache = self;
    cache->loop = host->loop;
    return cache->store.vt->child_init(cache->store.self, host, err);
}

static void store_cache_child_exit(void *self)
{
    const ac_store_t *store = &((ac_store_cache_t *)self)->store;
    store->vt->child_exit(store->self);
}

static void store_cache_start_post(void *self, ac_store_op_t *op)
{
    ac_store_cache_t *cache = self;
    switch (op->verb) {
    case AC_STORE_OWNER_ERASE:
    case AC_STORE_OWNER_ERASED: store_cache_watch(cache, op, store_cache_on_erased); break;
    case AC_STORE_TURN_LOAD:
        if ((op->home || cache->loop) && !is_elsewhere(op)) {
            start_load(cache, op);
            return;
        }
        break;
    case AC_STORE_TURN_OPEN:
    case AC_STORE_TURN_CLOSE:
    case AC_STORE_THREAD_UPDATE:
    case AC_STORE_THREAD_DELETE:
    case AC_STORE_THREAD_RESTORE:
    case AC_STORE_MESSAGE_MARK:
    case AC_STORE_MESSAGE_DELETE:
    case AC_STORE_IMPORT: start_change(cache, op); return;
    case AC_STORE_PING: store_cache_watch(cache, op, store_cache_on_pinged); break;
    default: break;
    }
    cache->store.vt->start_post(cache->store.self, op);
}

void ac_store_cache_create(ac_store_cache_t **pcache, const ac_store_t *store, const ac_cache_t *place,
                           const char *scope, bool check)
{
    ac_store_cache_t *cache = ac_alloc(sizeof(*cache));
    cache->vt = *store->vt;
    cache->vt.child_init = store_cache_child_init;
    cache->vt.start_post = store_cache_start_post;
    cache->vt.child_exit = store_cache_child_exit;
    cache->store = *store;
    cache->place = *place;
    cache->check = check;
    store_cache_hash(cache->scope, scope, strlen(scope));
    *pcache = cache;
}

ac_store_t ac_store_cache_store(ac_store_cache_t *cache)
{
    return (ac_store_t){&cache->vt, cache, cache->store.metric, cache->store.name};
}

void ac_store_cache_destroy(ac_store_cache_t *cache)
{
    free(cache);
}
