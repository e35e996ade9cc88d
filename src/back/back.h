/* SPDX-License-Identifier: Apache-2.0 */
/* Floor 4: what stands behind us. Stores, models and tools, each behind the table of
 * functions of agentchat.h; here are ours, and the calls through those tables. */
#ifndef AC_BACK_H
#define AC_BACK_H

#include "../io/io.h"

/* ---- what each store verb takes and gives -------------------------------------------------
 * All documents are in the API's shape (docs: API.md "Objects"); times are RFC 3339 texts. A foreign owner's id is not_found.
 * A soft-deleted thread is not_found everywhere but in THREAD_RESTORE, THREAD_DELETE with `hard`, and lists with status "deleted".
 *
 * verb            id      in                                   out
 * PING            -       -                                    {}
 * THREAD_CREATE   -       thread (whole; title may be null)    thread; etag
 * THREAD_GET      thread  -                                    thread; etag
 * THREAD_LIST     -       -  (page)                            {data, has_more, next|null, total?}  newest first
 * THREAD_UPDATE   thread  {title?, status?, metadata?, updated_at}; if_match   thread; etag; precondition_failed
 * THREAD_DELETE   thread  {deleted_at}; hard                   {}; hard: run_in_progress while a run is active
 * THREAD_RESTORE  thread  {updated_at}                         thread; etag
 * MESSAGE_LIST    thread  -  (page)                            {data, has_more, next|null}  next: the seq to give as after/before
 * TURN_LOAD       thread  -  (page.limit: newest messages)     {thread, messages (oldest first), active_run: id|null}
 * TURN_OPEN       thread  {message, run, title, thread?,       {thread, message (with seq)}
 *                          idempotency?}
 *                         thread: create it in the same transaction. title: used where the thread has none yet. One
 *                         transaction: the message with the next seq, the run, the thread's message_count, title,
 *                         updated_at. errors: not_found, run_in_progress
 *                         (out: {run_id}) where another run of the thread is active and its process lives; a dead one is
 *                         closed as interrupted.
 *                         idempotency: {key, request_hash, since}: in the same transaction the owner's key leads to this run from now on.
 *                         Where it leads to another one since then: idempotency_conflict (out: {run_id, thread_id, request_hash}), whatever
 *                         else may be wrong.
 * TURN_CLOSE      thread  {message|null, run, steps}           {message (with seq) | null}: one transaction; run is the
 *                         whole final run.
 *                         A thread that was hard-deleted meanwhile: success, nothing is written, message null.
 * RUN_GET         run     -                                    run
 * RUN_LIST        thread  -  (page: limit, after)              {data, has_more, next|null}  newest first
 * STEP_LIST       run     -                                    {data}  in order of starting
 * PURGE           -       {before}                             {purged: n}  soft-deleted threads of every owner, deleted before then
 *                         with keys_before: also Idempotency-Keys from before then, which do not count.
 * KEY_GET         -       {key, since}                         {run_id, thread_id, request_hash} of the owner's key; not_found
 *
 * For moving conversations from one store to another, without regard to owners; a `record` is a thread with owner, deleted_at and
 * restore_status (the last two null where it is not soft-deleted):
 * EXPORT_THREADS  -       {after: cursor|null}  (page.limit)   {data: [record], next: cursor|null}  of every owner and
 *                         status, in any order
 * EXPORT_MESSAGES thread  -  (page: limit, after_seq)          {data, next}   as MESSAGE_LIST
 * EXPORT_RUNS     thread  -  (page: limit, after)              {data: [{run, steps}], next|null}
 * IMPORT          thread  {thread: record, messages, runs}     {}  writes them over what has the same ids; runs: as
 *                         EXPORT_RUNS gives them, all
 *                         ended. record's message_count counts, so a thread comes in parts whose last one has the record as it is.
 *
 * An operation answered APR_SUCCESS is durable. errors of all: store_error, store_timeout (deadline passed; a write may have
 * happened all the same), overloaded (queue full). */

/* ---- store.c: calls through a store's table ---- */
ac_store_op_t *ac_store_op_create(ac_store_verb_e verb, const char *owner, const char *id);
void ac_store_op_free(ac_store_op_t *op);       /* NULL is fine */
/* For stores, as host->store_done: hands op back to its caller, on op->home where set. Any thread. */
void ac_store_done(ac_store_op_t *op);
typedef struct ac_store_t {
    const ac_store_vt *vt;
    void *self;
} ac_store_t;
/* done(op) with op->baton on the given loop, never inside this call; the callee owns op. Any thread. */
void ac_store_call_post(const ac_store_t *store, ac_loop_t *home, ac_store_op_t *op,
                        void (*done)(ac_store_op_t *op), void *baton);
/* A worker waits for the answer, at most `timeout`. Takes *pop; gives it back, or NULL with store_timeout in err. Any thread
 * but the loop. */
apr_status_t ac_store_wait(const ac_store_t *store, ac_store_op_t **pop, apr_interval_time_t timeout, ac_err_t *err);
const char *ac_store_verb_name(ac_store_verb_e verb);

/* ---- ours ---- */
extern const ac_store_vt ac_store_sqlite;       /* store_sqlite.c */
extern const ac_store_vt ac_store_cosmos;       /* store_cosmos.c */
extern const ac_model_vt ac_model_openai;       /* model_openai.c: "openai" (and any compatible server) */
extern const ac_model_vt ac_model_azure_openai; /* model_openai.c: "azure-openai" */
extern const ac_model_vt ac_model_demo;         /* model_demo.c: "demo" */
extern const ac_tool_vt ac_tool_calculator;     /* tools/calculator.c: "calculator" */
extern const ac_tool_vt ac_tool_weather;        /* tools/weather.c: "weather"; options geocoding=, forecast= (base URLs), units= */
extern const ac_tool_vt ac_tool_knowledge;      /* tools/knowledge.c: "knowledge-base"; options path=, results= */
extern const ac_tool_vt ac_tool_http;           /* tools/tool_http.c: "http" */

/* ---- credential.c: one interface for all that proves who we are ---- */
/* A key that stands somewhere ("env:NAME", "file:PATH", "keyvault:https://v.vault.azure.net/secrets/NAME"), or a token that has to be
 * fetched ("identity", "identity:environment", "identity:workload", "identity:managed", "identity:cli"; options client-id=, object-id=,
 * resource-id=, tenant-id=, authority=). One object serves every scope; tokens are cached per process and refreshed before
 * they expire, one
 * request at a time. */
typedef enum ac_credential_kind_e { AC_CREDENTIAL_KEY, AC_CREDENTIAL_TOKEN } ac_credential_kind_e;
/* text: the key or token, valid inside the call only; NULL with err: model_refused-like kinds are the caller's to choose, err's detail
 * names each link of the chain that was tried and why it failed. */
typedef void ac_credential_fn(void *baton, apr_status_t status, const char *text, const ac_err_t *err);
/* Config time. env: and file: are read here (file: again when it changes), as are the variables that an identity needs.
 * Further options:
 * scope= (identity), refresh= (file, keyvault), identity= (keyvault: "managed" …). NULL, or a sentence. */
const char *ac_credential_create(ac_credential_t **pcredential, const char *spec, const apr_table_t *options, apr_pool_t *p);
apr_status_t ac_credential_child_init(ac_credential_t *credential, const ac_host_t *host, ac_err_t *err);
/* Any thread; while the loop runs, or on it. No call comes after it. */
void ac_credential_child_exit(ac_credential_t *credential);
ac_credential_kind_e ac_credential_kind(const ac_credential_t *credential);
/* Loop thread. What can be used right now without waiting, or NULL; valid until the loop's next turn. */
const char *ac_credential_now(ac_credential_t *credential, const char *scope);
/* Loop thread. fn comes later, never inside. scope: "https://cosmos.azure.com/.default"; ignored for keys. */
void ac_credential_get(ac_credential_t *credential, const char *scope, ac_credential_fn *fn, void *baton);
/* fn of a get() that has not come yet will not come. */
void ac_credential_forget(ac_credential_t *credential, ac_credential_fn *fn, void *baton);
/* Loop thread. The service said that this text is expired or unknown: fetch another one on the next get(). */
void ac_credential_reject(ac_credential_t *credential, const char *scope, const char *text);
/* A key as it was read with the configuration; NULL where it was not. */
const char *ac_credential_first(const ac_credential_t *credential);
/* The option scope=, or fallback. */
const char *ac_credential_scope(const ac_credential_t *credential, const char *fallback);
/* "env:NAME", "identity": what may be shown. */
const char *ac_credential_spec(const ac_credential_t *credential);

/* ---- process.c: which processes of this machine still run ---- */
#define AC_BOOT_SIZE 48
#define AC_PROCESS_SIZE 160
bool ac_process_boot(char boot[AC_BOOT_SIZE]);  /* the kernel's boot id; false: not known */
/* When a process was started, in ticks after boot; 0: there is no such process, or it has ended and only waits for its parent;
 * -1: unknown. */
int64_t ac_process_started(int64_t pid);
/* This process, so that others can tell whether it still runs; "" where that cannot be told. */
void ac_process_name(char name[AC_PROCESS_SIZE]);
/* Whether the process of that name is known to have ended. One of another machine or container is not known about. */
bool ac_process_died(const char *ours, const char *name);

/* ---- tools/expression.c: the calculator's evaluator, pure ---- */
/* Evaluates an arithmetic expression. out: text of the exact decimal result ("12.75"), at most size bytes. errors: tool_error
 * with the place: "unexpected ')' at character 7". */
apr_status_t ac_expression_eval(char *text, size_t size, const char *expression, ac_err_t *err);

#endif
