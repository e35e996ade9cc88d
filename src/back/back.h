/* SPDX-License-Identifier: Apache-2.0 */
/* Floor 4: what stands behind us. Stores, models and tools, each behind the table of
 * functions of agentchat.h; here are ours, and the calls through those tables. */
#ifndef AC_BACK_H
#define AC_BACK_H

#include "io/io.h"

/* ---- what each store verb takes and gives -------------------------------------------------
 * All documents are in the API's shape (docs: API.md "Objects"); times are RFC 3339 texts. A foreign owner's id is not_found.
 * A soft-deleted thread is not_found everywhere but in THREAD_RESTORE, THREAD_DELETE with `hard`, and lists with status "deleted".
 *
 * verb            id      in                                   out
 * PING            -       -                                    what it has counted since the child began: {name: number}, also
 *                                                              with an error
 * THREAD_CREATE   -       thread (whole; title may be null)    thread; etag
 * THREAD_GET      thread  -                                    thread; etag
 * THREAD_LIST     -       -  (page)                            {data, has_more, next|null, total?}  newest first, or by_update the
 *                                                              one first that was changed last
 * THREAD_UPDATE   thread  {title?, status?, metadata?, updated_at}; if_match   thread; etag; precondition_failed
 * THREAD_DELETE   thread  {deleted_at}; hard                   {}; hard: run_in_progress while a run is active
 * THREAD_RESTORE  thread  {updated_at}                         thread; etag
 * MESSAGE_LIST    thread  -  (page)                            {data, has_more, next|null}  next: the seq to give as after/before
 * TURN_LOAD       thread  {fresh?: true} or -                  {thread, messages (oldest first), active_run: id|null}
 *                         (page.limit: newest messages)        fresh: what a cache has is known to be out of date
 * TURN_OPEN       thread  {message, run, title, thread?,       {thread, message (with seq)}
 *                          idempotency?, after?, retry?}
 *                         thread: create it in the same transaction. title: used where the thread has none yet. One
 *                         transaction: the message with the next seq, the run, the thread's message_count, title,
 *                         updated_at. errors: not_found, run_in_progress
 *                         (out: {run_id}) where another run of the thread is active and its process lives; a dead one is
 *                         closed as interrupted.
 *                         after: the seq of the last message that the caller has seen. Where the thread has gone on since then:
 *                         precondition_failed, and nothing is written.
 *                         retry: an earlier try with the same ids had no answer, and may have been carried out.
 *                         idempotency: {key, request_hash, since}: in the same transaction the owner's key leads to this run from now on.
 *                         Where it leads to another one since then: idempotency_conflict (out: {run_id, thread_id, request_hash}), whatever
 *                         else may be wrong.
 * TURN_CLOSE      thread  {message|null, run, steps, late?}    {message (with seq) | null}: one transaction; run is the
 *                         whole final run.
 *                         A thread that was hard-deleted meanwhile: success, nothing is written, message null.
 *                         interrupted: another machine has closed the run, and nothing is written. late: true is for who closes it in
 *                         the place of a process that died; it may add what had been said also then, but an answer (a run that is
 *                         not interrupted) only while the thread has not gone on.
 * RUN_GET         run     -                                    run
 * RUN_LIST        thread  -  (page: limit, after)              {data, has_more, next|null}  newest first
 * STEP_LIST       run     -                                    {data}  in order of starting
 * PURGE           -       {before}                             {purged: n}  soft-deleted threads of every owner, deleted before then
 *                         with keys_before: also Idempotency-Keys from before then, which do not count.
 * KEY_GET         -       {key, since}                         {run_id, thread_id, request_hash} of the owner's key; not_found
 * RUN_CANCEL      run     -                                    run; asks the process that runs it, on whichever machine, which is told
 *                                                              by host->run_told; run_ended. invalid_request: this store cannot
 *
 * A run that waits for its owner's word on calls of tools:
 * TURN_WAIT       thread  {run, steps, asks, until, calls: {id: null}, state}  {}  asks: the steps that wait,
 *                         which STEP_LIST shows while they do. One transaction: the run is still active and no
 *                         process's, so that none is taken for dead; state: whatever its process wants to have again. run_ended.
 *                         The same again: success.
 * TURN_DECIDE     run     {call_id, approve, reason?}          {waiting: n}: n calls are still to be decided; or with the last
 *                         one {thread_id, calls: {id: {approve, reason?}}, state}: the run is this process's now, and nobody
 *                         else's.  not_waiting: not for this call
 *                 run     {expired: now}                       the same, with {approve: false, expired: true} for all calls
 *                         that nobody has decided, if `until` is before now
 *                 run     {cancel: true}                       the same, as the calls are
 * WAIT_LIST       -       {before}  (page.limit)               {data: [{run_id, owner}]}  whose `until` is before then, of every owner
 *                         TURN_CLOSE ends the waiting too.
 *
 * Agents that were made through the API; they are no owner's. The document is in the API's shape, with a tag that its writer made.
 * AGENT_LIST      -       {stamp: what the caller knows|null}  {stamp, data: [agent] by id; null where the stamp is the caller's}
 * AGENT_PUT       -       {agent, fresh?: true}; if_match      {created: bool}; etag. precondition_failed: its tag is not
 *                         if_match ("*": whatever it is, but it is there), or it is there and was to be fresh. The same
 *                         document again: success.
 * AGENT_DELETE    -       {id}; if_match                       {}; not_found, precondition_failed
 *                         Every change gives another stamp, in the same transaction.
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
/* NULL: owner or id is too long, or the verb is about what one owner has and ac_owner_problem() has something to say. */
ac_store_op_t *ac_store_op_create(ac_store_verb_e verb, const char *owner, const char *id);
/* What is wrong with a name that is to own something, as "is empty"; NULL: nothing. A name that begins with a blank is a store's own. */
const char *ac_owner_problem(const char *owner);
void ac_store_op_free(ac_store_op_t *op); /* NULL is fine */
/* For stores, as host->store_done: hands op back to its caller, on op->home where set. Any thread. */
void ac_store_done(ac_store_op_t *op);
typedef struct ac_store_t {
    const ac_store_vt *vt;
    void *self;
} ac_store_t;
/* done(op) with op->baton on the given loop, never inside this call; the callee owns op. Any thread. */
void ac_store_call_post(const ac_store_t *store, ac_loop_t *home, ac_store_op_t *op, void (*done)(ac_store_op_t *op),
                        void *baton);
/* A worker waits for the answer, at most `timeout`. Takes *pop; gives it back, or NULL with store_timeout in err. Any thread
 * but the loop. */
apr_status_t ac_store_wait(const ac_store_t *store, ac_store_op_t **pop, apr_interval_time_t timeout, ac_err_t *err);
/* For stores: a thread's tag is its version. */
void ac_store_etag_set(ac_store_op_t *op, int64_t version);
/* The cursor behind the last of these threads, a new reference; NULL: memory ran out. data is not empty. */
json_t *ac_store_cursor(const ac_page_t *page, const json_t *data);
/* The id in page->after, and where the page is by update the time before it, else "". NULL: it is no cursor of such a list. */
const char *ac_store_cursor_read(char time[AC_TIME_SIZE], const ac_page_t *page);
/* For stores: whether THREAD_UPDATE may go on where the thread has this version. errors: precondition_failed, invalid_request. */
apr_status_t ac_store_thread_check(ac_store_op_t *op, int64_t version);
/* For stores: whether AGENT_PUT and AGENT_DELETE may go on where the agent has this tag now; "": there is no such agent.
 * errors: precondition_failed, not_found (AGENT_DELETE). */
apr_status_t ac_store_agent_check(ac_store_op_t *op, const char *etag);
/* For stores: what TURN_DECIDE's `in` makes of the calls, in place; *pn_open: how many are still to be decided. errors: not_waiting,
 * invalid_request. */
apr_status_t ac_store_wait_decide(int *pn_open, json_t *calls, const char *until, ac_store_op_t *op);
const char *ac_store_verb_name(ac_store_verb_e verb);

/* ---- store_cache.c: a store with a cache before it ---- */
typedef struct ac_cache_vt ac_cache_vt; /* cache.h */
typedef struct ac_cache_t {             /* where the cache is */
    const ac_cache_vt *vt;
    void *self;
} ac_cache_t;
typedef struct ac_store_cache_t ac_store_cache_t;
/* Config time. scope: says which store it is, where several have one cache. check: others write to the store who do not know the
 * cache, so that a thread is looked at before its cached messages are taken. The store stays the caller's. */
void ac_store_cache_create(ac_store_cache_t **pcache, const ac_store_t *store, const ac_cache_t *place,
                           const char *scope, bool check);
/* What is used instead of the store, under its name. PING also gives cache_hits, cache_misses, and cache_stale: how often a thread had
 * gone on without the cache being told. */
ac_store_t ac_store_cache_store(ac_store_cache_t *cache);
void ac_store_cache_destroy(ac_store_cache_t *cache);

/* cache_memory.c: in memory that processes share. */
extern const ac_cache_vt ac_cache_memory; /* self: an ac_cache_memory_t */
typedef struct ac_cache_memory_t ac_cache_memory_t;
/* Before the fork. size: bytes, of which only what is used is taken from the machine. ttl: how long an entry lives that nobody writes to.
 * errors: internal (err->status). */
apr_status_t ac_cache_memory_create(ac_cache_memory_t **pmemory, apr_int64_t size, apr_interval_time_t ttl,
                                    ac_err_t *err);
void ac_cache_memory_destroy(ac_cache_memory_t *memory); /* of this process; NULL is fine */

/* cache_redis.c: in Redis. */
extern const ac_cache_vt ac_cache_redis; /* self: an ac_cache_redis_t */
typedef struct ac_cache_redis_t ac_cache_redis_t;
ac_cache_redis_t *ac_cache_redis_create(const char *prefix,
                                        apr_interval_time_t ttl); /* config time; prefix: begins every key */
/* Of a child, before the loop runs: where Redis is from now on, which stays the caller's; NULL: there is none. */
void ac_cache_redis_use(ac_cache_redis_t *cache, ac_loop_t *loop, ac_redis_t *redis);
void ac_cache_redis_destroy(ac_cache_redis_t *cache);

/* ---- ours ---- */
extern const ac_store_vt ac_store_sqlite;       /* store_sqlite.c */
extern const ac_store_vt ac_store_cosmos;       /* store_cosmos.c */
extern const ac_model_vt ac_model_openai;       /* model_openai.c: "openai" (and any compatible server) */
extern const ac_model_vt ac_model_azure_openai; /* model_openai.c: "azure-openai" */
extern const ac_model_vt ac_model_demo;         /* model_demo.c: "demo" */
extern const ac_tool_vt ac_tool_calculator;     /* tools/calculator.c: "calculator" */
extern const ac_tool_vt
    ac_tool_weather; /* tools/weather.c: "weather"; options geocoding=, forecast= (base URLs), units= */
extern const ac_tool_vt ac_tool_knowledge; /* tools/knowledge.c: "knowledge-base"; options path=, results= */
extern const ac_tool_vt ac_tool_http;      /* tools/tool_http.c: "http" */

/* ---- credential.c: one interface for all that proves who we are ---- */
/* A key that stands somewhere ("env:NAME", "file:PATH", "keyvault:https://v.vault.azure.net/secrets/NAME"), or a token that has to be
 * fetched ("identity", "identity:environment", "identity:workload", "identity:managed", "identity:cli"; options client-id=, object-id=,
 * resource-id=, tenant-id=, authority=). One object serves every scope; tokens are cached per process and refreshed before they expire,
 * one request at a time. */
typedef enum ac_credential_kind_e { AC_CREDENTIAL_KEY, AC_CREDENTIAL_TOKEN } ac_credential_kind_e;
/* text: the key or token, valid inside the call only; NULL with err: model_refused-like kinds are the caller's to choose, err's detail
 * names each link of the chain that was tried and why it failed. */
typedef void ac_credential_fn(void *baton, apr_status_t status, const char *text, const ac_err_t *err);
/* Config time. env: and file: are read here (file: again when it changes), as are the variables that an identity needs. Further options:
 * scope= (identity), refresh= (file, keyvault), identity= (keyvault: "managed" …). NULL, or a sentence. */
const char *ac_credential_create(ac_credential_t **pcredential, const char *spec, const apr_table_t *options,
                                 apr_pool_t *p);
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
bool ac_process_boot(char boot[AC_BOOT_SIZE]); /* the kernel's boot id; false: not known */
/* When a process was started, in ticks after boot; 0: there is no such process, or it has ended and only waits for its parent;
 * -1: unknown. */
int64_t ac_process_started(int64_t pid);
/* This process, so that others can tell whether it still runs; "" where that cannot be told. */
void ac_process_name(char name[AC_PROCESS_SIZE]);
/* Whether the process of that name is known to have ended. One of another machine or container is not known about. */
bool ac_process_died(const char *ours, const char *name);

/* ---- counters.c: what limits count ---- */
#define AC_COUNT_KEY 16                           /* bytes that name a count: of SHA-256 of what it is of */
#define AC_SAVED_WINDOW (3600 * APR_USEC_PER_SEC) /* counts of windows as long as this outlive the machine's start */
typedef struct ac_take_t {                        /* what a request wants of one count */
    unsigned char key[AC_COUNT_KEY];
    const char *label; /* of its limits */
    ac_measure_e measure;
    ac_by_e by;
    apr_interval_time_t window; /* 0: what is held at once */
    int64_t most, amount;       /* amount <= most */
    bool hold;                  /* held until it is spent or given back; else spent at once */
    /* What came of it: */
    int64_t left;              /* that others may still take in this window */
    apr_interval_time_t reset; /* until the window's end; 0: has none */
    bool over;                 /* this one has not enough left */
    /* The counters' own: */
    bool claimed;
    int64_t epoch, held; /* what is left of a hold */
    uint32_t slot, record;
} ac_take_t;

typedef struct ac_takes_t { /* all that one request wants: it is given all of it or nothing. On the heap */
    int n, max;
    bool shared;     /* counted by all machines */
    uint32_t holder; /* the shared counts' own: who of ours holds it */
    ac_take_t list[];
} ac_takes_t;

typedef struct ac_subject_t { /* whom a request is counted for */
    const char *owner;        /* NULL: nobody signed in */
    const char *key;          /* the id of the key they signed in with, or NULL */
    const char *address;      /* the client's network address */
    const char *agent;        /* the agent's id; only for PHASE_RUN */
} ac_subject_t;
/* When a limit is looked at: as soon as what it needs is known. */
typedef enum ac_phase_e {
    AC_PHASE_REQUEST,
    AC_PHASE_STREAM,
    AC_PHASE_START, /* of a run, before it waits for a slot */
    AC_PHASE_RUN    /* its agent and its history are known */
} ac_phase_e;
ac_phase_e ac_limit_phase(const ac_limit_t *limit); /* of a limit that is not an agent's own; those are all PHASE_RUN */
/* One take more; *ptakes NULL: the first one. limit: of limits. by key without a key is by owner, by owner without one by address. */
void ac_takes_add(ac_takes_t **ptakes, const ac_limits_t *limits, const ac_limit_t *limit, const ac_subject_t *who,
                  int64_t amount);
/* Appends to the values of RateLimit-Policy and RateLimit what was found. */
void ac_takes_fields(const ac_takes_t *takes, ac_buf_t *policy, ac_buf_t *left);
#define AC_STREAM_RETRY apr_time_from_sec(5) /* where nobody knows when one of the answers or runs ends */

typedef void ac_counted_fn(void *baton, apr_status_t status, const ac_err_t *err);
typedef struct ac_settle_t { /* what becomes of a hold */
    int64_t covered, excess; /* spent: out of what was held, and beyond it */
    int64_t release;         /* held no longer, and not spent */
} ac_settle_t;
typedef struct ac_shared_vt { /* counts that machines share; all on the loop thread */
    const char *name;
    /* As ac_limit_table_take(); done comes later, never inside. errors: overloaded: they cannot be reached. */
    void (*take)(void *self, ac_takes_t *takes, ac_counted_fn *done, void *baton);
    void (*settle)(void *self, const ac_takes_t *takes, const ac_take_t *take, const ac_settle_t *settle);
} ac_shared_vt;

typedef struct ac_counters_t {      /* a child's way to the counts */
    struct ac_limit_table_t *table; /* of this machine */
    const ac_shared_vt *shared;     /* of all machines; NULL: there are none */
    void *shared_self;
    bool open; /* without those of all machines, those of this one are enough */
    ac_loop_t *loop;
} ac_counters_t;
/* Loop thread. APR_EINPROGRESS: done comes later, never inside; else it does not come. takes stay the caller's, and in place until then.
 * errors: rate_limited, budget_exceeded (retry_after: when the window ends, after which there is enough); overloaded. */
apr_status_t ac_counters_take(ac_counters_t *counters, ac_takes_t *takes, ac_counted_fn *done, void *baton,
                              ac_err_t *err);
/* The same for a worker, who waits. *ptakes stays the caller's; NULL afterwards: there was no answer. */
apr_status_t ac_counters_take_wait(ac_takes_t **ptakes, ac_counters_t *counters, ac_err_t *err);
/* This much was used of a measure; loop thread. takes NULL: nothing. */
void ac_counters_spend(ac_counters_t *counters, ac_takes_t *takes, ac_measure_e measure, int64_t amount);
/* What is still held is given back. Takes takes, which may be NULL; any thread. */
void ac_counters_release(ac_counters_t *counters, ac_takes_t *takes);

/* limit_redis.c: counts in Redis. Scripts make each step one; Redis' clock is everybody's. */
typedef struct ac_limit_redis_t ac_limit_redis_t;
extern const ac_shared_vt ac_shared_redis; /* self: an ac_limit_redis_t */
/* prefix: of all keys. conf->on_state is told as well. After the fork. errors: internal. */
apr_status_t ac_limit_redis_create(ac_limit_redis_t **pcounts, const ac_redis_conf_t *conf, const char *prefix,
                                   const ac_host_t *host, ac_err_t *err);
void ac_limit_redis_start(ac_limit_redis_t *counts); /* loop thread */
ac_redis_t *ac_limit_redis_client(ac_limit_redis_t *counts);
bool ac_limit_redis_is_up(const ac_limit_redis_t *counts); /* any thread */
void ac_limit_redis_destroy(ac_limit_redis_t *counts);     /* the loop has ended; NULL is fine */

/* limit_table.c, limit_count.c, limit_save.c: counts in memory that the processes of a machine share. */
typedef struct ac_limit_table_t ac_limit_table_t;
/* Before the fork. path: of a file, to which what tells layouts apart is added; whoever opens the same one shares the counts, and they
 * stay when all have ended. NULL: memory of this process and its children. errors: internal (err->status). */
apr_status_t ac_limit_table_open(ac_limit_table_t **ptable, const char *path, ac_err_t *err);
void ac_limit_table_close(ac_limit_table_t *table); /* NULL is fine; what was held stays held */
/* After the fork, once per child: what it holds is given back when it leaves, or has died. errors: overloaded. */
apr_status_t ac_limit_table_join(ac_limit_table_t *table, ac_err_t *err);
void ac_limit_table_leave(ac_limit_table_t *table);
/* Any thread, now and then: gives back what dead processes held. Reads /proc. */
void ac_limit_table_sweep(ac_limit_table_t *table);
/* Any thread, does not wait. All or nothing; left, reset and over are set in both cases. now: apr_time_now(). EAGAIN, err unset: there is
 * not enough left. errors: overloaded (the table is full, or cannot be had). */
apr_status_t ac_limit_table_take(ac_limit_table_t *table, ac_takes_t *takes, apr_time_t now, ac_err_t *err);
/* Any thread: this much was really used, out of what is held as far as that goes. */
void ac_limit_table_spend(ac_limit_table_t *table, ac_take_t *take, int64_t amount, apr_time_t now);
void ac_limit_table_release(ac_limit_table_t *table, ac_takes_t *takes); /* the rest of what is held */
/* The shared counts are reached, or not. true: no process of this table has said so before. Any thread. */
bool ac_limit_table_note_shared(ac_limit_table_t *table, bool up);
/* A work thread: writes the counts of long windows to path where they have changed; one process does. errno of what failed. */
apr_status_t ac_limit_table_save(ac_limit_table_t *table, const char *path, apr_time_t now);
/* Before the fork: into a table that was made anew. EMISMATCH: the file is none of ours. */
apr_status_t ac_limit_table_load(ac_limit_table_t *table, const char *path, apr_time_t now);

/* ---- tools/expression.c: the calculator's evaluator, pure ---- */
/* Evaluates an arithmetic expression. out: text of the exact decimal result ("12.75"), at most size bytes. errors: tool_error
 * with the place: "unexpected ')' at character 7". */
apr_status_t ac_expression_eval(char *text, size_t size, const char *expression, ac_err_t *err);

#endif
