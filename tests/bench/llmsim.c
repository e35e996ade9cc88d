/* SPDX-License-Identifier: Apache-2.0 */
/* llmsim, the model simulator. Every POST whose path ends in /chat/completions gets an answer of --tokens tokens, the
 * first
 * after --ttft-ms and the rest --interval-us apart. A request can change any of these settings for itself with a
 * directive in
 * the text of its last user message, which passes through any relay under test:
 *
 *     Hello [[sim tokens=5 interval-us=0 fault=cut]]
 *
 * GET /stats returns counters; `llmsim --help` lists the settings. */
#include "llmsim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

sim_t sim = {
    .defaults =
        {
            .n_tokens = 100,
            .ttft_ns = 0,
            .interval_ns = 20 * NS_PER_MS,
            .burst = 16,
            .fault_share = 1,
            .status = 500,
            .retry_after_s = 1,
        },
};
static volatile sig_atomic_t stop;

static int listen_on(unsigned port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096)) {
        rig_die("llmsim: port %u: %s", port, strerror(errno));
    }
    return fd;
}

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static unsigned parse_arguments(int argc, char **argv)
{
    unsigned port = 9100;
    for (int i = 1; i < argc; i++) {
        const char *key = strncmp(argv[i], "--", 2) != 0 ? "" : argv[i] + 2;
        const char *value = sim_settings_is_flag(key) ? "1" : i + 1 < argc ? argv[++i] : "";
        if (strcmp(key, "help") == 0) {
            fputs(sim_settings_usage, stdout);
            exit(0);
        }
        if (strcmp(key, "port") == 0) {
            port = (unsigned)rig_number(value, "llmsim: --port");
        } else if (strcmp(key, "verbose") == 0) {
            sim.verbose = true;
        } else if (!*value || !sim_settings_set(&sim.defaults, key, value)) {
            rig_die("llmsim: bad option %s %s\n%s", argv[i], value, sim_settings_usage);
        }
    }
    return port;
}

static void serve(int listener)
{
    static struct epoll_event events[512];
    while (!stop) {
        uint64_t wait = sim_timers_wait_ns(rig_now_ns());
        struct timespec timeout = {.tv_sec = (time_t)(wait / NS_PER_S), .tv_nsec = (long)(wait % NS_PER_S)};
        int n = epoll_pwait2(sim.epoll, events, sizeof events / sizeof *events, &timeout, NULL);
        for (int i = 0; i < n; i++) {
            sim_conn_t *conn = events[i].data.ptr;
            if (!conn) {
                sim_conn_accept(listener);
            } else if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                sim_request_on_readable(conn); /* may free conn; EPOLLOUT comes again */
            } else {
                sim_stream_on_writable(conn);
            }
        }
        sim_timers_run(rig_now_ns());
    }
}

int main(int argc, char **argv)
{
    int listener = listen_on(parse_arguments(argc, argv));
    rig_files_raise();
    prctl(PR_SET_TIMERSLACK, 1000ul); /* ns; the default of 50 us blurs the token clock */
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sim.epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(sim.epoll, EPOLL_CTL_ADD, listener, &event);
    sim_timers_init(rig_now_ns());
    serve(listener);
    sim_put_stats();
    const char *body = memmem(sim.scratch.data, sim.scratch.len, "\r\n\r\n", 4);
    fwrite(body + 4, 1, sim.scratch.len - (size_t)(body + 4 - sim.scratch.data), stderr);
    return 0;
}
