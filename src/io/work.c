/* SPDX-License-Identifier: Apache-2.0 */
/* Work threads for blocking calls: a bounded queue of jobs, whose results return to the loop. */
#include "io.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

typedef struct job_t {
    ac_task_fn *fn, *done;
    void *baton;
} job_t;

struct ac_work_t {
    ac_loop_t *loop;
    pthread_mutex_t lock;
    pthread_cond_t wanted;
    bool stopping;
    int n_queued, max_queued, first; /* jobs[first…], a ring */
    int n_idle;                      /* threads that wait for a job */
    int n_threads;
    pthread_t *threads;
    job_t jobs[];
};

static bool next_job(ac_work_t *work, job_t *job)
{
    pthread_mutex_lock(&work->lock);
    while (!work->n_queued && !work->stopping) {
        work->n_idle++;
        pthread_cond_wait(&work->wanted, &work->lock);
        work->n_idle--;
    }
    bool got = work->n_queued > 0;
    if (got) {
        *job = work->jobs[work->first];
        work->first = (work->first + 1) % work->max_queued;
        work->n_queued--;
    }
    pthread_mutex_unlock(&work->lock);
    return got;
}

static void *work_main(void *baton)
{
    ac_work_t *work = baton;
    job_t job;
    pthread_setname_np(pthread_self(), "agentchat-work");
    while (next_job(work, &job)) {
        job.fn(job.baton);
        if (job.done) {
            ac_loop_post(work->loop, job.done, job.baton);
        }
    }
    return NULL;
}

/* Signals are for httpd's threads only. */
static int work_start_thread(pthread_t *pthread, ac_work_t *work)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_create(pthread, NULL, work_main, work);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

apr_status_t ac_work_create(ac_work_t **pwork, ac_loop_t *loop, int n_threads, int max_queued, ac_err_t *err)
{
    *pwork = NULL;
    if (n_threads < 1 || max_queued < 1) {
        return ac_err_set(err, AC_INTERNAL, "work threads: at least one thread and room for one job");
    }
    ac_work_t *work = calloc(1, sizeof(*work) + (size_t)max_queued * sizeof(job_t));
    pthread_t *threads = calloc((size_t)n_threads, sizeof(*threads));
    if (!work || !threads) {
        free(work);
        free(threads);
        return ac_err_set(err, AC_INTERNAL, "out of memory");
    }
    work->loop = loop;
    work->max_queued = max_queued;
    work->threads = threads;
    pthread_mutex_init(&work->lock, NULL);
    pthread_cond_init(&work->wanted, NULL);
    for (int i = 0; i < n_threads; i++) {
        int status = work_start_thread(&threads[i], work);
        if (status) {
            ac_err_set(err, AC_INTERNAL, "a work thread could not be started");
            if (err) {
                err->status = status;
            }
            ac_work_destroy(work);
            return status;
        }
        work->n_threads++;
    }
    *pwork = work;
    return APR_SUCCESS;
}

apr_status_t ac_work_post(ac_work_t *work, ac_task_fn *fn, ac_task_fn *done, void *baton)
{
    pthread_mutex_lock(&work->lock);
    bool room = work->n_queued < work->max_queued && !work->stopping;
    bool wake = room && work->n_idle > 0;
    if (room) {
        int at = (work->first + work->n_queued++) % work->max_queued;
        work->jobs[at] = (job_t){fn, done, baton};
    }
    pthread_mutex_unlock(&work->lock);
    if (wake) {
        pthread_cond_signal(&work->wanted);
    }
    return room ? APR_SUCCESS : APR_EAGAIN;
}

void ac_work_stop(ac_work_t *work)
{
    pthread_mutex_lock(&work->lock);
    work->stopping = true;
    pthread_cond_broadcast(&work->wanted);
    pthread_mutex_unlock(&work->lock);
    for (int i = 0; i < work->n_threads; i++) {
        pthread_join(work->threads[i], NULL);
    }
    work->n_threads = 0;
}

void ac_work_destroy(ac_work_t *work)
{
    if (!work) {
        return;
    }
    ac_work_stop(work);
    pthread_cond_destroy(&work->wanted);
    pthread_mutex_destroy(&work->lock);
    free(work->threads);
    free(work);
}
