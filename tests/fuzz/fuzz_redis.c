/* SPDX-License-Identifier: Apache-2.0 */
/* What Redis answers, in its own protocol: the counts of limits (the first byte is a digit, of how many), or else an
 * entry of the
 * cache, as its texts. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "back/cache/cache_redis.c"
#undef KEY_SIZE
#define on_reply limit_on_reply
#define start limit_start
#include "back/limit/limit_redis.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_counts(int n, const redisReply *reply)
{
    ac_limit_t limit = {.measure = AC_LIMIT_TOKENS, .by = AC_BY_OWNER, .most = 1000, .window = apr_time_from_sec(60)};
    ac_limits_t limits = {.scope = "x"};
    ac_subject_t who = {.owner = "ann"};
    ac_reservation_t *takes = NULL;
    ac_buf_t policy, left;
    for (int i = 0; i < n; i++) {
        ac_reservation_add(&takes, &limits, &limit, &who, 10);
    }
    ac_buf_init(&policy, AC_MAX_HEAD);
    ac_buf_init(&left, AC_MAX_HEAD);
    if (takes && read_reserved(takes, reply) == APR_SUCCESS) {
        ac_reservation_fields(takes, &policy, &left);
        must(policy.len && left.len && !strpbrk(left.data, "\r\n"));
    }
    ac_buf_free(&policy);
    ac_buf_free(&left);
    free(takes);
}

static void check_texts(const redisReply *reply)
{
    ac_buf_t texts;
    ac_buf_init(&texts, AC_MAX_CACHED);
    add_texts(&texts, reply);
    must(!texts.len || texts.data[texts.len - 1] == '\0');
    ac_buf_free(&texts);
}

/* hiredis allocates the number of elements that a reply announces. */
static bool says_too_many(const uint8_t *data, size_t size)
{
    size_t n = 0;
    bool array = false;
    for (size_t i = 0; i < size && n <= 5; i++) {
        bool digit = data[i] >= '0' && data[i] <= '9';
        n = array && digit ? n + 1 : 0;
        array = data[i] == '*' || (array && digit);
    }
    return n > 5;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    bool fed = size && !says_too_many(data, size) &&
        redisReaderFeed(reader, (const char *)data + 1, size - 1) == REDIS_OK;
    if (fed && redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
        if (data[0] >= '0' && data[0] <= '9') {
            check_counts(data[0] - '0', reply);
        } else {
            check_texts(reply);
        }
    }
    if (reply) {
        freeReplyObject(reply);
    }
    redisReaderFree(reader);
    return 0;
}
