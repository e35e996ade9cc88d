/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of documents, and a knowledge base on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "knowledge_rig.h"

#include <apr_strings.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

knowledge_rig_t kb;

int kb_set_up(void **state)
{
    (void)state;
    snprintf(kb.top, sizeof(kb.top), "/tmp/test_knowledge.XXXXXX");
    assert_non_null(mkdtemp(kb.top));
    snprintf(kb.folder, sizeof(kb.folder), "%s/docs", kb.top);
    assert_int_equal(mkdir(kb.folder, 0700), 0);
    tool_rig_open(&kb.tool, &ac_tool_knowledge);
    kb.tool.conf.state_dir = kb.top;
    tool_rig_option(&kb.tool, "path", kb.folder);
    return 0;
}

static int remove_one(const char *path, const struct stat *info, int what, struct FTW *where)
{
    (void)info, (void)what, (void)where;
    return remove(path);
}

int kb_tear_down(void **state)
{
    (void)state;
    tool_answer_free(&kb.answer);
    tool_rig_close(&kb.tool);
    nftw(kb.top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

const char *kb_at(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", kb.folder, name);
    return path;
}

/* The n-th write of a file is n seconds younger, so that a change is visible with any clock of the file system. */
void kb_put_bytes(const char *name, const char *text, size_t len)
{
    static int n_puts;
    FILE *file = fopen(kb_at(name), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    fclose(file);
    n_puts++;
    struct timespec times[2] = {{.tv_sec = 1000000000 + n_puts}, {.tv_sec = 1000000000 + n_puts}};
    assert_int_equal(utimensat(AT_FDCWD, kb_at(name), times, 0), 0);
}

void kb_put(const char *name, const char *text)
{
    kb_put_bytes(name, text, strlen(text));
}

void kb_ask(const char *query)
{
    char *arguments = apr_psprintf(kb.tool.pool, "{\"query\":\"%s\"}", query);
    tool_answer_free(&kb.answer);
    tool_rig_call(&kb.tool, &kb.answer, arguments, 0);
    if (kb.answer.status != APR_SUCCESS) {
        print_error("%s\n", kb.answer.err.detail);
    }
    assert_int_equal(kb.answer.status, APR_SUCCESS);
}

/* A new kb.tool on the same index: it looks at the folder at once. */
void kb_search_rebuilt(const char *query)
{
    tool_rig_start(&kb.tool);
    kb_ask(query);
}

size_t kb_n_hits(void)
{
    return json_array_size(json_object_get(kb.answer.result, "results"));
}

const char *kb_hit(size_t i, const char *member)
{
    return ac_json_peek_string(json_array_get(json_object_get(kb.answer.result, "results"), i), member, "");
}

int64_t kb_number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

const char *kb_index_file(void)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/knowledge-a_tool-", kb.top);
    size_t len = strlen(path);
    uint64_t value = UINT64_C(0xcbf29ce484222325);
    for (const char *c = kb.folder; *c; c++) {
        value = (value ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    }
    snprintf(path + len, sizeof(path) - len, "%016llx.db", (unsigned long long)value);
    return path;
}

void kb_fill(int n_files)
{
    for (int i = 0; i < n_files; i++) {
        kb_put(apr_psprintf(kb.tool.pool, "f%03d.md", i), KB_ORDERS);
    }
}
