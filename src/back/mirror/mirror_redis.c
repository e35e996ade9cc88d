/* SPDX-License-Identifier: Apache-2.0 */
/* The mirror in Redis Streams: the connection for short commands. Scripts make each step atomic. */
#include "mirror_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE apr_time_from_sec(2)   /* for an answer; no run waits for it */
#define PAUSE apr_time_from_sec(1)      /* after a refusal */
#define LOG_EVERY apr_time_from_sec(60) /* about refusals */
#define REMOVE_MOST 100                 /* copies that one command removes */
#define NOTICE_MS "60000"               /* how long notices stay */

/* Appends an entry unless it leaves a gap, is there already, or the copy has another writer. ARGV: writer, first and
 * last number, most entries, keep in ms, bytes. → the last number of the copy; -1: another writer. */
static const char append_script[] =
    "local last, top = 0, redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]\n"
    "if top then\n"
    "  last = tonumber(string.match(top[1], '^%d+'))\n"
    "  local theirs, ours = string.match(top[2][2], '^%d+'), string.match(ARGV[1], '^%d+')\n"
    "  if top[2][2] ~= ARGV[1] and tonumber(theirs) >= tonumber(ours) then return -1 end\n"
    "end\n"
    "if last + 1 < tonumber(ARGV[2]) or last >= tonumber(ARGV[3]) then return last end\n"
    "if tonumber(ARGV[4]) > 0 then\n"
    "  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], ARGV[3] .. '-0', 'a', ARGV[1], 'e', ARGV[6])\n"
    "else redis.call('XADD', KEYS[1], ARGV[3] .. '-0', 'a', ARGV[1], 'e', ARGV[6]) end\n"
    "redis.call('PEXPIRE', KEYS[1], ARGV[5])\n"
    "return tonumber(ARGV[3])\n";

/* ARGV: the first number wanted, most entries. → {entries, the newest entry}. */
static const char read_script[] = "return {redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2]),\n"
                                  "  redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)}\n";

/* ARGV: the text, keep in ms. */
static const char notify_script[] = "redis.call('XADD', KEYS[1], 'MAXLEN', '~', 1000, '*', 'n', ARGV[1])\n"
                                    "redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"
                                    "return 1\n";

void ac_mirror_redis_key(char key[AC_MIRROR_KEY_SIZE], const ac_mirror_redis_t *self, const char *name)
{
    snprintf(key, AC_MIRROR_KEY_SIZE, "%sev:%s", self->prefix, name);
}

/* ---- calls of scripts ---- */

typedef struct ac_mirror_ask_t {
    ac_mirror_redis_t *self;
    ac_mirror_append_fn *on_append;
    ac_mirror_read_fn *on_read;
    ac_mirror_remove_fn *on_remove;
    void *baton;
    struct ac_mirror_ask_t *next, *prev;
} ask_t;

static ask_t *ask_make(ac_mirror_redis_t *self, void *baton)
{
    ask_t *ask = ac_alloc(sizeof *ask);
    ask->self = self;
    ask->baton = baton;
    ask->next = self->asks;
    if (ask->next) {
        ask->next->prev = ask;
    }
    self->asks = ask;
    return ask;
}

static void ask_free(ask_t *ask)
{
    if (ask->next) {
        ask->next->prev = ask->prev;
    }
    *(ask->prev ? &ask->prev->next : &ask->self->asks) = ask->next;
    free(ask);
}

static ac_mirror_result_e result_of(const redisReply *reply)
{
    return !reply || reply->type != REDIS_REPLY_INTEGER ? AC_MIRROR_FAILED
        : reply->integer < 0                            ? AC_MIRROR_REFUSED
                                                        : AC_MIRROR_DONE;
}

bool ac_mirror_redis_parse_entry(ac_mirror_entry_t *entry, const redisReply *reply)
{
    const redisReply *fields;
    bool whole = reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[0]->type == REDIS_REPLY_STRING && reply->element[1]->type == REDIS_REPLY_ARRAY;
    if (!whole) {
        return false;
    }
    fields = reply->element[1];
    if (fields->elements != 4 || fields->element[3]->type != REDIS_REPLY_STRING ||
        sscanf(reply->element[0]->str, "%" SCNu64, &entry->last) != 1) {
        return false;
    }
    entry->bytes = fields->element[3]->str;
    entry->len = fields->element[3]->len;
    return true;
}

/* {entries, {newest entry or nothing}} */
static bool parse_page(ac_mirror_page_t *page, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_ARRAY ||
        reply->element[1]->type != REDIS_REPLY_ARRAY) {
        return false;
    }
    const redisReply *entries = reply->element[0], *newest = reply->element[1];
    for (size_t i = 0; i < entries->elements && i < AC_MIRROR_PAGE; i++) {
        if (!ac_mirror_redis_parse_entry(&page->entries[page->n++], entries->element[i])) {
            return false;
        }
    }
    return !newest->elements || ac_mirror_redis_parse_entry(&page->newest, newest->element[0]);
}

void ac_mirror_redis_log_refusal(ac_mirror_redis_t *self, const redisReply *reply)
{
    apr_time_t now = ac_clock();
    self->failed_until = ac_loop_now(self->loop) + PAUSE;
    if (!self->logged || now - self->logged >= LOG_EVERY) {
        self->logged = now;
        ac_log(AC_M267, APR_EGENERAL, "mirror: Redis refuses events: %.160s",
               reply->type == REDIS_REPLY_ERROR ? reply->str : "an unknown answer");
    }
}

static void on_reply(void *baton, const struct redisReply *reply, const ac_err_t *err)
{
    ask_t *ask = baton;
    ac_mirror_redis_t *self = ask->self;
    ac_mirror_result_e result = result_of(reply);
    ac_mirror_page_t page = {.failed = true};
    (void)err;
    if (reply && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0) {
        self->append_is_known = false;
        result = AC_MIRROR_AGAIN;
    } else if (reply && reply->type == REDIS_REPLY_ERROR) {
        ac_mirror_redis_log_refusal(self, reply);
    } else if (reply) {
        self->append_is_known = self->append_is_known || ask->on_append;
        page.failed = ask->on_read && !parse_page(&page, reply);
    }
    if (ask->on_append) {
        ask->on_append(ask->baton, result, result == AC_MIRROR_DONE ? (uint64_t)reply->integer : 0);
    } else if (ask->on_read) {
        ask->on_read(ask->baton, &page);
    } else if (ask->on_remove) {
        ask->on_remove(ask->baton, result == AC_MIRROR_DONE);
    }
    ask_free(ask);
}

typedef struct args_t {
    const char *argv[12];
    size_t len[12];
    int n;
} args_t;

static void arg(args_t *args, const char *text, size_t len)
{
    args->argv[args->n] = text;
    args->len[args->n++] = len;
}

/* The arguments up to the key. */
static void begin(args_t *args, const char *name, const char *script, const char *key)
{
    args->n = 0;
    arg(args, name, strlen(name));
    arg(args, script, strlen(script));
    arg(args, "1", 1);
    arg(args, key, strlen(key));
}

static void send_script(ask_t *ask, const args_t *args)
{
    ac_redis_command_t command = {args->n, (const char *const *)args->argv, args->len};
    ac_redis_call(ask->self->redis, &command, on_reply, ask);
}

static void append(void *baton, const ac_mirror_append_t *what, ac_mirror_append_fn *fn, void *fn_baton)
{
    ac_mirror_redis_t *self = baton;
    ask_t *ask = ask_make(self, fn_baton);
    char key[AC_MIRROR_KEY_SIZE], first[24], last[24], most[24], keep[24];
    args_t args;
    ask->on_append = fn;
    ac_mirror_redis_key(key, self, what->run_id);
    begin(&args, self->append_is_known ? "EVALSHA" : "EVAL",
          self->append_is_known ? self->append.sha1 : self->append.text, key);
    arg(&args, what->writer, strlen(what->writer));
    arg(&args, first, (size_t)snprintf(first, sizeof first, "%" PRIu64, what->first));
    arg(&args, last, (size_t)snprintf(last, sizeof last, "%" PRIu64, what->entry.last));
    arg(&args, most, (size_t)snprintf(most, sizeof most, "%d", what->max_entries));
    arg(&args, keep, (size_t)snprintf(keep, sizeof keep, "%" PRId64, (int64_t)apr_time_as_msec(what->keep)));
    arg(&args, what->entry.bytes, what->entry.len);
    send_script(ask, &args);
}

static void read_page(void *baton, const char *run_id, uint64_t after, ac_mirror_read_fn *fn, void *fn_baton)
{
    ac_mirror_redis_t *self = baton;
    ask_t *ask = ask_make(self, fn_baton);
    char key[AC_MIRROR_KEY_SIZE], first[24], most[8];
    args_t args;
    ask->on_read = fn;
    ac_mirror_redis_key(key, self, run_id);
    /* A page is seldom wanted. The whole text each time saves a second call. */
    begin(&args, "EVAL", read_script, key);
    arg(&args, first, (size_t)snprintf(first, sizeof first, "%" PRIu64, after + 1));
    arg(&args, most, (size_t)snprintf(most, sizeof most, "%d", AC_MIRROR_PAGE));
    send_script(ask, &args);
}

void ac_mirror_redis_send(ac_mirror_redis_t *self, const char *key, const char *text)
{
    ask_t *ask = ask_make(self, NULL);
    args_t args;
    begin(&args, "EVAL", notify_script, key); /* as for a page */
    arg(&args, text, strlen(text));
    arg(&args, NOTICE_MS, strlen(NOTICE_MS));
    send_script(ask, &args);
}

static void remove_copies(void *baton, const char *const *run_ids, int n, ac_mirror_remove_fn *fn, void *fn_baton)
{
    ac_mirror_redis_t *self = baton;
    ask_t *ask = ask_make(self, fn_baton);
    char keys[REMOVE_MOST][AC_MIRROR_KEY_SIZE];
    const char *argv[REMOVE_MOST + 1] = {"DEL"};
    ask->on_remove = fn;
    n = n < REMOVE_MOST ? n : REMOVE_MOST;
    for (int i = 0; i < n; i++) {
        ac_mirror_redis_key(keys[i], self, run_ids[i]);
        argv[i + 1] = keys[i];
    }
    ac_redis_command_t command = {n + 1, argv, NULL};
    ac_redis_call(self->redis, &command, on_reply, ask);
}

static void notify(void *baton, const char *text)
{
    ac_mirror_redis_t *self = baton;
    ac_mirror_redis_send(self, self->reader.all, text);
}

static bool mirror_redis_is_up(const void *baton)
{
    const ac_mirror_redis_t *self = baton;
    return self->is_up && self->reader.is_up && ac_loop_now(self->loop) >= self->failed_until;
}

static const ac_mirror_vt mirror_vt = {
    .append = append,
    .read = read_page,
    .follow = ac_mirror_reader_follow,
    .unfollow = ac_mirror_reader_unfollow,
    .notify = notify,
    .remove = remove_copies,
    .is_up = mirror_redis_is_up,
};

/* ---- making and ending it ---- */

void ac_mirror_redis_report_state(ac_mirror_redis_t *self)
{
    bool up = self->is_up && self->reader.is_up;
    if (up == self->was_up) {
        return;
    }
    self->was_up = up;
    if (self->mirror->on_state) {
        self->mirror->on_state(self->mirror->baton, up);
    }
}

static void mirror_redis_on_state(void *baton, bool up, const char *why)
{
    ac_mirror_redis_t *self = baton;
    self->is_up = up;
    self->append_is_known = false; /* another server may be behind the name */
    if (self->conf.on_state) {
        self->conf.on_state(self->conf.baton, up, why);
    }
    ac_mirror_redis_report_state(self);
}

apr_status_t ac_mirror_redis_create(ac_mirror_redis_t **predis, ac_mirror_t *mirror, const ac_redis_conf_t *conf,
                                    const char *prefix, const ac_host_t *host, ac_err_t *err)
{
    ac_mirror_redis_t *self = ac_alloc(sizeof *self);
    ac_redis_conf_t mine = *conf;
    self->conf = *conf;
    self->mirror = mirror;
    self->prefix = prefix;
    self->loop = host->loop;
    ac_redis_script_init(&self->append, append_script);
    ac_mirror_redis_key(self->proof_key, self, "proof");
    memcpy(self->proof, (const char *[]){"SET", self->proof_key, "1", "PX", NOTICE_MS}, sizeof self->proof);
    mine.on_state = mirror_redis_on_state;
    mine.baton = self;
    mine.proof = self->proof; /* a server that stores nothing, a replica or a full one, counts as away */
    mine.n_proof = 5;
    mine.timeout = conf->timeout > PATIENCE ? conf->timeout : PATIENCE;
    self->conf.timeout = mine.timeout;
    apr_status_t status = ac_redis_create(&self->redis, &mine, host->loop, host->work, err);
    if (status == APR_SUCCESS) {
        status = ac_mirror_reader_create(self, host, err);
    }
    if (status != APR_SUCCESS) {
        ac_mirror_redis_destroy(self);
        self = NULL;
    } else {
        mirror->vt = &mirror_vt;
        mirror->self = self;
    }
    *predis = self;
    return status;
}

void ac_mirror_redis_start(ac_mirror_redis_t *self)
{
    ac_redis_start(self->redis);
    ac_redis_start(self->reader.redis);
}

void ac_mirror_redis_destroy(ac_mirror_redis_t *self)
{
    if (!self) {
        return;
    }
    ac_mirror_reader_destroy(self);
    ac_redis_destroy(self->redis);
    while (self->asks) {
        ask_free(self->asks);
    }
    free(self);
}
