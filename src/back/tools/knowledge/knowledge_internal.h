/* SPDX-License-Identifier: Apache-2.0 */
/* The knowledge base in its parts: the folder, its documents' sections, the index, and a question put to it. */
#ifndef AC_KNOWLEDGE_INTERNAL_H
#define AC_KNOWLEDGE_INTERNAL_H

#include "back/tools/tool_support.h"

#include <pthread.h>
#include <sqlite3.h>

#define AC_KNOWLEDGE_FILES 10000            /* documents of a folder */
#define AC_KNOWLEDGE_FILE (2 * 1024 * 1024) /* bytes of one */
#define AC_KNOWLEDGE_DEPTH 16               /* folders inside folders */
#define AC_KNOWLEDGE_PATH 1024              /* bytes of a path inside the folder */
#define AC_KNOWLEDGE_SECTIONS 4096          /* of one document */
#define AC_KNOWLEDGE_TITLE 300              /* bytes of a heading path */
#define AC_KNOWLEDGE_PATIENCE_MS 5000       /* for another connection's lock */
#define AC_KNOWLEDGE_QUERY 4096             /* bytes of a query for the index */

/* ---- knowledge_folder.c ---- */
typedef struct ac_knowledge_stamp_t { /* a file is taken for the same while these are */
    int64_t mtime, size, inode;       /* mtime in nanoseconds */
} ac_knowledge_stamp_t;

typedef struct ac_knowledge_file_t {
    char *path; /* inside the folder */
    ac_knowledge_stamp_t stamp;
} ac_knowledge_file_t;

typedef struct ac_knowledge_files_t {
    ac_knowledge_file_t *items; /* in the order of their paths' bytes */
    size_t n_items, size;
    size_t n_seen; /* entries of folders, documents or not */
    bool cut;      /* there are more than AC_KNOWLEDGE_FILES */
} ac_knowledge_files_t;

/* Documents (.md, .markdown, .txt) of the folder and those in it. Symbolic links and names that begin with '.' are
 * passed over. */
apr_status_t ac_knowledge_folder_list(ac_knowledge_files_t *files, const char *root);
void ac_knowledge_folder_free(ac_knowledge_files_t *files);
/* The text of a document, and its stamp from before the read. errors: ENOENT (gone, or a link by now); ENOSPC, EINVAL,
 * EACCES … where it can be no document: too large, not UTF-8, not readable. */
apr_status_t ac_knowledge_folder_read(ac_buf_t *text, ac_knowledge_stamp_t *pstamp, const char *root, const char *path);
bool ac_knowledge_folder_same(const ac_knowledge_stamp_t *a, const ac_knowledge_stamp_t *b);

/* ---- knowledge_sections.c ---- */
/* title: "Orders › Refunds". false: stop. */
typedef bool ac_knowledge_section_fn(void *baton, const char *title, const char *body, size_t len);
/* Splits a document at its headings (Markdown: # and underlined, but not inside fences; a title in front matter), and
 * at blank lines what is long. A document without a heading of the first level is called after its file. false: fn
 * stopped it, or no memory. */
bool ac_knowledge_sections_split(const char *path, const char *text, size_t len, ac_knowledge_section_fn *fn,
                                 void *baton);

/* ---- knowledge_query.c ---- */
/* The words of a question as a query for FTS5: quoted, so that nothing in them is syntax, without those that are in
 * every text, any of them, the last also as the beginning of a word. false: it has no words. */
bool ac_knowledge_query(char query[AC_KNOWLEDGE_QUERY], const char *question);

/* ---- knowledge_index.c ---- */
typedef struct ac_knowledge_conn_t ac_knowledge_conn_t;
struct ac_knowledge_conn_t {
    sqlite3 *db;
    const char *path;
    int64_t inode;       /* of the database file when it was opened */
    apr_time_t deadline; /* of what it does now; 0: none */
    ac_knowledge_conn_t *next;
};

/* Opens the index. Creates it if it is missing, and rebuilds it if it is damaged or of another version. */
apr_status_t ac_knowledge_index_open(ac_knowledge_conn_t **pconn, const char *path, ac_err_t *err);
void ac_knowledge_index_close(ac_knowledge_conn_t *conn);
/* Whether the file that conn has open is still the one at its path. */
bool ac_knowledge_index_is_valid(const ac_knowledge_conn_t *conn);
/* An SQLite error as ours, logged at most once a minute. A damaged index is thrown away. */
apr_status_t ac_knowledge_index_failed(ac_knowledge_conn_t *conn, int code, ac_err_t *err);

typedef struct ac_knowledge_ask_t {
    const char *query; /* for FTS5 */
    int n_results;
    size_t result_max; /* bytes of all results, about */
} ac_knowledge_ask_t;
/* out: *presults [{title, document, snippet, score}], the best first; *ptotal: how many sections hold one of
 * the words. */
apr_status_t ac_knowledge_index_search(json_t **presults, int64_t *ptotal, ac_knowledge_conn_t *conn,
                                       const ac_knowledge_ask_t *ask, ac_err_t *err);

/* ---- knowledge_refresh.c ---- */
typedef struct ac_knowledge_state_t {
    bool whole;          /* the index is, or was once, of the whole folder */
    bool cut;            /* the folder has more documents than are indexed */
    apr_status_t folder; /* why it could not be listed; the index is as it was then */
} ac_knowledge_state_t;

/* Brings the index up to the folder, in transactions of bounded size, until conn's deadline or a little later. EAGAIN:
 * another process is about it, or time ran out. errors: tool_error. */
apr_status_t ac_knowledge_refresh(ac_knowledge_conn_t *conn, const char *root, ac_knowledge_state_t *pstate,
                                  ac_err_t *err);

#endif
