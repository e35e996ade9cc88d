/* SPDX-License-Identifier: Apache-2.0 */
/* The trace that a request belongs to. Source: W3C Trace Context, level 1, section 3.2. */
#include "base.h"

#include <string.h>

#define HEX "0123456789abcdef"
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
        *trace = (ac_trace_t){"", ""};
    }
    return valid;
}
