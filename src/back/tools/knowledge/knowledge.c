/* SPDX-License-Identifier: Apache-2.0 */
/* The tool "knowledge-base": searches a folder of Markdown and text through an index that follows the
 * folder's changes. */
#include "knowledge_internal.h"

#include <apr_strings.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define RESULTS "5"
#define MAX_RESULTS 20
#define NO_DEADLINE apr_time_from_sec(60)
#define LOOK_AGAIN apr_time_from_sec(2)   /* shortest interval between two checks of the folder */
#define FIRST_INDEX apr_time_from_sec(10) /* the limit of a child's first indexing: it may have to stop meanwhile */

typedef struct knowledge_t {
    const char *id, *root, *index; /* index: the database's path */
    int n_results;
    apr_size_t result_max;
    pthread_mutex_t lock;  /* guards the members below */
    pthread_cond_t looked; /* a check of the folder has ended */
    ac_knowledge_conn_t *idle;
    apr_time_t last_look;
    bool looking, whole, folder_failed, cut;
} knowledge_t;

/* ---- configuration ---- */

static uint64_t knowledge_hash(const char *text)
{
    uint64_t value = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (; *text; text++) {
        value = (value ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    }
    return value;
}

/* "/var/lib/agentchat/knowledge-docs-0123456789abcdef.db"; characters of the id that are not allowed in a file name are
 * left out. */
static const char *index_path(const ac_tool_conf_t *conf, const char *root, apr_pool_t *p)
{
    char *id = apr_pstrdup(p, conf->id);
    for (char *c = id; *c; c++) {
        bool good = (*c >= '0' && *c <= '9') || ((*c | 0x20) >= 'a' && (*c | 0x20) <= 'z') || *c == '_' || *c == '-';
        *c = good ? *c : '_';
    }
    return apr_psprintf(p, "%s/knowledge-%s-%016" APR_UINT64_T_HEX_FMT ".db", conf->state_dir, id,
                        (apr_uint64_t)knowledge_hash(root));
}

static const char *set_root(knowledge_t *base, const ac_tool_conf_t *conf, apr_pool_t *p)
{
    const char *path = conf->options ? apr_table_get(conf->options, "path") : NULL;
    if (!path || !*path) {
        return "AgentChatToolOption path is missing; give the folder of the documents";
    }
    if (*path != '/') {
        return apr_psprintf(p, "AgentChatToolOption path: '%s' does not begin with '/'; give the folder's whole path",
                            path);
    }
    char *real = realpath(path, NULL);
    DIR *folder = real ? opendir(real) : NULL;
    int error = errno;
    const char *problem = NULL;
    if (!folder) {
        problem =
            apr_psprintf(p, "AgentChatToolOption path: the folder '%s' cannot be opened: %s", path, strerror(error));
    } else {
        closedir(folder);
        base->root = apr_pstrdup(p, real);
    }
    free(real);
    return problem;
}

static const char *set_results(knowledge_t *base, const ac_tool_conf_t *conf, apr_pool_t *p)
{
    const char *text = conf->options ? apr_table_get(conf->options, "results") : NULL;
    text = text ? text : RESULTS;
    char *end;
    long n_results = strtol(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || n_results < 1 || n_results > MAX_RESULTS) {
        return apr_psprintf(p, "AgentChatToolOption results: '%s' is not a number from 1 to %d", text, MAX_RESULTS);
    }
    base->n_results = (int)n_results;
    return NULL;
}

static apr_status_t knowledge_clean_up(void *self)
{
    knowledge_t *base = self;
    while (base->idle) {
        ac_knowledge_conn_t *conn = base->idle;
        base->idle = conn->next;
        ac_knowledge_index_close(conn);
    }
    pthread_cond_destroy(&base->looked);
    pthread_mutex_destroy(&base->lock);
    return APR_SUCCESS;
}

static const char *knowledge_create(void **pself, const ac_tool_conf_t *conf, apr_pool_t *p)
{
    static const char *const known[] = {"path", "results", NULL};
    pthread_condattr_t attributes;
    knowledge_t *base = *pself = apr_pcalloc(p, sizeof(*base));
    base->id = conf->id;
    base->result_max = conf->result_max;
    pthread_mutex_init(&base->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&base->looked, &attributes);
    pthread_condattr_destroy(&attributes);
    apr_pool_cleanup_register(p, base, knowledge_clean_up, apr_pool_cleanup_null);
    const char *problem = ac_tool_support_check_options(conf->options, known, p);
    problem = problem ? problem : set_root(base, conf, p);
    problem = problem ? problem : set_results(base, conf, p);
    if (!problem && !conf->state_dir) {
        problem = "AgentChatStateDir is missing; the index of the knowledge base is kept there";
    }
    base->index = problem ? NULL : index_path(conf, base->root, p);
    return problem;
}

/* ---- connections: one thread at a time uses each ---- */

static apr_status_t take_conn(ac_knowledge_conn_t **pconn, knowledge_t *base, ac_err_t *err)
{
    pthread_mutex_lock(&base->lock);
    ac_knowledge_conn_t *conn = base->idle;
    base->idle = conn ? conn->next : NULL;
    pthread_mutex_unlock(&base->lock);
    if (conn && !ac_knowledge_index_is_valid(conn)) {
        ac_knowledge_index_close(conn);
        conn = NULL;
    }
    *pconn = conn;
    return conn ? APR_SUCCESS : ac_knowledge_index_open(pconn, base->index, err);
}

static void give_conn(knowledge_t *base, ac_knowledge_conn_t *conn)
{
    conn->deadline = 0;
    if (!ac_knowledge_index_is_valid(conn)) {
        ac_knowledge_index_close(conn);
        return;
    }
    pthread_mutex_lock(&base->lock);
    conn->next = base->idle;
    base->idle = conn;
    pthread_mutex_unlock(&base->lock);
}

/* ---- following the folder's changes ---- */

/* Returns true if this thread has to check the folder. Otherwise the index can be searched, or waiting would not
 * help. */
static bool begin_look(knowledge_t *base, apr_time_t deadline)
{
    pthread_mutex_lock(&base->lock);
    struct timespec until = {.tv_sec = (time_t)apr_time_sec(deadline), .tv_nsec = (long)apr_time_usec(deadline) * 1000};
    while (base->looking && !base->whole) {
        if (pthread_cond_timedwait(&base->looked, &base->lock, &until)) {
            break;
        }
    }
    bool fresh = base->whole && base->last_look && ac_clock() - base->last_look < LOOK_AGAIN;
    bool mine = !base->looking && !fresh;
    base->looking = base->looking || mine;
    pthread_mutex_unlock(&base->lock);
    return mine;
}

static void log_folder(knowledge_t *base, const ac_knowledge_state_t *state)
{
    if (state->folder != APR_SUCCESS && !base->folder_failed) {
        ac_log(AC_M405, state->folder,
               "knowledge base[%s]: the folder %s cannot be read; searches use what was "
               "indexed before",
               base->id, base->root);
    }
    if (state->cut && !base->cut) {
        ac_log(AC_M406, 0,
               "knowledge base[%s]: the folder %s has more than %d documents; the last ones by name are "
               "left out",
               base->id, base->root, AC_KNOWLEDGE_FILES);
    }
    base->folder_failed = state->folder != APR_SUCCESS;
    base->cut = state->cut;
}

static void end_look(knowledge_t *base, const ac_knowledge_state_t *state)
{
    pthread_mutex_lock(&base->lock);
    log_folder(base, state);
    base->looking = false;
    base->whole = state->whole;
    base->last_look = ac_clock();
    pthread_cond_broadcast(&base->looked);
    pthread_mutex_unlock(&base->lock);
}

/* If the refresh does not finish, the search uses the index as it is. */
static void knowledge_look(knowledge_t *base, ac_knowledge_conn_t *conn, apr_time_t deadline)
{
    ac_knowledge_state_t state = {.whole = false};
    if (!begin_look(base, deadline)) {
        return;
    }
    conn->deadline = deadline;
    ac_knowledge_refresh(conn, base->root, &state, NULL);
    end_look(base, &state);
}

/* Runs when a child starts, so that the first search need not wait. */
static void look_first(void *self)
{
    knowledge_t *base = self;
    ac_knowledge_conn_t *conn;
    if (take_conn(&conn, base, NULL) == APR_SUCCESS) {
        knowledge_look(base, conn, ac_clock() + FIRST_INDEX);
        give_conn(base, conn);
    }
}

static apr_status_t knowledge_child_init(void *self, const ac_host_t *host, ac_err_t *err)
{
    (void)err;
    if (host->work && host->work_post) {
        host->work_post(host->work, look_first, NULL, self); /* if the queue is full, the first search does this */
    }
    return APR_SUCCESS;
}

/* ---- searching ---- */

static apr_status_t search(json_t **presults, int64_t *ptotal, knowledge_t *base, const char *query,
                           apr_time_t deadline, ac_err_t *err)
{
    ac_knowledge_ask_t ask = {.query = query, .n_results = base->n_results, .result_max = base->result_max};
    ac_knowledge_conn_t *conn;
    apr_time_t now = ac_clock();
    apr_status_t status = take_conn(&conn, base, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    knowledge_look(base, conn, now + (deadline - now) * 3 / 4);
    if (!ac_knowledge_index_is_valid(conn)) { /* it was found to be damaged */
        ac_knowledge_index_close(conn);
        status = ac_knowledge_index_open(&conn, base->index, err);
    }
    if (status == APR_SUCCESS) {
        conn->deadline = deadline;
        status = ac_knowledge_index_search(presults, ptotal, conn, &ask, err);
        give_conn(base, conn);
    }
    return status;
}

static apr_status_t knowledge_call(json_t **presult, void *self, const json_t *arguments, apr_time_t deadline,
                                   ac_err_t *err)
{
    char query[AC_KNOWLEDGE_QUERY];
    const char *question;
    json_t *results = NULL;
    int64_t total = 0;
    knowledge_t *base = self;
    *presult = NULL;
    apr_status_t status = ac_json_string(&question, arguments, "query", true, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (ac_knowledge_query(query, question)) {
        status = search(&results, &total, base, query, deadline ? deadline : ac_clock() + NO_DEADLINE, err);
    } else {
        results = json_array();
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    *presult =
        json_pack("{s:o, s:o, s:I}", "query", ac_json_text(question), "results", results, "total", (json_int_t)total);
    return *presult ? APR_SUCCESS : ac_err_set(err, AC_INTERNAL, "memory ran out");
}

const ac_tool_vt ac_tool_knowledge = {
    .name = "knowledge-base",
    .flags = AC_TOOL_BLOCKING,
    .description = "Searches the documents of the knowledge base and gives the passages that fit best, with their "
                   "titles.",
    .parameters = "{\"type\": \"object\", \"properties\": {\"query\": {\"type\": \"string\", \"minLength\": 1, "
                  "\"maxLength\": 1000, \"description\": \"What to look for: a question, or a few words that the "
                  "passage is likely to hold\"}}, \"required\": [\"query\"], \"additionalProperties\": false}",
    .create = knowledge_create,
    .child_init = knowledge_child_init,
    .call = knowledge_call,
};
