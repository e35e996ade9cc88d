/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of a section: defaults, and how sections inside of each other are merged. */
#include "config_internal.h"

void *ac_mount_conf_create(apr_pool_t *p, char *dir)
{
    ac_mount_conf_t *mount = apr_pcalloc(p, sizeof *mount);
    (void)dir;
    ac_config_args_set_defaults(AC_CONFIG_IN_MOUNT, mount, p);
    return mount;
}

static void merge_value(ac_mount_conf_t *merged, const ac_mount_conf_t *over, const ac_value_t *value)
{
    memcpy((char *)merged + value->offset, (const char *)over + value->offset, value->width);
}

void *ac_mount_conf_merge(apr_pool_t *p, void *base, void *add)
{
    const ac_mount_conf_t *over = add;
    ac_mount_conf_t *merged = apr_pmemdup(p, base, sizeof *merged);
    for (const command_rec *command = ac_directives; command->name; command++) {
        const ac_setting_t *setting = ac_config_row(command);
        if (!setting || setting->where != AC_CONFIG_IN_MOUNT) {
            continue;
        }
        uint64_t bit = UINT64_C(1) << (command - ac_directives);
        if (!(over->set & bit)) {
            continue;
        }
        if (!setting->keys) {
            merge_value(merged, over, &setting->value);
        }
        for (const ac_key_t *key = setting->keys; key && key->name; key++) {
            merge_value(merged, over, &key->value);
        }
        merged->set |= bit;
    }
    return merged;
}

const ac_mount_conf_t *ac_mount_conf(const request_rec *r)
{
    const ac_mount_conf_t *mount = ap_get_module_config(r->per_dir_config, &agentchat_module);
    if (!mount->default_agent_id || !ac_conf() || ac_conf()->out_of_service) {
        return mount;
    }
    ac_mount_conf_t *mine = apr_pmemdup(r->pool, mount, sizeof *mine);
    mine->default_agent = ac_registry_agent(&ac_conf()->registry, mount->default_agent_id);
    return mine;
}
