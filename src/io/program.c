/* SPDX-License-Identifier: Apache-2.0 */
/* A program that works on bytes of strangers: a child process with limits, without a shell, the server's environment,
 * its descriptors, privileges to gain, or (where the system allows) a network. */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_DESCRIPTORS 64               /* of the child process */
#define CLOSED_WAIT apr_time_from_sec(1) /* for the end of a program that has closed its output */

bool ac_program_find(char *path, size_t size, const char *name)
{
    static const char *const folders[] = {"/usr/bin", "/usr/local/bin", "/bin", NULL};
    for (int i = 0; folders[i]; i++) {
        int n = snprintf(path, size, "%s/%s", folders[i], name);
        if (n > 0 && (size_t)n < size && access(path, X_OK) == 0) {
            return true;
        }
    }
    return false;
}

static void program_limit(int what, rlim_t most)
{
    const struct rlimit limit = {most, most};
    setrlimit((__rlimit_resource_t)what, &limit);
}

static void close_others(void)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, 3U, ~0U, 0U) == 0) {
        return;
    }
#endif
    struct rlimit limit = {0, 0};
    int most = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 1 << 20 ? (int)limit.rlim_cur : 1 << 20;
    for (int fd = 3; fd < most; fd++) {
        close(fd);
    }
}

/* In the child process, which is a copy of one thread of a process with many: system calls only. */
static void program_become(const ac_program_t *program, int out)
{
    static char *const environment[] = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/nonexistent", NULL};
    static const int usual[] = {SIGPIPE, SIGCHLD, SIGTERM, SIGHUP, SIGINT, SIGUSR1, SIGUSR2};
    sigset_t none;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        signal(usual[i], SIG_DFL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    int nothing = open("/dev/null", O_WRONLY);
    if (dup2(program->in, 0) < 0 || dup2(out, 1) < 0 || nothing < 0 || dup2(nothing, 2) < 0) {
        _exit(127);
    }
    close_others();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)!unshare(CLONE_NEWUSER | CLONE_NEWNET); /* not allowed everywhere */
    program_limit(RLIMIT_CPU, (rlim_t)program->cpu_seconds);
    program_limit(RLIMIT_AS, (rlim_t)program->memory);
    program_limit(RLIMIT_FSIZE, 0);
    program_limit(RLIMIT_CORE, 0);
    program_limit(RLIMIT_NOFILE, MAX_DESCRIPTORS);
    (void)!chdir("/");
    execve(program->args[0], (char *const *)program->args, environment);
    _exit(127);
}

/* Reads the output to its end, its maximum or the deadline. */
static void program_listen(ac_program_t *program, int fd, apr_time_t due)
{
    char bytes[16 * 1024];
    for (;;) {
        struct pollfd watch = {.fd = fd, .events = POLLIN};
        apr_interval_time_t left = due - ac_clock();
        int n = left > 0 ? poll(&watch, 1, (int)(left / 1000) + 1) : 0;
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            program->late = true;
            return;
        }
        ssize_t len = read(fd, bytes, sizeof bytes);
        if (len < 0 && errno == EINTR) {
            continue;
        }
        if (len <= 0) {
            return;
        }
        size_t room = program->out->max - program->out->len;
        program->cut = (size_t)len > room;
        if (ac_buf_add(program->out, bytes, program->cut ? room : (size_t)len) != APR_SUCCESS || program->cut) {
            return;
        }
    }
}

/* A program that has closed its output has nothing left to do; one that continues is stopped. Its group is killed
 * before its number is free again. */
static void program_end(const ac_program_t *program, pid_t pid, int *pstatus)
{
    apr_time_t due = program->late || program->cut ? 0 : ac_clock() + CLOSED_WAIT;
    siginfo_t info;
    memset(&info, 0, sizeof info);
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | WNOHANG) == 0 && !info.si_pid && ac_clock() < due) {
        poll(NULL, 0, 2);
    }
    kill(-pid, SIGKILL);
    kill(pid, SIGKILL); /* it may not have its group yet */
    while (waitpid(pid, pstatus, 0) < 0 && errno == EINTR) {
    }
}

apr_status_t ac_program_run(ac_program_t *program, ac_err_t *err)
{
    int pipes[2], status = 0;
    program->late = program->cut = false;
    if (pipe2(pipes, O_CLOEXEC) != 0) {
        return ac_err_set_lack(err, errno) ? APR_EAGAIN : ac_err_set(err, AC_INTERNAL, "no pipe");
    }
    pid_t pid = fork();
    if (pid == 0) {
        program_become(program, pipes[1]);
    }
    int problem = errno;
    close(pipes[1]);
    if (pid < 0) {
        close(pipes[0]);
        return ac_err_set_lack(err, problem) ? APR_EAGAIN : ac_err_set(err, AC_INTERNAL, "no process");
    }
    setpgid(pid, pid); /* whichever of the two is first */
    program_listen(program, pipes[0], ac_clock() + program->timeout);
    close(pipes[0]);
    program_end(program, pid, &status);
    program->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return APR_SUCCESS;
}
