/* SPDX-License-Identifier: Apache-2.0 */
/* Threads in the Cosmos DB store's lists: turns, changes, and a check of what a list shows. */
#ifndef COSMOS_LISTS_WORLD_H
#define COSMOS_LISTS_WORLD_H

#include "cosmos_harness.h"

#include "back/cosmos/cosmos_internal.h"

#include <pthread.h>

enum { MANY = 20 };
#define THROTTLED "\"status\":429,\"headers\":{\"x-ms-retry-after-ms\":\"20\"}}]}"

static cosmos_server_t server;

/* What lists ask for: the query of the entries, and heads. */
static inline int64_t n_asked(void)
{
    return cosmos_requests(&server, "(POST .*/threads/docs|GET .*/messages/docs)");
}

/* The number of repaired entries. A list that comes before the end of another one's repair repairs the same entry,
 * and is refused (412), maybe late. */
static inline int64_t n_repaired(void)
{
    return cosmos_requests(&server, "PUT .*/threads/docs.* 200");
}

/* The next list is the n-th of its child: the eighth, and none before it, compares a copy with its head. */
static inline void lists_since(unsigned int n)
{
    ac_cosmos_t *store = contract_store()->self;
    store->n_lists = n - 1;
}

static inline json_t *list_of(const contract_ids_t *ids, const char *status)
{
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, ids->owner, NULL, NULL);
    snprintf(op->page.status, sizeof(op->page.status), "%s", status);
    json_t *list = contract_ok(contract_wait(op)), *data = json_incref(json_object_get(list, "data"));
    json_decref(list);
    return data;
}

/* How many requests a list of n threads takes, each of them shown as a GET of it does. */
static inline int64_t check_list(const contract_ids_t *ids, size_t n)
{
    int64_t before = n_asked(), asked;
    lists_since(1);
    json_t *data = list_of(ids, ""), *thread;
    size_t i;
    asked = n_asked() - before;
    assert_int_equal(json_array_size(data), n);
    json_array_foreach(data, i, thread)
    {
        const char *id = ac_json_peek_string(thread, "id", "");
        contract_equal(json_incref(thread), contract_ok(contract_call(AC_STORE_THREAD_GET, ids->owner, id, NULL)));
    }
    json_decref(data);
    return asked;
}

/* Lists until the entries are as the threads are. */
static inline void settle(const contract_ids_t *ids)
{
    apr_time_t end = ac_clock() + apr_time_from_sec(30);
    while (cosmos_marked(&server) > 0) {
        assert_true(ac_clock() < end);
        lists_since(1);
        json_decref(list_of(ids, ""));
    }
}

static inline void turn(const contract_ids_t *ids, bool fresh)
{
    char run[AC_ID_SIZE] = "";
    contract_open(ids, run, "hello", fresh);
    contract_close(ids, run, "hi");
    COSMOS_UNTIL(cosmos_uncounted(&server) == 0);
}

static inline void rename_to(const contract_ids_t *ids, const char *title)
{
    contract_done(contract_call(AC_STORE_THREAD_UPDATE, ids->owner, ids->thread, json_pack("{s:s}", "title", title)));
}

/* A thread with one turn, and an entry that is not marked. */
static inline contract_ids_t settled_thread(void)
{
    contract_ids_t ids = contract_ids();
    turn(&ids, true);
    settle(&ids);
    assert_int_equal(check_list(&ids, 1), 1);
    return ids;
}

#endif
