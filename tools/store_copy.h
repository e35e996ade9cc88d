/* SPDX-License-Identifier: Apache-2.0 */
/* agentchat-store: the state of a copy, for agentchat_store.c, store_compare.c, store_usage.c and store_files.c. */
#ifndef STORE_COPY_H
#define STORE_COPY_H

#include "back/back.h"
#include "back/files/files.h"

#include <apr_hash.h>
#include <apr_strings.h>

typedef struct end_t { /* one of the two stores */
    const char *spec;  /* may be shown */
    ac_store_t store;
    ac_files_t files;  /* where the bytes of files are; no vt: they are not copied */
    apr_hash_t *known; /* of the target: thread id → fingerprint of its record */
} end_t;

typedef struct counts_t {
    int64_t threads, messages, runs, steps, agents, usage, files, contents;
} counts_t;

typedef struct copy_t {
    apr_pool_t *pool;
    ac_host_t host;
    end_t from, to;
    bool quick;
    counts_t total, done, seen_from, seen_to;
    int64_t n_skipped, n_different;
    apr_time_t shown;
    ac_err_t err;
} copy_t;

/* ---- agentchat_store.c ---- */

/* Carries out op. Returns its `out`, a new reference, or NULL with copy->err set. Consumes op and in. */
json_t *store_copy_call(copy_t *copy, end_t *end, ac_store_op_t *op, json_t *in);
/* The next messages or runs of a thread; the results are those of store_copy_call(). */
json_t *store_copy_messages(copy_t *copy, end_t *end, const char *id, int64_t after);
json_t *store_copy_runs(copy_t *copy, end_t *end, const char *id, const char *after);
/* All agents of a store, as store_copy_call(). */
json_t *store_copy_agents(copy_t *copy, end_t *end);
/* The agent in list with the same id, borrowed, or NULL. */
json_t *store_copy_find_agent(const json_t *list, const json_t *wanted);
/* Notes a record of the target: of a thread or a file. */
bool store_copy_note(copy_t *copy, json_t *record);
/* Reads "cosmos:https://… name=value": a place and its options. Returns NULL, or an error message. */
const char *store_copy_words(copy_t *copy, const char *text, char **pspec, apr_table_t **poptions);
/* Whether the target has an equal record. */
bool store_copy_is_done(copy_t *copy, const json_t *record);

/* ---- store_compare.c ---- */

/* Compares one thread, or all agents, and adds to the counts. Return false with copy->err set. */
bool store_compare_thread(copy_t *copy, json_t *record);
bool store_compare_agents(copy_t *copy);
/* Prints the counts. Returns whether the stores are equal. */
bool store_compare_report(const copy_t *copy);

/* ---- store_usage.c ---- */

/* Copies all rows of usage, or compares which rows are there and adds to the counts. Return false with copy->err set. */
bool store_usage_copy(copy_t *copy);
bool store_usage_compare(copy_t *copy);

/* ---- store_files.c ---- */

/* Opens a place of bytes: a folder, or blob:URL with options. Returns NULL, or an error message. close: also where it was
 * not opened. */
const char *store_files_open(copy_t *copy, ac_files_t *files, const char *text);
void store_files_close(ac_files_t *files);
/* Copies what is known about files, and their bytes if the ends have places for them; or compares what is known, and adds
 * to the counts. Return false with copy->err set. */
bool store_files_copy(copy_t *copy);
bool store_files_compare(copy_t *copy);

#endif
