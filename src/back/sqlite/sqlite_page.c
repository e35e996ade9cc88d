/* SPDX-License-Identifier: Apache-2.0 */
/* A page of a database's file: what of it is not in use, and must not have removed words. The form of pages is SQLite's
 * documentation "Database File Format", section 1.6. */
#include "sqlite_internal.h"

#include <string.h>

#define FILE_HEADER 100 /* before the header of the first page */
#define INDEX_INTERIOR 2
#define TABLE_INTERIOR 5
#define INDEX_LEAF 10
#define TABLE_LEAF 13

static int page_number(const unsigned char *bytes)
{
    return bytes[0] << 8 | bytes[1];
}

/* The gap is between the array of cell pointers and the cells. Returns false if this is no page of a tree. */
static bool page_gap(int *pbegin, int *pend, const unsigned char *page, int size, int header)
{
    int type = page[header], n_cells = page_number(page + header + 3), at;
    bool interior = type == INDEX_INTERIOR || type == TABLE_INTERIOR;

    if (!interior && type != INDEX_LEAF && type != TABLE_LEAF) {
        return false;
    }
    at = header + (interior ? 12 : 8);
    *pbegin = at + 2 * n_cells;
    *pend = page_number(page + header + 5);
    *pend = *pend ? *pend : 65536;
    if (*pbegin > *pend || *pend > size) {
        return false;
    }
    for (; at < *pbegin; at += 2) {
        int cell = page_number(page + at);
        if (cell < *pend || cell > size - 4) {
            return false;
        }
    }
    return true;
}

/* A free block begins with the place of the next one and its own size. */
static bool free_blocks_blank(unsigned char *copy, int size, int header, int end)
{
    int at = page_number(copy + header + 1), least = end;

    while (at) {
        if (at < least || at > size - 4) {
            return false;
        }
        int n = page_number(copy + at + 2);
        if (n < 4 || at + n > size) {
            return false;
        }
        memset(copy + at + 4, 0, (size_t)n - 4);
        least = at + n;
        at = page_number(copy + at);
    }
    return true;
}

bool ac_sqlite_page_blank(unsigned char *copy, const unsigned char *page, int size, bool first)
{
    int header = first ? FILE_HEADER : 0, begin, end;

    if (!page_gap(&begin, &end, page, size, header)) {
        return false;
    }
    memcpy(copy, page, (size_t)size);
    memset(copy + begin, 0, (size_t)(end - begin));
    return free_blocks_blank(copy, size, header, end);
}
