/* SPDX-License-Identifier: Apache-2.0 */
/* Times, durations and sizes as written by people and upstreams: an accepted one is a sensible number, and our own
 * output can be read again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "back/credential/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_time(const char *text)
{
    apr_time_t when, again;
    char written[AC_TIME_SIZE];
    if (ac_time_parse(&when, text)) {
        ac_time_format(written, when);
        must(strlen(written) < AC_TIME_SIZE && ac_time_parse(&again, written) && again / 1000 == when / 1000);
    }
    must(ac_identity_token_time(text) >= 0);
}

static void check_duration(const char *text)
{
    apr_interval_time_t value, again;
    char written[AC_TIME_SIZE];
    if (ac_time_parse_duration(&value, text)) {
        must(value >= 0);
        ac_time_format_duration(written, value);
        must(ac_time_parse_duration(&again, written) && again <= value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_int64_t bytes;
    char *text = ac_alloc(size + 1);
    memcpy(text, data, size);
    check_time(text);
    check_duration(text);
    must(!ac_text_parse_size(&bytes, text) || bytes >= 0);
    free(text);
    return 0;
}
