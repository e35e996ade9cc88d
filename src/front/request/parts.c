/* SPDX-License-Identifier: Apache-2.0 */
/* The content of a message in the form of another protocol: a text, or parts. No URL is ever fetched: a client could
 * reach what only this server, or its model, can. */
#include "request_internal.h"

#include <string.h>
#include <strings.h>

#include "apr_strings.h"

/* The error becomes one of the request's body, at this place; those of the server stay as they are. */
static apr_status_t refuse_part(ac_request_t *rq, const char *pointer, const ac_err_t *err)
{
    bool ours = strcmp(ac_err_row(err->kind)->fault, "client") != 0 || err->kind == AC_NOT_FOUND;
    return ac_err_set_at(&rq->err, ours ? err->kind : AC_INVALID_REQUEST, pointer, "%s", err->detail);
}

/* The id of a file in a URL of this server, as its answers have them; NULL: another URL. */
static const char *file_id_of(const ac_request_t *rq, const char *url)
{
    const char *mount = ac_config_mount_prefix(rq->r), *host = apr_table_get(rq->r->headers_in, "Host");
    const char *scheme = strstr(url, "://"), *prefix = apr_pstrcat(rq->r->pool, mount ? mount : "", "/files/", NULL);
    if (scheme) {
        size_t len = strcspn(scheme + 3, "/");
        if (!host || strlen(host) != len || strncasecmp(scheme + 3, host, len) != 0) {
            return NULL;
        }
        url = scheme + 3 + len;
    }
    if (strncmp(url, prefix, strlen(prefix)) != 0) {
        return NULL;
    }
    url += strlen(prefix);
    size_t len = strcspn(url, "/");
    return strcmp(url + len, "/content") == 0 ? apr_pstrmemdup(rq->r->pool, url, len) : NULL;
}

static apr_status_t part_bytes(ac_buf_t *bytes, const ac_part_t *part, ac_err_t *err)
{
    if (part->url && ac_data_url_is(part->url)) {
        return ac_data_url_read(bytes, part->url, err);
    }
    if (part->data) {
        return ac_data_url_base64(bytes, part->data, strlen(part->data), err);
    }
    return ac_err_set(err, AC_INVALID_REQUEST, "%s",
                      part->url ? "this server fetches no URL; send the file as a data: URL"
                                : "the part has neither the data of a file nor the id of one");
}

static apr_status_t parts_add_file(ac_parts_t *parts, ac_request_t *rq, const ac_part_t *part, int at)
{
    const char *id = part->file_id ? part->file_id : part->url ? file_id_of(rq, part->url) : NULL;
    int64_t max = ac_conf()->files.on ? ac_conf()->files.max : AC_MAX_REQUEST;
    ac_buf_t bytes;
    if (id) {
        return ac_attachments_find(&parts->attachments, rq, id, part->image, at);
    }
    ac_buf_init(&bytes, (size_t)max);
    apr_status_t status = part_bytes(&bytes, part, &rq->err);
    if (status == APR_SUCCESS) {
        status = ac_attachments_add(&parts->attachments, rq, &bytes, part, at);
    }
    ac_buf_free(&bytes);
    return status;
}

static apr_status_t parts_add(ac_parts_t *parts, ac_request_t *rq, const ac_part_t *part, int at)
{
    const char *pointer = apr_psprintf(rq->r->pool, "/%s/%d", parts->attachments.member, at);
    ac_err_t err;
    if (part->text) {
        parts->content = *parts->content && *part->text
            ? apr_pstrcat(rq->r->pool, parts->content, "\n\n", part->text, NULL)
            : *part->text ? part->text
                          : parts->content;
        return APR_SUCCESS;
    }
    apr_status_t status = parts_add_file(parts, rq, part, at);
    if (status != APR_SUCCESS) {
        err = rq->err;
        ac_err_init(&rq->err);
        return refuse_part(rq, pointer, &err);
    }
    return APR_SUCCESS;
}

static apr_status_t parts_read_list(ac_parts_t *parts, ac_request_t *rq, const json_t *list, ac_part_read_fn *read)
{
    const json_t *value;
    apr_status_t status = APR_SUCCESS;
    size_t i;
    json_array_foreach((json_t *)list, i, value)
    {
        ac_part_t part = {.text = NULL};
        const char *problem = i < AC_MAX_CONTENT_PARTS ? read(&part, value) : "a message has too many parts";
        if (problem) {
            return ac_err_set_at(&rq->err, AC_INVALID_REQUEST,
                                 apr_psprintf(rq->r->pool, "/%s/%d", parts->attachments.member, (int)i), "%s", problem);
        }
        status = part.ignored ? APR_SUCCESS : parts_add(parts, rq, &part, (int)i);
        if (status != APR_SUCCESS) {
            return status;
        }
    }
    return APR_SUCCESS;
}

apr_status_t ac_parts_read(ac_parts_t *parts, ac_request_t *rq, const json_t *content, const char *member,
                           ac_part_read_fn *read)
{
    memset(parts, 0, sizeof(*parts));
    parts->attachments.member = apr_pstrdup(rq->r->pool, member);
    parts->content = json_is_string(content) ? json_string_value(content) : "";
    if (json_is_array(content)) {
        return parts_read_list(parts, rq, content, read);
    }
    return !content || json_is_null(content) || json_is_string(content)
        ? APR_SUCCESS
        : ac_err_set_at(&rq->err, AC_INVALID_REQUEST, apr_pstrcat(rq->r->pool, "/", member, NULL),
                        "content must be a string or an array of parts");
}
