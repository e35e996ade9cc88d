/* SPDX-License-Identifier: Apache-2.0 */
/* The table of protocols: this server's own API, and those of others whose clients it serves. A new one is a row here,
 * its routes, and its folder. */
#include "front_internal.h"

#include "front/request/request.h"
#include "front/ui/ui.h"
#include "front/v1/v1.h"

#include <string.h>

static bool native_is_on(const ac_mount_conf_t *mount)
{
    (void)mount;
    return true;
}

static const ac_protocol_t native = {.title = "this API",
                                     .is_on = native_is_on,
                                     .problem_type = "application/problem+json",
                                     .problem = ac_problem_json};

static const ac_protocol_t *const protocols[] = {&ac_v1_protocol, &ac_ui_protocol};

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

const ac_protocol_t *ac_protocol_of(const request_rec *r)
{
    const char *path = ac_route_path(r);
    for (size_t i = 0; i < sizeof(protocols) / sizeof(*protocols); i++) {
        if (has_prefix(protocols[i], path)) {
            return protocols[i];
        }
    }
    return &native;
}
