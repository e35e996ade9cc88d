/* SPDX-License-Identifier: Apache-2.0 */
/* The connection that reads the mirror: one XREAD BLOCK for all runs that this child follows, for notices, and for this
 * child's inbox. A blocked XREAD cannot get a further key; an entry in the inbox ends it. */
#include "mirror_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define BLOCK_MS "5000"
#define BLOCK apr_time_from_msec(5000)
#define ENTRIES "8"        /* of each stream in one answer */
#define MAX_FOLLOWED 16384 /* runs; followers of more look at the store from time to time */
#define FIXED_ARGS 6       /* XREAD COUNT n BLOCK ms STREAMS */
/* A call names all keys, so calls with many keys have to be few: this much time for each key. */
#define PER_KEY 20 /* µs */
#define RETRY apr_time_from_sec(1)

typedef struct followed_t {
    char run_id[AC_ID_SIZE];
    uint64_t last; /* the number of the last event reported */
} followed_t;

static void read_next(void *baton);

/* ---- runs ---- */

static void wake(ac_mirror_redis_t *self)
{
    ac_mirror_reader_t *reader = &self->reader;
    if (reader->reading && !reader->woken && self->is_up) {
        reader->woken = true;
        ac_mirror_redis_send(self, reader->inbox, "w");
    }
}

uint64_t ac_mirror_reader_follow(void *baton, const char *run_id, uint64_t after)
{
    ac_mirror_redis_t *self = baton;
    ac_mirror_reader_t *reader = &self->reader;
    followed_t *followed = apr_hash_get(reader->followed, run_id, APR_HASH_KEY_STRING);
    if (followed) {
        return followed->last;
    }
    if (apr_hash_count(reader->followed) >= MAX_FOLLOWED) {
        return UINT64_MAX;
    }
    followed = ac_alloc(sizeof *followed);
    apr_cpystrn(followed->run_id, run_id, sizeof followed->run_id);
    followed->last = after;
    apr_hash_set(reader->followed, followed->run_id, APR_HASH_KEY_STRING, followed);
    wake(self);
    return after;
}

void ac_mirror_reader_unfollow(void *baton, const char *run_id)
{
    ac_mirror_reader_t *reader = &((ac_mirror_redis_t *)baton)->reader;
    followed_t *followed = apr_hash_get(reader->followed, run_id, APR_HASH_KEY_STRING);
    if (followed) {
        apr_hash_set(reader->followed, run_id, APR_HASH_KEY_STRING, NULL);
        free(followed); /* an XREAD that names it still ends like any other */
    }
}

/* ---- answers ---- */

static void remember_id(char id[48], const redisReply *entry)
{
    if (entry->type == REDIS_REPLY_ARRAY && entry->elements && entry->element[0]->type == REDIS_REPLY_STRING) {
        apr_cpystrn(id, entry->element[0]->str, 48);
    }
}

static void on_notice(ac_mirror_redis_t *self, const redisReply *entry)
{
    const redisReply *fields = entry->type == REDIS_REPLY_ARRAY && entry->elements == 2 ? entry->element[1] : NULL;
    remember_id(self->reader.all_id, entry);
    if (fields && fields->type == REDIS_REPLY_ARRAY && fields->elements == 2 &&
        fields->element[1]->type == REDIS_REPLY_STRING && self->mirror->on_notice) {
        self->mirror->on_notice(self->mirror->baton, fields->element[1]->str);
    }
}

static void on_event(ac_mirror_redis_t *self, const char *run_id, const redisReply *reply)
{
    followed_t *followed = apr_hash_get(self->reader.followed, run_id, APR_HASH_KEY_STRING);
    ac_mirror_entry_t entry;
    if (!followed || !ac_mirror_redis_parse_entry(&entry, reply) || entry.last <= followed->last) {
        return;
    }
    followed->last = entry.last;
    if (self->mirror->on_entry) {
        self->mirror->on_entry(self->mirror->baton, run_id, &entry);
    }
}

static void on_stream(ac_mirror_redis_t *self, const redisReply *stream)
{
    ac_mirror_reader_t *reader = &self->reader;
    char runs[AC_MIRROR_KEY_SIZE];
    if (stream->type != REDIS_REPLY_ARRAY || stream->elements != 2 || stream->element[0]->type != REDIS_REPLY_STRING ||
        stream->element[1]->type != REDIS_REPLY_ARRAY) {
        return;
    }
    const char *key = stream->element[0]->str;
    ac_mirror_redis_key(runs, self, "");
    for (size_t i = 0; i < stream->element[1]->elements; i++) {
        const redisReply *entry = stream->element[1]->element[i];
        if (strcmp(key, reader->inbox) == 0) {
            remember_id(reader->inbox_id, entry);
        } else if (strcmp(key, reader->all) == 0) {
            on_notice(self, entry);
        } else if (strncmp(key, runs, strlen(runs)) == 0) {
            on_event(self, key + strlen(runs), entry);
        }
    }
}

static void mirror_reader_on_read(void *baton, const struct redisReply *reply, const ac_err_t *err)
{
    ac_mirror_redis_t *self = baton;
    ac_mirror_reader_t *reader = &self->reader;
    apr_interval_time_t wait = (apr_interval_time_t)apr_hash_count(reader->followed) * PER_KEY;
    (void)err;
    reader->reading = reader->woken = false;
    if (!reply) {
        return; /* on_state comes */
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        ac_mirror_redis_log_refusal(self, reply);
        wait = RETRY;
    }
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        on_stream(self, reply->element[i]);
    }
    ac_timer_set(self->loop, &reader->timer, ac_loop_now(self->loop) + wait, read_next, self);
}

/* ---- calls ---- */

typedef struct call_t {
    const char **argv;
    char *text, *end; /* of keys and ids */
    int n, n_streams, max;
} call_t;

static void add_stream(call_t *call, const char *key, const char *id)
{
    size_t key_len = strlen(key) + 1, id_len = strlen(id) + 1;
    memcpy(call->end, key, key_len);
    call->argv[FIXED_ARGS + call->n] = call->end;
    call->end += key_len;
    memcpy(call->end, id, id_len);
    call->argv[FIXED_ARGS + call->n_streams + call->n++] = call->end;
    call->end += id_len;
}

static void read_next(void *baton)
{
    ac_mirror_redis_t *self = baton;
    ac_mirror_reader_t *reader = &self->reader;
    int n = (int)apr_hash_count(reader->followed) + 2;
    call_t call = {.n_streams = n};
    if (!reader->is_up || reader->reading) {
        return;
    }
    call.argv = ac_alloc((size_t)(FIXED_ARGS + 2 * n) * sizeof *call.argv);
    call.text = call.end = ac_alloc((size_t)n * (AC_MIRROR_KEY_SIZE + 48));
    memcpy(call.argv, (const char *[]){"XREAD", "COUNT", ENTRIES, "BLOCK", BLOCK_MS, "STREAMS"},
           FIXED_ARGS * sizeof *call.argv);
    add_stream(&call, reader->all, reader->all_id);
    add_stream(&call, reader->inbox, reader->inbox_id);
    for (apr_hash_index_t *at = apr_hash_first(NULL, reader->followed); at; at = apr_hash_next(at)) {
        const followed_t *followed = apr_hash_this_val(at);
        char key[AC_MIRROR_KEY_SIZE], id[48];
        ac_mirror_redis_key(key, self, followed->run_id);
        snprintf(id, sizeof id, "%" PRIu64, followed->last);
        add_stream(&call, key, id);
    }
    ac_redis_command_t command = {FIXED_ARGS + 2 * n, call.argv, NULL};
    reader->reading = true;
    ac_redis_call(reader->redis, &command, mirror_reader_on_read, self);
    free(call.argv);
    free(call.text);
}

/* Notices from before the connection are not this child's. "0": there is none. */
static void on_newest_notice(void *baton, const struct redisReply *reply, const ac_err_t *err)
{
    ac_mirror_redis_t *self = baton;
    (void)err;
    if (!reply) {
        return;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        ac_mirror_redis_log_refusal(self, reply);
    }
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements) {
        remember_id(self->reader.all_id, reply->element[0]);
    }
    self->reader.is_up = true;
    read_next(self);
    ac_mirror_redis_report_state(self);
}

static void mirror_reader_on_state(void *baton, bool up, const char *why)
{
    ac_mirror_redis_t *self = baton;
    ac_mirror_reader_t *reader = &self->reader;
    (void)why;
    ac_timer_cancel(self->loop, &reader->timer);
    if (up) {
        const char *argv[] = {"XREVRANGE", reader->all, "+", "-", "COUNT", "1"};
        ac_redis_command_t command = {6, argv, NULL};
        apr_cpystrn(reader->all_id, "0", sizeof reader->all_id);
        apr_cpystrn(reader->inbox_id, "0", sizeof reader->inbox_id);
        ac_redis_call(reader->redis, &command, on_newest_notice, self);
        return;
    }
    reader->is_up = reader->reading = reader->woken = false;
    ac_mirror_redis_report_state(self);
}

apr_status_t ac_mirror_reader_create(ac_mirror_redis_t *self, const ac_host_t *host, ac_err_t *err)
{
    ac_mirror_reader_t *reader = &self->reader;
    ac_redis_conf_t mine = self->conf;
    char name[40];
    if (apr_pool_create_unmanaged_ex(&reader->pool, NULL, NULL) != APR_SUCCESS) {
        return ac_err_set(err, AC_INTERNAL, "out of memory");
    }
    reader->followed = apr_hash_make(reader->pool);
    snprintf(name, sizeof name, "to:%016" PRIx64, ac_random());
    ac_mirror_redis_key(reader->inbox, self, name);
    ac_mirror_redis_key(reader->all, self, "all");
    mine.on_state = mirror_reader_on_state;
    mine.baton = self;
    mine.timeout = self->conf.timeout + BLOCK;
    return ac_redis_create(&reader->redis, &mine, host->loop, host->work, err);
}

void ac_mirror_reader_destroy(ac_mirror_redis_t *self)
{
    ac_mirror_reader_t *reader = &self->reader;
    if (!reader->pool) {
        return;
    }
    ac_timer_cancel(self->loop, &reader->timer);
    ac_redis_destroy(reader->redis);
    for (apr_hash_index_t *at = apr_hash_first(NULL, reader->followed); at; at = apr_hash_next(at)) {
        free(apr_hash_this_val(at)); /* it has the key, too: no look-up may follow */
    }
    apr_pool_destroy(reader->pool);
}
