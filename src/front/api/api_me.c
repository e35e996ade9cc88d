/* SPDX-License-Identifier: Apache-2.0 */
/* GET /me: the caller, and what the server offers. */
#include "api_internal.h"

#include "wire/wire.h"

/* The limits of AgentChatFiles; null: clients may upload nothing. */
static json_t *me_files(const ac_conf_t *conf)
{
    if (!conf->files.store.vt) {
        return json_null();
    }
    const apr_array_header_t *types = conf->files.types;
    json_t *accepted = json_array();
    for (int i = 0; types ? i < types->nelts : ac_file_type_names[i] != NULL; i++) {
        json_array_append_new(accepted,
                              json_string(types ? APR_ARRAY_IDX(types, i, const char *) : ac_file_type_names[i]));
    }
    return json_pack("{s:I, s:I, s:I, s:i, s:i, s:i, s:o}", "max_bytes", (json_int_t)conf->files.max, "thread_bytes",
                     (json_int_t)conf->files.thread, "owner_bytes", (json_int_t)conf->files.owner, "thread_files",
                     conf->files.thread_files, "owner_files", conf->files.owner_files, "message_files",
                     AC_MAX_ATTACHMENTS, "types", accepted);
}

int ac_api_me_get(ac_request_t *rq)
{
    const ac_conf_t *conf = ac_child()->conf;
    json_t *me = json_pack("{s:s, s:s, s:b, s:b, s:o}", "object", "me", "owner", rq->owner, "admin",
                           (int)ac_principal_has(rq->principal, AC_ROLE_ADMIN), "titles", (int)conf->engine.titles.on,
                           "files", me_files(conf));
    return ac_reply_json(rq, HTTP_OK, me);
}
