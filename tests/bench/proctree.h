/* SPDX-License-Identifier: Apache-2.0 */
/* CPU time and memory of processes and their descendants, from /proc. */
#ifndef PROCTREE_H
#define PROCTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { TREE_MAX_ROOTS = 16 };
typedef struct tree_roots_t {
    pid_t pid[TREE_MAX_ROOTS];
    size_t n;
} tree_roots_t;

typedef struct tree_usage_t {
    double cpu_s;            /* user + system, of the living and of their reaped children */
    uint64_t rss_kb, pss_kb; /* summed over the processes */
    unsigned n_processes, n_threads;
} tree_usage_t;

typedef struct tree_machine_t {
    double busy_s, steal_s; /* over all CPUs, since boot */
} tree_machine_t;

/* PSS takes a walk of the page tables, so it is read only on demand. */
tree_usage_t tree_read(const tree_roots_t *roots, bool with_pss);
tree_machine_t tree_machine_read(void);

/* A thread that keeps the peaks of the tree's memory, processes and threads. */
void tree_sampler_start(const tree_roots_t *roots);
tree_usage_t tree_sampler_stop(void);

#endif
