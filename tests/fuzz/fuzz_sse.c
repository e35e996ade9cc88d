/* SPDX-License-Identifier: Apache-2.0 */
/* Event streams: however the bytes are cut, the same events come out; and what we write is read back. */
#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

typedef struct heard_t {
    ac_buf_t text;
} heard_t;

static bool on_event(void *baton, const char *event, const char *data, size_t len)
{
    heard_t *heard = baton;
    ac_buf_str(&heard->text, event);
    ac_buf_add(&heard->text, "\0", 1);
    ac_buf_add(&heard->text, data, len);
    ac_buf_add(&heard->text, "\0", 1);
    return true;
}

static void read_cut(heard_t *heard, const char *bytes, size_t size, size_t step)
{
    ac_sse_reader_t reader;
    ac_sse_reader_init(&reader);
    for (size_t i = 0; i < size; i += step) {
        size_t n = size - i < step ? size - i : step;
        char *part = malloc(n);
        memcpy(part, bytes + i, n);
        if (ac_sse_read(&reader, part, n, on_event, heard, NULL) != APR_SUCCESS) {
            abort();
        }
        free(part);
    }
    ac_sse_finish(&reader, on_event, heard);
    ac_sse_reader_free(&reader);
}

static void expect_same(const heard_t *one, const heard_t *other)
{
    size_t len = one->text.len;
    if (len != other->text.len || (len && memcmp(one->text.data, other->text.data, len) != 0)) {
        abort();
    }
}

static void check_cuts(const char *bytes, size_t size)
{
    heard_t whole = {0}, cut = {0};
    ac_buf_init(&whole.text, 64 * 1024 * 1024);
    read_cut(&whole, bytes, size, size ? size : 1);
    for (size_t step = 1; step < 4; step++) {
        ac_buf_init(&cut.text, 64 * 1024 * 1024);
        read_cut(&cut, bytes, size, step);
        expect_same(&whole, &cut);
        ac_buf_free(&cut.text);
    }
    ac_buf_free(&whole.text);
}

/* Line ends become LF on the way; all else is as it was. */
static void check_written(const char *bytes, size_t size)
{
    ac_buf_t stream;
    heard_t expected = {0}, read = {0};
    ac_buf_init(&stream, 64 * 1024 * 1024);
    ac_buf_init(&expected.text, 64 * 1024 * 1024);
    ac_buf_init(&read.text, 64 * 1024 * 1024);
    ac_buf_add(&expected.text, "token\0", 6);
    for (size_t i = 0; i < size; i++) {
        bool cr = bytes[i] == '\r';
        ac_buf_add(&expected.text, cr ? "\n" : bytes + i, 1);
        i += cr && i + 1 < size && bytes[i + 1] == '\n';
    }
    ac_buf_add(&expected.text, "\0", 1);
    if (ac_sse_write(&stream, 18446744073709551615u, "token", bytes, size) != APR_SUCCESS) {
        abort();
    }
    read_cut(&read, stream.data, stream.len, stream.len);
    expect_same(&expected, &read);
    ac_buf_free(&stream);
    ac_buf_free(&expected.text);
    ac_buf_free(&read.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= 65536) {
        check_cuts((const char *)data, size);
        check_written((const char *)data, size);
    }
    return 0;
}
