/* SPDX-License-Identifier: Apache-2.0 */
/* Log messages of all layers, to httpd's error log or to AgentChatLog, as text or as JSON. */
#include "front_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "apr_portable.h"

APLOG_USE_MODULE(agentchat);

#define TEXT_SIZE 2048

static server_rec *server;
static ac_log_file_t *own; /* AgentChatLog; NULL: httpd's error log */
static bool is_json;       /* AgentChatLogFormat */

static const struct {
    int httpd;
    const char *name; /* as in httpd's error log */
} levels[] = {
    [AC_ERROR] = {APLOG_ERR, "error"}, [AC_WARNING] = {APLOG_WARNING, "warn"}, [AC_NOTICE] = {APLOG_NOTICE, "notice"},
    [AC_INFO] = {APLOG_INFO, "info"},  [AC_DEBUG] = {APLOG_DEBUG, "debug"},    [AC_TRACE] = {APLOG_TRACE1, "trace1"}};

static ac_log_entry_fn *_Atomic tap; /* gets all messages, too; NULL: none does */

typedef struct entry_t { /* a message on its way */
    ac_level_e level;
    const char *file;
    int line;
    apr_status_t status;
    const char *text;
    const ac_log_fields_t *fields; /* or NULL */
    server_rec *server;
    const request_rec *r; /* NULL: of no request */
} entry_t;

/* ---- AgentChatLogFormat json ---- */

static void render_json(ac_log_line_t *line, const entry_t *entry)
{
    const char *text = entry->text;
    bool numbered = strlen(text) > 8 && memcmp(text, "AC", 2) == 0 && memcmp(text + 6, ": ", 2) == 0;
    char number[8], reason[160];
    ac_log_line_begin(line, apr_time_now());
    ac_log_line_text(line, "level", levels[entry->level].name);
    if (numbered) {
        apr_cpystrn(number, text, 7);
        ac_log_line_text(line, "number", number);
        text += 8;
    }
    ac_log_line_int(line, "pid", getpid());
    if (entry->r && entry->r->useragent_ip) {
        ac_log_line_text(line, "client", entry->r->useragent_ip);
    }
    if (entry->fields) {
        ac_log_line_fields(line, entry->fields);
    }
    if (entry->status && !(entry->fields && entry->fields->error)) {
        ac_log_line_text(line, "cause", apr_strerror(entry->status, reason, sizeof(reason)));
    }
    ac_log_line_message(line, text);
    ac_log_line_end(line);
}

/* A line of httpd's error log that httpd does not format: it would escape what JSON has escaped. */
static void write_error_log(const entry_t *entry, const char *line, size_t len)
{
    int fd;
    server_rec *s = entry->server ? entry->server : server;
    if (s && s->error_log && apr_os_file_get(&fd, s->error_log) == APR_SUCCESS) {
        ssize_t n = write(fd, line, len);
        (void)n; /* httpd's own messages have no other place either */
    } else if (s && s->error_fname && strncasecmp(s->error_fname, "syslog", 6) == 0) {
        syslog(levels[entry->level].httpd & APLOG_LEVELMASK, "%.*s", (int)len - 1, line);
    }
}

/* ---- text, to a log of our own ---- */

static size_t render_text(char *line, size_t size, const entry_t *entry)
{
    char when[AC_TIME_SIZE], reason[160] = "";
    ac_time_format_micro(when, apr_time_now());
    if (entry->status) {
        char problem[120];
        apr_snprintf(reason, sizeof(reason), "(%d)%s: ", entry->status,
                     apr_strerror(entry->status, problem, sizeof(problem)));
    }
    apr_snprintf(line, size - 1, "%s [agentchat:%s] [pid %d] %s%s%s%s%s", when, levels[entry->level].name,
                 (int)getpid(), entry->r ? "[client " : "", entry->r ? entry->r->useragent_ip : "",
                 entry->r ? "] " : "", reason, entry->text);
    size_t len = ac_utf8_whole(line, strlen(line));
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) {
            line[i] = ' ';
        }
    }
    line[len] = '\n';
    return len + 1;
}

/* ---- all messages ---- */

static void log_front_write(const entry_t *entry)
{
    ac_log_line_t line;
    ac_log_entry_fn *also = tap;
    if (also) {
        also(&(ac_log_entry_t){entry->level, entry->status, entry->text, entry->fields});
    }
    if (is_json) {
        render_json(&line, entry);
    } else if (own) {
        line.len = render_text(line.text, sizeof(line.text), entry);
    }
    if (own) {
        ac_log_file_write(own, line.text, line.len);
    } else if (is_json) {
        write_error_log(entry, line.text, line.len);
    } else if (entry->r) {
        ap_log_rerror_(entry->file, entry->line, APLOG_MODULE_INDEX, levels[entry->level].httpd, entry->status,
                       entry->r, "%s", entry->text);
    } else {
        ap_log_error_(entry->file, entry->line, APLOG_MODULE_INDEX, levels[entry->level].httpd, entry->status,
                      entry->server, "%s", entry->text);
    }
}

void ac_log_front_tap(ac_log_entry_fn *fn)
{
    tap = fn;
}

static void sink(ac_level_e level, const char *file, int line, apr_status_t status, const char *text)
{
    entry_t entry = {level, file, line, status, text, ac_log_fields(), server, NULL};
    log_front_write(&entry);
}

void ac_log_front_install(server_rec *s)
{
    ac_level_e threshold = AC_NOTICE; /* httpd logs a notice whatever LogLevel says */
    server = s;
    is_json = false;
    while (s && threshold < AC_TRACE && APLOG_IS_LEVEL(s, levels[threshold + 1].httpd)) {
        threshold++;
    }
    ac_log_install(sink, threshold);
}

/* AgentChatLog; NULL: httpd's error log. */
static const char *log_target(const ac_conf_t *conf)
{
    return strcmp(conf->log.target, "errorlog") == 0 ? NULL : conf->log.target;
}

void ac_log_front_check(ac_config_check_t *check)
{
    const char *target = log_target(check->conf), *problem = target ? ac_log_file_problem(target, check->ptemp) : NULL;
    if (problem) {
        ac_config_check_problem(check, ac_config_check_server_at(check, "AgentChatLog"), "AgentChatLog: %s", problem);
    }
}

void ac_log_front_open(ac_config_check_t *check)
{
    const ac_conf_t *conf = check->conf;
    const char *target = log_target(conf), *problem = NULL;
    if (target) {
        problem = ac_log_file_open(&own, "AgentChatLog", target, check->server, check->p);
    }
    if (problem) {
        ac_config_check_problem(check, ac_config_check_server_at(check, "AgentChatLog"), "AgentChatLog: %s", problem);
        return;
    }
    is_json = strcmp(conf->log.format, "json") == 0;
}

/* ---- messages of a request ---- */

static void fill_fields(ac_log_fields_t *fields, ac_run_facts_t *facts, const ac_request_t *rq)
{
    *fields = (ac_log_fields_t){.request = rq->request_id,
                                .trace = &rq->trace,
                                .route = rq->route ? rq->route->pattern : NULL,
                                .protocol = rq->route ? ac_metrics_protocol(ac_protocol_id(rq->route)) : NULL};
    if (rq->summary) {
        ac_run_summary_get(rq->summary, facts);
        fields->run = facts->run_id;
        fields->thread = facts->thread_id;
        fields->agent = facts->agent;
        fields->model = facts->model;
    }
}

void ac_log_front_request(ac_log_id_e number, const char *file, int line, int module_index, apr_status_t status,
                          const request_rec *r, const char *fmt, ...)
{
    const ac_log_row_t *row = ac_log_rows();
    const ac_request_t *rq = ac_request_get(r);
    char text[TEXT_SIZE];
    ac_run_facts_t facts;
    ac_log_fields_t fields;
    va_list args;
    while (row->number && row->number != (int)number) {
        row++;
    }
    ac_level_e level = row->number ? row->level : AC_DEBUG;
    if (!APLOG_R_MODULE_IS_LEVEL(r, module_index, levels[level].httpd)) {
        return;
    }
    int len = row->number ? apr_snprintf(text, sizeof(text), "AC%04d: ", (int)number) : 0;
    va_start(args, fmt);
    vsnprintf(text + len, sizeof(text) - (size_t)len, fmt, args);
    va_end(args);
    text[ac_utf8_whole(text, strlen(text))] = '\0';
    if (rq) {
        fill_fields(&fields, &facts, rq);
        fields.error = rq->err.kind ? ac_err_row(rq->err.kind)->code : NULL;
        fields.http_status = rq->err.kind ? ac_err_row(rq->err.kind)->http : 0;
    }
    entry_t entry = {level, file, line, status, text, rq ? &fields : NULL, r->server, r};
    log_front_write(&entry);
}

void ac_log_front_direct(ac_log_id_e number, apr_status_t status, const server_rec *s, const char *fmt, ...)
{
    char text[TEXT_SIZE];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    ap_log_error(APLOG_MARK, APLOG_ERR, status, s, "AC%04d: %s", (int)number, text);
}
