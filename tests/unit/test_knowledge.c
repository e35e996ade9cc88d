/* SPDX-License-Identifier: Apache-2.0 */
/* The knowledge base as a tool: results of searches, changes of the folder, excluded files, directives. */
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
#include <sys/stat.h>
#include <unistd.h>

/* ---- what is found ---- */

static void test_knowledge_finds(void **state)
{
    (void)state;
    kb_put("orders.md", KB_ORDERS);
    kb_put("hours.txt", "We are open from nine to five.\n");
    tool_rig_start(&kb.tool);
    kb_ask("How many days until my refund?");
    assert_string_equal(kb_hit(0, "title"), "Orders \xe2\x80\xba Refunds");
    assert_string_equal(kb_hit(0, "document"), "orders.md");
    assert_string_equal(kb_hit(0, "snippet"), "Money comes back within 14 days of the return.");
    assert_true(
        json_real_value(json_object_get(json_array_get(json_object_get(kb.answer.result, "results"), 0), "score")) > 0);
    assert_int_equal(ac_json_peek_int(kb.answer.result, "total", -1), 2); /* "days" is in Delivery too */
    assert_string_equal(ac_json_peek_string(kb.answer.result, "query", ""), "How many days until my refund?");
    kb_ask("open");
    assert_string_equal(kb_hit(0, "title"), "hours");
    assert_string_equal(kb_hit(0, "document"), "hours.txt");
}

/* The query has one hit. */
static void expect_found(const char *query)
{
    kb_ask(query);
    if (kb_n_hits() != 1) {
        print_error("'%s' was not found\n", query);
    }
    assert_int_equal(kb_n_hits(), 1);
}

static void test_knowledge_words(void **state)
{
    (void)state;
    kb_put("a.md", "# Caf\xc3\xa9\n\nReturning parcels, deliveries and na\xc3\xafve customers.\n");
    tool_rig_start(&kb.tool);
    static const char *const found[] = {"return",
                                        "RETURNED",
                                        "parcel",
                                        "delivery",
                                        "cafe",
                                        "Caf\xc3\xa9",
                                        "naive",
                                        "deli",
                                        "\xe2\x80\x9cparcels\xe2\x80\x9d",
                                        "what about parcels?",
                                        "x y z parcels"};
    for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++) {
        expect_found(found[i]);
    }
    kb_ask("zebra");
    assert_int_equal(kb_n_hits(), 0);
    assert_int_equal(ac_json_peek_int(kb.answer.result, "total", -1), 0);
    assert_true(json_is_array(json_object_get(kb.answer.result, "results")));
}

/* Nothing in a question is syntax. */
static void test_knowledge_hostile_queries(void **state)
{
    (void)state;
    kb_put("a.md", "# Things\n\nplain words near title\n");
    tool_rig_start(&kb.tool);
    static const char *const queries[] = {
        "plain\\\" OR \\\"",
        "plain AND",
        "NEAR(plain words, 2)",
        "title : plain",
        "-plain",
        "^plain",
        "plain*",
        "{title} plain",
        "plain + words",
        "plain NOT words",
        "'; DROP TABLE section; -- plain",
        "\\\"plain",
        "(plain",
        "plain)",
        "plain\\u0001",
    };
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        expect_found(queries[i]);
    }
    kb_ask("?! \\\"\\\" *");
    assert_int_equal(kb_n_hits(), 0);
}

static void test_knowledge_ranks_titles_first(void **state)
{
    (void)state;
    kb_put("a.md", "# General\n\nThe warranty is described in this warranty text, and what a warranty is.\n");
    kb_put("b.md", "# Warranty\n\nTwo years.\n");
    kb_put("c.md", "# Other\n\nNothing of it.\n");
    kb_put("d.md", "# More\n\nNothing of it here either.\n");
    tool_rig_start(&kb.tool);
    kb_ask("warranty");
    assert_int_equal(kb_n_hits(), 2);
    assert_string_equal(kb_hit(0, "document"), "b.md");
}

static void test_knowledge_long_section_gives_snippet(void **state)
{
    (void)state;
    ac_buf_t text;
    ac_buf_init(&text, 65536);
    ac_buf_str(&text, "# Long\n\n");
    for (int i = 0; i < 300; i++) {
        ac_buf_printf(&text, "filler%d ", i);
    }
    ac_buf_str(&text, "the needle is here ");
    for (int i = 0; i < 300; i++) {
        ac_buf_printf(&text, "filler%d ", i);
    }
    kb_put("long.md", text.data);
    ac_buf_free(&text);
    tool_rig_start(&kb.tool);
    kb_ask("needle");
    assert_non_null(strstr(kb_hit(0, "snippet"), "the needle is here"));
    assert_in_range(strlen(kb_hit(0, "snippet")), 100, 1200);
    assert_memory_equal(kb_hit(0, "snippet"), "\xe2\x80\xa6", 3);
}

static void test_knowledge_results_are_bounded(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++) {
        kb_put(apr_psprintf(kb.tool.pool, "n%02d.md", i), "# Same\n\nThe same words in every one of them.\n");
    }
    tool_rig_option(&kb.tool, "results", "7");
    tool_rig_start(&kb.tool);
    kb_ask("same words");
    assert_int_equal(kb_n_hits(), 7);
    assert_int_equal(ac_json_peek_int(kb.answer.result, "total", -1), 30);
    kb.tool.conf.result_max = 250;
    kb_search_rebuilt("same words");
    assert_int_equal(kb_n_hits(), 2);
    kb.tool.conf.result_max = 10;
    kb_search_rebuilt("same words");
    assert_int_equal(kb_n_hits(), 1);
}

/* ---- following the folder ---- */

static void test_knowledge_follows_changes(void **state)
{
    (void)state;
    tool_rig_start(&kb.tool);
    kb_ask("apples"); /* an empty folder */
    assert_int_equal(kb_n_hits(), 0);
    kb_put("a.md", "# A\n\napples\n");
    assert_int_equal(mkdir(kb_at("deep"), 0700), 0);
    kb_put("deep/b.MARKDOWN", "# B\n\nbananas\n");
    kb_search_rebuilt("apples bananas");
    assert_int_equal(kb_n_hits(), 2);
    kb_put("a.md", "# A\n\ncherries\n");
    kb_search_rebuilt("apples");
    assert_int_equal(kb_n_hits(), 0);
    kb_ask("cherries");
    assert_string_equal(kb_hit(0, "document"), "a.md");
    const char *before = apr_pstrdup(kb.tool.pool, kb_at("deep/b.MARKDOWN"));
    assert_int_equal(rename(before, kb_at("c.md")), 0);
    kb_search_rebuilt("bananas");
    assert_int_equal(kb_n_hits(), 1);
    assert_string_equal(kb_hit(0, "document"), "c.md");
    assert_int_equal(unlink(kb_at("c.md")), 0);
    kb_search_rebuilt("bananas");
    assert_int_equal(kb_n_hits(), 0);
}

/* The same kb.tool looks again after a while, not at every search. */
static void test_knowledge_looks_now_and_then(void **state)
{
    (void)state;
    kb_put("a.md", "# A\n\napples\n");
    tool_rig_start(&kb.tool);
    apr_time_t began = ac_clock(); /* no later than it looks */
    kb_ask("apples");
    kb_put("b.md", "# B\n\napples\n");
    kb_ask("apples");
    if (ac_clock() - began < apr_time_from_sec(1)) {
        assert_int_equal(kb_n_hits(), 1);
    }
    while (kb_n_hits() == 1 && ac_clock() - began < apr_time_from_sec(20)) {
        kb_ask("apples");
    }
    assert_int_equal(kb_n_hits(), 2);
    assert_true(ac_clock() - began >= apr_time_from_msec(1500));
}

static void test_knowledge_reads_only_what_changed(void **state)
{
    (void)state;
    ac_knowledge_conn_t *conn;
    ac_knowledge_state_t now;
    char index[128];
    snprintf(index, sizeof(index), "%s/i.db", kb.top);
    assert_int_equal(ac_knowledge_index_open(&conn, index, NULL), APR_SUCCESS);
    kb_put("a.md", KB_ORDERS);
    kb_put("b.md", KB_ORDERS);
    assert_int_equal(ac_knowledge_refresh(conn, kb.folder, &now, NULL), APR_SUCCESS);
    assert_true(now.whole);
    assert_int_equal(kb_number(conn->db, "SELECT count(*) FROM section"), 6);
    int64_t a = kb_number(conn->db, "SELECT id FROM document WHERE path = 'a.md'");
    int changes = sqlite3_total_changes(conn->db);
    assert_int_equal(ac_knowledge_refresh(conn, kb.folder, &now, NULL), APR_SUCCESS);
    assert_int_equal(sqlite3_total_changes(conn->db), changes);
    kb_put("b.md", "# Only one\n\nsection\n");
    assert_int_equal(ac_knowledge_refresh(conn, kb.folder, &now, NULL), APR_SUCCESS);
    assert_int_equal(kb_number(conn->db, "SELECT count(*) FROM section"), 4);
    assert_int_equal(kb_number(conn->db, "SELECT id FROM document WHERE path = 'a.md'"), a);
    assert_int_equal(kb_number(conn->db, "SELECT count(*) FROM whole"), 1);
    ac_knowledge_index_close(conn);
}

static void test_knowledge_time_runs_out(void **state)
{
    (void)state;
    ac_knowledge_conn_t *conn;
    ac_knowledge_state_t now;
    char index[128];
    snprintf(index, sizeof(index), "%s/i.db", kb.top);
    assert_int_equal(ac_knowledge_index_open(&conn, index, NULL), APR_SUCCESS);
    for (int i = 0; i < 5; i++) {
        kb_put(apr_psprintf(kb.tool.pool, "%d.md", i), KB_ORDERS);
    }
    conn->deadline = 1; /* long ago: one document each time, but always one */
    for (int i = 1; i < 5; i++) {
        assert_int_equal(ac_knowledge_refresh(conn, kb.folder, &now, NULL), APR_EAGAIN);
        assert_false(now.whole);
        conn->deadline = 0;
        assert_int_equal(kb_number(conn->db, "SELECT count(*) FROM document"), i);
        conn->deadline = 1;
    }
    assert_int_equal(ac_knowledge_refresh(conn, kb.folder, &now, NULL), APR_SUCCESS);
    assert_true(now.whole);
    ac_knowledge_index_close(conn);
}

static void test_knowledge_folder_is_removed(void **state)
{
    (void)state;
    char elsewhere[128];
    kb_put("a.md", KB_ORDERS);
    tool_rig_start(&kb.tool);
    assert_int_equal(kb.tool.vt->child_init(kb.tool.self, &kb.tool.host, NULL), APR_SUCCESS);
    kb_ask("refunds");
    assert_int_equal(kb_n_hits(), 1);
    snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", kb.top);
    ac_knowledge_conn_t *conn;
    ac_knowledge_state_t now;
    char index[128];
    snprintf(index, sizeof(index), "%s/i.db", kb.top);
    assert_int_equal(ac_knowledge_index_open(&conn, index, NULL), APR_SUCCESS);
    assert_int_equal(ac_knowledge_refresh(conn, kb.folder, &now, NULL), APR_SUCCESS);
    assert_int_equal(rename(kb.folder, elsewhere), 0);
    assert_int_equal(ac_knowledge_refresh(conn, kb.folder, &now, NULL), APR_SUCCESS);
    assert_int_equal(now.folder, ENOENT);
    assert_int_equal(kb_number(conn->db, "SELECT count(*) FROM document"), 1);
    ac_knowledge_index_close(conn);
    kb_ask("refunds");
    assert_int_equal(kb_n_hits(), 1);
}

/* ---- what is kept out ---- */

static void test_knowledge_keeps_out(void **state)
{
    (void)state;
    static char large[AC_KNOWLEDGE_FILE + 2];
    char outside[128], link[128];
    memset(large, 'x', sizeof(large) - 1);
    memcpy(large, "secret ", 7);
    kb_put_bytes("large.md", large, AC_KNOWLEDGE_FILE + 1);
    kb_put_bytes("largest.md", large, AC_KNOWLEDGE_FILE);
    kb_put("latin.txt", "secret caf\xe9");
    kb_put_bytes("nul.txt", "secret\0x", 8);
    kb_put("page.html", "secret");
    kb_put("noextension", "secret");
    kb_put(".hidden.md", "secret");
    assert_int_equal(mkdir(kb_at(".git"), 0700), 0);
    kb_put(".git/a.md", "secret");
    snprintf(outside, sizeof(outside), "%s/outside", kb.top);
    assert_int_equal(mkdir(outside, 0700), 0);
    snprintf(link, sizeof(link), "%s/outside/o.md", kb.top);
    FILE *file = fopen(link, "w");
    fputs("secret", file);
    fclose(file);
    assert_int_equal(symlink(link, kb_at("link.md")), 0);
    assert_int_equal(symlink(outside, kb_at("linked")), 0);
    assert_int_equal(mkfifo(kb_at("pipe.md"), 0600), 0);
    tool_rig_start(&kb.tool);
    kb_ask("secret");
    assert_int_equal(kb_n_hits(), 1);
    assert_string_equal(kb_hit(0, "document"), "largest.md");
    kb_search_rebuilt("secret");
    assert_int_equal(kb_n_hits(), 1);
}

static void test_knowledge_reads_nothing_outside(void **state)
{
    (void)state;
    ac_buf_t text;
    ac_knowledge_stamp_t stamp;
    kb_put("a.md", "inside");
    assert_int_equal(mkdir(kb_at("sub"), 0700), 0);
    kb_put("sub/b.md", "inside");
    const char *target = apr_pstrdup(kb.tool.pool, kb_at("sub"));
    assert_int_equal(symlink(target, kb_at("way")), 0);
    ac_buf_init(&text, AC_KNOWLEDGE_FILE);
    static const char *const refused[] = {"way/b.md",  "../docs/a.md/x", "",       "/a.md",
                                          "sub//b.md", "a.md/b.md",      "none.md"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        assert_int_not_equal(ac_knowledge_folder_read(&text, &stamp, kb.folder, refused[i]), APR_SUCCESS);
    }
    assert_int_equal(ac_knowledge_folder_read(&text, &stamp, kb.folder, "sub/b.md"), APR_SUCCESS);
    assert_string_equal(text.data, "inside");
    ac_buf_free(&text);
}

/* ---- directives ---- */

static void test_knowledge_configuration(void **state)
{
    (void)state;
    tool_rig_option(&kb.tool, "results", "0");
    assert_string_equal(tool_rig_create(&kb.tool), "AgentChatToolOption results: '0' is not a number from 1 to 20");
    tool_rig_option(&kb.tool, "results", "5x");
    assert_non_null(tool_rig_create(&kb.tool));
    tool_rig_option(&kb.tool, "results", "20");
    assert_null(tool_rig_create(&kb.tool));
    tool_rig_option(&kb.tool, "path", "docs");
    assert_string_equal(tool_rig_create(&kb.tool),
                        "AgentChatToolOption path: 'docs' does not begin with '/'; give "
                        "the folder's whole path");
    tool_rig_option(&kb.tool, "path", "/none/such");
    assert_string_equal(tool_rig_create(&kb.tool),
                        "AgentChatToolOption path: the folder '/none/such' cannot be opened: No such file or "
                        "directory");
    kb_put("a.md", "x");
    tool_rig_option(&kb.tool, "path", kb_at("a.md"));
    assert_non_null(strstr(tool_rig_create(&kb.tool), "cannot be opened: Not a directory"));
    apr_table_clear((apr_table_t *)kb.tool.conf.options);
    assert_string_equal(tool_rig_create(&kb.tool),
                        "AgentChatToolOption path is missing; give the folder of the "
                        "documents");
    tool_rig_option(&kb.tool, "folder", kb.folder);
    assert_string_equal(tool_rig_create(&kb.tool),
                        "AgentChatToolOption: there is no option 'folder'; known are "
                        "path, results");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_knowledge_finds, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_words, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_hostile_queries, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_ranks_titles_first, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_long_section_gives_snippet, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_results_are_bounded, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_follows_changes, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_looks_now_and_then, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_reads_only_what_changed, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_time_runs_out, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_folder_is_removed, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_keeps_out, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_reads_nothing_outside, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_configuration, kb_set_up, kb_tear_down),
    };
    return cmocka_run_group_tests_name("knowledge", tests, NULL, NULL);
}
