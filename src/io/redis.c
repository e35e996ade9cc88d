/* SPDX-License-Identifier: Apache-2.0 */
/* A Redis server on the loop: one connection, and commands that are answered in order, each within its timeout or not
 * at all. redis_wire.c reads and writes the bytes. */
#include "redis.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <openssl/evp.h>

#define GREETING_PATIENCE apr_time_from_sec(2) /* for opening a connection, including TLS and the greeting */
#define BACKOFF_FIRST apr_time_from_msec(100)
#define BACKOFF_MOST apr_time_from_sec(5)

static void redis_on_timer(void *baton);

void ac_redis_script_init(ac_redis_script_t *script, const char *text)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    script->text = text;
    if (!EVP_Digest(text, strlen(text), digest, &len, EVP_sha1(), NULL)) {
        abort();
    }
    ac_text_hex(script->sha1, digest, len);
}

/* ---- pending calls ---- */

typedef struct ac_redis_call_t call_t;

static call_t *pop(ac_redis_t *redis)
{
    call_t *call = redis->first;
    redis->first = call->next;
    redis->last = redis->first ? redis->last : NULL;
    redis->n_calls--;
    return call;
}

static void redis_append(ac_redis_t *redis, call_t *call)
{
    if (redis->first) {
        redis->last->next = call;
    } else {
        redis->first = call;
    }
    redis->last = call;
    redis->n_calls++;
}

/* Runs from the ready list: no callback comes inside the caller's own call. */
static void report_failed(void *baton)
{
    ac_redis_t *redis = baton;
    call_t *call = redis->failed;
    redis->failed = NULL;
    while (call) {
        call_t *next = call->next;
        ac_err_t err;
        ac_err_init(&err);
        ac_err_set(&err, AC_OVERLOADED, "Redis is not to be reached");
        ac_metrics_add(AC_METRIC_REDIS_COMMANDS, AC_LABELS(AC_OVERLOADED), 1);
        call->fn(call->baton, NULL, &err);
        free(call);
        call = next;
    }
}

static void redis_fail(ac_redis_t *redis, call_t *call)
{
    call_t **at = &redis->failed;
    while (*at) {
        at = &(*at)->next;
    }
    call->next = NULL;
    *at = call;
    ac_loop_ready_set(redis->loop, &redis->failed_ready, report_failed, redis);
}

static void redis_set_timer(ac_redis_t *redis)
{
    apr_time_t due = redis->step_due;
    if (redis->first && (!due || redis->first->due < due)) {
        due = redis->first->due;
    }
    if (due) {
        ac_timer_set(redis->loop, &redis->timer, due, redis_on_timer, redis);
    } else {
        ac_timer_cancel(redis->loop, &redis->timer);
    }
}

/* ---- up and down ---- */

static void tell_state(ac_redis_t *redis, bool up, const char *why)
{
    bool news = !redis->reported || redis->reported_up != up;
    redis->reported = true;
    redis->reported_up = up;
    if (news && redis->conf.on_state) {
        redis->conf.on_state(redis->conf.baton, up, why);
    }
}

/* Fails all pending calls; calls that are not sent yet are dropped. */
static void fail_all(ac_redis_t *redis)
{
    redis->hopeful = false;
    ac_buf_clear(&redis->out);
    while (redis->first) {
        redis_fail(redis, pop(redis));
    }
}

void ac_redis_down(ac_redis_t *redis, const char *why)
{
    if (redis->state == AC_REDIS_UP) {
        ac_metrics_gauge_add(AC_METRIC_REDIS_CONNECTIONS, AC_NO_LABELS, -1);
    }
    ac_redis_wire_close(redis);
    fail_all(redis);
    ac_buf_clear(&redis->greeting);
    redis->state = AC_REDIS_AWAY;
    redis->backoff = redis->backoff ? redis->backoff * 2 : BACKOFF_FIRST;
    redis->backoff = redis->backoff < BACKOFF_MOST ? redis->backoff : BACKOFF_MOST;
    /* Children lose the connection at the same time, and should not all reconnect at once. */
    redis->step_due = ac_loop_now(redis->loop) + redis->backoff / 2 +
        (apr_interval_time_t)(ac_random() % (uint64_t)redis->backoff);
    redis_set_timer(redis);
    tell_state(redis, false, why);
}

static void up(ac_redis_t *redis)
{
    redis->state = AC_REDIS_UP;
    ac_metrics_gauge_add(AC_METRIC_REDIS_CONNECTIONS, AC_NO_LABELS, 1);
    redis->hopeful = false;
    redis->backoff = 0;
    redis->step_due = 0;
    redis_set_timer(redis);
    tell_state(redis, true, "");
    ac_redis_wire_write(redis);
}

static void add_greeting(ac_redis_t *redis, int argc, const char *const *argv)
{
    char *text = NULL;
    long long len = redisFormatCommandArgv(&text, argc, (const char **)argv, NULL);
    if (len > 0) {
        ac_buf_add(&redis->greeting, text, (size_t)len);
        redis->n_greetings++;
    }
    redisFreeCommand(text);
}

void ac_redis_connected(ac_redis_t *redis)
{
    const ac_redis_conf_t *conf = &redis->conf;
    char db[16];
    snprintf(db, sizeof(db), "%d", conf->db);
    redis->state = AC_REDIS_GREETING;
    redis->n_greetings = 0;
    if (conf->password && conf->user) {
        add_greeting(redis, 3, (const char *[]){"AUTH", conf->user, conf->password});
    } else if (conf->password) {
        add_greeting(redis, 2, (const char *[]){"AUTH", conf->password});
    }
    if (conf->db) {
        add_greeting(redis, 2, (const char *[]){"SELECT", db});
    }
    add_greeting(redis, 1, (const char *[]){"PING"});
    if (conf->proof) {
        add_greeting(redis, conf->n_proof, conf->proof);
    }
    ac_redis_wire_write(redis);
}

static void on_greeted(ac_redis_t *redis, const redisReply *reply)
{
    char why[160];
    if (reply->type == REDIS_REPLY_ERROR) {
        snprintf(why, sizeof(why), "it refuses us: %.120s", reply->str);
        ac_redis_down(redis, why);
    } else if (--redis->n_greetings == 0) {
        up(redis);
    }
}

/* Whether the error says that this server cannot be written to, or not yet; another server may have the same name. */
static bool takes_nothing(const char *error)
{
    static const char *const words[] = {"READONLY ", "LOADING ", "MASTERDOWN ", "OOM ", "MISCONF ", "NOREPLICAS "};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strncmp(error, words[i], strlen(words[i])) == 0) {
            return true;
        }
    }
    return false;
}

bool ac_redis_answered(ac_redis_t *redis, const redisReply *reply)
{
    if (redis->state == AC_REDIS_GREETING) {
        on_greeted(redis, reply);
        return redis->state != AC_REDIS_AWAY;
    }
    if (!redis->first) {
        ac_redis_down(redis, "it said something that it was not asked");
        return false;
    }
    if (reply->type == REDIS_REPLY_ERROR && takes_nothing(reply->str)) {
        char why[160];
        snprintf(why, sizeof(why), "it cannot be used now: %.120s", reply->str);
        ac_redis_down(redis, why);
        return false;
    }
    call_t *call = pop(redis);
    ac_err_t err;
    ac_err_init(&err);
    ac_metrics_add(AC_METRIC_REDIS_COMMANDS, AC_LABELS(reply->type == REDIS_REPLY_ERROR ? AC_UPSTREAM_ERROR : AC_OK),
                   1);
    ac_metrics_observe(AC_METRIC_REDIS_COMMAND_DURATION, AC_NO_LABELS, ac_clock() - call->began, NULL);
    call->fn(call->baton, reply, &err);
    free(call);
    redis_set_timer(redis);
    return redis->state == AC_REDIS_UP;
}

/* ---- its address ---- */

struct ac_redis_lookup_t {
    ac_redis_t *redis; /* NULL: the result is not needed any more */
    char host[256], port[8];
    int status;
    struct addrinfo *list;
};

static void redis_look_up(void *baton)
{
    ac_redis_lookup_t *lookup = baton;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    lookup->status = getaddrinfo(lookup->host, lookup->port, &hints, &lookup->list);
}

static void free_lookup(ac_redis_lookup_t *lookup)
{
    if (lookup->list) {
        freeaddrinfo(lookup->list);
    }
    free(lookup);
}

/* Each attempt uses the next one of its addresses. */
static void connect_to(ac_redis_t *redis, const struct addrinfo *list)
{
    int n = 0;
    for (const struct addrinfo *at = list; at; at = at->ai_next) {
        n++;
    }
    const struct addrinfo *at = list;
    for (unsigned i = redis->n_attempts++ % (unsigned)n; i; i--) {
        at = at->ai_next;
    }
    redis->state = AC_REDIS_CONNECTING;
    ac_redis_wire_connect(redis, at->ai_addr, at->ai_addrlen);
}

static void looked_up(void *baton)
{
    ac_redis_lookup_t *lookup = baton;
    ac_redis_t *redis = lookup->redis;
    if (redis) {
        redis->lookup = NULL;
        if (redis->state == AC_REDIS_LOOKING_UP && lookup->status) {
            char why[160];
            snprintf(why, sizeof(why), "its name has no address: %.120s", gai_strerror(lookup->status));
            ac_redis_down(redis, why);
        } else if (redis->state == AC_REDIS_LOOKING_UP) {
            connect_to(redis, lookup->list);
        }
    }
    free_lookup(lookup);
}

static void attempt(ac_redis_t *redis)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char port[8];
    snprintf(port, sizeof(port), "%d", redis->conf.port);
    redis->step_due = ac_loop_now(redis->loop) + GREETING_PATIENCE;
    redis->state = AC_REDIS_LOOKING_UP;
    redis_set_timer(redis);
    if (getaddrinfo(redis->conf.host, port, &hints, &list) == 0) {
        connect_to(redis, list);
        freeaddrinfo(list);
        return;
    }
    if (redis->lookup) { /* the name server is slow: one query is enough */
        return;
    }
    ac_redis_lookup_t *lookup = ac_alloc(sizeof(*lookup));
    lookup->redis = redis;
    snprintf(lookup->host, sizeof(lookup->host), "%s", redis->conf.host);
    snprintf(lookup->port, sizeof(lookup->port), "%s", port);
    if (ac_work_post(redis->work, redis_look_up, looked_up, lookup) != APR_SUCCESS) {
        free_lookup(lookup);
        ac_redis_down(redis, "no thread is free to look its name up");
        return;
    }
    redis->lookup = lookup;
}

static void redis_on_timer(void *baton)
{
    ac_redis_t *redis = baton;
    apr_time_t now = ac_loop_now(redis->loop);
    if (redis->state == AC_REDIS_UP && redis->first && redis->first->due <= now) {
        /* Replies come in order: no reply can come after a missing one. */
        ac_redis_down(redis, "it does not answer in time");
        return;
    }
    if (redis->first && redis->first->due <= now) {
        fail_all(redis);
    }
    if (redis->state == AC_REDIS_AWAY && redis->step_due <= now) {
        attempt(redis);
    } else if (redis->state != AC_REDIS_UP && redis->step_due <= now) {
        static const char *const late[] = {
            [AC_REDIS_LOOKING_UP] = "its name is not looked up in time",
            [AC_REDIS_CONNECTING] = "it cannot be connected to in time",
            [AC_REDIS_TLS] = "TLS is not agreed on in time",
            [AC_REDIS_GREETING] = "it does not answer in time",
        };
        ac_redis_down(redis, late[redis->state]);
    } else {
        redis_set_timer(redis);
    }
}

/* ---- public functions ---- */

apr_status_t ac_redis_create(ac_redis_t **predis, const ac_redis_conf_t *conf, ac_loop_t *loop, ac_work_t *work,
                             ac_err_t *err)
{
    ac_redis_t *redis = ac_alloc(sizeof(*redis));
    redis->conf = *conf;
    redis->loop = loop;
    redis->work = work;
    redis->fd = -1;
    redis->state = AC_REDIS_AWAY;
    redis->hopeful = true;
    ac_buf_init(&redis->out, AC_MAX_REDIS_OUT);
    ac_buf_init(&redis->greeting, AC_MAX_REDIS_OUT);
    *predis = redis;
    apr_status_t status = ac_redis_wire_prepare(redis, err);
    if (status != APR_SUCCESS) {
        ac_redis_destroy(redis);
        *predis = NULL;
    }
    return status;
}

void ac_redis_start(ac_redis_t *redis)
{
    attempt(redis);
}

void ac_redis_call(ac_redis_t *redis, const ac_redis_command_t *command, ac_redis_fn *fn, void *baton)
{
    call_t *call = ac_alloc(sizeof(*call));
    char *text = NULL;
    bool may = (redis->state == AC_REDIS_UP || redis->hopeful) && redis->n_calls < AC_MAX_REDIS_CALLS;
    call->fn = fn;
    call->baton = baton;
    call->began = ac_clock();
    call->due = ac_loop_now(redis->loop) + redis->conf.timeout;
    long long len = may ? redisFormatCommandArgv(&text, command->argc, (const char **)command->argv, command->len) : -1;
    if (len > 0 && ac_buf_add(&redis->out, text, (size_t)len) == APR_SUCCESS) {
        redis_append(redis, call);
        redis_set_timer(redis);
        if (redis->state == AC_REDIS_UP) {
            ac_redis_wire_write_later(redis);
        }
    } else {
        redis_fail(redis, call);
    }
    redisFreeCommand(text);
}

void ac_redis_destroy(ac_redis_t *redis)
{
    if (!redis) {
        return;
    }
    if (redis->lookup) {
        redis->lookup->redis = NULL;
    }
    ac_redis_wire_close(redis);
    ac_redis_wire_end(redis);
    ac_timer_cancel(redis->loop, &redis->timer);
    ac_loop_ready_cancel(redis->loop, &redis->failed_ready);
    while (redis->first) {
        free(pop(redis));
    }
    while (redis->failed) {
        call_t *next = redis->failed->next;
        free(redis->failed);
        redis->failed = next;
    }
    ac_buf_free(&redis->out);
    ac_buf_free(&redis->greeting);
    free(redis);
}
