/* SPDX-License-Identifier: Apache-2.0 */
/* The table of protocols: this server's own API, and those of others whose clients it serves. A new one is a row here,
 * its routes, and its folder. */
#include "front_internal.h"

#include "front/agui/agui.h"
#include "front/mcp/mcp.h"
#include "front/request/request.h"
#include "front/ui/ui.h"
#include "front/v1/v1.h"

#include <string.h>

#include "apr_strings.h"

#define AZURE "/openai"
#define CHAT "/ui/chat"

static bool native_is_on(const ac_mount_conf_t *mount)
{
    (void)mount;
    return true;
}

static ac_protocol_e native_id(const char *pattern)
{
    (void)pattern;
    return AC_PROTOCOL_NATIVE;
}

static const ac_protocol_t native = {.title = "this API",
                                     .id = native_id,
                                     .is_on = native_is_on,
                                     .problem_type = "application/problem+json",
                                     .problem = ac_problem_json};

static const ac_protocol_t *const protocols[] = {&ac_v1_protocol, &ac_ui_protocol, &ac_agui_protocol, &ac_mcp_protocol};

static bool has_prefix(const ac_protocol_t *protocol, const char *path)
{
    for (const char *const *prefix = protocol->prefixes; *prefix; prefix++) {
        size_t len = strlen(*prefix);
        if (strncmp(path, *prefix, len) == 0 && (!path[len] || path[len] == '/')) {
            return true;
        }
    }
    return false;
}

const char *ac_protocol_path(const request_rec *r, const char *path)
{
    const ac_mount_conf_t *mount = ap_get_module_config(r->per_dir_config, &agentchat_module);
    size_t len = mount->ui.on && mount->ui.path ? strlen(mount->ui.path) : 0;
    /* Clients for Azure OpenAI put this before the paths of OpenAI. */
    if (strncmp(path, AZURE "/v1/", sizeof(AZURE "/v1/") - 1) == 0) {
        return path + sizeof(AZURE) - 1;
    }
    if (strncmp(path, AZURE "/responses", sizeof(AZURE "/responses") - 1) == 0) {
        return apr_pstrcat(r->pool, "/v1", path + sizeof(AZURE) - 1, NULL);
    }
    if (!len || strncmp(path, mount->ui.path, len) != 0 || (path[len] && path[len] != '/')) {
        return path;
    }
    return apr_pstrcat(r->pool, CHAT, path + len, NULL);
}

static const ac_protocol_t *protocol_of_path(const char *path)
{
    for (size_t i = 0; i < sizeof(protocols) / sizeof(*protocols); i++) {
        if (has_prefix(protocols[i], path)) {
            return protocols[i];
        }
    }
    return &native;
}

const ac_protocol_t *ac_protocol_of(const request_rec *r)
{
    const char *mount = ac_config_mount_prefix(r), *path = r->uri ? r->uri : "";
    size_t len = mount ? strlen(mount) : 0;
    path += strncmp(path, mount ? mount : "", len) == 0 ? len : 0;
    return protocol_of_path(ac_protocol_path(r, path));
}

ac_protocol_e ac_protocol_id(const ac_route_t *route)
{
    return route ? protocol_of_path(route->pattern)->id(route->pattern) : AC_PROTOCOL_OTHER;
}
