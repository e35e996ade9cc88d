/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges while the system has no room for further watches of descriptors. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "http_play.h"

#define HELLO "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"

static const server_step_t hello[] = {SEND(HELLO), END};
static atomic_int n_calls, fail_from, fail_to; /* of the calls that add or change a watch, counted from 1 */

/* In the place of the system's. */
int epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event)
{
    int n = op == EPOLL_CTL_DEL ? 0 : atomic_fetch_add(&n_calls, 1) + 1;
    if (n && n >= atomic_load(&fail_from) && n <= atomic_load(&fail_to)) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epoll_fd, op, fd, event);
}

static void run_failing(int from, int to)
{
    play(hello);
    atomic_store(&n_calls, 0);
    atomic_store(&fail_from, from);
    atomic_store(&fail_to, to);
    exchange_run(&exchange);
    assert_int_equal(exchange.ended, APR_SUCCESS);
    assert_int_equal(exchange.status, 200);
    assert_string_equal(exchange.body, "hello");
    play_end();
}

static void test_a_watch_that_fails_once(void **state)
{
    (void)state;
    for (int i = 1; i <= 4; i++) {
        run_failing(i, i);
    }
}

static void test_watches_that_fail_for_long(void **state)
{
    (void)state;
    run_failing(1, 3);
    run_failing(2, 5);
    run_failing(1, 1 << 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_watch_that_fails_once, play_set_up, play_tear_down),
        cmocka_unit_test_setup_teardown(test_watches_that_fail_for_long, play_set_up, play_tear_down),
    };
    return cmocka_run_group_tests_name("http unwatched", tests, NULL, NULL);
}
