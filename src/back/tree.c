/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of a thread's messages. Between two jumps each message is the child of the one before it: a stretch. So a
 * path is a list of ranges of seqs, one of each stretch on it, and follows from the jumps alone. */
#include "back.h"

#include <string.h>

#include <apr_strings.h>

/* ---- reading and writing ---- */

void ac_tree_free(ac_tree_t *tree)
{
    free(tree->jumps);
    memset(tree, 0, sizeof(*tree));
}

static bool tree_jumps_read(ac_tree_t *tree, const json_t *list)
{
    size_t n = json_array_size(list);
    int64_t last = 1;
    if (!json_is_array(list) || n > AC_MAX_BRANCHES) {
        return false;
    }
    tree->jumps = n > 0 ? ac_alloc(n * sizeof(*tree->jumps)) : NULL;
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(list, i), *seq = json_array_get(pair, 0), *parent = json_array_get(pair, 1);
        ac_tree_jump_t jump = {json_integer_value(seq), json_integer_value(parent)};
        if (json_array_size(pair) != 2 || !json_is_integer(seq) || !json_is_integer(parent) || jump.seq <= last ||
            jump.seq > tree->count || jump.parent < 0 || jump.parent >= jump.seq - 1) {
            return false;
        }
        last = jump.seq;
        tree->jumps[i] = jump;
        tree->n_jumps = (int)i + 1;
    }
    return true;
}

static bool tree_leaf_read(ac_tree_t *tree, const json_t *leaf)
{
    const char *id = json_string_value(json_object_get(leaf, "id"));
    int64_t seq = json_integer_value(json_object_get(leaf, "seq"));
    if (!id || !*id || strlen(id) >= sizeof(tree->leaf_id) || seq < 1 || seq > tree->count) {
        return false;
    }
    ac_tree_leaf_set(tree, seq, id);
    return true;
}

apr_status_t ac_tree_read(ac_tree_t *tree, const json_t *json, int64_t count, ac_err_t *err)
{
    memset(tree, 0, sizeof(*tree));
    tree->count = tree->leaf = count;
    if (!json || json_is_null(json)) {
        return APR_SUCCESS;
    }
    if (!json_is_object(json) || !tree_jumps_read(tree, json_object_get(json, "jumps")) ||
        !tree_leaf_read(tree, json_object_get(json, "leaf"))) {
        ac_tree_free(tree);
        return ac_err_set(err, AC_STORE_ERROR, "the thread's tree of messages is damaged");
    }
    return APR_SUCCESS;
}

json_t *ac_tree_json(const ac_tree_t *tree)
{
    if (tree->n_jumps == 0 && tree->leaf == tree->count) {
        return json_null();
    }
    json_t *jumps = json_array();
    for (int i = 0; i < tree->n_jumps; i++) {
        json_array_append_new(jumps,
                              json_pack("[I, I]", (json_int_t)tree->jumps[i].seq, (json_int_t)tree->jumps[i].parent));
    }
    return json_pack("{s:{s:I, s:s}, s:o}", "leaf", "seq", (json_int_t)tree->leaf, "id", tree->leaf_id, "jumps", jumps);
}

/* ---- stretches: number i begins with jump i - 1, number 0 with the first message ---- */

static int stretch_of(const ac_tree_t *tree, int64_t seq)
{
    int low = 0, high = tree->n_jumps; /* the number of jumps whose seq is not greater */
    while (low < high) {
        int middle = (low + high) / 2;
        if (tree->jumps[middle].seq <= seq) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int64_t stretch_first(const ac_tree_t *tree, int i)
{
    return i > 0 ? tree->jumps[i - 1].seq : 1;
}

static int64_t stretch_last(const ac_tree_t *tree, int i)
{
    return i < tree->n_jumps ? tree->jumps[i].seq - 1 : tree->count;
}

static int64_t stretch_parent(const ac_tree_t *tree, int i)
{
    return i > 0 ? tree->jumps[i - 1].parent : 0;
}

/* ---- questions ---- */

int64_t ac_tree_parent(const ac_tree_t *tree, int64_t seq)
{
    int i = stretch_of(tree, seq);
    return stretch_first(tree, i) == seq ? stretch_parent(tree, i) : seq - 1;
}

int64_t ac_tree_newest_leaf(const ac_tree_t *tree, int64_t seq)
{
    int first = stretch_of(tree, seq);
    int64_t newest = stretch_last(tree, first);
    bool *below = ac_alloc((size_t)tree->n_jumps + 1); /* for each stretch: whether it is below seq */
    for (int i = first + 1; i <= tree->n_jumps; i++) {
        int64_t parent = stretch_parent(tree, i);
        int at = stretch_of(tree, parent);
        below[i] = parent >= seq && (at == first || below[at]);
        if (below[i]) {
            newest = stretch_last(tree, i);
        }
    }
    free(below);
    return newest;
}

int ac_tree_siblings(int64_t **pseqs, const ac_tree_t *tree, int64_t seq)
{
    int64_t parent = ac_tree_parent(tree, seq);
    int64_t *seqs = ac_alloc(((size_t)tree->n_jumps + 1) * sizeof(*seqs));
    int n = 0;
    if (parent < tree->count && ac_tree_parent(tree, parent + 1) == parent) {
        seqs[n++] = parent + 1;
    }
    for (int i = stretch_of(tree, parent); i < tree->n_jumps; i++) {
        if (tree->jumps[i].parent == parent) {
            seqs[n++] = tree->jumps[i].seq;
        }
    }
    *pseqs = seqs;
    return n;
}

/* ---- the path ---- */

/* The ranges of the whole path inside of the page's bounds, ascending. Returns their number. */
static int tree_ranges(ac_tree_range_t *ranges, const ac_tree_t *tree, int64_t end, const ac_page_t *page)
{
    int n = 0;
    while (end > 0 && end > page->after_seq) {
        int i = stretch_of(tree, end);
        int64_t first = stretch_first(tree, i) > page->after_seq ? stretch_first(tree, i) : page->after_seq + 1;
        int64_t last = page->before_seq > 0 && end >= page->before_seq ? page->before_seq - 1 : end;
        if (first <= last) {
            ranges[n++] = (ac_tree_range_t){first, last};
        }
        end = stretch_parent(tree, i);
    }
    for (int i = 0; i < n / 2; i++) {
        ac_tree_range_t range = ranges[i];
        ranges[i] = ranges[n - 1 - i];
        ranges[n - 1 - i] = range;
    }
    return n;
}

/* Keeps the `limit` first messages, or the last ones. Returns the number of ranges, which begin at *pfrom. */
static int tree_cut(int *pfrom, ac_tree_range_t *ranges, int n, const ac_page_t *page)
{
    int64_t left = page->limit;
    int i = page->descending ? n - 1 : 0, step = page->descending ? -1 : 1, kept = 0;
    for (; i >= 0 && i < n && left > 0; i += step, kept++) {
        int64_t size = ranges[i].last - ranges[i].first + 1;
        if (size > left && page->descending) {
            ranges[i].first = ranges[i].last - left + 1;
        } else if (size > left) {
            ranges[i].last = ranges[i].first + left - 1;
        }
        left -= size < left ? size : left;
    }
    *pfrom = page->descending ? n - kept : 0;
    return kept;
}

static int64_t ranges_size(const ac_tree_range_t *ranges, int n)
{
    int64_t size = 0;
    for (int i = 0; i < n; i++) {
        size += ranges[i].last - ranges[i].first + 1;
    }
    return size;
}

int ac_tree_path(ac_tree_range_t **pranges, bool *pmore, const ac_tree_t *tree, int64_t end, const ac_page_t *page)
{
    ac_tree_range_t *ranges = ac_alloc(((size_t)tree->n_jumps + 1) * sizeof(*ranges));
    int n = tree_ranges(ranges, tree, end, page), from = 0;
    *pmore = ranges_size(ranges, n) > page->limit;
    n = tree_cut(&from, ranges, n, page);
    memmove(ranges, ranges + from, (size_t)n * sizeof(*ranges));
    *pranges = ranges;
    return n;
}

/* ---- changes ---- */

static bool tree_is_above(const ac_tree_t *tree, int64_t seq)
{
    int64_t at = tree->leaf;
    while (at > seq) {
        int i = stretch_of(tree, at);
        at = stretch_first(tree, i) <= seq ? seq : stretch_parent(tree, i);
    }
    return at == seq;
}

int64_t ac_tree_place(bool *pmove, const ac_tree_t *tree, int64_t parent_seq, int64_t after)
{
    bool newer = after >= 0 && after != tree->count;
    bool follows = parent_seq < 0 || (newer && parent_seq == after && tree_is_above(tree, parent_seq));
    *pmove = follows || !newer;
    return follows ? tree->leaf : parent_seq;
}

void ac_tree_leaf_set(ac_tree_t *tree, int64_t leaf, const char *id)
{
    tree->leaf = leaf;
    apr_cpystrn(tree->leaf_id, id, sizeof(tree->leaf_id));
}

apr_status_t ac_tree_add(ac_tree_t *tree, int64_t parent, const char *id, bool move, ac_err_t *err)
{
    int64_t seq = tree->count + 1;
    if (parent < 0 || parent > tree->count) {
        return ac_err_set(err, AC_STORE_ERROR, "a message has a parent that is not stored");
    }
    if (parent != tree->count) {
        if (tree->n_jumps >= AC_MAX_BRANCHES) {
            return ac_err_set(err, AC_INVALID_REQUEST, "the thread has too many branches (at most %d)",
                              AC_MAX_BRANCHES);
        }
        size_t size = (size_t)tree->n_jumps * sizeof(*tree->jumps);
        ac_tree_jump_t *jumps = ac_alloc(size + sizeof(*jumps));
        if (size > 0) {
            memcpy(jumps, tree->jumps, size);
        }
        jumps[tree->n_jumps++] = (ac_tree_jump_t){seq, parent};
        free(tree->jumps);
        tree->jumps = jumps;
    }
    tree->count = seq;
    if (move || !*tree->leaf_id) { /* a leaf without an id cannot be stored */
        ac_tree_leaf_set(tree, seq, tree->n_jumps > 0 ? id : "");
    }
    return APR_SUCCESS;
}
