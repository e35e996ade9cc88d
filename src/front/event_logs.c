/* SPDX-License-Identifier: Apache-2.0 */
/* Where runs leave their events: the directory is made while httpd is still root, and used by its children. */
#include "front.h"

#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "apr_sha1.h"
#include "apr_strings.h"
#include "unixd.h"

APLOG_USE_MODULE(agentchat);

#define SHM "/dev/shm"
#define SHM_LEAST (UINT64_C(256) * 1024 * 1024) /* a container may have much less, and then disk is better */

/* Memory, so that a token costs no disk; its name tells the servers of one machine apart. */
static const char *shm_path(const ac_conf_t *conf, apr_pool_t *p)
{
    unsigned char digest[APR_SHA1_DIGESTSIZE];
    char name[2 * 6 + 1];
    struct statvfs info;
    apr_sha1_ctx_t context;
    if (statvfs(SHM, &info) || (uint64_t)info.f_blocks * info.f_frsize < SHM_LEAST) {
        return NULL;
    }
    const char *what = apr_psprintf(p, "%s\n%s\n%s\n%d", conf->state_dir, conf->store_spec, ap_server_root_relative(p, ""),
                                    (int)(geteuid() ? geteuid() : ap_unixd_config.user_id));
    apr_sha1_init(&context);
    apr_sha1_update(&context, what, (unsigned)strlen(what));
    apr_sha1_final(digest, &context);
    ap_bin2hex(digest, 6, name);
    return apr_pstrcat(p, SHM "/agentchat-", name, NULL);
}

static apr_status_t make(const char *path)
{
    return ac_event_dir_make(path, geteuid() ? geteuid() : ap_unixd_config.user_id, ap_unixd_config.group_id);
}

const char *ac_event_logs_memory(const ac_conf_t *conf, apr_pool_t *p)
{
    const char *path = shm_path(conf, p);
    return path && make(path) == APR_SUCCESS ? path : NULL;
}

int ac_event_logs_prepare(ac_conf_t *conf, server_rec *s, apr_pool_t *p)
{
    apr_status_t status = APR_ENOENT;
    conf->event_dir = NULL;
    if (!strcmp(conf->event_log, "off")) {
        return OK;
    }
    if (strcmp(conf->event_log, "auto")) {
        conf->event_dir = ap_server_root_relative(p, conf->event_log);
        status = conf->event_dir ? make(conf->event_dir) : APR_EBADPATH;
        if (status != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, status, s, "AgentChatEventLog: '%s' cannot be made, or is "
                         "not a directory that only httpd's user may use (mode 0700)", conf->event_log);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        return OK;
    }
    const char *path = shm_path(conf, p);
    status = path ? make(path) : APR_ENOENT;
    if (status != APR_SUCCESS && access(conf->state_dir, F_OK) == 0) {
        path = apr_pstrcat(p, conf->state_dir, "/events", NULL);
        status = make(path);
    }
    if (status == APR_SUCCESS) {
        conf->event_dir = path;
    }
    else {
        ac_log(AC_M512, status, "event logs: there is no place for them; name one in AgentChatEventLog");
    }
    return OK;
}

void ac_event_logs_open(ac_child_t *child)
{
    const ac_conf_t *conf = child->conf;
    if (!conf->event_dir) {
        return;
    }
    apr_status_t status = ac_event_dir_open(&child->event_dir, conf->event_dir, (size_t)conf->event_log_max);
    if (status != APR_SUCCESS) {
        ac_log(AC_M512, status, "event logs: no place for this process below %s yet; it is tried again with each run. %s", conf->event_dir,
               ac_event_remedy(status));
    }
    ac_engine_use_dir(child->engine, child->event_dir);
}
