/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a server of OTLP: any bytes, in both forms; the message is printable, the count in its range. */
#include <stdlib.h>
#include <string.h>

#include "wire/otlp.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    for (int form = 0; form < 4; form++) {
        ac_otlp_answer_t answer;
        ac_otlp_answer_read(&answer, form & 1, form & 2, (const char *)bytes, size);
        if (answer.rejected < 0 || answer.rejected > AC_OTLP_MAX_REJECTED) {
            abort();
        }
        for (const char *at = answer.message; *at; at++) {
            if (*at < ' ' || *at > '~') {
                abort();
            }
        }
    }
    return 0;
}
