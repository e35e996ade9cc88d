/* SPDX-License-Identifier: Apache-2.0 */
/* Files in a container of Azure Blob Storage: AgentChatFiles blob:https://ACCOUNT.blob.core.windows.net/CONTAINER. A
 * file is a block blob whose name is its id behind the configured prefix. All machines that share a store share the
 * container.
 *
 * A thread that calls waits for the loop, which signs the request, sends it and reads the answer. Neither side has more
 * of a file in memory than one part. */
#ifndef AC_BACK_BLOB_H
#define AC_BACK_BLOB_H

#include "back/files/files.h"

extern const ac_files_vt ac_files_blob;
/* Reads the URL of a container, and the options. *pself: the self of the provider, which lives as long as p. Returns
 * NULL on success, else an error message. */
const char *ac_blob_config_create(void **pself, const char *url, const apr_table_t *options, apr_pool_t *p);

#endif
