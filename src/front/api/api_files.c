/* SPDX-License-Identifier: Apache-2.0 */
/* Files that were uploaded: list, show, deliver, delete. No file becomes a page of the server: it is delivered as an
 * attachment of the type that its contents have, in a sandbox. */
#include "api_internal.h"

#include "wire/wire.h"

#include <string.h>

#include "apr_lib.h"
#include "apr_strings.h"

APLOG_USE_MODULE(agentchat);

#define PIECE 16384 /* bytes of a file that wait in memory for a slow client */

/* ---- documents ---- */

json_t *ac_api_files_shown(const json_t *file)
{
    json_t *shown = json_pack("{s:O, s:s}", "id", json_object_get(file, "id"), "object", "file");
    json_object_update_missing(shown, (json_t *)file);
    return shown;
}

static apr_status_t file_id(ac_request_t *rq, const char **pid)
{
    *pid = rq->args[0];
    return ac_id_valid(*pid, AC_FILE_ID) ? APR_SUCCESS : ac_err_set(&rq->err, AC_NOT_FOUND, "no file with this id");
}

int ac_api_files_list(ac_request_t *rq)
{
    const char *thread_id = ac_query_get(rq, "thread_id");
    ac_page_t page = {.limit = 0};
    ac_store_op_t *result;
    json_t *data = json_array(), *file;
    size_t i;
    rq->doing = "listing files";
    if (ac_query_page(rq, &page) != APR_SUCCESS) {
        json_decref(data);
        return ac_reply_problem(rq, NULL);
    }
    ac_store_op_t *op = ac_store_op_create(AC_STORE_FILE_LIST, rq->owner, NULL);
    if (op) {
        op->page = page;
        op->in = thread_id ? json_pack("{s:s}", "thread_id", thread_id) : NULL;
    }
    if (ac_request_store(rq, op, &result) != APR_SUCCESS) {
        json_decref(data);
        return ac_reply_problem(rq, NULL);
    }
    json_array_foreach(json_object_get(result->out, "data"), i, file)
    {
        json_array_append_new(data, ac_api_files_shown(file));
    }
    json_object_set_new(result->out, "data", data);
    return ac_reply_json(rq, HTTP_OK, json_incref(result->out));
}

static apr_status_t api_files_find(ac_request_t *rq, const json_t **pfile)
{
    const char *id;
    ac_store_op_t *result;
    rq->doing = "reading the file";
    apr_status_t status = file_id(rq, &id);
    if (status == APR_SUCCESS) {
        status = ac_request_store(rq, ac_store_op_create(AC_STORE_FILE_GET, rq->owner, id), &result);
    }
    *pfile = status == APR_SUCCESS ? result->out : NULL;
    return status;
}

int ac_api_files_get(ac_request_t *rq)
{
    const json_t *file;
    if (api_files_find(rq, &file) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return ac_reply_json(rq, HTTP_OK, ac_api_files_shown(file));
}

void ac_api_files_remove_bytes(ac_request_t *rq, const json_t *ids)
{
    const ac_files_t *store = &ac_child()->conf->files.store;
    const json_t *id;
    size_t i;
    json_array_foreach(ids, i, id)
    {
        ac_err_t err;
        ac_err_init(&err);
        if (store->vt && ac_files_text_remove(store, json_string_value(id), &err) != APR_SUCCESS) {
            ac_log_request(AC_M613, err.status, rq->r, "file[%s]: its bytes are left: %s", json_string_value(id),
                           err.detail);
        }
    }
}

int ac_api_files_delete(ac_request_t *rq)
{
    const char *id;
    ac_store_op_t *result;
    rq->doing = "deleting the file";
    rq->audit.event = AC_AUDIT_FILE_DELETED;
    if (file_id(rq, &id) != APR_SUCCESS ||
        ac_request_store(rq, ac_store_op_create(AC_STORE_FILE_DELETE, rq->owner, id), &result) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    json_t *ids = json_pack("[s]", id);
    ac_api_files_remove_bytes(rq, ids);
    json_decref(ids);
    return ac_reply_json(rq, HTTP_OK, json_pack("{s:s, s:b}", "id", id, "deleted", 1));
}

/* ---- the bytes ---- */

typedef struct range_t { /* of a file */
    int64_t first, len;
    bool partial;
} range_t;

static bool read_number(int64_t *pvalue, const char **pat)
{
    char *end;
    const char *at = *pat;
    if (!apr_isdigit(*at) || strspn(at, "0123456789") > 18) {
        return false;
    }
    *pvalue = apr_strtoi64(at, &end, 10);
    *pat = end;
    return true;
}

/* One range of bytes, as RFC 9110 has it; anything else is ignored, and the whole file is the answer. Returns false for
 * a range outside of the file. */
static bool content_range(range_t *range, const char *text, int64_t size)
{
    int64_t first = -1, last = size - 1;
    *range = (range_t){0, size, false};
    if (!text || strncasecmp(text, "bytes=", 6) != 0) {
        return true;
    }
    text += 6;
    bool given = read_number(&first, &text);
    if (*text++ != '-') {
        return true;
    }
    bool ends = read_number(&last, &text);
    if (*text || (!given && !ends) || (given && ends && last < first)) {
        return true;
    }
    if (!given) { /* the last bytes */
        first = last < size ? size - last : 0;
        last = last ? size - 1 : -1;
    }
    if (first >= size || last < first) {
        return false;
    }
    last = last < size ? last : size - 1;
    *range = (range_t){first, last - first + 1, true};
    return true;
}

static void set_content_headers(ac_request_t *rq, const json_t *file, const char *etag, bool shows)
{
    request_rec *r = rq->r;
    apr_table_t *out = r->headers_out;
    char disposition[AC_FILE_NAME_HEADER_SIZE];
    ac_file_name_header(disposition, shows ? "inline" : "attachment", ac_json_peek_string(file, "name", "file"));
    apr_table_set(out, "Content-Disposition", disposition);
    apr_table_set(out, "ETag", etag);
    apr_table_setn(out, "Accept-Ranges", "bytes");
    apr_table_setn(out, "Cache-Control", "private, no-cache");
    apr_table_setn(out, "X-Content-Type-Options", "nosniff");
    apr_table_setn(out, "Content-Security-Policy", "sandbox; default-src 'none'");
    apr_table_setn(out, "Cross-Origin-Resource-Policy", "same-origin");
    apr_table_setn(out, "Referrer-Policy", "no-referrer");
}

typedef struct content_t { /* a file that is being delivered */
    const ac_files_vt *vt;
    ac_file_read_t *file;
    char piece[PIECE];
} content_t;

static apr_status_t end_content(void *content)
{
    ((content_t *)content)->vt->read_end(((content_t *)content)->file);
    return APR_SUCCESS;
}

static apr_status_t next_piece(void *baton, const char **pbytes, size_t *plen)
{
    content_t *content = baton;
    *pbytes = content->piece;
    return content->vt->read(content->file, content->piece, PIECE, plen, NULL);
}

static int deliver_content(ac_request_t *rq, const ac_files_vt *vt, ac_file_read_t *file, const range_t *range)
{
    content_t *content = apr_palloc(rq->r->pool, sizeof(*content));
    content->vt = vt;
    content->file = file;
    apr_pool_cleanup_register(rq->r->pool, content, end_content, apr_pool_cleanup_null);
    const ac_paced_source_t source = {next_piece, content, vt->read_descriptor ? vt->read_descriptor(file) : -1,
                                      range->first, range->len};
    return ac_paced_send(rq->r, rq->body_read, &source);
}

static int send_content(ac_request_t *rq, const json_t *file, const range_t *range)
{
    const ac_files_t *store = &ac_child()->conf->files.store;
    const char *id = ac_json_peek_string(file, "id", "");
    request_rec *r = rq->r;
    int64_t size = ac_json_peek_int(file, "size", 0);
    ac_file_read_t *opened = NULL;
    apr_status_t status = store->vt
        ? store->vt->read_begin(store->self, &opened, id, range->first, range->len, &rq->err)
        : ac_err_set(&rq->err, AC_NOT_FOUND, "this server has no files (AgentChatFiles)");
    if (status != APR_SUCCESS) {
        if (rq->err.kind == AC_NOT_FOUND && store->vt) {
            ac_log_request(AC_M615, 0, r, "file[%s]: its bytes are not there", id);
        }
        return ac_reply_problem(rq, NULL);
    }
    ac_audit_done(rq);
    if (range->partial) {
        r->status = HTTP_PARTIAL_CONTENT;
        apr_table_set(r->headers_out, "Content-Range",
                      apr_psprintf(r->pool, "bytes %" APR_INT64_T_FMT "-%" APR_INT64_T_FMT "/%" APR_INT64_T_FMT,
                                   range->first, range->first + range->len - 1, size));
    }
    const char *type = ac_json_peek_string(file, "type", "application/octet-stream");
    ap_set_content_type(r,
                        strncmp(type, "text/", 5) == 0 ? apr_pstrcat(r->pool, type, "; charset=utf-8", NULL)
                                                       : apr_pstrdup(r->pool, type));
    ap_set_content_length(r, range->len);
    return deliver_content(rq, store->vt, opened, range);
}

int ac_api_files_content(ac_request_t *rq)
{
    request_rec *r = rq->r;
    const json_t *file;
    range_t range;
    bool shows;
    if (ac_query_bool(rq, &shows, "inline", false) != APR_SUCCESS || api_files_find(rq, &file) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    const char *etag = apr_psprintf(r->pool, "\"%s\"", ac_json_peek_string(file, "sha256", ""));
    const char *if_range = apr_table_get(r->headers_in, "If-Range");
    int64_t size = ac_json_peek_int(file, "size", 0);
    bool whole = if_range && strcmp(if_range, etag) != 0;
    shows = shows && ac_file_type_is_image(ac_json_peek_string(file, "type", ""));
    if (ac_precondition_none_match(rq, etag)) {
        apr_table_set(r->headers_out, "ETag", etag);
        return ac_reply_empty(rq, HTTP_NOT_MODIFIED);
    }
    if (!content_range(&range, whole ? NULL : rq->range, size)) {
        apr_table_set(r->err_headers_out, "Content-Range", apr_psprintf(r->pool, "bytes */%" APR_INT64_T_FMT, size));
        return HTTP_RANGE_NOT_SATISFIABLE;
    }
    set_content_headers(rq, file, etag, shows);
    return send_content(rq, file, &range);
}
