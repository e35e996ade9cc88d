/* SPDX-License-Identifier: Apache-2.0 */
/* The store "sqlite": one database file, for the processes of one machine. */
#ifndef AC_SQLITE_H
#define AC_SQLITE_H

#include "agentchat.h"

extern const ac_store_vt ac_store_sqlite; /* sqlite_store.c */

#endif
