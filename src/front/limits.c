/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limits and budgets in httpd: the storage of the counts, the reservations of a request, and the header fields of
 * its response. */
#include "front_internal.h"

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

#include "apr_strings.h"

APLOG_USE_MODULE(agentchat);

#define LOOK_EVERY apr_time_from_sec(2) /* interval of checks for processes that died */
#define SAVED_NAME "limits.saved"

/* ---- storage of the counts ---- */

static apr_status_t close_table(void *table)
{
    ac_limit_table_close(table);
    return APR_SUCCESS;
}

void ac_limits_prepare(ac_config_check_t *check)
{
    ac_conf_t *conf = check->conf;
    apr_pool_t *p = check->p;
    const char *dir = conf->memory_dir;
    bool kept = access(conf->state_dir, F_OK) == 0;
    ac_err_t err;
    ac_err_init(&err);
    if (!dir && kept) {
        dir = conf->state_dir;
    }
    apr_status_t status = dir ? ac_limit_table_open(&conf->limit_table, apr_pstrcat(p, dir, "/limits", NULL), &err)
                              : APR_ENOENT;
    if (status != APR_SUCCESS) {
        ac_log(AC_M670, err.status, "limits: counts cannot be kept%s%s; each restart of httpd begins at zero",
               dir ? " in " : "", dir ? dir : "");
        ac_err_init(&err);
        status = ac_limit_table_open(&conf->limit_table, NULL, &err);
    }
    if (status != APR_SUCCESS) {
        ac_config_check_problem(check, NULL, "AgentChatLimit: %s", err.detail);
        return;
    }
    apr_pool_cleanup_register(p, conf->limit_table, close_table, apr_pool_cleanup_null);
    conf->limits_saved = kept ? apr_pstrcat(p, conf->state_dir, "/" SAVED_NAME, NULL) : NULL;
    status = kept ? ac_limit_save_read(conf->limit_table, conf->limits_saved, apr_time_now()) : APR_SUCCESS;
    if (status != APR_SUCCESS) {
        ac_log(AC_M671, status, "limits: %s cannot be read; budgets begin at zero", conf->limits_saved);
    }
}

/* ---- each child ---- */

static ac_timer_t look_timer;
static bool save_failed;

/* Runs on a work thread. */
static void look_after(void *baton)
{
    const ac_conf_t *conf = ((ac_child_t *)baton)->conf;
    ac_limit_table_sweep(conf->limit_table);
    apr_status_t status =
        conf->limits_saved ? ac_limit_save_write(conf->limit_table, conf->limits_saved, apr_time_now()) : APR_SUCCESS;
    if (status != APR_SUCCESS && !save_failed) {
        ac_log(AC_M671, status, "limits: %s cannot be written; budgets do not survive a restart of the machine",
               conf->limits_saved);
    }
    save_failed = status != APR_SUCCESS;
}

static void set_look(ac_child_t *child);

static void limits_look_again(void *baton)
{
    set_look(baton);
}

static void limits_look(void *baton)
{
    ac_child_t *child = baton;
    if (ac_work_post(child->work, look_after, limits_look_again, child) != APR_SUCCESS) {
        set_look(child);
    }
}

static void set_look(ac_child_t *child)
{
    ac_timer_set(child->loop, &look_timer, ac_loop_now(child->loop) + LOOK_EVERY, limits_look, child);
}

static void limits_begin(void *baton)
{
    ac_child_t *child = baton;
    set_look(child);
    if (child->shared) {
        ac_limit_redis_start(child->shared);
    }
}

/* One child logs a line for all when the shared Redis fails, and when it works again. */
static void limits_on_shared(void *baton, bool up, const char *why)
{
    ac_child_t *child = baton;
    if (!ac_limit_table_note_shared(child->conf->limit_table, up)) {
        return;
    }
    if (up) {
        ac_log(AC_M263, APR_SUCCESS, "limits: %s can be used again", child->conf->shared.url);
    } else {
        ac_log(AC_M262, APR_SUCCESS, "limits: %s cannot be used: %s; %s", child->conf->shared.url, why,
               child->counters.open ? "this machine counts alone" : "requests with limits get 503");
    }
}

ac_redis_conf_t ac_limits_redis_conf(const ac_conf_t *conf)
{
    return (ac_redis_conf_t){.host = conf->shared.host,
                             .port = conf->shared.port,
                             .db = conf->shared.db,
                             .user = conf->shared.user,
                             .password = conf->shared.password.value,
                             .tls = conf->shared.tls,
                             .ca_file = conf->shared.ca_file,
                             .timeout = conf->shared.timeout};
}

static apr_status_t make_shared(ac_child_t *child, ac_err_t *err)
{
    const ac_conf_t *conf = child->conf;
    ac_redis_conf_t redis = ac_limits_redis_conf(conf);
    redis.on_state = limits_on_shared;
    redis.baton = child;
    child->counters.open = strcmp(conf->shared.on_error, "open") == 0;
    return ac_limit_redis_create(&child->shared, &redis, conf->shared.prefix, &child->host, err);
}

apr_status_t ac_limits_open(ac_child_t *child, ac_err_t *err)
{
    apr_status_t status = ac_limit_table_join(child->conf->limit_table, err);
    child->counters.table = child->conf->limit_table;
    child->counters.loop = child->loop;
    if (status == APR_SUCCESS && child->conf->shared.url) {
        status = make_shared(child, err);
    }
    if (status == APR_SUCCESS) {
        child->counters.shared = child->shared ? &ac_limit_redis_vt : NULL;
        child->counters.shared_self = child->shared;
        ac_engine_use_counters(child->engine, &child->counters);
        ac_loop_post(child->loop, limits_begin, child);
    }
    return status;
}

void ac_limits_leave(ac_child_t *child)
{
    ac_limit_redis_destroy(child->shared);
    ac_limit_table_leave(child->counters.table);
}

/* ---- a request ---- */

/* An IPv6 network of 64 bits counts as one address: a client can use all addresses of its network. */
static const char *limits_address_of(const request_rec *r)
{
    const apr_sockaddr_t *address = r->useragent_addr;
    char text[INET6_ADDRSTRLEN];
    struct in6_addr net;
    if (address->family != APR_INET6 || IN6_IS_ADDR_V4MAPPED(&address->sa.sin6.sin6_addr)) {
        return r->useragent_ip;
    }
    net = address->sa.sin6.sin6_addr;
    memset(&net.s6_addr[8], 0, 8);
    return inet_ntop(AF_INET6, &net, text, sizeof(text)) ? apr_pstrdup(r->pool, text) : r->useragent_ip;
}

static ac_subject_t limits_subject_of(const ac_request_t *rq)
{
    bool is_known = rq->owner && strcmp(rq->owner, AC_ANONYMOUS) != 0;
    return (ac_subject_t){.owner = is_known ? rq->owner : NULL,
                          .key = rq->principal ? rq->principal->key_id : NULL,
                          .address = limits_address_of(rq->r)};
}

/* The limits of the request's key; NULL: none. The file of keys was checked with the same parser. */
static const ac_limits_t *key_limits(ac_request_t *rq)
{
    const ac_principal_t *principal = rq->principal;
    if (rq->key_limits || !principal || !principal->limits || !principal->key_id) {
        return rq->key_limits;
    }
    ac_limits_t *limits = apr_pcalloc(rq->r->pool, sizeof(*limits));
    limits->scope = apr_pstrcat(rq->r->pool, "key ", principal->key_id, NULL);
    limits->label = "key-";
    if (ac_limit_parse(limits, principal->limits, AC_BY_KEY, &rq->err) == APR_SUCCESS) {
        rq->key_limits = limits;
    }
    return rq->key_limits;
}

static void add_phase(ac_reservation_t **preservation, const ac_limits_t *limits, ac_phase_e phase,
                      const ac_subject_t *who)
{
    for (int i = 0; limits && i < limits->n; i++) {
        if (ac_reservation_phase(&limits->list[i]) == phase) {
            ac_reservation_add(preservation, limits, &limits->list[i], who, 1);
        }
    }
}

static bool any_in_phase(const ac_limits_t *limits, ac_phase_e phase)
{
    for (int i = 0; limits && i < limits->n; i++) {
        if (ac_reservation_phase(&limits->list[i]) == phase) {
            return true;
        }
    }
    return false;
}

void ac_limits_fields(request_rec *r, const ac_buf_t *policy, const ac_buf_t *left)
{
    if (policy->len && left->len) {
        apr_table_merge(r->headers_out, "RateLimit-Policy", policy->data);
        apr_table_merge(r->headers_out, "RateLimit", left->data);
    }
}

static void limits_add_fields(const ac_request_t *rq, const ac_reservation_t *reservation)
{
    ac_buf_t policy, left;
    ac_buf_init(&policy, AC_MAX_HEAD);
    ac_buf_init(&left, AC_MAX_HEAD);
    ac_reservation_fields(reservation, &policy, &left);
    ac_limits_fields(rq->r, &policy, &left);
    ac_buf_free(&policy);
    ac_buf_free(&left);
}

/* *preservation: the reservations of this phase; NULL: none. */
static apr_status_t limits_reserve(ac_reservation_t **preservation, ac_request_t *rq, ac_phase_e phase)
{
    const ac_limits_t *of_mount = rq->mount->limits, *key = key_limits(rq);
    ac_child_t *child = ac_child();
    *preservation = NULL;
    if (rq->err.kind) {
        return ac_err_row(rq->err.kind)->status;
    }
    if (!child || (!any_in_phase(of_mount, phase) && !any_in_phase(key, phase))) {
        return APR_SUCCESS;
    }
    ac_subject_t who = limits_subject_of(rq);
    add_phase(preservation, of_mount, phase, &who);
    add_phase(preservation, key, phase, &who);
    if (*preservation) {
        ac_reservation_trace(*preservation, &rq->trace);
    }
    apr_status_t status = ac_counters_reserve_wait(preservation, &child->counters, &rq->err);
    if (status == APR_SUCCESS || rq->err.kind != AC_OVERLOADED) {
        limits_add_fields(rq, *preservation);
    }
    if (status != APR_SUCCESS) {
        free(*preservation);
        *preservation = NULL;
    }
    return status;
}

apr_status_t ac_limits_request(ac_request_t *rq)
{
    ac_reservation_t *reservation;
    apr_status_t status = limits_reserve(&reservation, rq, AC_PHASE_REQUEST);
    free(reservation); /* reservations of requests are never released */
    return status;
}

apr_status_t ac_limits_stream(ac_reservation_t **preservation, ac_request_t *rq)
{
    return limits_reserve(preservation, rq, AC_PHASE_STREAM);
}

static apr_status_t drop_quota(void *quota)
{
    ac_quota_unref(quota);
    return APR_SUCCESS;
}

ac_quota_t *ac_limits_quota(ac_request_t *rq)
{
    if (!rq->quota) {
        ac_subject_t who = limits_subject_of(rq);
        rq->quota = ac_quota_create(rq->mount->limits, key_limits(rq), &who);
        apr_pool_cleanup_register(rq->r->pool, rq->quota, drop_quota, apr_pool_cleanup_null);
    }
    return rq->quota;
}
