/* SPDX-License-Identifier: Apache-2.0 */
/* The Azure CLI's sign-in, for development: `az` runs as a child process of a work thread, without a shell, and can be
 * stopped. */
#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT apr_time_from_sec(13)
#define MAX_ERROR (16 * 1024)
#define MAX_ARGS 10

extern char **environ;

typedef struct program_t {
    pid_t pid;
    int out, error; /* pipes, to read from; -1: closed */
    int status;     /* the status of waitpid() */
    bool late, stopped;
    ac_buf_t said, complained;
} program_t;

/* ---- starting ---- */

/* Finds `name` on PATH. Relative entries are ignored: they depend on the directory in which httpd was started. */
static bool find_program(char *path, size_t size, const char *name)
{
    const char *at = getenv("PATH");
    while (at && *at) {
        size_t len = strcspn(at, ":");
        int n = snprintf(path, size, "%.*s/%s", (int)len, at, name);
        if (*at == '/' && n > 0 && (size_t)n < size && access(path, X_OK) == 0) {
            return true;
        }
        at += len + (at[len] == ':');
    }
    return false;
}

/* Gives the child process default signals, and no descriptor of the server. */
static int set_up(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, const int out[2],
                  const int error[2])
{
    sigset_t none, usual;
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    sigaddset(&usual, SIGCHLD);
    sigaddset(&usual, SIGTERM);
    sigaddset(&usual, SIGHUP);
    int status = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    status = status ? status : posix_spawn_file_actions_adddup2(actions, out[1], 1);
    status = status ? status : posix_spawn_file_actions_adddup2(actions, error[1], 2);
#if defined(__GLIBC__) && defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 34)
    status = status ? status : posix_spawn_file_actions_addclosefrom_np(actions, 3);
#endif
#endif
    status = status ? status : posix_spawnattr_setsigmask(attributes, &none);
    status = status ? status : posix_spawnattr_setsigdefault(attributes, &usual);
    status = status ? status : posix_spawnattr_setpgroup(attributes, 0);
    return status
        ? status
        : posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
}

static int provider_cli_start(program_t *program, const char *const *args)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int out[2], error[2];
    if (pipe2(out, O_CLOEXEC)) {
        return errno;
    }
    if (pipe2(error, O_CLOEXEC)) {
        int status = errno;
        close(out[0]);
        close(out[1]);
        return status;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int status = set_up(&actions, &attributes, out, error);
    if (!status) {
        status = posix_spawn(&program->pid, args[0], &actions, &attributes, (char *const *)args, environ);
    }
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close(out[1]);
    close(error[1]);
    if (status) {
        close(out[0]);
        close(error[0]);
        return status;
    }
    program->out = out[0];
    program->error = error[0];
    return 0;
}

/* ---- running ---- */

static void provider_cli_drain(int *pfd, ac_buf_t *into)
{
    char bytes[4096];
    ssize_t n = read(*pfd, bytes, sizeof(bytes));
    if (n > 0) {
        ac_buf_add(into, bytes, (size_t)n); /* bytes beyond the maximum are not needed */
    } else if (n == 0 || errno != EINTR) {
        close(*pfd);
        *pfd = -1;
    }
}

/* Reads until the program closes both pipes, its deadline passes, or the request is cancelled. */
static void listen_to(program_t *program, int stop_fd, apr_time_t due)
{
    while (program->out >= 0 || program->error >= 0) {
        struct pollfd fds[] = {
            {.fd = program->out, .events = POLLIN},
            {.fd = program->error, .events = POLLIN},
            {.fd = stop_fd, .events = POLLIN},
        };
        apr_interval_time_t left = due - ac_clock();
        int n = left > 0 ? poll(fds, 3, (int)(left / 1000) + 1) : 0;
        program->late = n == 0;
        program->stopped = n > 0 && fds[2].revents;
        if (program->late || program->stopped) {
            return;
        }
        if (n > 0 && fds[0].revents) {
            provider_cli_drain(&program->out, &program->said);
        }
        if (n > 0 && fds[1].revents) {
            provider_cli_drain(&program->error, &program->complained);
        }
    }
}

static void provider_cli_finish(program_t *program, apr_time_t due)
{
    pid_t ended = 0;
    while (!program->late && !program->stopped && !ended) {
        ended = waitpid(program->pid, &program->status, WNOHANG);
        program->late = !ended && ac_clock() >= due;
        if (!ended) {
            poll(NULL, 0, 5); /* a program that has closed its outputs ends soon */
        }
    }
    if (!ended) {
        kill(-program->pid, SIGKILL); /* the whole process group: az is a script that starts other programs */
        while (waitpid(program->pid, &program->status, 0) < 0 && errno == EINTR) {
        }
    }
    if (program->out >= 0) {
        close(program->out);
    }
    if (program->error >= 0) {
        close(program->error);
    }
}

/* ---- the program's output ---- */

static bool complains(const program_t *program, const char *phrase)
{
    return program->complained.data && strcasestr(program->complained.data, phrase);
}

static void explain(ac_token_job_t *job, const program_t *program)
{
    const char *found = program->complained.data ? strstr(program->complained.data, "AADSTS") : NULL;
    long code = found ? strtol(found + 6, NULL, 10) : 0;
    const char *meaning = code > 0 && code < 100000000 ? ac_identity_token_explain((int)code) : NULL;
    if (complains(program, "az login") || complains(program, "az account set")) {
        job->absent = true;
        ac_err_set(&job->err, AC_UNAUTHENTICATED,
                   "no user is signed in; run 'az login' as the user that httpd runs as");
    } else if (complains(program, "not found") || complains(program, "no such file")) {
        job->absent = true;
        ac_err_set(&job->err, AC_UNAUTHENTICATED, "'az' does not run");
    } else if (code > 0) {
        ac_err_set(&job->err, AC_UNAUTHENTICATED, "AADSTS%ld: %s", code, meaning ? meaning : "look the code up");
    } else {
        ac_err_set(&job->err, AC_UNAUTHENTICATED, "'az' failed (it ended with %d)",
                   WIFEXITED(program->status) ? WEXITSTATUS(program->status) : -1);
    }
}

/* Newer versions have expires_on, older ones only a local time without a zone. */
static int64_t expiry_of(const json_t *document)
{
    struct tm tm;
    const json_t *on = json_object_get(document, "expires_on");
    const char *local = ac_json_peek_string(document, "expiresOn", "");
    if (json_is_number(on)) {
        return ac_json_whole_part(on, 0);
    }
    if (json_is_string(on) && ac_identity_token_time(json_string_value(on))) {
        return ac_identity_token_time(json_string_value(on));
    }
    memset(&tm, 0, sizeof(tm));
    tm.tm_isdst = -1;
    return strptime(local, "%Y-%m-%d %H:%M:%S", &tm) ? (int64_t)mktime(&tm) : 0;
}

static void read_answer(ac_token_job_t *job, const program_t *program)
{
    json_t *document = program->said.data ? json_loadb(program->said.data, program->said.len, 0, NULL) : NULL;
    const char *token = ac_json_peek_string(document, "accessToken", NULL);
    json_t *answer =
        token ? json_pack("{s:s, s:I}", "access_token", token, "expires_on", (json_int_t)expiry_of(document)) : NULL;
    char *text = answer ? ac_json_dump(answer, NULL) : NULL;
    if (text) {
        ac_buf_str(&job->out, text);
    } else {
        ac_err_set(&job->err, AC_UNAUTHENTICATED, "what 'az' printed holds no token");
    }
    free(text);
    json_decref(answer);
    json_decref(document);
}

static void provider_cli_run(ac_token_job_t *job)
{
    char resource[AC_IDENTITY_SCOPE_SIZE], path[512];
    program_t program = {.out = -1, .error = -1};
    if (!find_program(path, sizeof(path), "az")) {
        job->absent = true;
        ac_err_set(&job->err, AC_UNAUTHENTICATED, "'az' is not installed");
        return;
    }
    ac_token_request_resource(resource, job->scope);
    const char *args[MAX_ARGS] = {
        path, "account", "get-access-token", "--output", "json", "--resource", resource,
    };
    if (*job->tenant) {
        args[7] = "--tenant";
        args[8] = job->tenant;
    }
    ac_buf_init(&program.said, AC_IDENTITY_MAX_TOKEN);
    ac_buf_init(&program.complained, MAX_ERROR);
    int status = provider_cli_start(&program, args);
    if (status) {
        job->absent = !ac_err_set_lack(&job->err, status);
        ac_err_set(&job->err, AC_UNAUTHENTICATED, "'az' cannot be started");
        return;
    }
    apr_time_t due = ac_clock() + TIMEOUT;
    listen_to(&program, job->stop_fd, due);
    provider_cli_finish(&program, due);
    if (program.late) {
        ac_err_set(&job->err, AC_UPSTREAM_TIMEOUT, "'az' did not answer within %d s", (int)apr_time_sec(TIMEOUT));
    } else if (!program.status) {
        read_answer(job, &program);
    } else if (!program.stopped) {
        explain(job, &program);
    }
    ac_buf_free(&program.said);
    ac_buf_free(&program.complained);
}

static void done(ac_token_request_t *token_request, ac_token_job_t *job)
{
    if (job->err.kind != AC_OK) {
        ac_token_request_end_err(token_request, &job->err, job->absent);
        return;
    }
    ac_token_request_end_token(token_request, job->out.data, job->out.len);
}

static void run_cli(ac_token_request_t *token_request)
{
    ac_token_request_work(token_request, provider_cli_run, done, NULL, true);
}

const ac_credential_provider_t ac_provider_cli = {"cli", "AzureCliCredential", false, run_cli};
