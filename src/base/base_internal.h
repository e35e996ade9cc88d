/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that only the files of this folder share. */
#ifndef AC_BASE_INTERNAL_H
#define AC_BASE_INTERNAL_H

#include "base.h"

/* text.c. Reads decimal digits without a sign. *pend: the first character that is not a digit. Returns false without a
 * digit, or if the number is out of range. Any thread. */
bool ac_text_parse_digits(int64_t *pvalue, const char **pend, const char *text);

/* ---- schema.c, schema_problem.c ---- */
/* A position in a document: a list from the inside out, on the stack. */
typedef struct ac_schema_path_t {
    const struct ac_schema_path_t *up;
    const char *name; /* NULL: an array's item */
    size_t index;
    int depth;
    struct ac_schema_check_t *check; /* NULL: of the schema itself */
} ac_schema_path_t;
void ac_schema_write_pointer(char pointer[AC_ERR_POINTER_SIZE], const ac_schema_path_t *at);
/* What "$ref" names within the schema, "#/$defs/x"; NULL: nothing, or it is elsewhere. Borrowed. */
const json_t *ac_schema_ref(const json_t *root, const char *ref);

#endif
