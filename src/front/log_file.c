/* SPDX-License-Identifier: Apache-2.0 */
/* A file or a program that gets whole lines from all children at once. httpd's parent opens it, so a graceful restart
 * opens a new one, and children of the previous generation write on to the one they have. */
#include "front_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apr_atomic.h"
#include "apr_portable.h"

APLOG_USE_MODULE(agentchat);

#define PIPE_ROOM (1024 * 1024) /* bytes that wait for a program; the kernel's maximum for users other than root */
#define NOTICE_SECONDS 60

struct ac_log_file_t {
    const char *directive, *target;
    server_rec *server;
    int fd;
    ac_log_file_t **slot;
    volatile apr_uint32_t n_lost, noticed; /* lines since the last notice; its time in seconds, 0: none yet */
    volatile apr_uint32_t torn;            /* the last line of this process was written in part */
};

/* ---- opening ---- */

/* The command of "|command", "||command" and "|$command", as httpd's own piped logs take it; NULL: it is a file. */
static const char *program_of(const char *target, apr_cmdtype_e *ptype)
{
    if (*target != '|') {
        return NULL;
    }
    *ptype = target[1] == '$' ? APR_SHELLCMD_ENV : APR_PROGRAM_ENV;
    target += target[1] == '$' || target[1] == '|' ? 2 : 1;
    return target + strspn(target, " \t");
}

static const char *problem_of_program(const char *command, apr_pool_t *p)
{
    char *word = ap_getword_conf(p, &command);
    struct stat info;
    if (!*word) {
        return "there is no program behind the |";
    }
    if (*word != '/') {
        return NULL; /* found along PATH, or by the shell, when it is started */
    }
    if (stat(word, &info) || access(word, X_OK) || !S_ISREG(info.st_mode)) {
        return apr_psprintf(p, "'%s' is no program that can be started", word);
    }
    return NULL;
}

static const char *problem_of_errno(const char *path, int problem, apr_pool_t *p)
{
    char reason[120];
    return apr_psprintf(p, "'%s' cannot be opened for writing: %s", path,
                        apr_strerror(problem, reason, sizeof(reason)));
}

/* Opens the file and makes nothing. */
static const char *problem_of_path(const char *path, apr_pool_t *p)
{
    struct stat info;
    const char *dir = ap_make_dirstr_parent(p, path);
    if (!stat(path, &info)) {
        int problem = S_ISDIR(info.st_mode) ? EISDIR : access(path, W_OK) ? errno : 0;
        return problem ? problem_of_errno(path, problem, p) : NULL;
    }
    if (errno != ENOENT) {
        return problem_of_errno(path, errno, p);
    }
    int problem = stat(dir, &info) ? errno : !S_ISDIR(info.st_mode) ? ENOTDIR : access(dir, W_OK | X_OK) ? errno : 0;
    return problem ? problem_of_errno(path, problem, p) : NULL;
}

const char *ac_log_file_problem(const char *target, apr_pool_t *p)
{
    apr_cmdtype_e type;
    const char *command = program_of(target, &type), *path = command ? NULL : ap_server_root_relative(p, target);
    if (command) {
        return type == APR_PROGRAM_ENV ? problem_of_program(command, p)
            : *command                 ? NULL
                                       : "there is no program behind the |";
    }
    return path ? problem_of_path(path, p) : apr_psprintf(p, "'%s' is not a path", target);
}

/* The program outlives restarts, and later configurations find it by its command: httpd ends the programs of its own
 * logs at each restart, and lines of children of the previous generation, whose streams may last for minutes, would be
 * lost. */
static const char *start_program(int *pfd, const char *target, apr_pool_t *p)
{
    apr_cmdtype_e type;
    void *keep = NULL, *program = NULL;
    const char *command = program_of(target, &type);
    apr_pool_userdata_get(&keep, AC_KEEP_POOL, p);
    keep = keep ? keep : p;
    const char *key = apr_pstrcat(keep, "agentchat-log ", target, NULL);
    apr_pool_userdata_get(&program, key, keep);
    if (!program) {
        program = ap_open_piped_log_ex(keep, command, type);
        apr_pool_userdata_setn(program, key, NULL, keep);
    }
    if (!program || apr_os_file_get(pfd, ap_piped_log_write_fd(program)) != APR_SUCCESS) {
        return apr_psprintf(p, "'%s' cannot be started", command);
    }
    /* A program that does not read must not stop a child. */
    fcntl(*pfd, F_SETFL, fcntl(*pfd, F_GETFL) | O_NONBLOCK);
#ifdef F_SETPIPE_SZ
    fcntl(*pfd, F_SETPIPE_SZ, PIPE_ROOM);
#endif
    return NULL;
}

static const char *open_path(int *pfd, const char *path, apr_pool_t *p)
{
    apr_file_t *file;
    apr_status_t status = apr_file_open(&file, path, APR_FOPEN_WRITE | APR_FOPEN_APPEND | APR_FOPEN_CREATE,
                                        APR_FPROT_UREAD | APR_FPROT_UWRITE | APR_FPROT_GREAD, p);
    if (status == APR_SUCCESS) {
        status = apr_os_file_get(pfd, file);
    }
    return status == APR_SUCCESS ? NULL : problem_of_errno(path, status, p);
}

static apr_status_t log_file_forget(void *baton)
{
    ac_log_file_t *file = baton;
    *file->slot = NULL;
    return APR_SUCCESS;
}

const char *ac_log_file_open(ac_log_file_t **pfile, const char *directive, const char *target, server_rec *s,
                             apr_pool_t *p)
{
    ac_log_file_t *file = apr_pcalloc(p, sizeof(*file));
    *file = (ac_log_file_t){.directive = directive, .target = target, .server = s, .slot = pfile};
    const char *problem = *target == '|' ? start_program(&file->fd, target, p)
                                         : open_path(&file->fd, ap_server_root_relative(p, target), p);
    if (!problem) {
        *pfile = file;
        apr_pool_cleanup_register(p, file, log_file_forget, apr_pool_cleanup_null);
    }
    return problem;
}

/* ---- writing ---- */

/* To httpd's error log, at most once a minute in each child. */
static void notice_loss(ac_log_file_t *file, int problem)
{
    apr_uint32_t now = (apr_uint32_t)apr_time_sec(apr_time_now()), before = apr_atomic_read32(&file->noticed);
    apr_atomic_inc32(&file->n_lost);
    if ((before && now - before < NOTICE_SECONDS) || apr_atomic_cas32(&file->noticed, now, before) != before) {
        return;
    }
    ac_log_front_direct(AC_M680, problem, file->server, "%s %s: %u lines could not be written and are lost",
                        file->directive, file->target, apr_atomic_xchg32(&file->n_lost, 0));
}

bool ac_log_file_write(ac_log_file_t *file, const char *line, size_t len)
{
    /* The file system was full in the middle of a line: the next one begins a line of its own. */
    if (apr_atomic_read32(&file->torn) && apr_atomic_xchg32(&file->torn, 0) && write(file->fd, "\n", 1) != 1) {
        apr_atomic_set32(&file->torn, 1);
    }
    ssize_t n;
    do {
        n = write(file->fd, line, len);
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t)len) {
        return true;
    }
    int problem = n < 0 ? errno : ENOSPC;
    if (n > 0) {
        apr_atomic_set32(&file->torn, 1);
    }
    notice_loss(file, problem);
    return false;
}
