/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of a thread's messages; back.h includes this header.
 *
 * A message has a parent, which was stored before it. The messages of a thread have the seqs 1 to count, in the order
 * of storing, whatever branch they are on. A jump is a message whose parent is not the message before it; its parent is
 * 0 if it has none. A thread without a jump is a line. The jumps and the leaf are stored with the thread, as its member
 * `tree`: {"leaf": {"seq": n, "id": id}, "jumps": [[seq, parent], ...] by seq}; absent or null for a line. All
 * functions are pure, and read no message. */
#ifndef AC_BACK_TREE_H
#define AC_BACK_TREE_H

#include "base/base.h"

typedef struct ac_tree_jump_t {
    int64_t seq, parent;
} ac_tree_jump_t;
typedef struct ac_tree_range_t {
    int64_t first, last; /* inclusive */
} ac_tree_range_t;
typedef struct ac_tree_t {
    int64_t count, leaf;      /* leaf: the last message of the current path; 0: no message */
    char leaf_id[AC_ID_SIZE]; /* "": a line, whose leaf is its last message */
    int n_jumps;
    ac_tree_jump_t *jumps; /* ascending; owned */
} ac_tree_t;
/* Reads the member; json may be NULL. The caller frees the tree with ac_tree_free(); after an error it is empty.
 * errors: store_error: not a tree of count messages. */
apr_status_t ac_tree_read(ac_tree_t *tree, const json_t *json, int64_t count, ac_err_t *err);
void ac_tree_free(ac_tree_t *tree);
json_t *ac_tree_json(const ac_tree_t *tree);                /* the member, a new reference; JSON null for a line */
int64_t ac_tree_parent(const ac_tree_t *tree, int64_t seq); /* 0: none */
/* Adds the next message, a child of parent. move: the leaf moves to it; if not, leaf_id must be set. errors:
 * invalid_request: too many branches. */
apr_status_t ac_tree_add(ac_tree_t *tree, int64_t parent, const char *id, bool move, ac_err_t *err);
/* Where TURN_OPEN and TURN_CLOSE add their message, by their parent_seq and after; -1: not given. *pmove: the leaf
 * moves to it. Without parent_seq it follows the leaf. If the thread has newer messages than `after`, an answer stays
 * below its question, and the leaf where it is; but one whose question is above the leaf, and was the newest message,
 * follows the leaf, as in a line. */
int64_t ac_tree_place(bool *pmove, const ac_tree_t *tree, int64_t parent_seq, int64_t after);
/* The greatest seq below the message, or the message itself: always a leaf. */
int64_t ac_tree_newest_leaf(const ac_tree_t *tree, int64_t seq);
void ac_tree_leaf_set(ac_tree_t *tree, int64_t leaf, const char *id);
/* The messages of the path to `end` with page->after_seq < seq < page->before_seq, where 0 is no bound: the first
 * page->limit of them, or the last ones if page->descending. *pranges: their seqs, ascending, for free(). *pmore: there
 * are more. end 0: an empty path. Returns the number of ranges. */
int ac_tree_path(ac_tree_range_t **pranges, bool *pmore, const ac_tree_t *tree, int64_t end, const ac_page_t *page);
/* The children of the message's parent, itself included. *pseqs: ascending, for free(). Returns their number. */
int ac_tree_siblings(int64_t **pseqs, const ac_tree_t *tree, int64_t seq);

#endif
