/* SPDX-License-Identifier: Apache-2.0 */
/* The database and the containers of the Cosmos DB store. Operations wait until they are known to exist. The steps
 * for each container:
 *
 *  1  read the container
 *  2  404: read the database
 *  3  with create=on: create the database if it is missing, then the container; back to 1
 *  4  check the container's definition, and note what its indexes and times to live allow
 *
 * At the end all waiting operations continue, or fail with the reason. */
#include "cosmos_internal.h"

#include <stdlib.h>
#include <string.h>

#define PREPARE_TIMEOUT apr_time_from_sec(15)
#define PREPARE_PAUSE apr_time_from_sec(3)   /* after a failure, so that operations do not cause a request each */
#define INDEX_SLACK apr_time_from_sec(86400) /* an entry outlives its thread, whose life every turn extends */

/* The definition of each container. No text of a user is indexed. */
static const struct {
    const char *key, *policy, *unique;
} definitions[AC_COSMOS_N_CONTAINERS] = {
    [AC_COSMOS_THREADS] =
        {
            "/owner",
            "{\"indexingMode\":\"consistent\",\"automatic\":true,\"includedPaths\":[{\"path\":\"/owner/?\"},"
            "{\"path\":\"/type/?\"},"
            "{\"path\":\"/status/?\"},{\"path\":\"/agent_id/?\"},{\"path\":\"/changing/?\"},"
            "{\"path\":\"/thread_id/?\"},{\"path\":\"/pinned/?\"},{\"path\":\"/labels/[]/?\"},"
            "{\"path\":\"/copy/updated_at/?\"}],\"excludedPaths\":[{\"path\":\"/*\"}],"
            "\"compositeIndexes\":[[{\"path\":\"/copy/updated_at\",\"order\":\"descending\"},"
            "{\"path\":\"/id\",\"order\":\"descending\"}]]}",
            "{\"uniqueKeys\":[{\"paths\":[\"/key\"]}]}",
        },
    [AC_COSMOS_MESSAGES] =
        {
            "/thread_id",
            "{\"indexingMode\":\"consistent\",\"automatic\":true,\"includedPaths\":[{\"path\":\"/thread_id/?\"},"
            "{\"path\":\"/type/?\"},"
            "{\"path\":\"/seq/?\"},{\"path\":\"/role/?\"},{\"path\":\"/timestamp/?\"},{\"path\":\"/deleted_at/?\"},"
            "{\"path\":\"/lease_until/?\"}],"
            "\"excludedPaths\":[{\"path\":\"/*\"}]}",
            NULL,
        },
};

static void begin_preparing(ac_cosmos_task_t *task);
static void read_container(ac_cosmos_task_t *task);
static void create_database(ac_cosmos_task_t *task);
static void create_container(ac_cosmos_task_t *task);
static void prepare_on_container(void *baton, const ac_cosmos_reply_t *reply);
static void prepare_on_database(void *baton, const ac_cosmos_reply_t *reply);
static void prepare_on_database_created(void *baton, const ac_cosmos_reply_t *reply);
static void prepare_on_container_created(void *baton, const ac_cosmos_reply_t *reply);
static bool check_definition(ac_cosmos_task_t *task, const json_t *container);
static void release_waiting(ac_cosmos_t *store);
static void fail_preparing(ac_cosmos_task_t *task, const ac_err_t *err);
static void fail_because(ac_cosmos_task_t *task, const char *what, const char *detail);

void ac_cosmos_prepare_then(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_t *store = task->store;
    bool again = store->containers.ready == AC_COSMOS_UNKNOWN ||
        (store->containers.ready == AC_COSMOS_UNFIT && ac_clock() >= store->containers.next_attempt);
    if (store->containers.ready == AC_COSMOS_READY) {
        fn(task);
        return;
    }
    if (store->containers.ready == AC_COSMOS_UNFIT && !again) {
        ac_cosmos_task_end_with(task, &store->containers.err);
        return;
    }
    ac_cosmos_task_then(task, fn);
    task->next_unprepared = store->containers.waiting;
    store->containers.waiting = task;
    if (again) {
        store->containers.ready = AC_COSMOS_PREPARING;
        ac_cosmos_task_own(store, NULL, NULL, begin_preparing);
    }
}

static void begin_preparing(ac_cosmos_task_t *task)
{
    task->deadline = ac_clock() + PREPARE_TIMEOUT;
    read_container(task);
}

/* ---- 1, 2: the container, the database ---- */

static void read_container(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_CONTAINER_READ,
                                   .container = task->prepare.container,
                                   .early = true};
    ac_cosmos_call_start(task, &request, prepare_on_container, task);
}

static void prepare_on_container(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_t *store = task->store;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DATABASE_READ, .early = true};
    if (reply->status == 404 && !task->prepare.made) {
        ac_cosmos_call_start(task, &request, prepare_on_database, task);
    } else if (reply->err.kind != AC_OK) {
        fail_preparing(task, &reply->err);
    } else if (reply->status != 200) {
        fail_because(task, "a container that was made is not there", "a container of the store is missing");
    } else if (check_definition(task, reply->body)) {
        task->prepare.made = false;
        if (++task->prepare.container < AC_COSMOS_N_CONTAINERS) {
            read_container(task);
            return;
        }
        store->containers.ready = AC_COSMOS_READY;
        ac_cosmos_task_end(task, APR_SUCCESS);
        release_waiting(store);
    }
}

static void prepare_on_database(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_t *store = task->store;
    char what[320];
    if (reply->status != 404 && reply->err.kind != AC_OK) {
        fail_preparing(task, &reply->err);
    } else if (store->conf.create) {
        (reply->status == 404 ? create_database : create_container)(task);
    } else if (reply->status == 404) {
        snprintf(what, sizeof(what), "there is no database '%.250s'", store->conf.database);
        fail_because(task, what, "the store's database is missing; the log says which");
    } else {
        snprintf(what, sizeof(what), "there is no container '%.250s' in the database",
                 store->conf.containers[task->prepare.container]);
        fail_because(task, what, "a container of the store is missing; the log says which");
    }
}

/* ---- 3: creation ---- */

static void create_database(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DATABASE_CREATE, .early = true};
    json_t *definition = json_pack("{s:s}", "id", task->store->conf.database);
    ac_cosmos_call_write(task, &request, definition, prepare_on_database_created);
    json_decref(definition);
}

static void prepare_on_database_created(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_t *store = task->store;
    if (reply->err.kind != AC_OK) {
        fail_preparing(task, &reply->err);
        return;
    }
    if (reply->status == 201) {
        ac_log(AC_M224, 0, "store cosmos[%s/%s]: database made", store->conf.host, store->conf.database);
    }
    create_container(task);
}

/* The lifetime of an entry whose thread's documents have this lifetime. */
static apr_interval_time_t entries_life(apr_interval_time_t expires)
{
    return expires + expires / 4 + INDEX_SLACK;
}

static void add_ttl(ac_cosmos_t *store, json_t *definition, ac_cosmos_container_e which)
{
    apr_interval_time_t ttl = store->conf.retention;
    if (ttl && which == AC_COSMOS_THREADS) {
        ttl = entries_life(ttl);
    }
    /* -1: only documents with a time to live of their own expire. */
    if (ttl || which == AC_COSMOS_THREADS) {
        ac_json_put(definition, "defaultTtl", json_integer(ttl ? apr_time_sec(ttl) : -1));
    }
}

static void create_container(ac_cosmos_task_t *task)
{
    ac_cosmos_t *store = task->store;
    ac_cosmos_container_e which = task->prepare.container;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_CONTAINER_CREATE, .container = which, .early = true};
    json_t *definition = json_pack("{s:s, s:{s:[s], s:s, s:i}, s:o}", "id", store->conf.containers[which],
                                   "partitionKey", "paths", definitions[which].key, "kind", "Hash", "version", 2,
                                   "indexingPolicy", json_loads(definitions[which].policy, 0, NULL));
    if (definitions[which].unique) {
        ac_json_put(definition, "uniqueKeyPolicy", json_loads(definitions[which].unique, 0, NULL));
    }
    add_ttl(store, definition, which);
    ac_cosmos_call_write(task, &request, definition, prepare_on_container_created);
    json_decref(definition);
}

static void prepare_on_container_created(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_t *store = task->store;
    if (reply->err.kind != AC_OK) {
        fail_preparing(task, &reply->err);
        return;
    }
    if (reply->status == 201) {
        ac_log(AC_M224, 0, "store cosmos[%s/%s]: container %s made", store->conf.host, store->conf.database,
               store->conf.containers[task->prepare.container]);
    }
    task->prepare.made = true;
    read_container(task); /* also if another child was faster */
}

/* ---- 4: the definition ---- */

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

static bool has_path(const json_t *paths, const char *path)
{
    const json_t *one;
    size_t i;
    json_array_foreach(paths, i, one)
    {
        if (strcmp(ac_json_peek_string(one, "path", ""), path) == 0) {
            return true;
        }
    }
    return false;
}

/* The unique key detects a message that is sent twice. It cannot be added to a container that exists. */
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

static bool prepare_check_required(ac_cosmos_task_t *task, const json_t *container)
{
    ac_cosmos_container_e which = task->prepare.container;
    const char *name = task->store->conf.containers[which];
    const json_t *paths = json_object_get(json_object_get(container, "partitionKey"), "paths");
    const char *path = json_string_value(json_array_get(paths, 0));
    char what[640];
    if (!path || strcmp(path, definitions[which].key) != 0 || json_array_size(paths) != 1) {
        snprintf(what, sizeof(what), "container '%.250s' has the partition key %.100s instead of %s", name,
                 path ? path : "(none)", definitions[which].key);
        fail_because(task, what,
                     "a container of the store has another partition key than it needs; the log says which");
        return false;
    }
    if (definitions[which].unique && !has_unique_key(container)) {
        snprintf(what, sizeof(what), "container '%.250s' has no unique key /key", name);
        fail_because(task, what, "a container of the store has not the unique key that it needs; the log says which");
        return false;
    }
    /* The service sorts by a member only with an index on it. */
    if (which == AC_COSMOS_MESSAGES && !indexes(container, "/seq/")) {
        snprintf(what, sizeof(what), "container '%.250s' has no index on /seq/?", name);
        fail_because(task, what, "a container of the store has not the index that it needs; the log says which");
        return false;
    }
    return true;
}

static void note_entries(ac_cosmos_t *store, const json_t *container, int64_t ttl)
{
    store->containers.keys_expire = ttl != 0;
    store->containers.entries_expire = ttl > 0 ? apr_time_from_sec(ttl) : 0;
    store->containers.by_update = indexes(container, "/copy/updated_at/") &&
        orders(container, "/copy/updated_at", "/id");
    if (!store->containers.by_update) {
        ac_log(AC_M232, 0,
               "store cosmos[%s/%s]: container %s has no index on /copy/updated_at with /id; lists by the last "
               "change show the "
               "newest threads first",
               store->conf.host, store->conf.database, store->conf.containers[AC_COSMOS_THREADS]);
    }
    /* The default version is 1. Ids of threads, the other container's key, are shorter than the part that version 1
     * compares. */
    if (ac_json_peek_int(json_object_get(container, "partitionKey"), "version", 1) < 2) {
        ac_log(AC_M231, 0,
               "store cosmos[%s/%s]: container %s has a partition key of version 1, which tells owners apart by "
               "the first 101 "
               "bytes of their names only; it cannot be changed: see docs/cosmos.md",
               store->conf.host, store->conf.database, store->conf.containers[AC_COSMOS_THREADS]);
    }
}

static void note_messages(ac_cosmos_t *store, const json_t *container, int64_t ttl)
{
    const char *name = store->conf.containers[AC_COSMOS_MESSAGES], *entries = store->conf.containers[AC_COSMOS_THREADS];
    apr_interval_time_t least;
    store->containers.expires = ttl > 0 ? apr_time_from_sec(ttl) : 0;
    least = store->containers.expires + store->containers.expires / AC_COSMOS_TOUCH;
    /* The policy alone would do, but then each search reads all messages. */
    store->containers.full_text =
        has_path(json_object_get(json_object_get(container, "fullTextPolicy"), "fullTextPaths"), "/content") &&
        has_path(json_object_get(json_object_get(container, "indexingPolicy"), "fullTextIndexes"), "/content");
    /* Without this index the sweep would read all runs ever stored. */
    store->containers.sweeps = indexes(container, "/lease_until/");
    if (!store->containers.sweeps) {
        ac_log(AC_M230, 0, "store cosmos[%s/%s]: container %s has no index on /lease_until/?", store->conf.host,
               store->conf.database, name);
    }
    if (store->conf.retention && store->containers.expires != store->conf.retention) {
        ac_log(AC_M227, 0,
               "store cosmos[%s/%s]: container %s has a time to live of %" APR_INT64_T_FMT " s, not the retention of "
               "%" APR_INT64_T_FMT " s; set its defaultTtl",
               store->conf.host, store->conf.database, name, ttl, (apr_int64_t)apr_time_sec(store->conf.retention));
    }
    if (store->containers.entries_expire && (!store->containers.expires || store->containers.entries_expire <= least)) {
        ac_log(AC_M227, 0,
               "store cosmos[%s/%s]: container %s has a time to live of %" APR_INT64_T_FMT
               " s, so threads are gone from lists "
               "before their messages are; set its defaultTtl to %" APR_INT64_T_FMT,
               store->conf.host, store->conf.database, entries,
               (apr_int64_t)apr_time_sec(store->containers.entries_expire),
               store->containers.expires ? (apr_int64_t)apr_time_sec(entries_life(store->containers.expires)) : -1);
    }
}

/* An administrator may have created the container with another definition. */
static bool check_definition(ac_cosmos_task_t *task, const json_t *container)
{
    int64_t ttl = ac_json_peek_int(container, "defaultTtl", 0);
    if (!prepare_check_required(task, container)) {
        return false;
    }
    if (task->prepare.container == AC_COSMOS_THREADS) {
        note_entries(task->store, container, ttl);
    } else {
        note_messages(task->store, container, ttl);
    }
    return true;
}

/* ---- the end ---- */

/* The waiting operations continue, or fail. */
static void release_waiting(ac_cosmos_t *store)
{
    while (store->containers.waiting) {
        ac_cosmos_task_t *task = store->containers.waiting;
        store->containers.waiting = task->next_unprepared;
        task->next_unprepared = NULL;
        if (store->containers.ready != AC_COSMOS_READY) {
            ac_cosmos_task_end_with(task, &store->containers.err);
        } else if (task->deadline && ac_clock() >= task->deadline) {
            ac_cosmos_task_end(task,
                               ac_err_set(&task->op->err, AC_STORE_TIMEOUT, "the store did not get to it in time"));
        } else {
            ac_cosmos_task_return(task);
        }
    }
}

static void fail_preparing(ac_cosmos_task_t *task, const ac_err_t *err)
{
    ac_cosmos_t *store = task->store;
    store->containers.ready = AC_COSMOS_UNFIT;
    store->containers.err = *err;
    if (!store->containers.err.retry_after) {
        store->containers.err.retry_after = PREPARE_PAUSE;
    }
    store->containers.next_attempt = ac_clock() + PREPARE_PAUSE;
    ac_cosmos_task_end(task, APR_SUCCESS);
    release_waiting(store);
}

/* The log names the missing object; the response names only its kind. */
static void fail_because(ac_cosmos_task_t *task, const char *what, const char *detail)
{
    ac_err_t err;
    ac_err_init(&err);
    ac_err_set(&err, AC_STORE_ERROR, "%s", detail);
    ac_cosmos_outage_begin(task->store, AC_M222, what);
    fail_preparing(task, &err);
}
