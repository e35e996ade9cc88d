/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef AC_CATALOG_INTERNAL_H
#define AC_CATALOG_INTERNAL_H

#include "catalog.h"

/* registry.c: whether a name in a list of tools begins with AC_AGENT_TOOL or AC_HANDOFF_TOOL. */
bool ac_registry_is_agent_tool(const char *name);

/* documents: as AGENT_LIST returns them; they are copied. An agent of the configuration hides a document with its id.
 * stamp: the version of the documents; NULL: the store was not read yet, and documents is NULL.
 * defaults: the values that a document does not say. config must outlive the snapshot. */
ac_agents_t *ac_agents_create(const ac_registry_t *config, const ac_agent_t *defaults, const char *stamp,
                              const json_t *documents);
const char *ac_agents_stamp(const ac_agents_t *agents); /* NULL: the store was not read */

#endif
