/* SPDX-License-Identifier: Apache-2.0 */
/* Reads /proc for the server under test, with all its processes and threads. */
#include "proctree.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct process_t {
    pid_t pid, parent;
    unsigned long long child_ticks;
    unsigned n_threads;
    long rss_pages;
    bool member;
} process_t;

typedef struct process_list_t {
    process_t *items;
    size_t n, size;
} process_list_t;

static bool read_process(const char *pid, process_t *process)
{
    char path[300], text[1024];
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) {
        return false;
    }
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = 0;
    const char *after_name = strrchr(text, ')');
    unsigned long long child_user, child_system;
    *process = (process_t){.pid = (pid_t)strtol(pid, NULL, 10)};
    if (!after_name ||
        sscanf(after_name + 2,
               "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %llu %llu %*d %*d %u %*d %*u %*u %ld",
               &process->parent, &child_user, &child_system, &process->n_threads, &process->rss_pages) != 5) {
        return false;
    }
    process->child_ticks = child_user + child_system;
    return true;
}

/* Its clock is exact, where /proc counts in steps of 10 ms. */
static double read_cpu_s(pid_t pid)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &used)) {
        return 0;
    }
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static uint64_t read_pss_kb(pid_t pid)
{
    char path[64], line[256];
    unsigned long long kb = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file) {
        return 0;
    }
    while (fgets(line, sizeof line, file) && sscanf(line, "Pss: %llu", &kb) != 1) {
    }
    fclose(file);
    return kb;
}

static bool is_root(const tree_roots_t *roots, pid_t pid)
{
    for (size_t i = 0; i < roots->n; i++) {
        if (roots->pid[i] == pid) {
            return true;
        }
    }
    return false;
}

static void list_read(process_list_t *list, const tree_roots_t *roots)
{
    DIR *dir = opendir("/proc");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9') {
            continue;
        }
        if (list->n == list->size) {
            list->size = list->size ? 2 * list->size : 128;
            list->items = realloc(list->items, list->size * sizeof *list->items);
            if (!list->items) {
                abort();
            }
        }
        process_t *process = &list->items[list->n];
        if (!read_process(entry->d_name, process)) {
            continue;
        }
        process->member = is_root(roots, process->pid);
        list->n++;
    }
    if (dir) {
        closedir(dir);
    }
}

/* Whether the parent of this process is a member by now. */
static bool is_descendant(const process_list_t *list, const process_t *process)
{
    for (size_t i = 0; i < list->n; i++) {
        if (list->items[i].member && list->items[i].pid == process->parent) {
            return true;
        }
    }
    return false;
}

static void list_mark_descendants(process_list_t *list)
{
    for (bool grew = true; grew;) {
        grew = false;
        for (size_t i = 0; i < list->n; i++) {
            if (list->items[i].member || !is_descendant(list, &list->items[i])) {
                continue;
            }
            grew = list->items[i].member = true;
        }
    }
}

tree_usage_t tree_read(const tree_roots_t *roots, bool with_pss)
{
    tree_usage_t usage = {0};
    process_list_t list = {0};
    if (roots->n) {
        list_read(&list, roots);
        list_mark_descendants(&list);
    }
    for (size_t i = 0; i < list.n; i++) {
        const process_t *process = &list.items[i];
        if (!process->member) {
            continue;
        }
        usage.cpu_s += read_cpu_s(process->pid) + (double)process->child_ticks / (double)sysconf(_SC_CLK_TCK);
        usage.rss_kb += (uint64_t)(process->rss_pages * (sysconf(_SC_PAGESIZE) / 1024));
        usage.n_threads += process->n_threads;
        usage.n_processes++;
        if (with_pss) {
            usage.pss_kb += read_pss_kb(process->pid);
        }
    }
    free(list.items);
    return usage;
}

tree_machine_t tree_machine_read(void)
{
    unsigned long long user = 0, nice = 0, system = 0, irq = 0, soft = 0, steal = 0;
    FILE *file = fopen("/proc/stat", "r");
    if (file) {
        if (fscanf(file, "cpu %llu %llu %llu %*u %*u %llu %llu %llu", &user, &nice, &system, &irq, &soft, &steal) !=
            6) {
            user = 0;
        }
        fclose(file);
    }
    double hz = (double)sysconf(_SC_CLK_TCK);
    return (tree_machine_t){
        .busy_s = (double)(user + nice + system + irq + soft) / hz,
        .steal_s = (double)steal / hz,
    };
}

/* ---- sampler ---- */
static pthread_t sampler;
static atomic_bool sampling;
static tree_roots_t sampled;
static tree_usage_t peak;

static void take_sample(bool with_pss)
{
    tree_usage_t usage = tree_read(&sampled, with_pss);
    if (usage.rss_kb > peak.rss_kb) {
        peak.rss_kb = usage.rss_kb;
    }
    if (usage.pss_kb > peak.pss_kb) {
        peak.pss_kb = usage.pss_kb;
    }
    if (usage.n_processes > peak.n_processes) {
        peak.n_processes = usage.n_processes;
    }
    if (usage.n_threads > peak.n_threads) {
        peak.n_threads = usage.n_threads;
    }
}

static void *sample_loop(void *baton)
{
    (void)baton;
    for (unsigned i = 0; sampling; i++) {
        take_sample(i % 4 == 0);
        nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
    }
    return NULL;
}

void tree_sampler_start(const tree_roots_t *roots)
{
    sampled = *roots;
    peak = (tree_usage_t){0};
    sampling = roots->n > 0;
    if (sampling && pthread_create(&sampler, NULL, sample_loop, NULL)) {
        sampling = false;
    }
}

tree_usage_t tree_sampler_stop(void)
{
    if (sampling) {
        sampling = false;
        pthread_join(sampler, NULL);
    }
    take_sample(true);
    return peak;
}
