/* SPDX-License-Identifier: Apache-2.0 */
/* Cosmos DB's session tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/wire.h"

static void check_session(const ac_cosmos_session_t *session, const char *wanted)
{
    ac_buf_t text;
    ac_buf_init(&text, 65536);
    assert_int_equal(ac_cosmos_session_text(&text, session), APR_SUCCESS);
    assert_string_equal(text.data ? text.data : "", wanted);
    ac_buf_free(&text);
}

static void test_session_keeps_the_newest(void **state)
{
    (void)state;
    ac_cosmos_session_t session = {0};
    check_session(&session, "");
    ac_cosmos_session_note(&session, "0:-1#12");
    ac_cosmos_session_note(&session, "0:-1#9"); /* answers come in any order */
    check_session(&session, "0:-1#12");
    ac_cosmos_session_note(&session, "0:-1#100,1:2#7#1=5#2=6");
    check_session(&session, "0:-1#100,1:2#7#1=5#2=6");
    ac_cosmos_session_note(&session, "1:2#6#1=9");
    ac_cosmos_session_note(&session, "1:3#1#1=9"); /* a new version of the range's map of regions */
    check_session(&session, "0:-1#100,1:3#1#1=9");
    static const char *const nonsense[] = {"",
                                           ",",
                                           ":",
                                           "2",
                                           "2:",
                                           "2:x",
                                           "2:5",
                                           "2:#5",
                                           "2:5#",
                                           ":-1#5",
                                           ",,,",
                                           "2:5#x",
                                           "a-range-that-is-far-too-long:-1#5",
                                           "2:5#6x"};
    for (size_t i = 0; i < sizeof(nonsense) / sizeof(*nonsense); i++) {
        ac_cosmos_session_note(&session, nonsense[i]);
    }
    check_session(&session, "0:-1#100,1:3#1#1=9");
}

static void test_session_is_bounded(void **state)
{
    (void)state;
    ac_cosmos_session_t session = {0};
    char token[64];
    for (int i = 0; i < 3 * AC_COSMOS_RANGES; i++) {
        snprintf(token, sizeof(token), "%d:-1#%d", i, i + 1);
        ac_cosmos_session_note(&session, token);
    }
    assert_int_equal(session.n, AC_COSMOS_RANGES);
    ac_buf_t text;
    ac_buf_init(&text, 65536);
    ac_cosmos_session_text(&text, &session);
    snprintf(token, sizeof(token), "%d:-1#%d", 3 * AC_COSMOS_RANGES - 1, 3 * AC_COSMOS_RANGES);
    assert_non_null(strstr(text.data, token));
    ac_buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_keeps_the_newest),
        cmocka_unit_test(test_session_is_bounded),
    };
    return cmocka_run_group_tests_name("cosmos_session", tests, NULL, NULL);
}
