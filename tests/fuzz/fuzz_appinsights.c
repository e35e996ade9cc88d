/* SPDX-License-Identifier: Apache-2.0 */
/* Application Insights: a connection string as people paste it, an answer of the endpoint, and a redirect. The first
 * byte chooses, and is the status of an answer. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "wire/appinsights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_string(const char *text)
{
    ac_appinsights_target_t target;
    char client[AC_APPINSIGHTS_CLIENT_SIZE];
    bool identity;
    ac_err_t err;
    ac_err_init(&err);
    if (ac_appinsights_string_read(&target, text, &err) == APR_SUCCESS) {
        size_t len = strlen(target.url);
        if (strlen(target.key) != 36 || len < 11 || strcmp(target.url + len - 11, "/v2.1/track") != 0 ||
            strncmp(target.url, "http", 4) != 0 || strpbrk(target.url, " \r\n\t")) {
            abort();
        }
    } else if (err.kind != AC_INVALID_REQUEST || !err.detail[0] || strpbrk(err.detail, "\r\n")) {
        abort();
    }
    ac_err_init(&err);
    if (ac_appinsights_string_authentication(&identity, client, text, &err) != APR_SUCCESS && !err.detail[0]) {
        abort();
    }
}

static void fuzz_answer(int status, const char *body, size_t len)
{
    enum { N = 16 };
    ac_appinsights_answer_t answer;
    bool again[N] = {false}, some = false;
    ac_appinsights_answer_read(&answer, status, body, len, again, N);
    for (int i = 0; i < N; i++) {
        some = some || again[i];
    }
    if (answer.rejected < 0 || answer.rejected > N || some != (answer.result == AC_APPINSIGHTS_SOME) ||
        strpbrk(answer.message, "\r\n\t\x1b")) {
        abort();
    }
}

static void fuzz_redirect(const char *to)
{
    static const char from[] = "https://x.applicationinsights.azure.com/v2.1/track";
    if (ac_appinsights_answer_may_redirect(from, to) && strncasecmp(to, "https://", 8) != 0) {
        abort();
    }
    ac_appinsights_answer_may_redirect(to, to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 206, 308, 400, 429};
    if (size < 1) {
        return 0;
    }
    char *text = ac_alloc(size);
    memcpy(text, data + 1, size - 1);
    if (data[0] >= '0' && data[0] < '5') {
        fuzz_answer(statuses[data[0] - '0'], text, size - 1);
    } else if (data[0] == 'r') {
        fuzz_redirect(text);
    } else {
        fuzz_string(text);
    }
    free(text);
    return 0;
}
