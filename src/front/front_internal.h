/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that only the files of this folder share: the start of httpd and of a child, its stop, and the table of
 * routes. */
#ifndef AC_FRONT_INTERNAL_H
#define AC_FRONT_INTERNAL_H

#include "front/request/request.h"

/* ---- protocol.c ---- */
/* A path below the mount as the table of routes has it, for one that clients or the configuration spell otherwise. In
 * r->pool or borrowed. */
const char *ac_protocol_path(const request_rec *r, const char *path);

/* ---- what startup.c makes, and what a child opens of it ---- */
/* Puts the cache before the store of the configuration, where AgentChatCache wants one. Problems are reported. */
void ac_caching_prepare(ac_config_check_t *check);
/* Gives the cache this child's connection to Redis, which ac_limits_open() has made. */
void ac_caching_open(const ac_child_t *child);
/* Makes the directories and sets memory_dir and event_logs.dir of the configuration. Problems are reported. */
void ac_event_logs_prepare(ac_config_check_t *check);
/* Opens this child's directory, for its engine. */
void ac_event_logs_open(ac_child_t *child);
/* Opens the table of counts: in memory, below the state directory, or for this start of httpd only. Problems are
 * reported. */
void ac_limits_prepare(ac_config_check_t *check);
/* Opens the counts for this child and its engine. */
apr_status_t ac_limits_open(ac_child_t *child, ac_err_t *err);
/* The connection that AgentChatShared describes, without callbacks. */
ac_redis_conf_t ac_limits_redis_conf(const ac_conf_t *conf);
/* Opens the mirror of event logs for this child and its engine, if machines share the store and a Redis. */
apr_status_t ac_mirroring_open(ac_child_t *child, ac_err_t *err);
/* Makes the exporters of AgentChatTelemetry, and takes spans for them from now on. */
apr_status_t ac_telemetry_front_open(ac_child_t *child, ac_err_t *err);
void ac_telemetry_front_start(ac_child_t *child); /* the loop */
/* Sends what is left, for at most two seconds. The thread that ends the child. */
void ac_telemetry_front_stop(ac_child_t *child);
void ac_telemetry_front_end_credentials(ac_child_t *child); /* while the loop runs */
void ac_telemetry_front_close(ac_child_t *child);           /* after the loop */
/* The child ends, after the runs that it has: another process sends the metrics from now on. Any thread. */
void ac_telemetry_front_leave(ac_child_t *child);
/* Messages are passed to fn, too, from any thread. NULL: no more. */
typedef void ac_log_entry_fn(const ac_log_entry_t *entry);
void ac_log_front_tap(ac_log_entry_fn *fn);
/* Fills in where the metrics of this process are read. */
void ac_metrics_front_source(ac_export_source_t *source, const ac_conf_t *conf, apr_pool_t *p);
/* Releases what the child holds of limits, after the loop has ended. Nothing is counted after it. */
void ac_limits_leave(ac_child_t *child);
/* Makes the memory of metrics, or finds the one from before a reload. Gives agents, models and tools their indexes. */
void ac_metrics_front_prepare(ac_config_check_t *check);
/* One look at what all children count; on the heap, for free(). */
ac_metrics_reading_t *ac_metrics_front_read(void);
void ac_metrics_front_join(void); /* this child counts from now on; before it has threads */
/* Measures the child itself now and then. Loop thread. */
void ac_metrics_front_watch(ac_child_t *child);
void ac_metrics_front_unwatch(ac_child_t *child);
/* Opens AgentChatAuditLog. Problems are reported. */
void ac_audit_open(ac_config_check_t *check);
/* Opens AgentChatLog, and uses AgentChatLogFormat from now on. Problems are reported. */
void ac_log_front_open(ac_config_check_t *check);
/* Logs that the module is out of service, and why. */
void ac_reload_log_refusal(const ac_conf_t *conf);

/* ---- log_file.c: a file or a program that gets whole lines ---- */
typedef struct ac_log_file_t ac_log_file_t;
/* Whether target ("logs/x", "|program") can be opened. Makes and starts nothing. NULL, or an error message allocated in
 * p. */
const char *ac_log_file_problem(const char *target, apr_pool_t *p);
/* Opens it for this process and its children, until p is destroyed, which sets *pfile to NULL. NULL, or an error
 * message allocated in p; *pfile stays as it is then. */
const char *ac_log_file_open(ac_log_file_t **pfile, const char *directive, const char *target, server_rec *s,
                             apr_pool_t *p);
/* Writes a line of at most AC_LOG_LINE_SIZE bytes, with its newline, in one piece. false: it is lost, because the file
 * system is full, or a program does not read; the error log says so once a minute. Never waits for a program. Any
 * thread. */
bool ac_log_file_write(ac_log_file_t *file, const char *line, size_t len);
/* log_front.c. Logs an error with this number to httpd's error log itself, as text. Any thread. */
void ac_log_front_direct(ac_log_id_e number, apr_status_t status, const server_rec *s, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- limits.c, for route.c ---- */
/* Counts the request, and adds the remaining amounts to its response. errors: rate_limited, overloaded. */
apr_status_t ac_limits_request(ac_request_t *rq);

/* ---- route.c, for metrics_front.c ---- */
/* The route of a request below a mount, also of one that httpd refused; NULL: there is none. */
const ac_route_t *ac_route_of(request_rec *r);
bool ac_route_is_ours(const request_rec *r); /* whether the request is below a mount */

/* ---- a child ---- */
typedef struct ac_erasure_wait_t ac_erasure_wait_t;
typedef struct ac_child_life_t { /* a child, and what only its start and its stop need */
    ac_child_t child;            /* first */
    apr_pool_t *pool;
    bool store_runs, files_run;
    bool graceful;       /* the kind of stop */
    bool stopped, stuck; /* stop_all() was called; the loop did not even run it */
    apr_time_t drained;  /* ac_clock; when runs have to end; 0: not stopping */
    ac_timer_t purge_timer, drain_timer;
    ac_trim_t trim;
    struct { /* erasure.c */
        ac_timer_t timer;
        bool runs, again; /* a round; another one follows */
        bool known;       /* the last round has found an erasure */
        apr_interval_time_t pause;
        ac_erasure_wait_t *waits;
    } erasure;
} ac_child_life_t;

/* child.c. The child of this process; NULL before everything has started. */
ac_child_life_t *ac_child_life(void);
void ac_child_set(ac_child_life_t *life);

/* child_purge.c. Removes deleted threads permanently after some time, and old Idempotency-Keys. Loop thread. */
void ac_child_purge_start(ac_child_life_t *life);
void ac_child_purge_cancel(ac_child_life_t *life);

/* erasure.c. Continues all erasures of owners, now and until there is none. Loop thread. */
void ac_erasure_start(ac_child_life_t *life);
void ac_erasure_cancel(ac_child_life_t *life);

/* file_sweep.c. Removes the bytes of these files (ids: consumed, may be NULL), and all files and bytes that belong to
 * nothing; then calls done(life). Loop thread. */
typedef void ac_file_sweep_fn(ac_child_life_t *life);
void ac_file_sweep_start(ac_child_life_t *life, json_t *ids, ac_file_sweep_fn *done);

/* child_stop.c. The cleanup of the child's pool, before the connections go. */
apr_status_t ac_child_stop_at_exit(void *life);
/* Ends everything that was started, in the reverse order. The thread that ends the child. */
void ac_child_stop_end(ac_child_life_t *life);

/* ---- mcp_front.c ---- */
/* After the loop was created, before it runs; *ppart names the server that failed. Sends nothing. */
apr_status_t ac_mcp_front_start(ac_child_t *child, apr_pool_t *p, const char **ppart, ac_err_t *err);
void ac_mcp_front_stop(ac_child_t *child); /* loop thread, when all runs have ended */

/* ---- openapi_front.c ---- */
/* Logs the tools of each document that is a file. */
void ac_openapi_front_report(const ac_conf_t *conf);
/* As those of mcp_front.c. */
apr_status_t ac_openapi_front_start(ac_child_t *child, apr_pool_t *p, const char **ppart, ac_err_t *err);
void ac_openapi_front_stop(ac_child_t *child);

#endif
