/* SPDX-License-Identifier: Apache-2.0 */
/* The store of AgentChatStore, and the state directory. */
#include "config_internal.h"

#include "back/blob/blob.h"
#include "back/tools/tools.h"
#include "wire/wire.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ap_provider.h"
#include "apr_lib.h"
#include "unixd.h"

/* ---- the store ---- */
void ac_config_store_create(ac_config_check_t *check, bool open)
{
    ac_conf_t *conf = check->conf;
    const ap_directive_t *at = ac_config_check_server_at(check, "AgentChatStore");
    if (!conf->store_spec) {
        conf->store_spec = apr_pstrcat(check->p, "sqlite:", conf->state_dir, "/agentchat.db", NULL);
    }
    const char *colon = ap_strchr_c(conf->store_spec, ':');
    if (!colon) {
        ac_config_check_problem(check, at,
                                "AgentChatStore: '%s' is not PROVIDER:WHERE, like sqlite:/var/lib/agentchat/chat.db",
                                conf->store_spec);
        return;
    }
    const char *name = apr_pstrmemdup(check->p, conf->store_spec, (apr_size_t)(colon - conf->store_spec));
    conf->store.vt = ap_lookup_provider(AC_STORE_PROVIDER, name, AC_PROVIDER_VERSION);
    if (!conf->store.vt) {
        ac_config_check_problem(
            check, at,
            "AgentChatStore: there is no store provider '%s'; known are %s; other modules can add more (LoadModule)",
            name, ac_config_check_providers(check, AC_STORE_PROVIDER));
        return;
    }
    if (strcmp(name, "sqlite") == 0) {
        conf->store.name = colon[1] ? apr_filepath_name_get(colon + 1) : "agentchat.db";
    }
    if (!open) {
        return;
    }
    const char *problem = conf->store.vt->create(&conf->store.self, colon + 1, conf->store_options, check->p);
    if (problem) {
        ac_config_check_problem(check, at, "AgentChatStore: %s", problem);
    }
    if (!problem && (problem = ac_config_access_store_problem(&conf->store, check->ptemp)) != NULL) {
        ac_config_check_problem(check, at, "AgentChatStore: %s; httpd's processes run as %s", problem,
                                ac_config_access_user());
    }
}

/* types=image/png,text/plain */
static void read_file_types(ac_config_check_t *check)
{
    apr_array_header_t *types = apr_array_make(check->p, 8, sizeof(const char *));
    char *state = NULL, *text = apr_pstrdup(check->p, check->conf->files.types_text);
    for (char *word = apr_strtok(text, ",", &state); word; word = apr_strtok(NULL, ",", &state)) {
        int i = 0;
        while (ac_file_type_names[i] && strcmp(ac_file_type_names[i], word) != 0) {
            i++;
        }
        if (!ac_file_type_names[i]) {
            ac_config_check_problem(check, ac_config_check_server_at(check, "AgentChatFiles"),
                                    "AgentChatFiles: types: '%s' is not a type of files; docs/files.md lists them",
                                    word);
        }
        APR_ARRAY_PUSH(types, const char *) = word;
    }
    check->conf->files.types = types;
}

static void create_disk(ac_config_check_t *check)
{
    ac_conf_t *conf = check->conf;
    const apr_array_header_t *options = conf->files.options ? apr_table_elts(conf->files.options) : NULL;
    if (options && options->nelts) {
        ac_config_check_problem(check, ac_config_check_server_at(check, "AgentChatFiles"),
                                "AgentChatFiles: '%s' is not a key of on and off, but of blob:URL at most",
                                APR_ARRAY_IDX(options, 0, apr_table_entry_t).key);
    }
    if (conf->files.on) {
        const char *dir = apr_pstrcat(check->p, conf->state_dir, "/files", NULL);
        conf->files.store.vt = &ac_files_disk;
        conf->files.store.self = ac_files_disk_create(dir, conf->files.reserve, check->p);
    }
}

void ac_config_store_create_files(ac_config_check_t *check)
{
    ac_conf_t *conf = check->conf;
    const ap_directive_t *at = ac_config_check_server_at(check, "AgentChatFiles");
    const char *where = conf->files.where;
    bool blob = strncmp(where, "blob:", 5) == 0;
    if (conf->files.types_text) {
        read_file_types(check);
    }
    conf->files.on = blob || ap_cstr_casecmp(where, "on") == 0;
    if (!conf->files.on && ap_cstr_casecmp(where, "off") != 0) {
        ac_config_check_problem(check, at, "AgentChatFiles: '%s' is neither on, off nor blob:URL", where);
    } else if (blob) {
        const char *problem = ac_blob_config_create(&conf->files.store.self, where + 5, conf->files.options, check->p);
        conf->files.store.vt = &ac_files_blob;
        if (problem) {
            ac_config_check_problem(check, at, "AgentChatFiles: %s", problem);
        }
    } else {
        create_disk(check);
    }
}

void ac_config_store_warn_files(ac_config_check_t *check)
{
    const ac_conf_t *conf = check->conf;
    if (conf->files.on && conf->files.store.vt == &ac_files_disk && conf->store.vt &&
        conf->store.vt->flags & AC_STORE_REMOTE) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_WARNING, 0, NULL,
                     "AgentChatFiles: files are kept in %s/files of this machine, though other machines may use the "
                     "store %s as well; with AgentChatFiles blob:URL they are kept in Azure Blob Storage",
                     conf->state_dir, conf->store.vt->name);
    }
}

/* ---- the state directory ---- */
bool ac_config_store_needs_dir(const ac_config_check_t *check)
{
    const ac_config_t *config = check->config;
    bool needed = !ac_config_check_server_at(check, "AgentChatStore") ||
        ac_config_check_server_at(check, "AgentChatStateDir") || config->saves_limits ||
        config->conf.files.store.vt == &ac_files_disk;
    for (int i = 0; i < config->defs.tools->nelts; i++) {
        const ac_tool_def_t *def = APR_ARRAY_IDX(config->defs.tools, i, const ac_tool_def_t *);
        needed = needed || (def->conf.provider && strcmp(def->conf.provider, ac_tool_knowledge.name) == 0);
    }
    for (int i = 0; i < config->defs.openapi->nelts; i++) {
        needed = needed ||
            ac_openapi_config_fetches(&APR_ARRAY_IDX(config->defs.openapi, i, const ac_openapi_def_t *)->conf);
    }
    return needed;
}

bool ac_config_store_check_dir(ac_config_check_t *check)
{
    const char *path = check->conf->state_dir;
    const ap_directive_t *at = ac_config_check_server_at(check, "AgentChatStateDir");
    struct stat info;
    char reason[120];
    const char *parent = ap_make_dirstr_parent(check->ptemp, path), *user = ac_config_access_user();
    bool there = stat(path, &info) == 0;
    int problem = there ? ac_config_access_as_child(path, W_OK | X_OK, check->ptemp)
                        : ac_config_access_as_child(parent, X_OK, check->ptemp);
    if (there && !S_ISDIR(info.st_mode)) {
        ac_config_check_problem(check, at, "AgentChatStateDir: '%s' is not a directory", path);
    } else if (!there && access(parent, W_OK | X_OK)) {
        ac_config_check_problem(
            check, at,
            "AgentChatStateDir: '%s' does not exist and cannot be made; make it, owned by %s, or name another "
            "directory",
            path, user);
    } else if (problem) {
        ac_config_check_problem(
            check, at,
            "AgentChatStateDir: '%s' cannot be written by %s: %s; give it that owner, and let that user into the "
            "directories above",
            path, user, apr_strerror(problem, reason, sizeof(reason)));
    }
    return there;
}

void ac_config_store_make_dir(ac_config_check_t *check)
{
    const char *path = check->conf->state_dir;
    struct stat info;
    char reason[120];
    if (stat(path, &info) == 0) {
        return;
    }
    if (mkdir(path, 0750) || (!geteuid() && chown(path, ap_unixd_config.user_id, ap_unixd_config.group_id))) {
        ac_config_check_problem(check, ac_config_check_server_at(check, "AgentChatStateDir"),
                                "AgentChatStateDir: '%s' cannot be made: %s", path,
                                apr_strerror(errno, reason, sizeof(reason)));
    }
}
