/* SPDX-License-Identifier: Apache-2.0 */
/* A document that is fetched: when a run wants its tools and the last one is out of date, once for all runs. They wait
 * only if there is no document at all. A copy in the state directory serves while the document cannot be fetched, and
 * to children that begin. A work thread reads documents, since a large one takes longer than the loop may. */
#include "openapi_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_REDIRECTS 3
#define RETRY_FIRST apr_time_from_sec(1)
#define RETRY_SHIFT 8 /* the longest time between two attempts is about four minutes */

struct ac_openapi_job_t {
    ac_openapi_service_t *service; /* NULL: the child ends. The loop thread's */
    const ac_openapi_service_t *of;
    char *text; /* that was fetched; NULL: the copy is wanted */
    size_t len;
    ac_openapi_tools_t *tools;
    apr_interval_time_t age; /* of the copy */
    int failed_copy;         /* errno of writing it; 0: written, or not wanted */
    ac_err_t err;
};

static void load_fetch(ac_openapi_service_t *service);

/* ---- the end of an attempt ---- */

static void load_fail(ac_openapi_service_t *service, const ac_err_t *err)
{
    int shift = service->n_failures < RETRY_SHIFT ? service->n_failures : RETRY_SHIFT;
    service->err = *err;
    service->n_failures++;
    service->retry_at = ac_loop_now(service->loop) + (RETRY_FIRST << shift);
    if (!service->down) {
        ac_log(AC_M424, err->status, "openapi[%s]: its document cannot be loaded: %s; runs %s", service->conf->id,
               err->detail, service->tools ? "use the one from before" : "go without its tools");
    }
    service->down = true;
    ac_tool_source_report(&service->waiters);
}

static void load_tell(void *baton, ac_log_id_e number, const char *text)
{
    (void)baton;
    ac_log(number, APR_SUCCESS, "%s", text);
}

static bool differ(const ac_openapi_tools_t *a, const ac_openapi_tools_t *b)
{
    bool differ = !a || a->n != b->n || a->n_left_out != b->n_left_out || a->n_operations != b->n_operations;
    for (int i = 0; !differ && i < a->n; i++) {
        differ = strcmp(a->list[i].id, b->list[i].id) != 0;
    }
    return differ;
}

/* Takes the tools over. */
static void load_take(ac_openapi_service_t *service, ac_openapi_tools_t *tools)
{
    bool news = differ(service->tools, tools);
    ac_openapi_list_unref(service->tools);
    service->tools = tools;
    if (news) {
        ac_openapi_list_tell(service, load_tell, NULL);
    }
    if (news && tools->unmatched) {
        ac_log(AC_M425, APR_SUCCESS, "openapi[%s]: no operation of its document is named '%s'", service->conf->id,
               tools->unmatched);
    }
}

static void load_succeed(ac_openapi_service_t *service, apr_interval_time_t left)
{
    service->expires = ac_loop_now(service->loop) + left;
    service->retry_at = 0;
    service->n_failures = 0;
    service->down = false;
    ac_err_init(&service->err);
    ac_tool_source_report(&service->waiters);
}

/* ---- on a work thread ---- */

/* A whole new file takes the place of the last one, so that no reader sees a part of it. */
static int write_copy(const char *path, const char *text, size_t len)
{
    char name[1024];
    snprintf(name, sizeof name, "%s.%d.new", path, (int)getpid());
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), failed = fd < 0 ? errno : 0;
    for (size_t done = 0; !failed && done < len;) {
        ssize_t n = write(fd, text + done, len - done);
        failed = n < 0 && errno != EINTR ? errno : 0;
        done += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (!failed && rename(name, path)) {
        failed = errno;
    }
    if (failed && fd >= 0) {
        unlink(name);
    }
    return failed;
}

static void read_copy(ac_openapi_job_t *job)
{
    struct stat info;
    char *text = NULL;
    size_t len;
    if (stat(job->of->copy, &info) || ac_file_read(&text, &len, job->of->copy, AC_MAX_OPENAPI_DOCUMENT)) {
        ac_err_set(&job->err, AC_TOOL_ERROR, "there is no copy");
        return;
    }
    job->age = apr_time_now() - apr_time_from_sec(info.st_mtime);
    ac_openapi_list_make(&job->tools, job->of, text, len, &job->err);
    free(text);
}

static void load_job_run(void *baton)
{
    ac_openapi_job_t *job = baton;
    if (!job->text) {
        read_copy(job);
        return;
    }
    ac_openapi_list_make(&job->tools, job->of, job->text, job->len, &job->err);
    if (job->tools && job->of->copy) {
        job->failed_copy = write_copy(job->of->copy, job->text, job->len);
    }
}

/* ---- back on the loop ---- */

static void job_finish(ac_openapi_service_t *service, ac_openapi_job_t *job)
{
    apr_interval_time_t refresh = service->conf->refresh;
    bool fetched = job->text != NULL, young = job->age >= 0 && job->age < refresh;
    if (job->failed_copy) {
        ac_log(AC_M426, job->failed_copy, "openapi[%s]: no copy of its document could be written to %s",
               service->conf->id, service->copy);
    }
    if (job->tools) {
        load_take(service, job->tools);
        job->tools = NULL;
        if (fetched || young) {
            load_succeed(service, fetched ? refresh : refresh - job->age);
            return;
        }
    }
    if (fetched) {
        load_fail(service, &job->err);
        return;
    }
    if (service->tools) {
        ac_tool_source_report(&service->waiters);
    }
    load_fetch(service);
}

static void job_on_done(void *baton)
{
    ac_openapi_job_t *job = baton;
    if (job->service) {
        job->service->job = NULL;
        job_finish(job->service, job);
    }
    ac_openapi_list_unref(job->tools);
    free(job->text);
    free(job);
}

/* Takes the text over; NULL: the copy is wanted. */
static void job_start(ac_openapi_service_t *service, ac_buf_t *text)
{
    ac_openapi_job_t *job = ac_alloc(sizeof *job);
    ac_err_t err;
    job->service = service;
    job->of = service;
    if (text) {
        job->text = text->data;
        job->len = text->len;
        ac_buf_init(text, AC_MAX_OPENAPI_DOCUMENT);
    }
    ac_err_init(&job->err);
    service->job = job;
    if (service->host->work_post(service->host->work, load_job_run, job_on_done, job) == APR_SUCCESS) {
        return;
    }
    service->job = NULL;
    free(job->text);
    free(job);
    ac_err_init(&err);
    ac_err_set(&err, AC_OVERLOADED, "no work thread is free to read it");
    load_fail(service, &err);
}

/* ---- fetching ---- */

static void load_on_head(void *baton, const ac_http_head_t *head)
{
    ((ac_openapi_service_t *)baton)->status = head->status;
}

static bool load_on_body(void *baton, const char *bytes, size_t len)
{
    return ac_buf_add(&((ac_openapi_service_t *)baton)->body, bytes, len) == APR_SUCCESS;
}

static void load_on_end(void *baton, apr_status_t status, const ac_err_t *cause, const char *error_body, size_t len)
{
    ac_openapi_service_t *service = baton;
    ac_err_t err;
    (void)error_body;
    (void)len;
    ac_err_init(&err);
    service->http = NULL;
    if (status != APR_SUCCESS) {
        ac_tool_support_exchange_failed(&err, "its server", cause);
    } else if (service->status != 200) {
        ac_err_set(&err, AC_TOOL_ERROR, "its server answered %d", service->status);
    } else if (service->body.failed || !service->body.len) {
        ac_err_set(&err, AC_TOOL_ERROR, service->body.len ? "it is too large" : "it is empty");
    } else {
        job_start(service, &service->body);
        return;
    }
    ac_buf_free(&service->body);
    load_fail(service, &err);
}

static void load_fetch(ac_openapi_service_t *service)
{
    static const ac_http_cb_t callbacks = {.on_head = load_on_head, .on_body = load_on_body, .on_end = load_on_end};
    static const char *const headers[] = {"Accept: application/json, application/yaml, text/*;q=0.9, */*;q=0.1", NULL};
    const ac_openapi_conf_t *conf = service->conf;
    const ac_http_request_t request = {
        .method = "GET",
        .url = service->url,
        .headers = headers,
        .connect_timeout = conf->connect_timeout,
        .total_timeout = conf->load_timeout,
        .max_response = AC_MAX_OPENAPI_DOCUMENT,
        .ca_file = conf->ca_file,
        .max_redirects = MAX_REDIRECTS,
        .public_only = !conf->allow_private,
        .allow_hosts = service->hosts,
    };
    ac_err_t err;
    ac_err_init(&err);
    service->status = 0;
    ac_buf_clear(&service->body);
    if (ac_http_start(&service->http, service->loop, &request, &callbacks, service, &err) != APR_SUCCESS) {
        load_fail(service, &err);
    }
}

/* ---- what runs want ---- */

static void load_begin(ac_openapi_service_t *service)
{
    bool look = service->copy && !service->looked;
    service->looked = true;
    if (look) {
        job_start(service, NULL);
    } else {
        load_fetch(service);
    }
}

/* A run that finds a document does not wait for a newer one. */
bool ac_openapi_load_want(ac_openapi_service_t *service, ac_tool_waiter_t *waiter)
{
    apr_time_t now = ac_loop_now(service->loop);
    bool current = service->path || (service->tools && now < service->expires);
    bool resting = service->retry_at && now < service->retry_at;
    if (!current && !resting && !service->job && !service->http) {
        load_begin(service);
    }
    if (service->tools || (!service->job && !service->http)) {
        return false;
    }
    ac_tool_source_wait(&service->waiters, waiter);
    return true;
}

void ac_openapi_load_stop(ac_openapi_service_t *service)
{
    while (service->waiters) {
        ac_tool_source_forget(service->waiters);
    }
    if (service->http) {
        ac_http_cancel(service->http);
        service->http = NULL;
    }
    if (service->job) {
        service->job->service = NULL;
        service->job = NULL;
    }
    ac_buf_free(&service->body);
}
