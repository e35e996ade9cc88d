/* SPDX-License-Identifier: Apache-2.0 */
/* How many streams of a child hold a thread. Two kinds of threads are counted: threads of the MPM, of which an HTTP/1
 * stream holds one, and an HTTP/2 connection with streams one for all of them; and threads of mod_http2, of which each
 * HTTP/2 stream holds one.
 *
 * mod_http2 works on few requests of a connection at the same time: on six at first, and on twice as many after each
 * answer that ends some time after the last change. If streams held all of these places, a cancel, or any other request
 * of the client, would wait until one of them ends. So a connection may have one stream less than it has places.
 * mod_http2 does not report its places; they are computed from its answers, by its own rule and a little later. */
#include "stream_internal.h"
#include "front/config/config.h"

#include <pthread.h>

#include <ap_mpm.h>

APLOG_USE_MODULE(agentchat);

#define PLACES_FIRST 6 /* of a connection, in mod_http2 */
#define PLACES_MOST 100
#define PLACES_EVERY apr_time_from_msec(200) /* mod_http2: after 100 ms */
/* The threads that streams may hold; the others are for other requests. */
#define SHARE(threads) ((threads)*3 / 4 > 0 ? (threads)*3 / 4 : 1)

/* Protects the two below, and the ac_http2_streams_t of each connection. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int n_threads, n_http2;

static ac_http2_streams_t *http2_streams_of(const conn_rec *c)
{
    ac_conn_t *conn = c->master ? ap_get_module_config(c->master->conn_config, &agentchat_module) : NULL;
    return conn ? &conn->h2 : NULL;
}

/* Before the first request of a connection mod_http2 had as many places as for it. */
static void init_places(ac_http2_streams_t *h2, const request_rec *r)
{
    if (h2->changed) {
        return;
    }
    h2->places = PLACES_FIRST;
    h2->changed = r->request_time;
}

/* ---- a stream begins and ends ---- */

/* Counts one more stream. Returns NULL, or an error message for the client. With the lock held. */
static const char *try_acquire(const ac_conf_t *conf, ac_http2_streams_t *h2, bool http2)
{
    static const char full[] = "this server process has as many streams as it may have";
    bool needs_thread = !http2 || !h2 || !h2->n_streams;
    if (needs_thread && n_threads >= conf->max_blocking_streams) {
        return full;
    }
    if (http2 && n_http2 >= conf->max_http2_streams) {
        return full;
    }
    if (h2 && h2->n_streams >= h2->places - 1) {
        return "this HTTP/2 connection has as many streams as it may have now; it may have more when it has been "
               "answered more";
    }
    n_threads += needs_thread;
    n_http2 += http2;
    if (h2) {
        h2->n_streams++;
    }
    return NULL;
}

apr_status_t ac_blocking_streams_acquire(ac_request_t *rq)
{
    conn_rec *c = rq->r->connection;
    ac_http2_streams_t *h2 = http2_streams_of(c);
    pthread_mutex_lock(&lock);
    if (h2) {
        init_places(h2, rq->r);
    }
    const char *problem = try_acquire(ac_conf(), h2, c->master != NULL);
    pthread_mutex_unlock(&lock);
    return problem ? ac_err_set(&rq->err, AC_OVERLOADED, "%s", problem) : APR_SUCCESS;
}

bool ac_blocking_streams_acquire_thread(void)
{
    pthread_mutex_lock(&lock);
    bool room = !try_acquire(ac_conf(), NULL, false);
    pthread_mutex_unlock(&lock);
    return room;
}

void ac_blocking_streams_release(const conn_rec *c)
{
    ac_http2_streams_t *h2 = http2_streams_of(c);
    pthread_mutex_lock(&lock);
    if (h2) {
        h2->n_streams--;
    }
    n_threads -= !c->master || !h2 || !h2->n_streams;
    n_http2 -= c->master != NULL;
    pthread_mutex_unlock(&lock);
}

/* mod_http2 reduces the places when a client gives up a request before any byte of the answer is sent. */
static void count_answer(ac_http2_streams_t *h2, const request_rec *r, int most)
{
    apr_time_t now = apr_time_now();
    init_places(h2, r);
    if (r->connection->aborted && !r->bytes_sent) {
        h2->places = h2->places > 16 ? 16 : h2->places > 8 ? 8 : h2->places > 4 ? 4 : 2;
        h2->changed = now;
    } else if (r->request_time > h2->changed && now - h2->changed >= PLACES_EVERY) {
        h2->places = h2->places * 2 < most ? h2->places * 2 : most;
        h2->changed = now;
    }
}

static int log_transaction(request_rec *r)
{
    ac_http2_streams_t *h2 = http2_streams_of(r->connection);
    int workers = ac_conf()->http2_threads, most = workers < PLACES_MOST ? workers : PLACES_MOST;
    if (!h2) {
        return DECLINED;
    }
    pthread_mutex_lock(&lock);
    count_answer(h2, r, most > PLACES_FIRST ? most : PLACES_FIRST);
    pthread_mutex_unlock(&lock);
    return DECLINED;
}

void ac_blocking_streams_register(void)
{
    ap_hook_log_transaction(log_transaction, NULL, NULL, APR_HOOK_MIDDLE);
}

/* ---- the limits ---- */

/* The last value of another module's directive; 0: none. */
static int directive_number(const ap_directive_t *first, const char *name)
{
    int found = 0;
    for (const ap_directive_t *at = first; at; at = at->next) {
        int inside = at->first_child ? directive_number(at->first_child, name) : 0;
        if (inside > 0) {
            found = inside;
        }
        if (ap_cstr_casecmp(at->directive, name) == 0) {
            found = (int)apr_atoi64(at->args);
        }
    }
    return found;
}

/* Computed as mod_http2 does. */
static int http2_threads(int threads)
{
    int least = directive_number(ap_conftree, "H2MinWorkers"), most = directive_number(ap_conftree, "H2MaxWorkers");
    if (least <= 0) {
        least = threads;
    }
    return most > 0 ? (most > least ? most : least) : least * 3 / 2;
}

/* Whether browsers switch to HTTP/2 on this server. */
static bool offers_http2(const server_rec *s)
{
    const core_server_config *core = ap_get_core_module_config(s->module_config);
    for (int i = 0; core->protocols && i < core->protocols->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(core->protocols, i, const char *), "h2") == 0) {
            return true;
        }
    }
    return false;
}

static const char *hosts_with_http2(server_rec *s, apr_pool_t *p)
{
    apr_array_header_t *names = apr_array_make(p, 4, sizeof(const char *));
    for (; s; s = s->next) {
        if (!ac_config_mount_is_in(s) || !offers_http2(s)) {
            continue;
        }
        APR_ARRAY_PUSH(names, const char *) =
            apr_psprintf(p, "%s:%u", s->server_hostname ? s->server_hostname : "*", s->port);
    }
    return names->nelts ? ac_config_value_list(names, p) : NULL;
}

void ac_blocking_streams_configure(ac_config_check_t *check)
{
    ac_conf_t *conf = check->conf;
    bool http2 = ap_find_linked_module("mod_http2.c") != NULL;
    const char *hosts = http2 && ac_park_wait_possible() ? hosts_with_http2(check->server, check->ptemp) : NULL;
    int threads = 0;
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    conf->http2_threads = http2 ? http2_threads(threads > 0 ? threads : 1) : 0;
    if (!ac_config_check_server_at(check, "AgentChatMaxBlockingStreams")) {
        conf->max_blocking_streams = SHARE(threads);
    }
    if (!ac_config_check_server_at(check, "AgentChatMaxHTTP2Streams")) {
        conf->max_http2_streams = SHARE(conf->http2_threads);
    }
    if (hosts) {
        ac_log(
            AC_M664, 0,
            "HTTP/2 is offered where the API is mounted (%s): each stream there holds a thread of mod_http2, at most "
            "%d in each child, and each connection with streams one of the MPM, at most %d; over HTTP/1.1 streams hold "
            "none",
            hosts, conf->max_http2_streams, conf->max_blocking_streams);
    }
}
