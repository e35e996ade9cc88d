/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. Everything is the loop thread's. */
#ifndef AC_MIRROR_INTERNAL_H
#define AC_MIRROR_INTERNAL_H

#include "mirror.h"

#include <apr_hash.h>
#include <hiredis/hiredis.h>

#define AC_MIRROR_KEY_SIZE 128

typedef struct ac_mirror_reader_t { /* mirror_reader.c */
    ac_redis_t *redis;
    apr_pool_t *pool;
    apr_hash_t *followed; /* run id → ac_mirror_followed_t */
    char inbox[AC_MIRROR_KEY_SIZE], all[AC_MIRROR_KEY_SIZE];
    char inbox_id[48], all_id[48]; /* the last entries seen; "": not known */
    bool is_up;
    bool reading; /* XREAD has not been answered */
    bool woken;   /* an entry for the inbox was sent since then */
    ac_timer_t timer;
} ac_mirror_reader_t;

struct ac_mirror_redis_t {
    ac_mirror_t *mirror;
    ac_redis_t *redis; /* for short commands */
    ac_redis_conf_t conf;
    const char *prefix;
    ac_loop_t *loop;
    bool is_up;              /* of `redis` */
    bool was_up;             /* as it was reported last */
    apr_time_t failed_until; /* ac_loop_now: Redis cannot store anything */
    apr_time_t logged;       /* ac_clock of the last AC0267; 0: none */
    char proof_key[AC_MIRROR_KEY_SIZE];
    const char *proof[5]; /* SET proof_key 1 PX ... */
    ac_redis_script_t append;
    bool append_is_known;         /* to the server: its hash suffices */
    struct ac_mirror_ask_t *asks; /* not answered */
    ac_mirror_reader_t reader;
};

/* ---- mirror_redis.c ---- */
void ac_mirror_redis_key(char key[AC_MIRROR_KEY_SIZE], const ac_mirror_redis_t *self, const char *name);
void ac_mirror_redis_send(ac_mirror_redis_t *self, const char *key, const char *text); /* a notice */
void ac_mirror_redis_log_refusal(ac_mirror_redis_t *self, const redisReply *reply);
void ac_mirror_redis_report_state(ac_mirror_redis_t *self);
/* false: it is no entry. */
bool ac_mirror_redis_parse_entry(ac_mirror_entry_t *entry, const redisReply *reply);

/* ---- mirror_reader.c ---- */
apr_status_t ac_mirror_reader_create(ac_mirror_redis_t *self, const ac_host_t *host, ac_err_t *err);
void ac_mirror_reader_destroy(ac_mirror_redis_t *self);
uint64_t ac_mirror_reader_follow(void *self, const char *run_id, uint64_t after);
void ac_mirror_reader_unfollow(void *self, const char *run_id);

#endif
