/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams from other children, one a line, while a run of this child is under way: only its owner cancels it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>

#define ac_run_cancel played_run_cancel
#define ac_run_follower_left played_run_on_left
#define ac_tail_wake played_tails_wake
#define ac_recover_retry_run played_retry_run
#include "agent/follow/datagram.c"

#define RUN "run_01"
#define OWNER "ann"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int n_cancelled, n_left;

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

apr_status_t played_run_cancel(ac_engine_t *engine, const char *run_id, ac_kind_e why)
{
    must(engine && strcmp(run_id, RUN) == 0 && why == AC_CANCELLED);
    n_cancelled++;
    return APR_SUCCESS;
}

void played_run_on_left(void *run)
{
    must(strcmp(((ac_run_t *)run)->turn->run_id, RUN) == 0);
    n_left++;
}

void played_tails_wake(ac_engine_t *engine, const char *run_id)
{
    must(engine && strlen(run_id) < 4096);
}

void played_retry_run(ac_engine_t *engine, const char *run_id)
{
    must(engine && strlen(run_id) < 4096);
}

static bool says(const char *text, size_t len, const char *word)
{
    size_t word_len = strlen(word);
    return len >= word_len && memcmp(text, word, word_len) == 0 &&
        (len == word_len || !text[word_len] || word[0] == 'l');
}

static void check_one(ac_engine_t *engine, int fd, const char *text, size_t len)
{
    n_cancelled = n_left = 0;
    must(len > 60000 || send(fd, text, len, 0) == (ssize_t)len);
    on_datagrams(engine, 0);
    must(n_cancelled + n_left <= 1);
    must(!n_cancelled || says(text, len, "cancel " RUN " " OWNER));
    must(!n_left || says(text, len, "left " RUN));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static ac_follow_t follow;
    static ac_engine_t engine = {.follow = &follow};
    static ac_turn_t turn = {.run_id = RUN, .owner = OWNER};
    static ac_run_t run = {.turn = &turn};
    static int fds[2];
    if (!engine.runs) {
        apr_initialize();
        apr_pool_create(&engine.pool, NULL);
        engine.runs = apr_hash_make(engine.pool);
        apr_hash_set(engine.runs, RUN, APR_HASH_KEY_STRING, &run);
        must(!socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
        follow.watch.fd = fds[0];
    }
    for (size_t i = 0, len; i < size; i += len + 1) {
        const uint8_t *lf = memchr(data + i, '\n', size - i);
        len = lf ? (size_t)(lf - data) - i : size - i;
        check_one(&engine, fds[1], (const char *)data + i, len);
    }
    return 0;
}
