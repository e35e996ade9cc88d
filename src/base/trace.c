/* SPDX-License-Identifier: Apache-2.0 */
/* The trace that a request belongs to. Source: W3C Trace Context, level 2, section 3. */
#include "base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEX "0123456789abcdef"
#define FLAG_SAMPLED 1
#define FLAG_RANDOM 2
#define LEN_00 55 /* of version 00: 2 + 1 + 32 + 1 + 16 + 1 + 2 */

/* len digits that are not all zero, and a dash or the end of the text behind them. */
static bool trace_read_id(char *id, const char *text, size_t len)
{
    if (strspn(text, HEX) != len || strspn(text, "0") == len) {
        return false;
    }
    memcpy(id, text, len);
    id[len] = '\0';
    return true;
}

bool ac_trace_parse(ac_trace_t *trace, const char *traceparent)
{
    const char *text = traceparent ? traceparent : "";
    size_t len = strlen(text);
    bool valid = len >= LEN_00 && strspn(text, HEX) == 2 && text[2] == '-' && text[35] == '-' && text[52] == '-' &&
        strspn(text + 53, HEX) == 2 && memcmp(text, "ff", 2) != 0;
    if (valid && memcmp(text, "00", 2) == 0) {
        valid = len == LEN_00;
    } else if (valid) {
        valid = len == LEN_00 || text[LEN_00] == '-'; /* a later version may append fields */
    }
    valid = valid && trace_read_id(trace->trace_id, text + 3, 32) && trace_read_id(trace->span_id, text + 36, 16);
    if (!valid) {
        *trace = (ac_trace_t){.trace_id = ""};
        return false;
    }
    int flags = ac_hex_value(text[54]);
    trace->sampled = flags & FLAG_SAMPLED;
    trace->random = flags & FLAG_RANDOM;
    trace->state = NULL;
    return true;
}

void ac_trace_format(const ac_trace_t *trace, char text[AC_TRACEPARENT_SIZE])
{
    int flags = (trace->sampled ? FLAG_SAMPLED : 0) | (trace->random ? FLAG_RANDOM : 0);
    *text = '\0';
    if (*trace->trace_id && *trace->span_id) {
        snprintf(text, AC_TRACEPARENT_SIZE, "00-%s-%s-%02x", trace->trace_id, trace->span_id, flags);
    }
}

bool ac_trace_state_valid(const char *state)
{
    size_t len = state ? strlen(state) : 0;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)state[i] < ' ' || (unsigned char)state[i] > '~') {
            return false;
        }
    }
    return len > 0 && len <= AC_MAX_TRACESTATE;
}

void ac_trace_copy(ac_trace_t *to, const ac_trace_t *from)
{
    *to = *from;
    to->state = from->state ? strdup(from->state) : NULL;
}

void ac_trace_clear(ac_trace_t *trace)
{
    free((char *)trace->state);
    *trace = (ac_trace_t){.trace_id = ""};
}

static __thread const ac_trace_t *here;

void ac_trace_enter(const ac_trace_t *trace)
{
    here = trace;
}

const ac_trace_t *ac_trace_here(void)
{
    return here;
}
