/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of a thread's messages: cases, and random trees compared with a plain array of parents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "back/back.h"

static ac_err_t err;

static json_t *json_of(const char *text)
{
    json_t *json = NULL;
    ac_err_init(&err);
    assert_int_equal(ac_json_parse(&json, text, strlen(text), &err), APR_SUCCESS);
    return json;
}

static apr_status_t read_text(ac_tree_t *tree, const char *text, int64_t count)
{
    json_t *json = json_of(text);
    ac_err_init(&err);
    apr_status_t status = ac_tree_read(tree, json, count, &err);
    json_decref(json);
    return status;
}

/*  1 ─ 2 ─ 3 ─ 4 ─ 9      The first question was edited (7), the second one too (5),
 *      └─ 5 ─ 6            the answer to 3 was made again (9).
 *  7 ─ 8                   */
static void family(ac_tree_t *tree)
{
    const char *text = "{\"leaf\": {\"seq\": 8, \"id\": \"msg_8\"}, \"jumps\": [[5, 2], [7, 0], [9, 3]]}";
    assert_int_equal(read_text(tree, text, 9), APR_SUCCESS);
}

/* Writes the seqs of a page as "1 2 5+": + if there are more. */
static const char *page_of(const ac_tree_t *tree, int64_t end, const ac_page_t *page)
{
    static char text[8192];
    ac_tree_range_t *ranges;
    bool more;
    size_t len = 0;
    int n = ac_tree_path(&ranges, &more, tree, end, page);
    text[0] = '\0';
    for (int i = 0; i < n; i++) {
        assert_true(ranges[i].first <= ranges[i].last);
        assert_true(i == 0 || ranges[i - 1].last + 1 < ranges[i].first);
        for (int64_t seq = ranges[i].first; seq <= ranges[i].last; seq++) {
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%d", len > 0 ? " " : "", (int)seq);
        }
    }
    snprintf(text + len, sizeof(text) - len, "%s", more ? "+" : "");
    free(ranges);
    return text;
}

static const char *siblings_of(const ac_tree_t *tree, int64_t seq)
{
    static char text[8192];
    int64_t *seqs;
    size_t len = 0;
    int n = ac_tree_siblings(&seqs, tree, seq);
    for (int i = 0; i < n; i++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%d", i > 0 ? " " : "", (int)seqs[i]);
    }
    free(seqs);
    return text;
}

static void test_a_line(void **state)
{
    (void)state;
    ac_tree_t tree;
    assert_int_equal(ac_tree_read(&tree, NULL, 5, NULL), APR_SUCCESS);
    assert_int_equal(tree.leaf, 5);
    assert_string_equal(tree.leaf_id, "");
    for (int64_t seq = 1; seq <= 5; seq++) {
        assert_int_equal(ac_tree_parent(&tree, seq), seq - 1);
        assert_int_equal(ac_tree_newest_leaf(&tree, seq), 5);
        assert_int_equal(strtol(siblings_of(&tree, seq), NULL, 10), seq);
    }
    assert_string_equal(page_of(&tree, 5, &(ac_page_t){.limit = 3}), "1 2 3+");
    assert_string_equal(page_of(&tree, 5, &(ac_page_t){.limit = 3, .descending = true}), "3 4 5+");
    assert_string_equal(page_of(&tree, 5, &(ac_page_t){.limit = 5}), "1 2 3 4 5");
    assert_string_equal(page_of(&tree, 5, &(ac_page_t){.limit = 9, .after_seq = 2, .before_seq = 5}), "3 4");
    assert_string_equal(page_of(&tree, 5, &(ac_page_t){.limit = 9, .after_seq = 5}), "");
    assert_string_equal(page_of(&tree, 5, &(ac_page_t){.limit = 9, .before_seq = 1}), "");
    assert_int_equal(ac_tree_add(&tree, 5, "msg_6", true, NULL), APR_SUCCESS);
    assert_int_equal(tree.leaf, 6);
    json_t *json = ac_tree_json(&tree);
    assert_true(json_is_null(json));
    json_decref(json);
    ac_tree_free(&tree);
}

static void test_an_empty_thread(void **state)
{
    (void)state;
    ac_tree_t tree;
    json_t *none = json_null();
    assert_int_equal(ac_tree_read(&tree, none, 0, NULL), APR_SUCCESS);
    assert_int_equal(tree.leaf, 0);
    assert_string_equal(page_of(&tree, 0, &(ac_page_t){.limit = 3}), "");
    assert_int_equal(ac_tree_add(&tree, 0, "msg_1", true, NULL), APR_SUCCESS);
    assert_true(json_is_null(ac_tree_json(&tree)));
    assert_int_equal(ac_tree_parent(&tree, 1), 0);
    ac_tree_free(&tree);
}

static void test_branches(void **state)
{
    (void)state;
    static const struct {
        int64_t parent, newest;
        const char *path, *siblings;
    } want[] = {{0, 9, "1", "1 7"},       {1, 9, "1 2", "2"},     {2, 9, "1 2 3", "3 5"},
                {3, 4, "1 2 3 4", "4 9"}, {2, 6, "1 2 5", "3 5"}, {5, 6, "1 2 5 6", "6"},
                {0, 8, "7", "1 7"},       {7, 8, "7 8", "8"},     {3, 9, "1 2 3 9", "4 9"}};
    ac_tree_t tree;
    family(&tree);
    assert_int_equal(tree.leaf, 8);
    for (int64_t seq = 1; seq <= 9; seq++) {
        assert_int_equal(ac_tree_parent(&tree, seq), want[seq - 1].parent);
        assert_int_equal(ac_tree_newest_leaf(&tree, seq), want[seq - 1].newest);
        assert_string_equal(page_of(&tree, seq, &(ac_page_t){.limit = 100}), want[seq - 1].path);
        assert_string_equal(siblings_of(&tree, seq), want[seq - 1].siblings);
    }
    ac_tree_free(&tree);
}

static void test_pages_of_a_path(void **state)
{
    (void)state;
    ac_tree_t tree;
    family(&tree);
    assert_string_equal(page_of(&tree, 6, &(ac_page_t){.limit = 1}), "1+");
    assert_string_equal(page_of(&tree, 6, &(ac_page_t){.limit = 3}), "1 2 5+");
    assert_string_equal(page_of(&tree, 6, &(ac_page_t){.limit = 3, .after_seq = 1}), "2 5 6");
    assert_string_equal(page_of(&tree, 6, &(ac_page_t){.limit = 3, .after_seq = 3}), "5 6"); /* 3 is not on the path */
    assert_string_equal(page_of(&tree, 6, &(ac_page_t){.limit = 1, .descending = true}), "6+");
    assert_string_equal(page_of(&tree, 6, &(ac_page_t){.limit = 3, .descending = true}), "2 5 6+");
    assert_string_equal(page_of(&tree, 6, &(ac_page_t){.limit = 3, .descending = true, .before_seq = 5}), "1 2");
    assert_string_equal(page_of(&tree, 9, &(ac_page_t){.limit = 2, .descending = true, .before_seq = 9}), "2 3+");
    assert_string_equal(page_of(&tree, 8, &(ac_page_t){.limit = 2, .before_seq = 7}), "");
    assert_string_equal(page_of(&tree, 0, &(ac_page_t){.limit = 2}), "");
    ac_tree_free(&tree);
}

static void test_a_branch_of_a_line(void **state)
{
    (void)state;
    ac_tree_t tree;
    assert_int_equal(ac_tree_read(&tree, NULL, 4, NULL), APR_SUCCESS);
    assert_int_equal(ac_tree_add(&tree, 2, "msg_5", true, NULL), APR_SUCCESS);
    json_t *json = ac_tree_json(&tree);
    json_t *want = json_of("{\"leaf\": {\"seq\": 5, \"id\": \"msg_5\"}, \"jumps\": [[5, 2]]}");
    assert_true(json_equal(json, want));
    json_decref(json);
    json_decref(want);
    /* The thread has a leaf of its own from now on. */
    assert_int_equal(ac_tree_add(&tree, 5, "msg_6", true, NULL), APR_SUCCESS);
    assert_int_equal(ac_tree_add(&tree, 5, "msg_7", false, NULL), APR_SUCCESS);
    assert_int_equal(tree.leaf, 6);
    assert_string_equal(tree.leaf_id, "msg_6");
    assert_string_equal(siblings_of(&tree, 7), "6 7");
    ac_tree_leaf_set(&tree, 4, "msg_4");
    assert_string_equal(page_of(&tree, tree.leaf, &(ac_page_t){.limit = 9}), "1 2 3 4");
    ac_tree_free(&tree);
}

static void test_a_leaf_without_an_id_moves(void **state)
{
    (void)state;
    ac_tree_t tree, copy;
    assert_int_equal(ac_tree_read(&tree, NULL, 4, NULL), APR_SUCCESS);
    assert_int_equal(ac_tree_add(&tree, 2, "msg_5", false, NULL), APR_SUCCESS);
    assert_string_equal(tree.leaf_id, "msg_5");
    json_t *json = ac_tree_json(&tree);
    assert_int_equal(ac_tree_read(&copy, json, 5, NULL), APR_SUCCESS);
    json_decref(json);
    ac_tree_free(&copy);
    ac_tree_free(&tree);
}

static void test_a_parent_that_does_not_exist(void **state)
{
    (void)state;
    ac_tree_t tree;
    family(&tree);
    ac_err_init(&err);
    assert_int_not_equal(ac_tree_add(&tree, 10, "msg_x", true, &err), APR_SUCCESS);
    assert_int_equal(err.kind, AC_STORE_ERROR);
    assert_int_not_equal(ac_tree_add(&tree, -1, "msg_x", true, NULL), APR_SUCCESS);
    assert_int_equal(tree.count, 9);
    ac_tree_free(&tree);
}

static void test_too_many_branches(void **state)
{
    (void)state;
    ac_tree_t tree, copy;
    assert_int_equal(ac_tree_read(&tree, NULL, 2, NULL), APR_SUCCESS);
    for (int i = 0; i < AC_MAX_BRANCHES; i++) {
        assert_int_equal(ac_tree_add(&tree, i % 2, "msg_x", true, NULL), APR_SUCCESS);
    }
    ac_err_init(&err);
    assert_int_not_equal(ac_tree_add(&tree, 1, "msg_x", true, &err), APR_SUCCESS);
    assert_int_equal(err.kind, AC_INVALID_REQUEST);
    assert_int_equal(tree.count, AC_MAX_BRANCHES + 2);
    assert_int_equal(ac_tree_add(&tree, tree.count, "msg_y", true, NULL), APR_SUCCESS); /* not a branch */
    json_t *json = ac_tree_json(&tree);
    assert_int_equal(ac_tree_read(&copy, json, tree.count, NULL), APR_SUCCESS);
    assert_int_equal(copy.n_jumps, AC_MAX_BRANCHES);
    json_array_append_new(json_object_get(json, "jumps"), json_pack("[i, i]", 1003, 1));
    ac_tree_free(&copy);
    assert_int_not_equal(ac_tree_read(&copy, json, tree.count, NULL), APR_SUCCESS);
    json_decref(json);
    ac_tree_free(&tree);
}

static void test_damaged_trees(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "[]",
        "{}",
        "7",
        "\"tree\"",
        "{\"leaf\": {\"seq\": 3, \"id\": \"msg_3\"}}",
        "{\"leaf\": {\"seq\": 3, \"id\": \"msg_3\"}, \"jumps\": {}}",
        "{\"jumps\": [[3, 1]]}",
        "{\"leaf\": null, \"jumps\": [[3, 1]]}",
        "{\"leaf\": {\"seq\": 3}, \"jumps\": [[3, 1]]}",
        "{\"leaf\": {\"seq\": 3, \"id\": 3}, \"jumps\": [[3, 1]]}",
        "{\"leaf\": {\"seq\": 3, \"id\": \"\"}, \"jumps\": [[3, 1]]}",
        "{\"leaf\": {\"seq\": 3, \"id\": \"0123456789012345678901234567890123456789\"}, \"jumps\": [[3, 1]]}",
        "{\"leaf\": {\"seq\": 0, \"id\": \"msg_3\"}, \"jumps\": [[3, 1]]}",
        "{\"leaf\": {\"seq\": -1, \"id\": \"msg_3\"}, \"jumps\": [[3, 1]]}",
        "{\"leaf\": {\"seq\": 5, \"id\": \"msg_3\"}, \"jumps\": [[3, 1]]}",
        "{\"leaf\": {\"seq\": 3.0, \"id\": \"msg_3\"}, \"jumps\": [[3, 1]]}",
        "{\"leaf\": {\"seq\": 3, \"id\": \"msg_3\"}, \"jumps\": [3, 1]}",
        "{\"leaf\": {\"seq\": 3, \"id\": \"msg_3\"}, \"jumps\": [[3]]}",
        "{\"leaf\": {\"seq\": 3, \"id\": \"msg_3\"}, \"jumps\": [[3, 1, 1]]}",
        "{\"leaf\": {\"seq\": 3, \"id\": \"msg_3\"}, \"jumps\": [[3, null]]}",
        "{\"leaf\": {\"seq\": 3, \"id\": \"msg_3\"}, \"jumps\": [[3, \"1\"]]}",
        "{\"leaf\": {\"seq\": 3, \"id\": \"msg_3\"}, \"jumps\": [[3.5, 1]]}",
        "{\"leaf\": {\"seq\": 3, \"id\": \"msg_3\"}, \"jumps\": [[3, 2]]}",  /* not a jump */
        "{\"leaf\": {\"seq\": 3, \"id\": \"msg_3\"}, \"jumps\": [[3, 3]]}",  /* its own parent */
        "{\"leaf\": {\"seq\": 3, \"id\": \"msg_3\"}, \"jumps\": [[3, 4]]}",  /* a later parent */
        "{\"leaf\": {\"seq\": 3, \"id\": \"msg_3\"}, \"jumps\": [[3, -1]]}", /* no such parent */
        "{\"leaf\": {\"seq\": 3, \"id\": \"msg_3\"}, \"jumps\": [[1, 0]]}",
        "{\"leaf\": {\"seq\": 3, \"id\": \"msg_3\"}, \"jumps\": [[5, 1]]}", /* no such message */
        "{\"leaf\": {\"seq\": 3, \"id\": \"msg_3\"}, \"jumps\": [[4, 1], [3, 1]]}",
        "{\"leaf\": {\"seq\": 3, \"id\": \"msg_3\"}, \"jumps\": [[3, 1], [3, 0]]}",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        ac_tree_t tree;
        assert_int_not_equal(read_text(&tree, texts[i], 4), APR_SUCCESS);
        assert_int_equal(err.kind, AC_STORE_ERROR);
        assert_null(tree.jumps);
        ac_tree_free(&tree);
    }
}

/* ---- random trees ---- */

#define MOST 60

typedef struct naive_t {
    int count, leaf;
    int parent[MOST + 1];
} naive_t;

static uint32_t seed;

static int below(int n)
{
    seed = seed * 1664525 + 1013904223;
    return (int)((seed >> 8) % (uint32_t)n);
}

static int naive_newest(const naive_t *naive, int seq)
{
    int newest = seq;
    for (int leaf = seq; leaf <= naive->count; leaf++) {
        int at = leaf;
        while (at > seq) {
            at = naive->parent[at];
        }
        newest = at == seq ? leaf : newest;
    }
    return newest;
}

static const char *naive_siblings(const naive_t *naive, int seq)
{
    static char text[1024];
    size_t len = 0;
    for (int i = 1; i <= naive->count; i++) {
        if (naive->parent[i] == naive->parent[seq]) {
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%d", len > 0 ? " " : "", i);
        }
    }
    return text;
}

static const char *naive_page(const naive_t *naive, int end, const ac_page_t *page)
{
    static char text[1024];
    int path[MOST], n = 0, from, to;
    size_t len = 0;
    for (int seq = end; seq > 0; seq = naive->parent[seq]) {
        if (seq > page->after_seq && (page->before_seq == 0 || seq < page->before_seq)) {
            memmove(path + 1, path, (size_t)n++ * sizeof(*path));
            path[0] = seq;
        }
    }
    from = page->descending && n > page->limit ? n - page->limit : 0;
    to = from + page->limit < n ? from + page->limit : n;
    text[0] = '\0';
    for (int i = from; i < to; i++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%d", i > from ? " " : "", path[i]);
    }
    snprintf(text + len, sizeof(text) - len, "%s", n > page->limit ? "+" : "");
    return text;
}

static void grow(ac_tree_t *tree, naive_t *naive, int branching)
{
    char id[AC_ID_SIZE];
    int parent = naive->leaf;
    if (below(100) < branching) {
        parent = below(naive->count + 1);
    }
    bool move = naive->count == 0 || tree->n_jumps == 0 || below(4) > 0;
    snprintf(id, sizeof(id), "msg_%d", naive->count + 1);
    assert_int_equal(ac_tree_add(tree, parent, id, move, NULL), APR_SUCCESS);
    naive->parent[++naive->count] = parent;
    naive->leaf = move ? naive->count : naive->leaf;
    if (below(100) < branching) {
        naive->leaf = naive_newest(naive, 1 + below(naive->count));
        assert_int_equal(ac_tree_newest_leaf(tree, naive->leaf), naive->leaf);
        snprintf(id, sizeof(id), "msg_%d", naive->leaf);
        ac_tree_leaf_set(tree, naive->leaf, tree->n_jumps > 0 ? id : "");
    }
}

static void again(ac_tree_t *tree)
{
    json_t *json = ac_tree_json(tree), *copy;
    int64_t count = tree->count;
    ac_tree_free(tree);
    assert_int_equal(ac_tree_read(tree, json, count, NULL), APR_SUCCESS);
    copy = ac_tree_json(tree);
    assert_true(json_equal(json, copy));
    json_decref(json);
    json_decref(copy);
}

static void compare(const ac_tree_t *tree, const naive_t *naive)
{
    assert_int_equal(tree->count, naive->count);
    assert_int_equal(tree->leaf, naive->leaf);
    for (int seq = 1; seq <= naive->count; seq++) {
        assert_int_equal(ac_tree_parent(tree, seq), naive->parent[seq]);
        assert_int_equal(ac_tree_newest_leaf(tree, seq), naive_newest(naive, seq));
        assert_string_equal(siblings_of(tree, seq), naive_siblings(naive, seq));
    }
    for (int i = 0; i < 40; i++) {
        ac_page_t page = {.limit = 1 + below(i % 2 ? 4 : MOST), .descending = below(2) == 1};
        int end = below(naive->count + 1);
        page.after_seq = below(2) ? below(naive->count + 2) : 0;
        page.before_seq = below(2) ? below(naive->count + 3) : 0;
        assert_string_equal(page_of(tree, end, &page), naive_page(naive, end, &page));
    }
}

static void test_random_trees(void **state)
{
    (void)state;
    for (int round = 0; round < 4000; round++) {
        naive_t naive = {0};
        ac_tree_t tree = {0};
        seed = (uint32_t)round;
        int size = 1 + below(MOST), branching = below(3) * 20;
        while (naive.count < size) {
            grow(&tree, &naive, branching);
        }
        compare(&tree, &naive);
        again(&tree);
        compare(&tree, &naive);
        ac_tree_free(&tree);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line),
        cmocka_unit_test(test_an_empty_thread),
        cmocka_unit_test(test_branches),
        cmocka_unit_test(test_pages_of_a_path),
        cmocka_unit_test(test_a_branch_of_a_line),
        cmocka_unit_test(test_a_leaf_without_an_id_moves),
        cmocka_unit_test(test_a_parent_that_does_not_exist),
        cmocka_unit_test(test_too_many_branches),
        cmocka_unit_test(test_damaged_trees),
        cmocka_unit_test(test_random_trees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
