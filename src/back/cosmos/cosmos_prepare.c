/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store's database and containers: found, made where that is allowed, or said to be missing. */
#include "store_cosmos.h"

#include <stdlib.h>
#include <string.h>

#define PREPARE_TIMEOUT apr_time_from_sec(15)
#define PREPARE_PAUSE apr_time_from_sec(3)   /* after a failure, so that operations do not hammer the service */
#define INDEX_SLACK apr_time_from_sec(86400) /* an entry outlives its thread, whose life is prolonged by every turn */

/* How a container has to be. Nothing that people write is indexed. */
static const struct {
    const char *key, *policy, *unique;
} places[AC_COSMOS_N_PLACES] = {
    [AC_COSMOS_THREADS] =
        {
            "/owner",
            "{\"indexingMode\":\"consistent\",\"automatic\":true,\"includedPaths\":[{\"path\":\"/owner/?\"},{\"path\":\"/type/?\"},"
            "{\"path\":\"/status/?\"},{\"path\":\"/agent_id/?\"},{\"path\":\"/changing/?\"},{\"path\":\"/thread_id/?\"},"
            "{\"path\":\"/copy/updated_at/?\"}],\"excludedPaths\":[{\"path\":\"/*\"}],"
            "\"compositeIndexes\":[[{\"path\":\"/copy/updated_at\",\"order\":\"descending\"},"
            "{\"path\":\"/id\",\"order\":\"descending\"}]]}",
            "{\"uniqueKeys\":[{\"paths\":[\"/key\"]}]}",
        },
    [AC_COSMOS_MESSAGES] =
        {
            "/thread_id",
            "{\"indexingMode\":\"consistent\",\"automatic\":true,\"includedPaths\":[{\"path\":\"/thread_id/?\"},{\"path\":\"/type/?\"},"
            "{\"path\":\"/seq/?\"},{\"path\":\"/role/?\"},{\"path\":\"/timestamp/?\"},{\"path\":\"/deleted_at/?\"},"
            "{\"path\":\"/lease_until/?\"}],"
            "\"excludedPaths\":[{\"path\":\"/*\"}]}",
            NULL,
        },
};

static void cosmos_prepare_look(ac_cosmos_task_t *task);
static void make_container(ac_cosmos_task_t *task);

/* ---- the end ---- */

/* Those that have waited go on, or are told why they cannot. */
static void cosmos_prepare_release(ac_cosmos_t *store)
{
    while (store->unprepared) {
        ac_cosmos_task_t *task = store->unprepared;
        ac_cosmos_step_fn *fn = task->then;
        store->unprepared = task->next_unprepared;
        task->next_unprepared = NULL;
        task->then = NULL;
        if (store->ready != AC_COSMOS_READY) {
            ac_cosmos_end_with(task, &store->unfit);
        } else if (task->deadline && ac_clock() >= task->deadline) {
            ac_cosmos_end(task, ac_err_set(&task->op->err, AC_STORE_TIMEOUT, "the store did not get to it in time"));
        } else {
            fn(task);
        }
    }
}

static void unfit(ac_cosmos_task_t *task, const ac_err_t *err)
{
    ac_cosmos_t *store = task->store;

    store->ready = AC_COSMOS_UNFIT;
    store->unfit = *err;
    if (!store->unfit.retry_after) {
        store->unfit.retry_after = PREPARE_PAUSE;
    }
    store->next_prepare = ac_clock() + PREPARE_PAUSE;
    ac_cosmos_end(task, APR_SUCCESS);
    cosmos_prepare_release(store);
}

/* Names are for the log; who uses the API is told what kind of thing is missing. */
static void unfit_for(ac_cosmos_task_t *task, const char *what, const char *detail)
{
    ac_err_t err;

    ac_err_init(&err);
    ac_err_set(&err, AC_STORE_ERROR, "%s", detail);
    ac_cosmos_trouble(task->store, AC_M222, what);
    unfit(task, &err);
}

/* ---- making ---- */

/* Of an entry, where documents live so long. */
static apr_interval_time_t entries_life(apr_interval_time_t expires)
{
    return expires + expires / 4 + INDEX_SLACK;
}

static void add_ttl(ac_cosmos_t *store, json_t *definition, ac_cosmos_place_e place)
{
    apr_interval_time_t ttl = store->retention;

    if (ttl && place == AC_COSMOS_THREADS) {
        ttl = entries_life(ttl);
    }
    /* -1: documents expire that say so themselves. */
    if (ttl || place == AC_COSMOS_THREADS) {
        ac_json_put(definition, "defaultTtl", json_integer(ttl ? apr_time_sec(ttl) : -1));
    }
}

static void on_container_made(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_t *store = task->store;

    if (reply->err.kind != AC_OK) {
        unfit(task, &reply->err);
        return;
    }
    if (reply->status == 201) {
        ac_log(AC_M224, 0, "store cosmos[%s/%s]: container %s made", store->host, store->database,
               store->containers[task->prepare.place]);
    }
    task->prepare.made = true;
    cosmos_prepare_look(task); /* also where another child was faster */
}

static void make_container(ac_cosmos_task_t *task)
{
    ac_cosmos_t *store = task->store;
    ac_cosmos_place_e place = task->prepare.place;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_CONTAINER_CREATE, .place = place, .early = true};
    json_t *definition = json_pack("{s:s, s:{s:[s], s:s, s:i}, s:o}", "id", store->containers[place], "partitionKey",
                                   "paths", places[place].key, "kind", "Hash", "version", 2, "indexingPolicy",
                                   json_loads(places[place].policy, 0, NULL));

    if (places[place].unique) {
        ac_json_put(definition, "uniqueKeyPolicy", json_loads(places[place].unique, 0, NULL));
    }
    add_ttl(store, definition, place);
    ac_cosmos_write(task, &request, definition, on_container_made);
    json_decref(definition);
}

static void on_database_made(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_t *store = task->store;

    if (reply->err.kind != AC_OK) {
        unfit(task, &reply->err);
        return;
    }
    if (reply->status == 201) {
        ac_log(AC_M224, 0, "store cosmos[%s/%s]: database made", store->host, store->database);
    }
    make_container(task);
}

static void make_database(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DATABASE_CREATE, .early = true};
    json_t *definition = json_pack("{s:s}", "id", task->store->database);

    ac_cosmos_write(task, &request, definition, on_database_made);
    json_decref(definition);
}

/* ---- looking ---- */

static void on_database_seen(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_t *store = task->store;
    char what[320];

    if (reply->status != 404 && reply->err.kind != AC_OK) {
        unfit(task, &reply->err);
    } else if (store->create) {
        (reply->status == 404 ? make_database : make_container)(task);
    } else if (reply->status == 404) {
        snprintf(what, sizeof(what), "there is no database '%.250s'", store->database);
        unfit_for(task, what, "the store's database is missing; the log says which");
    } else {
        snprintf(what, sizeof(what), "there is no container '%.250s' in the database",
                 store->containers[task->prepare.place]);
        unfit_for(task, what, "a container of the store is missing; the log says which");
    }
}

/* member: "/seq/". */
static bool indexes(const json_t *container, const char *member)
{
    size_t i, len = strlen(member);
    const json_t *path;

    json_array_foreach(json_object_get(json_object_get(container, "indexingPolicy"), "includedPaths"), i, path)
    {
        const char *text = ac_json_peek_string(path, "path", "");
        if (strcmp(text, "/*") == 0 || (strncmp(text, member, len) == 0 && strchr("?*", text[len]) && text[len])) {
            return true;
        }
    }
    return false;
}

/* Whether two members give an order together, both descending (or both ascending, which can be read backwards). */
static bool orders(const json_t *container, const char *first, const char *second)
{
    const json_t *pair, *all = json_object_get(json_object_get(container, "indexingPolicy"), "compositeIndexes");
    size_t i;

    json_array_foreach(all, i, pair)
    {
        const json_t *a = json_array_get(pair, 0), *b = json_array_get(pair, 1);
        if (json_array_size(pair) == 2 && strcmp(ac_json_peek_string(a, "path", ""), first) == 0 &&
            strcmp(ac_json_peek_string(b, "path", ""), second) == 0 &&
            strcmp(ac_json_peek_string(a, "order", "ascending"), ac_json_peek_string(b, "order", "ascending")) == 0) {
            return true;
        }
    }
    return false;
}

/* A message that is sent twice is found out by it. It cannot be added to a container that is there. */
static bool has_unique_key(const json_t *container)
{
    const json_t *key;
    size_t i;

    json_array_foreach(json_object_get(json_object_get(container, "uniqueKeyPolicy"), "uniqueKeys"), i, key)
    {
        const json_t *paths = json_object_get(key, "paths");
        if (json_array_size(paths) == 1 && json_is_string(json_array_get(paths, 0)) &&
            strcmp(json_string_value(json_array_get(paths, 0)), "/key") == 0) {
            return true;
        }
    }
    return false;
}

static bool cosmos_prepare_is_usable(ac_cosmos_task_t *task, const json_t *container)
{
    ac_cosmos_place_e place = task->prepare.place;
    const char *name = task->store->containers[place];
    const json_t *paths = json_object_get(json_object_get(container, "partitionKey"), "paths");
    const char *path = json_string_value(json_array_get(paths, 0));
    char what[640];

    if (!path || strcmp(path, places[place].key) != 0 || json_array_size(paths) != 1) {
        snprintf(what, sizeof(what), "container '%.250s' has the partition key %.100s instead of %s", name,
                 path ? path : "(none)", places[place].key);
        unfit_for(task, what, "a container of the store has another partition key than it needs; the log says which");
        return false;
    }
    if (places[place].unique && !has_unique_key(container)) {
        snprintf(what, sizeof(what), "container '%.250s' has no unique key /key", name);
        unfit_for(task, what, "a container of the store has not the unique key that it needs; the log says which");
        return false;
    }
    /* The service gives documents in the order of what it has an index of, or not at all. */
    if (place == AC_COSMOS_MESSAGES && !indexes(container, "/seq/")) {
        snprintf(what, sizeof(what), "container '%.250s' has no index on /seq/?", name);
        unfit_for(task, what, "a container of the store has not the index that it needs; the log says which");
        return false;
    }
    return true;
}

static void note_entries(ac_cosmos_t *store, const json_t *container, int64_t ttl)
{
    store->keys_expire = ttl != 0;
    store->entries_expire = ttl > 0 ? apr_time_from_sec(ttl) : 0;
    store->by_update = indexes(container, "/copy/updated_at/") && orders(container, "/copy/updated_at", "/id");
    if (!store->by_update) {
        ac_log(
            AC_M232, 0,
            "store cosmos[%s/%s]: container %s has no index on /copy/updated_at with /id; lists by the last change show the "
            "newest threads first",
            store->host, store->database, store->containers[AC_COSMOS_THREADS]);
    }
    /* Where none is named it is 1. The key of the other container, a thread's id, is shorter than what that looks at. */
    if (ac_json_peek_int(json_object_get(container, "partitionKey"), "version", 1) < 2) {
        ac_log(
            AC_M231, 0,
            "store cosmos[%s/%s]: container %s has a partition key of version 1, which tells owners apart by the first 101 "
            "bytes of their names only; it cannot be changed: see docs/cosmos.md",
            store->host, store->database, store->containers[AC_COSMOS_THREADS]);
    }
}

static void note_messages(ac_cosmos_t *store, const json_t *container, int64_t ttl)
{
    const char *name = store->containers[AC_COSMOS_MESSAGES], *entries = store->containers[AC_COSMOS_THREADS];
    apr_interval_time_t least;

    store->expires = ttl > 0 ? apr_time_from_sec(ttl) : 0;
    least = store->expires + store->expires / AC_COSMOS_TOUCH;
    /* Without this index a search for it would read every run that ever was. */
    store->sweeps = indexes(container, "/lease_until/");
    if (!store->sweeps) {
        ac_log(AC_M230, 0, "store cosmos[%s/%s]: container %s has no index on /lease_until/?", store->host,
               store->database, name);
    }
    if (store->retention && store->expires != store->retention) {
        ac_log(AC_M227, 0,
               "store cosmos[%s/%s]: container %s has a time to live of %" APR_INT64_T_FMT " s, not the retention of "
               "%" APR_INT64_T_FMT " s; set its defaultTtl",
               store->host, store->database, name, ttl, (apr_int64_t)apr_time_sec(store->retention));
    }
    if (store->entries_expire && (!store->expires || store->entries_expire <= least)) {
        ac_log(AC_M227, 0,
               "store cosmos[%s/%s]: container %s has a time to live of %" APR_INT64_T_FMT
               " s, so threads are gone from lists "
               "before their messages are; set its defaultTtl to %" APR_INT64_T_FMT,
               store->host, store->database, entries, (apr_int64_t)apr_time_sec(store->entries_expire),
               store->expires ? (apr_int64_t)apr_time_sec(entries_life(store->expires)) : -1);
    }
}

/* What an administrator has made by hand may differ from what we would have made. */
static bool cosmos_prepare_fits(ac_cosmos_task_t *task, const json_t *container)
{
    int64_t ttl = ac_json_peek_int(container, "defaultTtl", 0);

    if (!cosmos_prepare_is_usable(task, container)) {
        return false;
    }
    if (task->prepare.place == AC_COSMOS_THREADS) {
        note_entries(task->store, container, ttl);
    } else {
        note_messages(task->store, container, ttl);
    }
    return true;
}

static void on_container_seen(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_t *store = task->store;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DATABASE_READ, .early = true};

    if (reply->status == 404 && !task->prepare.made) {
        ac_cosmos_call(task, &request, on_database_seen, task);
    } else if (reply->err.kind != AC_OK) {
        unfit(task, &reply->err);
    } else if (reply->status != 200) {
        unfit_for(task, "a container that was made is not there", "a container of the store is missing");
    } else if (cosmos_prepare_fits(task, reply->body)) {
        task->prepare.made = false;
        if (++task->prepare.place < AC_COSMOS_N_PLACES) {
            cosmos_prepare_look(task);
            return;
        }
        store->ready = AC_COSMOS_READY;
        ac_cosmos_end(task, APR_SUCCESS);
        cosmos_prepare_release(store);
    }
}

static void cosmos_prepare_look(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_CONTAINER_READ, .place = task->prepare.place, .early = true};

    ac_cosmos_call(task, &request, on_container_seen, task);
}

static void cosmos_prepare_begin(ac_cosmos_task_t *task)
{
    task->deadline = ac_clock() + PREPARE_TIMEOUT;
    cosmos_prepare_look(task);
}

/* ---- for the others ---- */

void ac_cosmos_prepare(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_t *store = task->store;
    bool again = store->ready == AC_COSMOS_UNKNOWN ||
        (store->ready == AC_COSMOS_UNFIT && ac_clock() >= store->next_prepare);

    if (store->ready == AC_COSMOS_READY) {
        fn(task);
        return;
    }
    if (store->ready == AC_COSMOS_UNFIT && !again) {
        ac_cosmos_end_with(task, &store->unfit);
        return;
    }
    task->then = fn;
    task->next_unprepared = store->unprepared;
    store->unprepared = task;
    if (again) {
        store->ready = AC_COSMOS_PREPARING;
        ac_cosmos_task_own(store, NULL, NULL, cosmos_prepare_begin);
    }
}

void ac_cosmos_unprepare(ac_cosmos_t *store)
{
    if (store->ready == AC_COSMOS_READY) {
        store->ready = AC_COSMOS_UNKNOWN;
    }
}
