/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log: who did what to what, from where, and with which result. It has no text of a person or a model, no key
 * and no token. An answer is sent after its line was written. */
#include "front_internal.h"

#include <string.h>
#include <sys/mman.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "apr_strings.h"

#define NOTE_AUDITED "agentchat-audited" /* in r->notes: the refusal of the request has its line */
#define N_HASHED 16                      /* bytes of an owner's hash that are shown */

/* docs/logs.md has a row for each. */
static const char *const events[AC_N_AUDITS] = {
    [AC_AUDIT_SIGN_IN_REFUSED] = "sign_in.refused",
    [AC_AUDIT_KEY_REFUSED] = "key.refused",
    [AC_AUDIT_ACCESS_REFUSED] = "access.refused",
    [AC_AUDIT_LIMIT_REACHED] = "limit.reached",
    [AC_AUDIT_ADMIN_USED] = "admin.used",
    [AC_AUDIT_KEY_CREATED] = "key.created",
    [AC_AUDIT_KEY_CHANGED] = "key.changed",
    [AC_AUDIT_KEY_REVOKED] = "key.revoked",
    [AC_AUDIT_AGENT_CREATED] = "agent.created",
    [AC_AUDIT_AGENT_CHANGED] = "agent.changed",
    [AC_AUDIT_AGENT_DELETED] = "agent.deleted",
    [AC_AUDIT_THREAD_DELETED] = "thread.deleted",
    [AC_AUDIT_THREAD_ERASED] = "thread.erased",
    [AC_AUDIT_THREAD_RESTORED] = "thread.restored",
    [AC_AUDIT_MESSAGE_DELETED] = "message.deleted",
    [AC_AUDIT_APPROVAL_GIVEN] = "approval.given",
    [AC_AUDIT_APPROVAL_REFUSED] = "approval.refused",
    [AC_AUDIT_RUN_CANCELLED] = "run.cancelled",
    [AC_AUDIT_FEEDBACK_GIVEN] = "feedback.given",
    [AC_AUDIT_FEEDBACK_REMOVED] = "feedback.removed",
    [AC_AUDIT_EXPORTED] = "owner.exported",
    [AC_AUDIT_FILE_UPLOADED] = "file.uploaded",
    [AC_AUDIT_FILE_DELETED] = "file.deleted",
    [AC_AUDIT_OWNER_ERASED] = "owner.erased",
};

static ac_log_file_t *audit_log; /* AgentChatAuditLog; NULL: there is none */

/* ---- a line ---- */

typedef struct audit_line_t {
    ac_audit_e event;
    const char *who, *key, *target, *call; /* NULL: not known */
    const char *result;
    const char *error; /* the reason of a refusal */
} audit_line_t;

/* The owner, or with `AgentChatAuditOwner hashed` a text that is always the same for the same owner. */
static const char *shown_owner(char text[2 * N_HASHED + 8], const char *owner)
{
    const ac_conf_t *conf = ac_conf();
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (!owner || strcmp(conf->audit.owner, "hashed") != 0 || strcmp(owner, AC_ANONYMOUS) == 0) {
        return owner;
    }
    const char *secret = conf->audit.secret.value;
    bool done = secret ? HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)owner, strlen(owner),
                              digest, &len) != NULL
                       : EVP_Digest(owner, strlen(owner), digest, &len, EVP_sha256(), NULL) == 1;
    if (!done || len < N_HASHED) {
        return "hashed:failed";
    }
    memcpy(text, "hashed:", 7);
    ac_text_hex(text + 7, digest, N_HASHED);
    return text;
}

/* r: NULL for what no request has done. */
static void audit_write(const audit_line_t *entry, const request_rec *r)
{
    const ac_request_t *rq = r ? ac_request_get(r) : NULL;
    char owner[2 * N_HASHED + 8];
    ac_log_line_t line;
    ac_log_file_t *log = audit_log;
    if (!log) {
        return;
    }
    ac_log_line_begin(&line, apr_time_now());
    ac_log_line_text(&line, "event", events[entry->event]);
    ac_log_line_text(&line, "result", entry->result);
    ac_log_line_text(&line, "error", entry->error);
    ac_log_line_text(&line, "who", shown_owner(owner, entry->who));
    ac_log_line_text(&line, "key", entry->key);
    ac_log_line_text(&line, "target", entry->target);
    ac_log_line_text(&line, "call", entry->call);
    if (r) {
        ac_log_line_text(&line, "client", r->useragent_ip);
        ac_log_line_text(&line, "method", r->method_number == M_INVALID ? NULL : r->method);
    }
    if (rq) {
        ac_log_fields_t fields = {.request = rq->request_id,
                                  .trace = &rq->trace,
                                  .route = rq->route ? rq->route->pattern : NULL};
        ac_log_line_fields(&line, &fields);
    }
    ac_log_line_end(&line);
    ac_log_file_write(log, line.text, line.len);
}

/* ---- requests ---- */

static void name_caller(audit_line_t *entry, const request_rec *r)
{
    const ac_principal_t *principal = ap_get_module_config(r->request_config, &agentchat_module);
    if (principal) {
        entry->who = principal->owner;
        entry->key = principal->key_id;
    } else {
        entry->who = r->user && !ac_store_owner_problem(r->user) ? r->user : NULL;
    }
}

static bool needs_admin(const ac_request_t *rq)
{
    return rq && rq->route && (rq->route->needs & AC_NEEDS_ADMIN);
}

void ac_audit_done(ac_request_t *rq)
{
    ac_audit_e event = rq->audit.event ? rq->audit.event : needs_admin(rq) ? AC_AUDIT_ADMIN_USED : AC_AUDIT_NONE;
    audit_line_t entry = {.event = event, .result = "done", .call = rq->audit.call};
    if (!audit_log || event == AC_AUDIT_NONE) {
        return;
    }
    name_caller(&entry, rq->r);
    entry.target = rq->audit.target ? rq->audit.target : rq->args[0];
    audit_write(&entry, rq->r);
}

static ac_audit_e event_of_problem(const ac_request_t *rq, const ac_err_t *err)
{
    switch (err->kind) {
    case AC_UNAUTHENTICATED: return AC_AUDIT_SIGN_IN_REFUSED;
    case AC_RATE_LIMITED:
    case AC_BUDGET_EXCEEDED: return AC_AUDIT_LIMIT_REACHED;
    case AC_FORBIDDEN: return needs_admin(rq) ? AC_AUDIT_ADMIN_USED : AC_AUDIT_ACCESS_REFUSED;
    default:
        return !rq            ? AC_AUDIT_NONE
            : rq->audit.event ? rq->audit.event
            : needs_admin(rq) ? AC_AUDIT_ADMIN_USED
                              : AC_AUDIT_NONE;
    }
}

void ac_audit_problem(request_rec *r, const ac_err_t *err)
{
    const ac_request_t *rq = audit_log ? ac_request_get(r) : NULL;
    const ac_err_row_t *row = ac_err_row(err->kind);
    audit_line_t entry = {.event = event_of_problem(rq, err), .error = row->code};
    if (!audit_log || entry.event == AC_AUDIT_NONE || apr_table_get(r->notes, NOTE_AUDITED)) {
        return;
    }
    entry.result = row->http < 500 ? "refused" : "failed";
    if (err->kind != AC_UNAUTHENTICATED) {
        name_caller(&entry, r); /* what an unknown client gives as its name may be a password */
    }
    if (rq && rq->audit.event) {
        entry.target = rq->audit.target ? rq->audit.target : rq->args[0];
        entry.call = rq->audit.call;
    }
    apr_table_setn(r->notes, NOTE_AUDITED, "");
    audit_write(&entry, r);
}

void ac_audit_key(request_rec *r, ac_keyring_verdict_e verdict, const char *key_id)
{
    audit_line_t entry = {.event = AC_AUDIT_KEY_REFUSED,
                          .result = "refused",
                          .key = key_id,
                          .error = verdict == AC_KEY_REVOKED ? "key_revoked"
                              : verdict == AC_KEY_EXPIRED    ? "key_expired"
                                                             : "key_unknown"};
    apr_table_setn(r->notes, NOTE_AUDITED, "");
    audit_write(&entry, r);
}

/* ---- files of keys ---- */

static void audit_key_change(ac_audit_e event, const ac_api_key_t *key)
{
    audit_line_t entry = {.event = event, .result = "done", .target = key->id, .who = NULL};
    audit_write(&entry, NULL);
}

static bool same_key(const ac_api_key_t *a, const ac_api_key_t *b)
{
    return memcmp(a->hash, b->hash, sizeof(a->hash)) == 0 && a->enabled == b->enabled && a->expires == b->expires &&
        strcmp(a->owner, b->owner) == 0 && strcmp(a->roles, b->roles) == 0 &&
        strcmp(a->limits ? a->limits : "", b->limits ? b->limits : "") == 0;
}

/* Any thread but the loop's; one child for all calls this for each change. */
static void audit_on_keys(const ac_keyring_t *before, const ac_keyring_t *now)
{
    int n;
    const ac_api_key_t *keys = ac_keyring_keys(&n, now);
    for (int i = 0; i < n; i++) {
        const ac_api_key_t *old = ac_keyring_find(before, keys[i].id);
        if (!old) {
            audit_key_change(AC_AUDIT_KEY_CREATED, &keys[i]);
        } else if (old->enabled && !keys[i].enabled) {
            audit_key_change(AC_AUDIT_KEY_REVOKED, &keys[i]);
        } else if (!same_key(old, &keys[i])) {
            audit_key_change(AC_AUDIT_KEY_CHANGED, &keys[i]);
        }
    }
    keys = ac_keyring_keys(&n, before);
    for (int i = 0; i < n; i++) {
        if (!ac_keyring_find(now, keys[i].id)) {
            audit_key_change(AC_AUDIT_KEY_REVOKED, &keys[i]);
        }
    }
}

/* ---- the start ---- */

void ac_audit_check(ac_config_check_t *check)
{
    const char *target = check->conf->audit.target;
    const char *problem = target ? ac_log_file_problem(target, check->ptemp) : NULL;
    if (problem) {
        ac_config_check_problem(check, ac_config_check_server_at(check, "AgentChatAuditLog"), "AgentChatAuditLog: %s",
                                problem);
    }
}

void ac_audit_open(ac_config_check_t *check)
{
    const char *target = check->conf->audit.target, *problem = NULL;
    if (target) {
        problem = ac_log_file_open(&audit_log, "AgentChatAuditLog", target, check->server, check->p);
    }
    if (problem) {
        ac_config_check_problem(check, ac_config_check_server_at(check, "AgentChatAuditLog"), "AgentChatAuditLog: %s",
                                problem);
    }
    if (audit_log) {
        ac_config_keys_watch(audit_on_keys, check->p);
    }
}
