/* SPDX-License-Identifier: Apache-2.0 */
/* Clock, histogram and growing bytes of the measuring rig. */
#include "rig.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

_Noreturn void rig_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

uint64_t rig_number(const char *text, const char *what)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    if (!end || (*end && *end != '\n') || errno) {
        rig_die("%s: '%s' is not a whole number", what, text);
    }
    return value;
}

char *rig_buf_reserve(rig_buf_t *buf, size_t extra)
{
    if (buf->size - buf->len < extra) {
        size_t size = buf->size ? buf->size : 256;
        while (size - buf->len < extra) {
            size *= 2;
        }
        buf->data = realloc(buf->data, size);
        if (!buf->data) {
            rig_die("out of memory");
        }
        buf->size = size;
    }
    return buf->data + buf->len;
}

void rig_buf_add(rig_buf_t *buf, const void *data, size_t len)
{
    if (len == 0) {
        return;
    }
    memcpy(rig_buf_reserve(buf, len), data, len);
    buf->len += len;
}

void rig_buf_str(rig_buf_t *buf, const char *text)
{
    rig_buf_add(buf, text, strlen(text));
}

void rig_buf_printf(rig_buf_t *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        rig_die("bad format: %s", format);
    }
    vsnprintf(rig_buf_reserve(buf, (size_t)n + 1), (size_t)n + 1, format, again);
    va_end(again);
    buf->len += (size_t)n;
}

void rig_buf_shift(rig_buf_t *buf, size_t len)
{
    buf->len -= len;
    if (buf->len) {
        memmove(buf->data, buf->data + len, buf->len);
    }
}

void rig_buf_free(rig_buf_t *buf)
{
    free(buf->data);
    *buf = (rig_buf_t){0};
}

/* Values under 64 have a bucket each; above, the top seven bits choose one. */
void rig_hist_add(rig_hist_t *hist, uint64_t value)
{
    unsigned i = (unsigned)value;
    if (value >= 64) {
        unsigned shift = 57u - (unsigned)__builtin_clzll(value);
        i = 64 * (shift + 1) + (unsigned)((value >> shift) & 63);
    }
    hist->bucket[i]++;
    hist->n++;
    hist->sum += value;
    if (value > hist->max) {
        hist->max = value;
    }
}

uint64_t rig_hist_quantile(const rig_hist_t *hist, double quantile)
{
    uint64_t rank = (uint64_t)(quantile * (double)hist->n), seen = 0;
    for (unsigned i = 0; i < RIG_HIST_BUCKETS; i++) {
        seen += hist->bucket[i];
        if (seen <= rank) {
            continue;
        }
        if (i < 64) {
            return i;
        }
        unsigned shift = i / 64 - 1;
        uint64_t middle = ((64ull + i % 64) << shift) + (1ull << shift) / 2;
        return middle < hist->max ? middle : hist->max;
    }
    return hist->max;
}

void rig_hist_json(rig_buf_t *out, const rig_hist_t *hist)
{
    double mean = hist->n ? (double)hist->sum / (double)hist->n : 0;
    rig_buf_printf(out, "{\"n\":%llu,\"mean\":%.1f,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f}",
                   (unsigned long long)hist->n, mean / 1e3, (double)rig_hist_quantile(hist, .5) / 1e3,
                   (double)rig_hist_quantile(hist, .9) / 1e3, (double)rig_hist_quantile(hist, .99) / 1e3,
                   (double)rig_hist_quantile(hist, .999) / 1e3, (double)hist->max / 1e3);
}

void rig_files_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}
