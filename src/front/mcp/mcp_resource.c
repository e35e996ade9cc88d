/* SPDX-License-Identifier: Apache-2.0 */
/* A mount as a resource of OAuth: where clients get tokens for it. Source: RFC 9728; the authorization part of the
 * protocol's specification. The document is at the root of the server, outside of every mount and its sign-in, since a
 * client reads it before it can sign in. It is there only where a mount names its authorization server. */
#include "mcp_internal.h"

#include <string.h>

#include "apr_strings.h"

#define WELL_KNOWN "/.well-known/oauth-protected-resource"
#define NOTE "agentchat-mcp-resource" /* in r->notes: the request is for the document */
#define ENDPOINT "/mcp"
#define LIFE "max-age=3600"

/* ---- the mount of a path ---- */

/* The settings at another path of the server, as the core finds them; NULL: no mount is there. */
static const ac_mount_conf_t *conf_at(request_rec *r, const char *path)
{
    ap_conf_vector_t *kept = r->per_dir_config;
    char *uri = r->uri;
    const ac_mount_conf_t *mount = NULL;
    r->uri = apr_pstrdup(r->pool, path);
    r->per_dir_config = r->server->lookup_defaults;
    if (ap_location_walk(r) == OK && ac_config_mount_is_here(r)) {
        mount = ap_get_module_config(r->per_dir_config, &agentchat_module);
    }
    r->per_dir_config = kept;
    r->uri = uri;
    return mount;
}

static bool has_server(const ac_mount_conf_t *mount)
{
    return mount && mount->mcp.on && mount->mcp.server;
}

/* The mount whose endpoint is at this path. */
static const ac_mount_conf_t *mcp_resource_find(request_rec *r, const char *path)
{
    size_t len = strlen(path), end = sizeof(ENDPOINT) - 1;
    if (len < end || strcmp(path + len - end, ENDPOINT) != 0) {
        return NULL;
    }
    const ac_mount_conf_t *mount = conf_at(r, path);
    char *uri = r->uri;
    r->uri = apr_pstrdup(r->pool, path);
    const char *prefix = ac_config_mount_prefix(r);
    r->uri = uri;
    return has_server(mount) && prefix && strlen(prefix) == len - end ? mount : NULL;
}

/* ---- the names of the resource and of its document ---- */

static const char *mcp_resource_name_of(request_rec *r, const ac_mount_conf_t *mount, const char *path)
{
    return mount->mcp.resource ? mount->mcp.resource : ap_construct_url(r->pool, path, r);
}

/* RFC 9728, 3.1: between the host and the path. */
static const char *document_of(request_rec *r, const char *resource)
{
    const char *host = strstr(resource, "://");
    size_t len = host ? (size_t)(host - resource) + 3 : 0;
    len += strcspn(resource + len, "/");
    return apr_pstrcat(r->pool, apr_pstrmemdup(r->pool, resource, len), WELL_KNOWN, resource + len, NULL);
}

/* ---- the challenge ---- */

static const char *path_of_request(const request_rec *r)
{
    const char *prefix = ac_config_mount_prefix(r);
    return apr_pstrcat(r->pool, prefix ? prefix : "", ENDPOINT, NULL);
}

void ac_mcp_resource_challenge(request_rec *r)
{
    const ac_mount_conf_t *mount = ap_get_module_config(r->per_dir_config, &agentchat_module);
    apr_table_t *headers = apr_table_get(r->err_headers_out, "WWW-Authenticate") ? r->err_headers_out : r->headers_out;
    const char *said = apr_table_get(headers, "WWW-Authenticate");
    if (!has_server(mount) || (said && strstr(said, "resource_metadata="))) {
        return;
    }
    bool bearer = said && ap_cstr_casecmpn(said, "Bearer", 6) == 0;
    const char *document = document_of(r, mcp_resource_name_of(r, mount, path_of_request(r)));
    const char *text = apr_psprintf(r->pool, "%s%sresource_metadata=\"%s\"", bearer ? said : "Bearer",
                                    bearer && strchr(said, '=') ? ", " : " ", document);
    if (mount->mcp.scopes && !(said && strstr(said, "scope="))) {
        char *scopes = apr_pstrdup(r->pool, mount->mcp.scopes);
        for (char *comma = strchr(scopes, ','); comma; comma = strchr(comma, ',')) {
            *comma = ' ';
        }
        text = apr_psprintf(r->pool, "%s, scope=\"%s\"", text, scopes);
    }
    if (bearer) {
        apr_table_setn(headers, "WWW-Authenticate", text);
    } else {
        apr_table_addn(r->err_headers_out, "WWW-Authenticate", text);
    }
}

/* ---- the document ---- */

static json_t *mcp_resource_words_json(const char *text, apr_pool_t *p)
{
    json_t *list = json_array();
    char *state = NULL;
    for (char *word = apr_strtok(apr_pstrdup(p, text), ",", &state); word; word = apr_strtok(NULL, ",", &state)) {
        json_array_append_new(list, ac_json_text(word));
    }
    return list;
}

/* Pages of every site may read it: it has nothing that is secret. */
static int mcp_resource_reply(request_rec *r)
{
    const char *path = r->uri + sizeof(WELL_KNOWN) - 1;
    const ac_mount_conf_t *mount = apr_table_get(r->notes, NOTE) ? mcp_resource_find(r, path) : NULL;
    if (!mount) {
        return DECLINED;
    }
    if (r->method_number != M_GET) {
        ap_allow_methods(r, REPLACE_ALLOW, "GET", "HEAD", NULL);
        return HTTP_METHOD_NOT_ALLOWED;
    }
    json_t *document = json_pack("{s:o, s:o, s:[s]}", "resource", ac_json_text(mcp_resource_name_of(r, mount, path)),
                                 "authorization_servers", mcp_resource_words_json(mount->mcp.server, r->pool),
                                 "bearer_methods_supported", "header");
    if (mount->mcp.scopes) {
        ac_json_put(document, "scopes_supported", mcp_resource_words_json(mount->mcp.scopes, r->pool));
    }
    char *text = ac_json_dump(document, NULL);
    json_decref(document);
    if (!text) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    ap_set_content_type(r, "application/json");
    apr_table_setn(r->headers_out, "Cache-Control", LIFE);
    apr_table_setn(r->headers_out, "Access-Control-Allow-Origin", "*");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    ap_set_content_length(r, (apr_off_t)strlen(text));
    ap_rputs(text, r);
    free(text);
    return OK;
}

/* ---- hooks ---- */

static int mcp_resource_translate(request_rec *r)
{
    if (strncmp(r->uri, WELL_KNOWN "/", sizeof(WELL_KNOWN)) != 0 ||
        !mcp_resource_find(r, r->uri + sizeof(WELL_KNOWN) - 1)) {
        return DECLINED;
    }
    apr_table_setn(r->notes, NOTE, "");
    r->filename = apr_pstrcat(r->pool, "agentchat:", r->uri, NULL);
    return OK;
}

static int mcp_resource_map(request_rec *r)
{
    return apr_table_get(r->notes, NOTE) ? OK : DECLINED;
}

void ac_mcp_resource_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_translate_name(mcp_resource_translate, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_map_to_storage(mcp_resource_map, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(mcp_resource_reply, NULL, NULL, APR_HOOK_FIRST);
}
