/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of documents in a directory of its own, and a knowledge base on it, for the tests. */
#ifndef KNOWLEDGE_RIG_H
#define KNOWLEDGE_RIG_H

#include "back/tools/knowledge/knowledge_internal.h"
#include "tool_rig.h"

#define KB_ORDERS \
    "# Orders\n\nHow to order.\n\n## Refunds\n\nMoney comes back within 14 days of the return.\n\n" \
    "## Delivery\n\nParcels arrive after three working days.\n"

typedef struct knowledge_rig_t {
    tool_rig_t tool;
    tool_answer_t answer;     /* of the last search */
    char top[64], folder[96]; /* the index is in top */
} knowledge_rig_t;

extern knowledge_rig_t kb;

int kb_set_up(void **state);
int kb_tear_down(void **state);
const char *kb_at(const char *name); /* the path of a document; until the next call */
/* Each write gives the file a time of its own, so that a change is visible with any clock of the file system. */
void kb_put_bytes(const char *name, const char *text, size_t len);
void kb_put(const char *name, const char *text);
void kb_fill(int n_files);                 /* with KB_ORDERS */
void kb_ask(const char *query);            /* which must not fail; text inside JSON quotes */
void kb_search_rebuilt(const char *query); /* as a new tool on the same index: it looks at the folder at once */
size_t kb_n_hits(void);
const char *kb_hit(size_t i, const char *member);
int64_t kb_number(sqlite3 *db, const char *sql);
const char *kb_index_file(void); /* the tool's own */

#endif
