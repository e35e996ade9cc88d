/* SPDX-License-Identifier: Apache-2.0 */
/* Tools of other services in the form that models accept: names, texts, schemas. Pure functions; any thread. */
#ifndef AC_TOOL_WIRE_H
#define AC_TOOL_WIRE_H

#include "base/base.h"

/* ---- tool_text.c ---- */
/* Appends text of a service for people or models: without control characters but line ends and tabs, without characters
 * that have no width or change the direction, at most max bytes, "…" at a cut. */
void ac_tool_text_add(ac_buf_t *buf, const char *text, size_t max);

/* ---- tool_name.c: names that models accept ---- */
#define AC_TOOL_NAME_SIZE 65 /* of a name that models accept: letters, digits, '_' and '-' */
typedef struct ac_tool_name_t {
    const char *name; /* the service's; borrowed */
    char id[AC_TOOL_NAME_SIZE];
} ac_tool_name_t;
/* Sets the id of each of n names: prefix and name, other characters become '_'. A name that is then too long, or that
 * another tool has, ends with digits of a hash of the service's name for it, so that it does not depend on the order or
 * on other tools being there. prefix: at most 32 of these characters. A tool whose id cannot be unique gets "". */
void ac_tool_name_make(ac_tool_name_t *names, int n, const char *prefix);
/* The id with the digits; salt: what tells it from the same name of another service, or "". */
void ac_tool_name_hash(char id[AC_TOOL_NAME_SIZE], const char *prefix, const char *name, const char *salt);

/* ---- tool_schema.c: schemas as models accept them ---- */
#define AC_TOOL_SCHEMA_DEPTH 12 /* levels of schemas; AC_MAX_JSON_DEPTH has room for them */
typedef struct ac_tool_schema_t {
    const json_t *root; /* the document that references lead into */
    int depth;          /* levels; of what is deeper only members that must be there are described */
    size_t text;        /* bytes of a description within; 0: none */
} ac_tool_schema_t;
/* Makes a tool's parameters from a schema: an object with `properties`, without references (those within the document
 * are replaced by what they name, others and endless ones by any value; nothing is fetched), without combinations at
 * the top (their members become members of the object, those of alternatives optional), without keywords in forms that
 * services of models refuse, without what only an answer has (readOnly). NULL: it is no schema of an object, or longer
 * than AC_MAX_TOOL_SCHEMA. New reference. */
json_t *ac_tool_schema_make(const json_t *given, const ac_tool_schema_t *as);

/* ---- tool_reference.c ---- */
/* What "#/components/schemas/name" names in root; NULL: nothing, or it is no pointer into it. Source: RFC 6901. */
const json_t *ac_tool_reference_find(const json_t *root, const char *reference);

#endif
