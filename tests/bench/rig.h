/* SPDX-License-Identifier: Apache-2.0 */
/* What the model simulator and the load client share: a clock, a histogram, growing bytes. */
#ifndef RIG_H
#define RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

/* CLOCK_MONOTONIC. */
static inline uint64_t rig_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Growing bytes; zero it first. Where memory runs out the program ends. */
typedef struct rig_buf_t {
    char *data;
    size_t len, size;
} rig_buf_t;

/* Room for extra bytes at the end; returns where they go. */
char *rig_buf_reserve(rig_buf_t *buf, size_t extra);
void rig_buf_add(rig_buf_t *buf, const void *data, size_t len);
void rig_buf_str(rig_buf_t *buf, const char *text);
void rig_buf_printf(rig_buf_t *buf, const char *format, ...) __attribute__((format(printf, 2, 3), nonnull));
/* Drops the first len bytes. */
void rig_buf_shift(rig_buf_t *buf, size_t len);
void rig_buf_free(rig_buf_t *buf);

/* Log-linear histogram of nanoseconds: 64 steps an octave, so within 1.6 %. */
enum { RIG_HIST_BUCKETS = 64 * 59 };
typedef struct rig_hist_t {
    uint64_t n, sum, max;
    uint64_t bucket[RIG_HIST_BUCKETS];
} rig_hist_t;

void rig_hist_add(rig_hist_t *hist, uint64_t value);
uint64_t rig_hist_quantile(const rig_hist_t *hist, double quantile);
/* {"n":..,"mean":..,"p50":..,"p90":..,"p99":..,"p999":..,"max":..} in microseconds. */
void rig_hist_json(rig_buf_t *out, const rig_hist_t *hist);

/* As many open files as this process may have. */
void rig_files_raise(void);
/* Reads a whole number in decimal; if the text is not one, ends the program with its purpose in the message. */
uint64_t rig_number(const char *text, const char *what);
_Noreturn void rig_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
