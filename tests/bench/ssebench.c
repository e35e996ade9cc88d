/* SPDX-License-Identifier: Apache-2.0 */
/* ssebench, a load client for servers that answer with server-sent events. One epoll thread keeps -c connections
 * busy with requests of one body, reads each response's events as they come, and measures what a chat client would
 * see: time to first token, tokens per second, streams that broke. When tokens carry the send time that llmsim
 * --stamp puts in them, it also measures how long each token was on its way through the server under test. The
 * server's CPU time and memory are read from /proc for its whole process tree. Exit status 2: there were errors. */
#include "ssebench.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

load_t load;

static void measure_realtime_offset(void)
{
    struct timespec real;
    uint64_t before = rig_now_ns();
    clock_gettime(CLOCK_REALTIME, &real);
    uint64_t middle = (before + rig_now_ns()) / 2;
    load.realtime_offset_ns = (uint64_t)real.tv_sec * NS_PER_S + (uint64_t)real.tv_nsec - middle;
}

static void check_timeouts(uint64_t now)
{
    for (unsigned i = 0; i < load_options.n_connections; i++) {
        load_conn_t *conn = &load.conns[i];
        if (conn->phase != LOAD_IDLE && now > conn->progress_ns + load_options.timeout_ns) {
            load_conn_finish(conn, LOAD_TIMED_OUT);
        }
    }
}

static void cut_all(void)
{
    for (unsigned i = 0; i < load_options.n_connections; i++) {
        if (load.conns[i].phase != LOAD_IDLE) {
            load_conn_finish(&load.conns[i], LOAD_CUT);
        }
    }
}

/* Starts requests on idle connections as long as no more than `allowed` have started in all. A connection that fails at
 * once
 * gets its next turn later. */
static void start_requests(uint64_t allowed, unsigned most_active)
{
    for (unsigned i = load.n_ready; i && load.tally.n_started < allowed && load.tally.active < most_active; i--) {
        load_conn_start(load.ready[--load.n_ready]);
    }
}

/* Starts what is due of up to `limit` requests. Returns whether more are to start. */
static bool start_due(uint64_t limit, uint64_t duration_ns, uint64_t ramp_ns, uint64_t elapsed)
{
    bool starting = load.tally.n_started < limit && elapsed < duration_ns;
    unsigned n = load_options.n_connections, most = load.setting_up && n > 64 ? 64 : n;
    if (starting && elapsed < ramp_ns) {
        uint64_t allowed = 1 + n * elapsed / ramp_ns;
        start_requests(allowed < limit ? allowed : limit, most);
    } else if (starting) {
        start_requests(limit, most);
    }
    return starting;
}

static void wait_and_take(int wait_ms)
{
    static struct epoll_event events[512];
    int n = epoll_wait(load.epoll, events, sizeof events / sizeof *events, wait_ms);
    for (int i = 0; i < n; i++) {
        load_conn_on_event(events[i].data.ptr, events[i].events);
    }
    if (load_options.poll_ns && n) {
        nanosleep(&(struct timespec){.tv_nsec = (long)load_options.poll_ns}, NULL);
    }
}

/* Runs up to `limit` requests; afterwards no request is in flight. */
static void run(uint64_t limit, uint64_t duration_ns, uint64_t ramp_ns)
{
    measure_realtime_offset();
    uint64_t start = load.start_ns = rig_now_ns(), next_check = start + NS_PER_S / 2;
    load.tally.n_started = 0;
    load.n_ready = load_options.n_connections;
    for (unsigned i = 0; i < load.n_ready; i++) {
        load.ready[i] = &load.conns[load.n_ready - 1 - i];
    }
    for (;;) {
        uint64_t now = rig_now_ns(), elapsed = now - start;
        bool starting = start_due(limit, duration_ns, ramp_ns, elapsed);
        if (!starting && load.tally.active == 0) {
            return;
        }
        if (elapsed > duration_ns + load_options.grace_ns) {
            cut_all();
        }
        if (load.tally.outcome[LOAD_CONNECT] > 100 + 10ull * load_options.n_connections) {
            rig_die("ssebench: %s: cannot connect", load_options.url);
        }
        wait_and_take(starting && load.n_ready ? 1 : 100);
        if (now > next_check) {
            measure_realtime_offset();
            check_timeouts(now);
            next_check = now + NS_PER_S / 2;
        }
    }
}

int main(int argc, char **argv)
{
    load_options_read(argc, argv);
    rig_files_raise();
    prctl(PR_SET_TIMERSLACK, 1000ul);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.conns = calloc(load_options.n_connections, sizeof *load.conns);
    load.ready = calloc(load_options.n_connections, sizeof(load_conn_t *));
    if (!load.conns || !load.ready) {
        rig_die("ssebench: out of memory");
    }
    for (unsigned i = 0; i < load_options.n_connections; i++) {
        load.conns[i].fd = -1;
    }
    if (load_options.setup) {
        load.setting_up = true;
        run(load_options.n_connections, 60 * NS_PER_S, 0);
        load.setting_up = false;
        load.tally = (load_tally_t){0};
    }
    load_snapshot_t before = load_snapshot_take();
    tree_sampler_start(&load_options.server);
    run(load_options.n_requests, load_options.duration_ns, load_options.ramp_ns);
    tree_usage_t peak = tree_sampler_stop();
    load_snapshot_t after = load_snapshot_take();
    return load_report(&before, &after, &peak) ? 2 : 0;
}
