/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials that are asked from outside of their loop, and their log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_strings.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "credential_rig.h"

#define PATIENCE apr_time_from_sec(20)
#define MAX_LOG (1024 * 1024)

extern char **environ;

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t log_grew = PTHREAD_COND_INITIALIZER;
static char log_text[MAX_LOG];
static size_t log_len;

/* ---- the log ---- */

static void keep_log(ac_level_e level, const char *file, int line, apr_status_t status, const char *text)
{
    (void)level, (void)file, (void)line, (void)status;
    pthread_mutex_lock(&log_lock);
    size_t len = strlen(text);
    if (log_len + len + 2 < MAX_LOG) {
        memcpy(log_text + log_len, text, len);
        log_len += len;
        log_text[log_len++] = '\n';
        log_text[log_len] = '\0';
    }
    pthread_cond_broadcast(&log_grew);
    pthread_mutex_unlock(&log_lock);
}

static int count(const char *text)
{
    int n = 0;
    for (const char *at = log_text; (at = strstr(at, text)) != NULL; at++) {
        n++;
    }
    return n;
}

int credential_rig_count_log(const char *text)
{
    pthread_mutex_lock(&log_lock);
    int n = count(text);
    pthread_mutex_unlock(&log_lock);
    return n;
}

void credential_rig_wait_log(const char *text, int n)
{
    struct timespec until;
    int status = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += apr_time_sec(PATIENCE);
    pthread_mutex_lock(&log_lock);
    while (count(text) < n && !status) {
        status = pthread_cond_timedwait(&log_grew, &log_lock, &until);
    }
    bool there = count(text) >= n;
    pthread_mutex_unlock(&log_lock);
    if (!there) {
        print_error("'%s' is not in the log:\n%s", text, log_text);
    }
    assert_true(there);
}

/* ---- life ---- */

static void clear_environment(void)
{
    static const char *const fronts[] = {"AZURE_", "IDENTITY_", "MSI_", "IMDS_"};
    for (char **row = environ; *row;) {
        char name[128];
        bool ours = false;
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(*row, "="), *row);
        for (size_t i = 0; i < sizeof(fronts) / sizeof(fronts[0]); i++) {
            ours = ours || strncmp(name, fronts[i], strlen(fronts[i])) == 0;
        }
        if (ours) {
            unsetenv(name);
            row = environ;
            continue;
        }
        row++;
    }
}

int credential_rig_open(void **state)
{
    credential_rig_t *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    clear_environment();
    log_len = 0;
    log_text[0] = '\0';
    ac_log_install(keep_log, AC_TRACE);
    snprintf(rig->directory, sizeof(rig->directory), "/tmp/credential-XXXXXX");
    assert_non_null(mkdtemp(rig->directory));
    assert_int_equal(apr_pool_create(&rig->pool, NULL), APR_SUCCESS);
    rig_open(&rig->loop);
    assert_int_equal(ac_work_create(&rig->work, rig->loop.loop, 2, 64, NULL), APR_SUCCESS);
    rig->host = (ac_host_t){.version = 1, .loop = rig->loop.loop, .work = rig->work};
    /* A request without a script is refused: this is a local port without a listener. */
    setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1", 1);
    setenv("AZURE_AUTHORITY_HOST", "http://127.0.0.1:1", 1);
    *state = rig;
    return 0;
}

void credential_rig_stop(credential_rig_t *rig)
{
    if (rig->started) {
        ac_credential_child_exit(rig->credential);
    }
    rig->started = false;
}

static void do_nothing(void *baton)
{
    (void)baton;
}

static void empty_directory(const char *path)
{
    struct dirent *entry;
    DIR *directory = opendir(path);
    while (directory && (entry = readdir(directory)) != NULL) {
        if (*entry->d_name != '.') {
            unlinkat(dirfd(directory), entry->d_name, 0);
        }
    }
    closedir(directory);
    rmdir(path);
}

int credential_rig_close(void **state)
{
    credential_rig_t *rig = *state;
    credential_rig_stop(rig);
    ac_work_destroy(rig->work);
    rig_call(&rig->loop, do_nothing, NULL); /* what the work threads posted last has run */
    rig_close(&rig->loop);
    apr_pool_destroy(rig->pool);
    empty_directory(rig->directory);
    ac_log_install(NULL, AC_ERROR);
    bool clean = !strstr(log_text, SECRET);
    if (!clean) {
        print_error("a secret stands in the log:\n%s", log_text);
    }
    free(rig);
    return clean ? 0 : -1;
}

const char *credential_rig_make(credential_rig_t *rig, const char *spec, const char *options)
{
    char *state = NULL;
    apr_table_t *table = apr_table_make(rig->pool, 4);
    char *rest = apr_pstrdup(rig->pool, options ? options : "");
    for (char *word = apr_strtok(rest, " ", &state); word; word = apr_strtok(NULL, " ", &state)) {
        char *equals = strchr(word, '=');
        assert_non_null(equals);
        *equals = '\0';
        apr_table_set(table, word, equals + 1);
    }
    return ac_credential_spec_create(&rig->credential, spec, table, rig->pool);
}

void credential_rig_start(credential_rig_t *rig, const char *spec, const char *options)
{
    const char *problem = credential_rig_make(rig, spec, options);
    if (problem) {
        print_error("%s\n", problem);
    }
    assert_null(problem);
    assert_int_equal(ac_credential_child_init(rig->credential, &rig->host, NULL), APR_SUCCESS);
    rig->started = true;
}

/* ---- asking ---- */

static void on_text(void *baton, apr_status_t status, const char *text, const ac_err_t *err)
{
    asked_t *asked = baton;
    asked->n++;
    asked->status = status;
    snprintf(asked->text, sizeof(asked->text), "%s", text ? text : "");
    if (err) {
        asked->err = *err;
    }
    ac_latch_open(asked->done);
}

static void get(void *baton)
{
    asked_t *asked = baton;
    ac_credential_get(asked->rig->credential, asked->scope, on_text, asked);
    assert_int_equal(asked->n, 0);
}

void asked_begin(asked_t *asked, credential_rig_t *rig, const char *scope)
{
    memset(asked, 0, sizeof(*asked));
    asked->rig = rig;
    asked->scope = scope;
    asked->done = ac_latch_create();
    rig_call(&rig->loop, get, asked);
}

void asked_wait(asked_t *asked)
{
    assert_true(ac_latch_wait(asked->done, ac_clock() + PATIENCE));
    assert_int_equal(asked->n, 1);
}

void asked_free(asked_t *asked)
{
    ac_latch_unref(asked->done);
}

const char *credential_rig_get(credential_rig_t *rig, const char *scope)
{
    asked_t asked;
    asked_begin(&asked, rig, scope);
    asked_wait(&asked);
    if (asked.status != APR_SUCCESS) {
        print_error("no text: %s\n", asked.err.detail);
    }
    assert_int_equal(asked.status, APR_SUCCESS);
    asked_free(&asked);
    return apr_pstrdup(rig->pool, asked.text);
}

const char *credential_rig_fail(credential_rig_t *rig, const char *scope)
{
    asked_t asked;
    asked_begin(&asked, rig, scope);
    asked_wait(&asked);
    asked_free(&asked);
    assert_int_not_equal(asked.status, APR_SUCCESS);
    assert_string_equal(asked.text, "");
    assert_null(strstr(asked.err.detail, SECRET));
    return apr_pstrdup(rig->pool, asked.err.detail);
}

static void look(void *baton)
{
    asked_t *asked = baton;
    const char *text = ac_credential_now(asked->rig->credential, asked->scope);
    snprintf(asked->text, sizeof(asked->text), "%s", text ? text : "");
}

const char *credential_rig_now(credential_rig_t *rig, const char *scope)
{
    asked_t asked = {.rig = rig, .scope = scope};
    rig_call(&rig->loop, look, &asked);
    return apr_pstrdup(rig->pool, asked.text);
}

static void reject(void *baton)
{
    asked_t *asked = baton;
    ac_credential_reject(asked->rig->credential, asked->scope, asked->text);
}

void credential_rig_reject(credential_rig_t *rig, const char *scope, const char *text)
{
    asked_t asked = {.rig = rig, .scope = scope};
    snprintf(asked.text, sizeof(asked.text), "%s", text);
    rig_call(&rig->loop, reject, &asked);
}

/* ---- small things ---- */

const char *credential_rig_file(credential_rig_t *rig, const char *name, const char *bytes, size_t len, int mode)
{
    const char *path = apr_pstrcat(rig->pool, rig->directory, "/", name, NULL);
    const char *next = apr_pstrcat(rig->pool, rig->directory, "/new", NULL);
    int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(fchmod(fd, (mode_t)mode), 0);
    close(fd);
    assert_int_equal(rename(next, path), 0);
    return path;
}

void set_url(const char *variable, const http_server_t *server, const char *rest)
{
    char url[128];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", http_server_port(server), rest);
    setenv(variable, url, 1);
}

void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        print_error("'%s' does not contain '%s'\n", text, part);
        fail();
    }
}

void assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part)) {
        print_error("'%s' contains '%s'\n", text, part);
        fail();
    }
}
