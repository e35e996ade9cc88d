/* SPDX-License-Identifier: Apache-2.0 */
/* The store "cosmos": containers of Azure Cosmos DB, which several machines share. */
#ifndef AC_COSMOS_H
#define AC_COSMOS_H

#include "agentchat.h"

extern const ac_store_vt ac_store_cosmos; /* cosmos_store.c */

#endif
