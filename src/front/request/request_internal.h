/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef AC_REQUEST_INTERNAL_H
#define AC_REQUEST_INTERNAL_H

#include "request.h"

/* ---- upload.c ---- */
/* The media type of contents, if AgentChatFiles types= accepts it. NULL: err is set: unsupported_media_type and
 * others. */
const char *ac_upload_type(const ac_file_type_t *type, const char *name, ac_err_t *err);
json_t *ac_upload_limits(void); /* `limits` of FILE_PUT; new reference */

/* ---- attachments.c ---- */
/* Adds a file of the body; takes its bytes. errors: those of ac_upload_type(), invalid_request. */
apr_status_t ac_attachments_add(ac_attachments_t *attachments, ac_request_t *rq, ac_buf_t *bytes, const ac_part_t *part,
                                int at);

#endif
