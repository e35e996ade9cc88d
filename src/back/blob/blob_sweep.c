/* SPDX-License-Identifier: Apache-2.0 */
/* Looking through the container for files that were written before some time. */
#include "blob_internal.h"

#include <string.h>

#include <apr_strings.h>

#define PAGE "500"
#define PAGE_MAX (4 * 1024 * 1024) /* bytes of a page */
#define MARKER_MAX 4096

typedef struct sweep_t {
    const ac_blob_t *blob;
    apr_time_t before;
    ac_file_found_fn *found;
    void *baton;
} sweep_t;

static void on_blob(void *baton, const char *name, apr_time_t modified)
{
    const sweep_t *sweep = baton;
    const char *prefix = sweep->blob->conf.prefix;
    size_t len = strlen(prefix);
    if (modified < sweep->before && strncmp(name, prefix, len) == 0 && ac_id_valid(name + len, AC_FILE_ID)) {
        sweep->found(sweep->baton, name + len);
    }
}

static apr_status_t sweep_page(ac_blob_t *blob, const char *prefix, ac_buf_t *marker, sweep_t *sweep, ac_err_t *err)
{
    ac_blob_reply_t reply;
    const char *query[] = {"comp", "list", "maxresults", PAGE, "prefix", prefix, "restype", "container", NULL};
    const char *further[] = {"comp",   "list", "marker",  marker->data, "maxresults", PAGE,
                             "prefix", prefix, "restype", "container",  NULL};
    const ac_blob_request_t request = {.doing = "listing files",
                                       .method = "GET",
                                       .name = "",
                                       .query = marker->len ? further : query,
                                       .max = PAGE_MAX,
                                       .quiet = true};
    apr_status_t status = ac_blob_call(blob, &request, &reply, err);
    if (status == APR_SUCCESS) {
        status = ac_blob_answer_list(marker, &reply.body, on_blob, sweep, err);
    }
    ac_buf_free(&reply.body);
    return status;
}

apr_status_t ac_blob_sweep(void *self, apr_time_t before, ac_file_found_fn *found, void *baton, ac_err_t *err)
{
    ac_blob_t *blob = self;
    sweep_t sweep = {blob, before, found, baton};
    char prefix[AC_ID_SIZE + 256];
    ac_buf_t marker;
    apr_status_t status;
    apr_snprintf(prefix, sizeof(prefix), "%s%s", blob->conf.prefix, AC_FILE_ID);
    ac_buf_init(&marker, MARKER_MAX);
    do {
        status = sweep_page(blob, prefix, &marker, &sweep, err);
    } while (status == APR_SUCCESS && marker.len);
    ac_buf_free(&marker);
    return status;
}
