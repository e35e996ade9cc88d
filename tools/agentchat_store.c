/* SPDX-License-Identifier: Apache-2.0 */
/* agentchat-store: copies the conversations of a store, and the agents that were created through the API, to another
 * store. Both are named as in AgentChatStore. */
#include "store_copy.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_hash.h>
#include <apr_strings.h>

#define CALL_PATIENCE apr_time_from_sec(300)
#define THREADS_AT_A_TIME 100
#define MESSAGES_AT_A_TIME 20
#define RUNS_AT_A_TIME 20

static const char usage[] =
    "usage: agentchat-store copy [--quick] FROM TO [FILES-FROM FILES-TO]\n"
    "  FROM and TO are stores as in AgentChatStore, each in quotes where it has options:\n"
    "    sqlite:/var/lib/agentchat/agentchat.db\n"
    "    'cosmos:https://ACCOUNT.documents.azure.com database=chat credential=env:COSMOS_KEY create=on'\n"
    "  FILES-FROM and FILES-TO are where the bytes of files are, as in AgentChatFiles:\n"
    "    /var/lib/agentchat/files\n"
    "    'blob:https://ACCOUNT.blob.core.windows.net/CONTAINER credential=env:BLOB_KEY'\n"
    "  Copies every thread with its messages, runs and steps, every agent that was made through the API, and the "
    "usage;\n"
    "  what is there already and equal is left alone, so that a copy\n"
    "  that was cut is taken up by giving the same command again. At the end both are read and compared (--quick: "
    "only the\n"
    "  threads and how many messages they say they have).\n";

/* ---- calls ---- */

json_t *store_copy_call(copy_t *copy, end_t *end, ac_store_op_t *op, json_t *in)
{
    json_t *out = NULL;

    op->in = in;
    if (ac_store_wait(&end->store, &op, CALL_PATIENCE, &copy->err) == APR_SUCCESS) {
        out = json_incref(op->out);
    }
    ac_store_op_free(op);
    return out;
}

/* Calls fn for all threads of a store. fn returns false to end the walk, with copy->err set. */
typedef bool thread_fn(copy_t *copy, json_t *record);

static bool walk(copy_t *copy, end_t *end, thread_fn *fn)
{
    json_t *after = json_null(), *out, *record;
    bool fine = true;
    size_t i;

    while (fine && after) {
        ac_store_op_t *op = ac_store_op_create(AC_STORE_EXPORT_THREADS, NULL, NULL);
        op->page.limit = THREADS_AT_A_TIME;
        out = store_copy_call(copy, end, op, json_pack("{s:o}", "after", after));
        after = json_is_null(json_object_get(out, "next")) ? NULL : json_incref(json_object_get(out, "next"));
        fine = out != NULL;
        json_array_foreach(json_object_get(out, "data"), i, record)
        {
            fine = fine && fn(copy, record);
        }
        json_decref(out);
    }
    json_decref(after);
    return fine;
}

json_t *store_copy_messages(copy_t *copy, end_t *end, const char *id, int64_t after)
{
    ac_store_op_t *op = ac_store_op_create(AC_STORE_EXPORT_MESSAGES, NULL, id);

    op->page.limit = MESSAGES_AT_A_TIME;
    op->page.after_seq = after;
    return store_copy_call(copy, end, op, NULL);
}

json_t *store_copy_runs(copy_t *copy, end_t *end, const char *id, const char *after)
{
    ac_store_op_t *op = ac_store_op_create(AC_STORE_EXPORT_RUNS, NULL, id);

    op->page.limit = RUNS_AT_A_TIME;
    apr_cpystrn(op->page.after, after, sizeof(op->page.after));
    return store_copy_call(copy, end, op, NULL);
}

/* ---- progress ---- */

static void show(copy_t *copy, bool last)
{
    apr_time_t now = ac_clock();
    bool terminal = isatty(STDERR_FILENO);

    if (!last && now - copy->shown < apr_time_from_sec(terminal ? 1 : 10)) {
        return;
    }
    copy->shown = now;
    fprintf(stderr,
            "%s%" APR_INT64_T_FMT " of %" APR_INT64_T_FMT " threads (%" APR_INT64_T_FMT
            " were there), %" APR_INT64_T_FMT " of %" APR_INT64_T_FMT " messages, %" APR_INT64_T_FMT " runs%s",
            terminal ? "\r" : "", (apr_int64_t)(copy->done.threads + copy->n_skipped), (apr_int64_t)copy->total.threads,
            (apr_int64_t)copy->n_skipped, (apr_int64_t)copy->done.messages, (apr_int64_t)copy->total.messages,
            (apr_int64_t)copy->done.runs, terminal && !last ? "" : "\n");
    fflush(stderr);
}

/* ---- the target's contents ---- */

/* A hash that is equal for equal records: FNV-1a over the record's text with its members in order. */
static uint64_t fingerprint(const json_t *record)
{
    char *text = json_dumps(record, JSON_COMPACT | JSON_SORT_KEYS);
    uint64_t hash = UINT64_C(14695981039346656037);

    for (const char *at = text ? text : ""; *at; at++) {
        hash = (hash ^ (unsigned char)*at) * UINT64_C(1099511628211);
    }
    free(text);
    return hash;
}

bool store_copy_note(copy_t *copy, json_t *record)
{
    uint64_t *value = apr_palloc(copy->pool, sizeof(*value));

    *value = fingerprint(record);
    apr_hash_set(copy->to.known, apr_pstrdup(copy->pool, ac_json_peek_string(record, "id", "")), APR_HASH_KEY_STRING,
                 value);
    return true;
}

bool store_copy_is_done(copy_t *copy, const json_t *record)
{
    const uint64_t *value = apr_hash_get(copy->to.known, ac_json_peek_string(record, "id", ""), APR_HASH_KEY_STRING);

    return value && *value == fingerprint(record);
}

static bool count_source(copy_t *copy, json_t *record)
{
    copy->total.threads++;
    copy->total.messages += ac_json_peek_int(record, "message_count", 0);
    return true;
}

/* ---- copying ---- */

static bool import(copy_t *copy, const json_t *record, int64_t n_messages, json_t *messages, json_t *runs)
{
    ac_store_op_t *op = ac_store_op_create(AC_STORE_IMPORT, ac_json_peek_string(record, "owner", ""),
                                           ac_json_peek_string(record, "id", ""));
    json_t *thread = json_copy((json_t *)record), *out;

    if (n_messages != ac_json_peek_int(record, "message_count", 0)) {
        ac_json_put(thread, "message_count", json_integer(n_messages));
        ac_json_put(thread, "tree", json_null()); /* it names messages that come later */
    }
    out = store_copy_call(copy, &copy->to, op,
                          json_pack("{s:o, s:o, s:o}", "thread", thread, "messages", messages, "runs", runs));
    json_decref(out);
    return out != NULL;
}

/* A run that is active belongs to a process of the old store; in the new one no process would end it. */
static void end_runs(json_t *runs)
{
    json_t *item;
    ac_err_t cause;
    size_t i;

    ac_err_init(&cause);
    ac_err_set(&cause, AC_INTERRUPTED, "the conversation was moved to another store while it ran");
    json_array_foreach(runs, i, item)
    {
        json_t *run = json_object_get(item, "run");
        const char *status = ac_json_peek_string(run, "status", "");
        if (strcmp(status, "queued") == 0 || strcmp(status, "in_progress") == 0) {
            ac_json_put(run, "status", json_string("interrupted"));
            ac_json_put(run, "error", ac_record_error(&cause));
            ac_json_put(run, "completed_at", ac_time_json(apr_time_now()));
            ac_json_put(item, "uncounted", json_true());
        }
    }
}

static bool copy_runs(copy_t *copy, const json_t *record)
{
    const char *id = ac_json_peek_string(record, "id", "");
    char after[AC_ID_SIZE] = "";
    bool fine = true, more = true;

    while (fine && more) {
        json_t *out = store_copy_runs(copy, &copy->from, id, after), *data = json_object_get(out, "data");
        more = json_is_string(json_object_get(out, "next"));
        apr_cpystrn(after, ac_json_peek_string(out, "next", ""), sizeof(after));
        end_runs(data);
        fine = out && (json_array_size(data) == 0 || import(copy, record, 0, json_array(), json_incref(data)));
        copy->done.runs += fine ? (int64_t)json_array_size(data) : 0;
        json_decref(out);
        show(copy, false);
    }
    return fine;
}

static bool copy_messages(copy_t *copy, const json_t *record)
{
    const char *id = ac_json_peek_string(record, "id", "");
    int64_t seq = 0;
    bool fine = true, more = true;

    while (fine && more) {
        json_t *out = store_copy_messages(copy, &copy->from, id, seq), *data = json_object_get(out, "data");
        size_t n = json_array_size(data);
        more = n > 0 && json_is_integer(json_object_get(out, "next"));
        seq = n ? ac_json_peek_int(json_array_get(data, n - 1), "seq", seq) : seq;
        fine = out && (n == 0 || import(copy, record, seq, json_incref(data), json_array()));
        copy->done.messages += fine ? (int64_t)n : 0;
        json_decref(out);
        show(copy, false);
    }
    return fine;
}

/* Writes the whole record last: without it the copy of a thread counts as incomplete. */
static bool copy_thread(copy_t *copy, json_t *record)
{
    int64_t n_messages = ac_json_peek_int(record, "message_count", 0);

    show(copy, false);
    if (store_copy_is_done(copy, record)) {
        copy->n_skipped++;
        copy->done.messages += n_messages;
        return true;
    }
    if (!copy_runs(copy, record) || !copy_messages(copy, record) ||
        !import(copy, record, n_messages, json_array(), json_array())) {
        return false;
    }
    copy->done.threads++;
    return true;
}

/* ---- agents ---- */

json_t *store_copy_agents(copy_t *copy, end_t *end)
{
    return store_copy_call(copy, end, ac_store_op_create(AC_STORE_AGENT_LIST, NULL, NULL), json_pack("{s:n}", "stamp"));
}

json_t *store_copy_find_agent(const json_t *list, const json_t *wanted)
{
    json_t *agent;
    size_t i;

    json_array_foreach(json_object_get(list, "data"), i, agent)
    {
        if (json_equal(json_object_get(agent, "id"), json_object_get(wanted, "id"))) {
            return agent;
        }
    }
    return NULL;
}

static bool copy_agents(copy_t *copy)
{
    json_t *from = store_copy_agents(copy, &copy->from), *to = store_copy_agents(copy, &copy->to), *agent, *out;
    bool fine = from && to;
    size_t i;

    json_array_foreach(json_object_get(from, "data"), i, agent)
    {
        if (!fine || json_equal(store_copy_find_agent(to, agent), agent)) {
            continue;
        }
        out = store_copy_call(copy, &copy->to, ac_store_op_create(AC_STORE_AGENT_PUT, NULL, NULL),
                              json_pack("{s:O}", "agent", agent));
        fine = out != NULL;
        json_decref(out);
    }
    json_decref(from);
    json_decref(to);
    return fine;
}

static bool copy_all(copy_t *copy)
{
    copy->to.known = apr_hash_make(copy->pool);
    if (!walk(copy, &copy->from, count_source) || !walk(copy, &copy->to, store_copy_note) ||
        !walk(copy, &copy->from, copy_thread) || !copy_agents(copy) || !store_usage_copy(copy) ||
        !store_files_copy(copy)) {
        return false;
    }
    show(copy, true);
    apr_hash_clear(copy->to.known);
    return walk(copy, &copy->to, store_copy_note) && walk(copy, &copy->from, store_compare_thread) &&
        store_compare_agents(copy) && store_usage_compare(copy) && store_files_compare(copy);
}

/* ---- the program ---- */

const char *store_copy_words(copy_t *copy, const char *text, char **pspec, apr_table_t **poptions)
{
    char *state = NULL;

    *poptions = apr_table_make(copy->pool, 4);
    *pspec = apr_strtok(apr_pstrdup(copy->pool, text), " \t\n", &state);
    *pspec = *pspec ? *pspec : "";
    for (char *word = apr_strtok(NULL, " \t\n", &state); word; word = apr_strtok(NULL, " \t\n", &state)) {
        char *equals = strchr(word, '=');
        if (!equals) {
            return apr_psprintf(copy->pool, "'%s' is not name=value", word);
        }
        *equals = '\0';
        apr_table_set(*poptions, word, equals + 1);
    }
    return NULL;
}

/* Opens a store: a provider, its location, its options. Returns NULL, or an error message. */
static const char *open_end(copy_t *copy, end_t *end, const char *text, bool must_exist)
{
    apr_table_t *options;
    char *spec;
    const char *names = "", *problem = store_copy_words(copy, text, &spec, &options);
    char *colon = strchr(spec, ':');

    if (problem || !colon) {
        return problem ? problem
                       : apr_psprintf(copy->pool,
                                      "'%s' is no store; give one like sqlite:/path/to/file or cosmos:https://…", text);
    }
    end->spec = apr_pstrdup(copy->pool, spec);
    *colon = '\0';
    for (const ac_store_vt *const *vt = ac_back_stores; *vt; vt++) {
        names = apr_pstrcat(copy->pool, names, *names ? ", " : "", (*vt)->name, NULL);
        end->store.vt = strcmp((*vt)->name, spec) == 0 ? *vt : end->store.vt;
    }
    if (!end->store.vt) {
        return apr_psprintf(copy->pool, "there is no kind of store '%s'; there are: %s", spec, names);
    }
    if (must_exist && !(end->store.vt->flags & AC_STORE_REMOTE) && access(colon + 1, R_OK) != 0) {
        return apr_psprintf(copy->pool, "there is no file '%s' that can be read", colon + 1);
    }
    problem = end->store.vt->create(&end->store.self, colon + 1, options, copy->pool);
    if (!problem && end->store.vt->child_init(end->store.self, &copy->host, &copy->err) != APR_SUCCESS) {
        problem = apr_pstrdup(copy->pool, copy->err.detail);
    }
    return problem;
}

static void *loop_main(void *baton)
{
    ac_loop_run(baton);
    return NULL;
}

static void on_log(ac_level_e level, const char *file, int line, apr_status_t status, const char *text)
{
    (void)file;
    (void)line;
    (void)status;
    if (level <= AC_INFO) {
        fprintf(stderr, "%s\n", text);
    }
}

static const char *open_all(copy_t *copy, char **names, bool files)
{
    const char *problem = open_end(copy, &copy->from, names[0], true);

    problem = problem ? problem : open_end(copy, &copy->to, names[1], false);
    if (!problem && files) {
        problem = store_files_open(copy, &copy->from.files, names[2]);
        problem = problem ? problem : store_files_open(copy, &copy->to.files, names[3]);
    }
    return problem;
}

static void close_end(end_t *end)
{
    store_files_close(&end->files);
    if (end->store.self) {
        end->store.vt->child_exit(end->store.self);
    }
}

static int run(copy_t *copy, char **names, bool files)
{
    pthread_t thread;
    bool fine = false;
    const char *problem = NULL;

    if (ac_loop_create(&copy->host.loop, &copy->err) != APR_SUCCESS ||
        ac_work_create(&copy->host.work, copy->host.loop, 1, 16, &copy->err) != APR_SUCCESS ||
        pthread_create(&thread, NULL, loop_main, copy->host.loop) != 0) {
        fprintf(stderr, "agentchat-store: %s\n", copy->err.detail);
        return 1;
    }
    problem = open_all(copy, names, files);
    if (!problem) {
        fine = copy_all(copy);
        problem = fine ? NULL : copy->err.detail;
    }
    if (problem) {
        fprintf(stderr, "\nagentchat-store: %s\n", *problem ? problem : "a store failed");
    }
    fine = fine && store_compare_report(copy);
    close_end(&copy->from);
    close_end(&copy->to);
    ac_work_destroy(copy->host.work);
    ac_loop_stop_post(copy->host.loop);
    pthread_join(thread, NULL);
    ac_loop_destroy(copy->host.loop);
    return fine ? 0 : 1;
}

int main(int argc, char **argv)
{
    copy_t copy = {
        .host = {.version = 1, .loop_post = ac_loop_post, .work_post = ac_work_post, .store_done = ac_store_done}};
    int status, at = 2;

    copy.quick = argc > 2 && strcmp(argv[2], "--quick") == 0;
    at += copy.quick;
    if ((argc != at + 2 && argc != at + 4) || strcmp(argv[1], "copy") != 0) {
        fputs(usage, stderr);
        return 2;
    }
    apr_initialize();
    apr_pool_create(&copy.pool, NULL);
    ac_log_install(on_log, AC_INFO);
    status = run(&copy, argv + at, argc == at + 4);
    apr_pool_destroy(copy.pool);
    apr_terminate();
    return status;
}
