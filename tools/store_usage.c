/* SPDX-License-Identifier: Apache-2.0 */
/* agentchat-store: copies the usage of a store, which contains the runs of deleted threads too. */
#include "store_copy.h"

#include <stdlib.h>

#include <apr_strings.h>

#define ROWS_AT_A_TIME 100

/* Calls fn for the rows of a store, page by page. fn returns false to end the walk, with copy->err set. */
typedef bool rows_fn(copy_t *copy, json_t *rows);

static bool walk(copy_t *copy, end_t *end, rows_fn *fn)
{
    json_t *after = json_null(), *out;
    bool fine = true;

    while (fine && after) {
        ac_store_op_t *op = ac_store_op_create(AC_STORE_EXPORT_USAGE, NULL, NULL);
        op->page.limit = ROWS_AT_A_TIME;
        out = store_copy_call(copy, end, op, json_pack("{s:o}", "after", after));
        after = json_is_string(json_object_get(out, "next")) ? json_incref(json_object_get(out, "next")) : NULL;
        fine = out && fn(copy, json_object_get(out, "data"));
        json_decref(out);
    }
    json_decref(after);
    return fine;
}

static bool import(copy_t *copy, json_t *rows)
{
    ac_store_op_t *op = ac_store_op_create(AC_STORE_IMPORT_USAGE, NULL, NULL);
    json_t *out = store_copy_call(copy, &copy->to, op, json_pack("{s:O}", "rows", rows));

    json_decref(out);
    return out != NULL;
}

bool store_usage_copy(copy_t *copy)
{
    return walk(copy, &copy->from, import);
}

/* The text of a row's key, in the copy's pool. */
static const char *key_of(copy_t *copy, const json_t *row)
{
    json_t *key = ac_usage_row_key(row);
    char *text = ac_json_dump(key, NULL);
    const char *kept = apr_pstrdup(copy->pool, text ? text : "");

    free(text);
    json_decref(key);
    return kept;
}

static bool note_target(copy_t *copy, json_t *rows)
{
    json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        apr_hash_set(copy->to.known, key_of(copy, row), APR_HASH_KEY_STRING, copy);
    }
    return true;
}

static bool compare(copy_t *copy, json_t *rows)
{
    json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        bool there = apr_hash_get(copy->to.known, key_of(copy, row), APR_HASH_KEY_STRING) != NULL;
        copy->seen_from.usage++;
        copy->seen_to.usage += there;
        copy->n_different += !there;
    }
    return true;
}

bool store_usage_compare(copy_t *copy)
{
    apr_hash_clear(copy->to.known);
    return walk(copy, &copy->to, note_target) && walk(copy, &copy->from, compare);
}
