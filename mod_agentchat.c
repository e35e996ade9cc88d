/* SPDX-License-Identifier: Apache-2.0 */
/* mod_agentchat: a table of contents. Every hook of the module, and the file that has it. */
#include "src/front/api/api.h"
#include "src/front/mcp/mcp.h"
#include "src/front/stream/stream.h"

#include "ap_mpm.h"
#include "ap_provider.h"
#include "mpm_common.h"

/* Registers the stores, models and tools of src/back/providers.c. Other modules register theirs in the same way. */
static void register_providers(apr_pool_t *p)
{
    for (const ac_store_vt *const *vt = ac_back_stores; *vt; vt++) {
        ap_register_provider(p, AC_STORE_PROVIDER, (*vt)->name, AC_PROVIDER_VERSION, *vt);
    }
    for (const ac_model_vt *const *vt = ac_back_models; *vt; vt++) {
        ap_register_provider(p, AC_MODEL_PROVIDER, (*vt)->name, AC_PROVIDER_VERSION, *vt);
    }
    for (const ac_tool_vt *const *vt = ac_back_tools; *vt; vt++) {
        ap_register_provider(p, AC_TOOL_PROVIDER, (*vt)->name, AC_PROVIDER_VERSION, *vt);
    }
}

static void register_hooks(apr_pool_t *p)
{
    register_providers(p);
    ap_hook_pre_config(ac_config_hook_pre, NULL, NULL, APR_HOOK_MIDDLE);      /* config_hook.c */
    ap_hook_check_config(ac_config_hook_check, NULL, NULL, APR_HOOK_MIDDLE);  /* config_hook.c */
    ap_hook_post_config(ac_startup_post_config, NULL, NULL, APR_HOOK_MIDDLE); /* startup.c */
    ap_hook_child_init(ac_child_start, NULL, NULL, APR_HOOK_MIDDLE);          /* child_start.c */
    ap_hook_child_stopping(ac_child_stop, NULL, NULL,
                           APR_HOOK_FIRST); /* child_stop.c: before HTTP/2 ends its streams */
    ap_hook_header_parser(ac_route_header_parser, NULL, NULL, APR_HOOK_FIRST); /* route.c */
    ap_hook_translate_name(ac_route_translate_name, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_translate_name(ac_route_name_no_file, NULL, NULL, APR_HOOK_LAST);
    ap_hook_map_to_storage(ac_route_map_to_storage, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_handler(ac_route_handle, NULL, NULL, APR_HOOK_MIDDLE);                /* route.c */
    ap_hook_log_transaction(ac_metrics_front_count, NULL, NULL, APR_HOOK_MIDDLE); /* metrics_front.c */
    ac_status_register(p);                                                        /* status.c */
    ap_hook_log_transaction(ac_tracing_end, NULL, NULL, APR_HOOK_LAST);           /* tracing.c */
    ap_hook_log_transaction(ac_access_notes_set, NULL, NULL, APR_HOOK_FIRST);     /* access_notes.c */
    ac_sign_in_register(p);                                                       /* sign_in.c */
    ac_principal_register(p);                                                     /* principal.c */
    ac_problem_register(p);                                                       /* problem.c */
    ac_delivery_register(p);                                                      /* stream.c */
    ac_mcp_resource_register(p);                                                  /* mcp_resource.c */
}

AP_DECLARE_MODULE(agentchat) = {STANDARD20_MODULE_STUFF,
                                .create_dir_config = ac_mount_conf_create,
                                .merge_dir_config = ac_mount_conf_merge,
                                .create_server_config = ac_config_mount_create_server, /* config_mount.c */
                                .cmds = ac_directives,                                 /* config.c */
                                .register_hooks = register_hooks};
