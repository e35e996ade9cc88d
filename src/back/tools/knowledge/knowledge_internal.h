/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that only the files of this folder share: the folder, the sections of its documents, the index, and
 * queries. */
#ifndef AC_KNOWLEDGE_INTERNAL_H
#define AC_KNOWLEDGE_INTERNAL_H

#include "back/tools/tool_support.h"

#include <pthread.h>
#include <sqlite3.h>

#define AC_KNOWLEDGE_FILES 10000            /* documents of a folder */
#define AC_KNOWLEDGE_FILE (2 * 1024 * 1024) /* bytes of a document */
#define AC_KNOWLEDGE_DEPTH 16               /* nesting of folders */
#define AC_KNOWLEDGE_PATH 1024              /* bytes of a path inside the folder */
#define AC_KNOWLEDGE_SECTIONS 4096          /* of a document */
#define AC_KNOWLEDGE_TITLE 300              /* bytes of a heading path */
#define AC_KNOWLEDGE_PATIENCE_MS 5000       /* wait for another connection's lock */
#define AC_KNOWLEDGE_QUERY 4096             /* bytes of a query for the index */

/* ---- knowledge_folder.c ---- */
typedef struct ac_knowledge_stamp_t { /* identifies the version of a file: unchanged values mean an unchanged file */
    int64_t mtime, size, inode;       /* mtime in nanoseconds */
} ac_knowledge_stamp_t;

typedef struct ac_knowledge_file_t {
    char *path; /* inside the folder */
    ac_knowledge_stamp_t stamp;
} ac_knowledge_file_t;

typedef struct ac_knowledge_files_t {
    ac_knowledge_file_t *items; /* in the order of the bytes of their paths */
    size_t n_items, size;
    size_t n_seen; /* entries of folders, also those that are not documents */
    bool cut;      /* the folder has more than AC_KNOWLEDGE_FILES */
} ac_knowledge_files_t;

/* Lists the documents (.md, .markdown, .txt) of the folder and its subfolders. Symbolic links and names that begin with
 * '.' are skipped. */
apr_status_t ac_knowledge_folder_list(ac_knowledge_files_t *files, const char *root);
void ac_knowledge_folder_free(ac_knowledge_files_t *files);
/* Reads a document's text, and its stamp from before the read. errors: ENOENT (deleted, or a symbolic link now); ENOSPC
 * (too large), EINVAL (not UTF-8), EACCES … (not readable). */
apr_status_t ac_knowledge_folder_read(ac_buf_t *text, ac_knowledge_stamp_t *pstamp, const char *root, const char *path);
bool ac_knowledge_folder_same(const ac_knowledge_stamp_t *a, const ac_knowledge_stamp_t *b);

/* ---- knowledge_sections.c ---- */
/* title: "Orders › Refunds". Returns false to stop. */
typedef bool ac_knowledge_section_fn(void *baton, const char *title, const char *body, size_t len);
/* Splits a document at its headings (Markdown: # and underlined, but not inside fences; a title in front matter), and
 * long sections at blank lines. A document without a heading of the first level gets its file's name as title. Returns
 * false if fn stopped it, or memory ran out. */
bool ac_knowledge_sections_split(const char *path, const char *text, size_t len, ac_knowledge_section_fn *fn,
                                 void *baton);

/* ---- knowledge_query.c ---- */
/* Converts the words of a question into a query of FTS5 that finds any of them. Words are quoted, so no word is syntax;
 * very common words are left out; the last word also matches as the beginning of a word. Returns false if there are no
 * words. */
bool ac_knowledge_query(char query[AC_KNOWLEDGE_QUERY], const char *question);

/* ---- knowledge_index.c ---- */
typedef struct ac_knowledge_conn_t ac_knowledge_conn_t;
struct ac_knowledge_conn_t {
    sqlite3 *db;
    const char *path;
    int64_t inode;       /* of the database file that is open */
    apr_time_t deadline; /* of the current operation; 0: none */
    ac_knowledge_conn_t *next;
};

/* Opens the index. Creates it if it is missing, and rebuilds it if it is damaged or of another version. */
apr_status_t ac_knowledge_index_open(ac_knowledge_conn_t **pconn, const char *path, ac_err_t *err);
void ac_knowledge_index_close(ac_knowledge_conn_t *conn);
/* Whether the file that conn has open is still the one at its path. */
bool ac_knowledge_index_is_valid(const ac_knowledge_conn_t *conn);
/* Converts an SQLite error, which is logged at most once a minute. A damaged index is deleted. */
apr_status_t ac_knowledge_index_failed(ac_knowledge_conn_t *conn, int code, ac_err_t *err);

typedef struct ac_knowledge_ask_t {
    const char *query; /* in the syntax of FTS5 */
    int n_results;
    size_t result_max; /* bytes of all results, approximately */
} ac_knowledge_ask_t;
/* *presults: [{title, document, snippet, score}], the best first. *ptotal: the number of sections that contain one of
 * the words. */
apr_status_t ac_knowledge_index_search(json_t **presults, int64_t *ptotal, ac_knowledge_conn_t *conn,
                                       const ac_knowledge_ask_t *ask, ac_err_t *err);

/* ---- knowledge_refresh.c ---- */
typedef struct ac_knowledge_state_t {
    bool whole;          /* the index contained the whole folder at some time */
    bool cut;            /* the folder has more documents than the index */
    apr_status_t folder; /* why it could not be listed; the index was not changed */
} ac_knowledge_state_t;

/* Updates the index from the folder, in transactions of bounded size, until conn's deadline or a little later. errors:
 * EAGAIN (another process does it, or the deadline passed), tool_error. */
apr_status_t ac_knowledge_refresh(ac_knowledge_conn_t *conn, const char *root, ac_knowledge_state_t *pstate,
                                  ac_err_t *err);

#endif
