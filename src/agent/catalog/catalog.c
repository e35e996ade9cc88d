/* SPDX-License-Identifier: Apache-2.0 */
/* The agents of a child as they change: the loop reads their stamp from the store now and then; after a change a new
 * snapshot replaces the current one. */
#include "catalog_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE apr_time_from_sec(5) /* the store's time for one look */
#define AFTER_FAILURE 5               /* times the usual interval */

struct ac_catalog_t {
    const ac_registry_t *config;
    ac_agent_t pattern;
    pthread_mutex_t lock; /* protects: */
    ac_agents_t *agents;
    int64_t n_asked, adopted; /* questions to the store; the number of the one whose result is the current snapshot */
    /* loop thread only: */
    ac_loop_t *loop;
    const ac_store_t *store;
    apr_interval_time_t every;
    ac_timer_t timer;
    bool watching;
};

ac_catalog_t *ac_catalog_create(const ac_registry_t *config, const ac_agent_t *pattern)
{
    ac_catalog_t *catalog = ac_alloc(sizeof *catalog);
    pthread_mutex_init(&catalog->lock, NULL);
    catalog->config = config;
    catalog->pattern = *pattern;
    catalog->agents = ac_agents_create(config, pattern, NULL, NULL);
    return catalog;
}

void ac_catalog_destroy(ac_catalog_t *catalog)
{
    if (!catalog) {
        return;
    }
    ac_agents_unref(catalog->agents);
    pthread_mutex_destroy(&catalog->lock);
    free(catalog);
}

ac_agents_t *ac_catalog_agents(ac_catalog_t *catalog)
{
    pthread_mutex_lock(&catalog->lock);
    ac_agents_t *agents = ac_agents_ref(catalog->agents);
    pthread_mutex_unlock(&catalog->lock);
    return agents;
}

bool ac_catalog_adopt(ac_catalog_t *catalog, const ac_store_op_t *op)
{
    const json_t *data = json_object_get(op->out, "data");
    const char *asked_of = ac_json_peek_string(op->in, "stamp", "");
    int64_t number = ac_json_peek_int(op->in, "number", 0);
    ac_agents_t *agents = json_is_array(data)
        ? ac_agents_create(catalog->config, &catalog->pattern, ac_json_peek_string(op->out, "stamp", ""), data)
        : NULL;
    pthread_mutex_lock(&catalog->lock);
    const char *stamp = ac_agents_stamp(catalog->agents);
    /* Results come in any order: the result of an earlier question may be older than a change that a later one has
     * brought. */
    bool late = number < catalog->adopted, holds = late || agents || strcmp(asked_of, stamp ? stamp : "") == 0;
    if (!late && holds) {
        catalog->adopted = number;
    }
    if (!late && agents) {
        ac_agents_t *before = catalog->agents;
        catalog->agents = agents;
        agents = before;
    }
    pthread_mutex_unlock(&catalog->lock);
    ac_agents_unref(agents);
    return holds;
}

ac_store_op_t *ac_catalog_ask(ac_catalog_t *catalog)
{
    ac_store_op_t *op = ac_store_op_create(AC_STORE_AGENT_LIST, NULL, NULL);
    if (!op) {
        abort();
    }
    pthread_mutex_lock(&catalog->lock);
    ac_agents_t *agents = ac_agents_ref(catalog->agents);
    int64_t number = ++catalog->n_asked;
    pthread_mutex_unlock(&catalog->lock);
    op->in = json_object();
    ac_json_put(op->in, "stamp", ac_json_text(ac_agents_stamp(agents)));
    ac_json_put(op->in, "number", json_integer(number));
    ac_agents_unref(agents);
    return op;
}

static void catalog_look(void *baton);

static void look_later(ac_catalog_t *catalog, apr_interval_time_t wait)
{
    if (catalog->watching) {
        ac_timer_set(catalog->loop, &catalog->timer, ac_loop_now(catalog->loop) + wait, catalog_look, catalog);
    }
}

static void on_list(ac_store_op_t *op)
{
    ac_catalog_t *catalog = op->baton;
    bool fine = op->status == APR_SUCCESS;
    if (fine) {
        ac_catalog_adopt(catalog, op);
    } else {
        ac_debug("agents: not looked for: %s", op->err.detail);
    }
    ac_store_op_free(op);
    look_later(catalog, fine ? catalog->every : AFTER_FAILURE * catalog->every);
}

static void catalog_look(void *baton)
{
    ac_catalog_t *catalog = baton;
    ac_store_op_t *op = ac_catalog_ask(catalog);
    op->deadline = ac_loop_now(catalog->loop) + PATIENCE;
    ac_store_call_post(catalog->store, catalog->loop, op, on_list, catalog);
}

void ac_catalog_watch(ac_catalog_t *catalog, ac_loop_t *loop, const ac_store_t *store, apr_interval_time_t every)
{
    catalog->loop = loop;
    catalog->store = store;
    catalog->every = every;
    catalog->watching = true;
    catalog_look(catalog);
}

void ac_catalog_unwatch(ac_catalog_t *catalog)
{
    if (catalog->watching) {
        ac_timer_cancel(catalog->loop, &catalog->timer);
    }
    catalog->watching = false;
}
