/* SPDX-License-Identifier: Apache-2.0 */
/* What Redis has of a run of another machine. An input that begins with 'e' is an entry; any other one is, behind its
 * first byte, what Redis answers: a page, or what XREAD has got. Events that were read are rendered in each dialect,
 * and what a client gets is JSON in each line of data. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/events/events.h"
#include "back/mirror/mirror_redis.c"
#include "front/stream/dialect.c"
#include "back/mirror/mirror_reader.c"

#define RUN "run_01"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_json(const char *text, size_t len)
{
    json_t *json = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
    must(json != NULL);
    json_decref(json);
}

static void check_lines(const ac_buf_t *out, bool is_stream)
{
    if (!out->len) {
        return;
    }
    if (!is_stream) {
        check_json(out->data, out->len);
        return;
    }
    const char *at = out->data, *end = at + out->len;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        must(line_end != NULL);
        if (strncmp(at, "data: ", 6) == 0) {
            check_json(at + 6, (size_t)(line_end - at - 6));
        } else {
            must(line_end == at || strncmp(at, "id: ", 4) == 0 || strncmp(at, "event: ", 7) == 0);
        }
        at = line_end + 1;
    }
}

static void render(ac_render_t *renders, const ac_event_t *event)
{
    ac_buf_t out;
    for (ac_render_t *one = renders; one->dialect; one++) {
        ac_buf_init(&out, 64 * 1024);
        if (one->dialect->event(one, event, &out) == APR_SUCCESS) {
            check_lines(&out, one->dialect->stream);
        }
        ac_buf_free(&out);
    }
}

static void check_entry(const char *bytes, size_t len)
{
    const ac_dialect_t *dialects[] = {&ac_dialect_native, &ac_dialect_chunk, &ac_dialect_text, &ac_dialect_message,
                                      &ac_dialect_chat};
    ac_render_t renders[6] = {0};
    ac_mirror_cursor_t cursor;
    ac_event_t *event;
    size_t n = 0;
    if (!ac_mirror_entry_open(&cursor, bytes, len)) {
        return;
    }
    for (int i = 0; i < 5; i++) {
        ac_dialect_render_init(&renders[i], dialects[i]);
    }
    uint64_t first = cursor.seq;
    while ((event = ac_mirror_entry_next(&cursor)) != NULL) {
        must(event->seq == first + ++n && n <= len / 3); /* an event has three numbers */
        render(renders, event);
        ac_event_unref(event);
    }
    must(cursor.is_damaged || cursor.at == cursor.end);
}

static void see_entry(void *baton, const char *run_id, const ac_mirror_entry_t *entry)
{
    (void)baton;
    must(strcmp(run_id, RUN) == 0);
    check_entry(entry->bytes, entry->len);
}

static void see_notice(void *baton, const char *text)
{
    (void)baton;
    must(strlen(text) < SIZE_MAX);
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

static void check_page(const redisReply *reply)
{
    ac_mirror_page_t page = {0};
    if (parse_page(&page, reply)) {
        must(page.n <= AC_MIRROR_PAGE);
        for (int i = 0; i < page.n; i++) {
            check_entry(page.entries[i].bytes, page.entries[i].len);
        }
        if (page.newest.last) {
            check_entry(page.newest.bytes, page.newest.len);
        }
    }
}

static void check_read(const redisReply *reply)
{
    static ac_mirror_t mirror = {.on_entry = see_entry, .on_notice = see_notice};
    ac_mirror_redis_t self = {.mirror = &mirror, .prefix = "p:"};
    followed_t followed = {.run_id = RUN};
    apr_pool_create_unmanaged_ex(&self.reader.pool, NULL, NULL);
    self.reader.followed = apr_hash_make(self.reader.pool);
    apr_hash_set(self.reader.followed, followed.run_id, APR_HASH_KEY_STRING, &followed);
    apr_cpystrn(self.reader.inbox, "p:ev:to:1", AC_MIRROR_KEY_SIZE);
    apr_cpystrn(self.reader.all, "p:ev:all", AC_MIRROR_KEY_SIZE);
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        on_stream(&self, reply->element[i]);
    }
    apr_pool_destroy(self.reader.pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    void *reply = NULL;
    if (!ready) {
        ready = apr_initialize() == APR_SUCCESS;
    }
    if (size && data[0] == 'e') {
        check_entry((const char *)data + 1, size - 1);
        return 0;
    }
    redisReader *reader = redisReaderCreate();
    bool fed = size && !says_too_many(data, size) &&
        redisReaderFeed(reader, (const char *)data + 1, size - 1) == REDIS_OK;
    if (fed && redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
        check_page(reply);
        check_read(reply);
    }
    if (reply) {
        freeReplyObject(reply);
    }
    redisReaderFree(reader);
    return 0;
}
