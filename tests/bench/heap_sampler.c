/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into the httpd of a soak: each process writes every few seconds how many bytes its malloc has given out, in
 * kB, to $HEAP_SAMPLES/<pid>. RssAnon also contains free memory that malloc keeps, which depends on chance. */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define EVERY 5 /* seconds */

/* Replaces the file at once, so that a reader never sees half of it. */
static void heap_write(const char *folder)
{
    char path[4096], part[4096 + 8];
    struct mallinfo2 info = mallinfo2();
    snprintf(path, sizeof(path), "%s/%ld", folder, (long)getpid());
    snprintf(part, sizeof(part), "%s.part", path);
    FILE *file = fopen(part, "we");
    if (!file) {
        return;
    }
    fprintf(file, "%zu\n", (info.uordblks + info.hblkhd) / 1024);
    if (!fclose(file)) {
        rename(part, path);
    }
}

static void *heap_run(void *baton)
{
    (void)baton;
    const char *folder = getenv("HEAP_SAMPLES");
    while (folder) {
        heap_write(folder);
        sleep(EVERY);
    }
    return NULL;
}

/* Threads do not survive a fork. No signal of httpd's may come to this one. */
static void heap_start(void)
{
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (!pthread_create(&thread, NULL, heap_run, NULL)) {
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

__attribute__((constructor)) static void heap_init(void)
{
    pthread_atfork(NULL, NULL, heap_start);
}
