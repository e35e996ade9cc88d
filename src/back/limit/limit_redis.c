/* SPDX-License-Identifier: Apache-2.0 */
/* Counts in Redis, for all machines. A count is a hash: w is the number of its window; u the amount spent; h:NAME the
 * amount reserved by the holder NAME. A holder is a child's connection: it renews a key every few seconds, and its
 * reservations count only while the key exists. The reservations of a dead machine therefore expire. */
#include "limit.h"

#include <hiredis/hiredis.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LEASE_MS "15000" /* how long a holder counts without a renewal */
#define SIGN_EVERY apr_time_from_sec(4)
#define REFUSAL_AGAIN apr_time_from_sec(60) /* between two log lines about a Redis that refuses to count */
#define KEY_SIZE 96
#define RESERVE_ARGS 4 /* of each count: window in ms, most, amount, whether it is held */

/* All or nothing. ARGV: the prefix, the holder, the lease, then RESERVE_ARGS of each key. → {1 or 0, Redis' time in ms,
 * and of each count: the window's number, the amount left, whether it refuses}. A count expires a second after the end
 * of its window; a count of concurrent reservations (window 0) two hours after the last one. */
static const char reserve_script[] =
    "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "local fine, counts = 1, {}\n"
    "for i = 1, #KEYS do\n"
    "  local at = 4 + (i - 1) * 4\n"
    "  local c = {win = tonumber(ARGV[at]), most = tonumber(ARGV[at + 1]), amount = tonumber(ARGV[at + 2])}\n"
    "  c.used, c.held, c.epoch = 0, 0, 0\n"
    "  if c.win > 0 then c.epoch = math.floor(now / c.win) end\n"
    "  local all = redis.call('HGETALL', KEYS[i])\n"
    "  local fields = {}\n"
    "  for j = 1, #all, 2 do fields[all[j]] = all[j + 1] end\n"
    "  if fields.w ~= string.format('%.0f', c.epoch) then\n"
    "    if #all > 0 then redis.call('DEL', KEYS[i]) end\n"
    "  else\n"
    "    c.used = tonumber(fields.u or '0')\n"
    "    for name, held in pairs(fields) do\n"
    "      if string.sub(name, 1, 2) == 'h:' then\n"
    "        local holder = string.sub(name, 3)\n"
    "        if holder == ARGV[2] or redis.call('EXISTS', ARGV[1] .. 'holder:' .. holder) == 1 then c.held = c.held "
    "+ tonumber(held)\n"
    "        else redis.call('HDEL', KEYS[i], name) end\n"
    "      end\n"
    "    end\n"
    "  end\n"
    "  c.over = c.used + c.held + c.amount > c.most\n"
    "  if c.over then fine = 0 end\n"
    "  counts[i] = c\n"
    "end\n"
    "local out = {fine, string.format('%.0f', now)}\n"
    "for i, c in ipairs(counts) do\n"
    "  local left = c.most - c.used - c.held\n"
    "  if fine == 1 then\n"
    "    local at = 4 + (i - 1) * 4\n"
    "    redis.call('HSET', KEYS[i], 'w', string.format('%.0f', c.epoch))\n"
    "    if ARGV[at + 3] == '1' then redis.call('HINCRBY', KEYS[i], 'h:' .. ARGV[2], ARGV[at + 2])\n"
    "    else redis.call('HINCRBY', KEYS[i], 'u', ARGV[at + 2]) end\n"
    "    local life = 7200000\n"
    "    if c.win > 0 then life = (c.epoch + 1) * c.win - now + 1000 end\n"
    "    redis.call('PEXPIRE', KEYS[i], string.format('%.0f', life))\n"
    "    left = left - c.amount\n"
    "  end\n"
    "  out[#out + 1] = string.format('%.0f', c.epoch)\n"
    "  out[#out + 1] = string.format('%.0f', math.max(left, 0))\n"
    "  out[#out + 1] = c.over and 1 or 0\n"
    "end\n"
    "if fine == 1 then redis.call('SET', ARGV[1] .. 'holder:' .. ARGV[2], '1', 'PX', ARGV[3]) end\n"
    "return out\n";

/* ARGV: the holder, window in ms, its number at the time of the reservation, covered, excess, release. */
static const char settle_script[] =
    "local win, epoch = tonumber(ARGV[2]), ARGV[3]\n"
    "local covered, excess, release = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])\n"
    "if redis.call('HGET', KEYS[1], 'w') == epoch then\n"
    "  local field = 'h:' .. ARGV[1]\n"
    "  local held = tonumber(redis.call('HGET', KEYS[1], field) or '0') - covered - release\n"
    "  if held > 0 then redis.call('HSET', KEYS[1], field, string.format('%.0f', held)) else redis.call('HDEL', "
    "KEYS[1], field) end\n"
    "  if covered + excess > 0 then redis.call('HINCRBY', KEYS[1], 'u', string.format('%.0f', covered + excess)) end\n"
    "elseif excess > 0 and win > 0 then\n"
    "  local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "  local current = string.format('%.0f', math.floor(now / win))\n"
    "  if redis.call('HGET', KEYS[1], 'w') ~= current then redis.call('DEL', KEYS[1]) end\n"
    "  redis.call('HSET', KEYS[1], 'w', current)\n"
    "  redis.call('HINCRBY', KEYS[1], 'u', ARGV[5])\n"
    "  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', (current + 1) * win - now + 1000))\n"
    "end\n"
    "return 1\n";

struct ac_limit_redis_t {
    ac_redis_t *redis;
    ac_redis_conf_t conf; /* on_state and baton: those of the caller */
    const char *prefix;
    ac_loop_t *loop;
    ac_redis_script_t reserve, settle;
    uint64_t process;
    uint32_t holder; /* of this connection; each connection has another one */
    char holder_key[KEY_SIZE + 64];
    const char *sign_argv[5]; /* SET holder_key 1 PX LEASE_MS */
    ac_timer_t sign_timer;
    apr_time_t refusal_logged; /* ac_clock; 0: never */
    int is_up;
};

/* ---- scripts ---- */

typedef struct eval_t { /* one call of a script, kept in case Redis does not know the script yet */
    ac_limit_redis_t *counts;
    const ac_redis_script_t *script;
    int argc;
    bool whole;                    /* the script's text was sent */
    ac_reservation_t *reservation; /* NULL: a settlement */
    ac_span_t *span;               /* of a reservation: its request waits for it */
    ac_counters_fn *done;
    void *baton;
    char *text; /* arguments from the third on, each with its NUL */
    const char *argv[];
} eval_t;

static eval_t *make_eval(ac_limit_redis_t *counts, const ac_redis_script_t *script, int n_keys, int n_args)
{
    int argc = 3 + n_keys + n_args;
    eval_t *eval = ac_alloc(sizeof(*eval) + (size_t)argc * sizeof(char *));
    eval->counts = counts;
    eval->script = script;
    eval->text = ac_alloc((size_t)(1 + n_keys + n_args) * KEY_SIZE);
    eval->argv[0] = "EVALSHA";
    eval->argv[1] = script->sha1;
    eval->argc = 2;
    return eval;
}

static void add_arg(eval_t *eval, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add_arg(eval_t *eval, const char *fmt, ...)
{
    va_list args;
    char *text = eval->text + (size_t)(eval->argc - 2) * KEY_SIZE;
    va_start(args, fmt);
    vsnprintf(text, KEY_SIZE, fmt, args);
    va_end(args);
    eval->argv[eval->argc++] = text;
}

static void add_key(eval_t *eval, const ac_reservation_item_t *item)
{
    char hex[2 * AC_COUNT_KEY + 1];
    ac_text_hex(hex, item->key, AC_COUNT_KEY);
    add_arg(eval, "%s%s", eval->counts->prefix, hex);
}

static void add_holder(eval_t *eval, uint32_t holder)
{
    add_arg(eval, "%016" PRIx64 "-%u", eval->counts->process, (unsigned)holder);
}

static void free_eval(eval_t *eval)
{
    free(eval->text);
    free(eval);
}

static void limit_redis_on_reply(void *baton, const struct redisReply *reply, const ac_err_t *err);

static void send_eval(eval_t *eval)
{
    ac_redis_command_t command = {eval->argc, eval->argv, NULL};
    ac_redis_call(eval->counts->redis, &command, limit_redis_on_reply, eval);
}

/* ---- replies of Redis ---- */

static bool limit_redis_read_number(int64_t *pnumber, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_INTEGER) {
        *pnumber = reply->integer;
        return true;
    }
    return reply->type == REDIS_REPLY_STRING && sscanf(reply->str, "%" SCNd64, pnumber) == 1;
}

/* Whether these are a window's number and a time in milliseconds, within a valid range. */
static bool is_window(const ac_reservation_item_t *item, int64_t epoch, int64_t now)
{
    int64_t most = AC_MAX_LIMIT;
    return epoch >= 0 && now >= 0 && now <= most / 1000 && (!item->window || epoch < most / item->window);
}

/* Returns APR_SUCCESS, APR_EAGAIN (refused), or EGENERAL (not a reply of the script). */
static apr_status_t read_reserved(ac_reservation_t *reservation, const redisReply *reply)
{
    int64_t fine, now, epoch, left, over;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 + 3 * (size_t)reservation->n ||
        !limit_redis_read_number(&fine, reply->element[0]) || !limit_redis_read_number(&now, reply->element[1])) {
        return APR_EGENERAL;
    }
    for (int i = 0; i < reservation->n; i++) {
        ac_reservation_item_t *item = &reservation->list[i];
        redisReply **said = &reply->element[2 + 3 * i];
        if (!limit_redis_read_number(&epoch, said[0]) || !limit_redis_read_number(&left, said[1]) ||
            !limit_redis_read_number(&over, said[2]) || !is_window(item, epoch, now)) {
            return APR_EGENERAL;
        }
        item->epoch = epoch;
        item->left = left;
        item->over = over != 0;
        item->reset = item->window ? (epoch + 1) * item->window - apr_time_from_msec(now) : 0;
    }
    return fine ? APR_SUCCESS : APR_EAGAIN;
}

/* Every request gets the same refusal, so one log line a minute is enough. */
static void log_refusal(ac_limit_redis_t *counts, const redisReply *reply)
{
    apr_time_t now = ac_clock();
    if (!counts->refusal_logged || now - counts->refusal_logged >= REFUSAL_AGAIN) {
        counts->refusal_logged = now;
        ac_log(AC_M264, APR_EGENERAL, "limits: Redis does not count: %.160s",
               reply->type == REDIS_REPLY_ERROR ? reply->str : "an unknown answer");
    }
}

static ac_span_t *limit_redis_span(const ac_limit_redis_t *counts, const ac_reservation_t *reservation)
{
    char db[16];
    ac_span_t *span = ac_span_begin(AC_SPAN_STORE, &reservation->trace);
    if (span) {
        snprintf(db, sizeof(db), "%d", counts->conf.db);
        ac_span_name(span, "EVALSHA %s", db);
        ac_span_text(span, AC_ATTRIBUTE_DB_SYSTEM_NAME, "redis");
        ac_span_text(span, AC_ATTRIBUTE_DB_OPERATION_NAME, "EVALSHA");
        ac_span_text(span, AC_ATTRIBUTE_DB_QUERY_SUMMARY, "reserve");
        ac_span_text(span, AC_ATTRIBUTE_DB_NAMESPACE, db);
        ac_span_text(span, AC_ATTRIBUTE_SERVER_ADDRESS, counts->conf.host);
        ac_span_integer(span, AC_ATTRIBUTE_SERVER_PORT, counts->conf.port);
    }
    return span;
}

static void end_reserve(eval_t *eval, const redisReply *reply, const ac_err_t *cause)
{
    apr_status_t status = reply ? read_reserved(eval->reservation, reply) : ac_err_row(cause->kind)->status;
    ac_err_t err = *cause;
    if (reply && status == APR_EGENERAL) {
        log_refusal(eval->counts, reply);
        status = ac_err_set(&err, AC_OVERLOADED, "Redis does not count");
    }
    ac_span_fail(eval->span, err.kind);
    ac_span_end(eval->span);
    if (err.kind) {
        snprintf(err.detail, sizeof(err.detail), "the counts of the limits, which machines share, cannot be reached");
        err.retry_after = apr_time_from_sec(2);
    }
    eval->done(eval->baton, status, &err);
}

static void limit_redis_on_reply(void *baton, const struct redisReply *reply, const ac_err_t *err)
{
    eval_t *eval = baton;
    if (reply && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0 && !eval->whole) {
        eval->whole = true;
        eval->argv[0] = "EVAL";
        eval->argv[1] = eval->script->text;
        send_eval(eval);
        return;
    }
    if (eval->reservation) {
        end_reserve(eval, reply, err);
    }
    free_eval(eval);
}

/* ---- the table of functions ---- */

static void limit_redis_reserve(void *self, ac_reservation_t *reservation, ac_counters_fn *done, void *baton)
{
    ac_limit_redis_t *counts = self;
    eval_t *eval = make_eval(counts, &counts->reserve, reservation->n, 3 + RESERVE_ARGS * reservation->n);
    eval->reservation = reservation;
    eval->span = limit_redis_span(counts, reservation);
    eval->done = done;
    eval->baton = baton;
    reservation->holder = counts->holder;
    add_arg(eval, "%d", reservation->n);
    for (int i = 0; i < reservation->n; i++) {
        add_key(eval, &reservation->list[i]);
    }
    add_arg(eval, "%s", counts->prefix);
    add_holder(eval, counts->holder);
    add_arg(eval, "%s", LEASE_MS);
    for (int i = 0; i < reservation->n; i++) {
        const ac_reservation_item_t *one = &reservation->list[i];
        add_arg(eval, "%" PRId64, (int64_t)apr_time_as_msec(one->window));
        add_arg(eval, "%" PRId64, one->most);
        add_arg(eval, "%" PRId64, one->amount);
        add_arg(eval, "%d", one->hold);
    }
    send_eval(eval);
}

static void limit_redis_settle(void *self, const ac_reservation_t *reservation, const ac_reservation_item_t *one,
                               const ac_settlement_t *how)
{
    ac_limit_redis_t *counts = self;
    eval_t *eval = make_eval(counts, &counts->settle, 1, 6);
    add_arg(eval, "1");
    add_key(eval, one);
    add_holder(eval, reservation->holder);
    add_arg(eval, "%" PRId64, (int64_t)apr_time_as_msec(one->window));
    add_arg(eval, "%" PRId64, one->epoch);
    add_arg(eval, "%" PRId64, how->covered);
    add_arg(eval, "%" PRId64, how->excess);
    add_arg(eval, "%" PRId64, how->release);
    send_eval(eval);
}

const ac_counters_shared_vt ac_limit_redis_vt = {.name = "redis",
                                                 .reserve = limit_redis_reserve,
                                                 .settle = limit_redis_settle};

/* ---- renewals ---- */

static void on_signed(void *baton, const struct redisReply *reply, const ac_err_t *err)
{
    (void)baton, (void)reply, (void)err;
}

static void limit_redis_sign(void *baton)
{
    ac_limit_redis_t *counts = baton;
    ac_redis_command_t command = {5, counts->sign_argv, NULL};
    ac_redis_call(counts->redis, &command, on_signed, counts);
    ac_timer_set(counts->loop, &counts->sign_timer, ac_loop_now(counts->loop) + SIGN_EVERY, limit_redis_sign, counts);
}

static void limit_redis_set_name(ac_limit_redis_t *counts, uint32_t holder)
{
    counts->holder = holder;
    snprintf(counts->holder_key, sizeof(counts->holder_key), "%sholder:%016" PRIx64 "-%u", counts->prefix,
             counts->process, (unsigned)holder);
}

static void limit_redis_on_state(void *baton, bool up, const char *why)
{
    ac_limit_redis_t *counts = baton;
    __atomic_store_n(&counts->is_up, up, __ATOMIC_RELEASE);
    if (up) {
        limit_redis_sign(counts);
    } else {
        /* Releases may have been lost meanwhile. Under a new name the old reservations expire with the lease. */
        limit_redis_set_name(counts, counts->holder + 1);
        ac_timer_cancel(counts->loop, &counts->sign_timer);
    }
    if (counts->conf.on_state) {
        counts->conf.on_state(counts->conf.baton, up, why);
    }
}

/* ---- creating and destroying ---- */

apr_status_t ac_limit_redis_create(ac_limit_redis_t **pcounts, const ac_redis_conf_t *conf, const char *prefix,
                                   const ac_host_t *host, ac_err_t *err)
{
    ac_limit_redis_t *counts = ac_alloc(sizeof(*counts));
    ac_redis_conf_t mine = *conf;
    counts->conf = *conf;
    counts->prefix = prefix;
    counts->loop = host->loop;
    counts->process = ac_random();
    ac_redis_script_init(&counts->reserve, reserve_script);
    ac_redis_script_init(&counts->settle, settle_script);
    limit_redis_set_name(counts, 0);
    memcpy(counts->sign_argv, (const char *[]){"SET", counts->holder_key, "1", "PX", LEASE_MS},
           sizeof(counts->sign_argv));
    mine.on_state = limit_redis_on_state;
    mine.baton = counts;
    mine.proof = counts->sign_argv; /* without a renewal of this process's key its reservations would not count */
    mine.n_proof = 5;
    apr_status_t status = ac_redis_create(&counts->redis, &mine, host->loop, host->work, err);
    if (status != APR_SUCCESS) {
        free(counts);
        counts = NULL;
    }
    *pcounts = counts;
    return status;
}

void ac_limit_redis_start(ac_limit_redis_t *counts)
{
    ac_redis_start(counts->redis);
}

ac_redis_t *ac_limit_redis_client(ac_limit_redis_t *counts)
{
    return counts->redis;
}

bool ac_limit_redis_is_up(const ac_limit_redis_t *counts)
{
    return __atomic_load_n(&counts->is_up, __ATOMIC_ACQUIRE);
}

void ac_limit_redis_destroy(ac_limit_redis_t *counts)
{
    if (!counts) {
        return;
    }
    ac_timer_cancel(counts->loop, &counts->sign_timer);
    ac_redis_destroy(counts->redis);
    free(counts);
}
