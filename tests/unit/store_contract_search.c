/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about finding threads: pins and labels. */
#include "store_contract.h"

static const char *made_with(const contract_ids_t *ids, char id[AC_ID_SIZE], int number, bool pinned, json_t *labels)
{
    ac_id_make(id, "thread_");
    json_t *thread = contract_thread(id, "t", number);
    json_object_set_new(thread, "pinned", json_boolean(pinned));
    if (labels) {
        json_object_set_new(thread, "metadata", json_pack("{s:o, s:s}", "labels", labels, "color", "red"));
    }
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids->owner, NULL, thread));
    return id;
}

static void change(const contract_ids_t *ids, const char *id, json_t *members)
{
    contract_done(contract_call(AC_STORE_THREAD_UPDATE, ids->owner, id, members));
}

/* Checks that a list gives exactly these threads, in pages of every length and in both orders; the threads are given
 * from the newest to the oldest. Consumes in. */
static void finds(const contract_ids_t *ids, json_t *in, const ac_page_t *page, const char *const *wanted)
{
    for (int way = 0; way < 6; way++) {
        ac_page_t at = *page;
        int i = 0;
        bool more = true;
        at.limit = 1 + way / 2;
        at.by_update = way % 2;
        while (more) {
            ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, ids->owner, NULL, json_incref(in));
            op->page = at;
            json_t *list = contract_ok(contract_wait(op)), *thread;
            size_t k;
            json_array_foreach(json_object_get(list, "data"), k, thread)
            {
                assert_non_null(wanted[i]);
                assert_string_equal(ac_json_peek_string(thread, "id", ""), wanted[i++]);
            }
            more = json_is_true(json_object_get(list, "has_more"));
            snprintf(at.after, sizeof(at.after), "%s", ac_json_peek_string(list, "next", ""));
            json_decref(list);
        }
        assert_null(wanted[i]);
    }
    json_decref(in);
}

#define FINDS(in, page, ...) finds(&ids, in, &(ac_page_t)page, (const char *const[]){__VA_ARGS__, NULL})
#define ALL \
    { \
        .limit = 1 \
    }

static void test_pinned_threads(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), other = contract_ids();
    char a[AC_ID_SIZE], b[AC_ID_SIZE], c[AC_ID_SIZE], theirs[AC_ID_SIZE], at[AC_TIME_SIZE];
    made_with(&ids, a, 1, true, NULL);
    made_with(&ids, b, 2, false, NULL);
    made_with(&ids, c, 3, false, NULL);
    made_with(&other, theirs, 4, true, NULL);
    json_t *thread = contract_ok(contract_call(AC_STORE_THREAD_GET, ids.owner, a, NULL));
    assert_true(json_is_true(json_object_get(thread, "pinned")));
    json_decref(thread);
    FINDS(json_pack("{s:b}", "pinned", 1), ALL, a);
    FINDS(json_pack("{s:b}", "pinned", 0), ALL, c, b);
    change(&ids, b, json_pack("{s:b}", "pinned", 1));
    FINDS(json_pack("{s:b}", "pinned", 1), ALL, b, a);
    FINDS(json_pack("{s:b}", "pinned", 0), ALL, c);
    change(&ids, a, json_pack("{s:b, s:s}", "pinned", 0, "title", "unpinned"));
    FINDS(json_pack("{s:b}", "pinned", 1), ALL, b);
    FINDS(json_pack("{s:b}", "pinned", 0), ALL, c, a);
    change(&ids, b, json_pack("{s:s}", "status", "archived"));
    FINDS(json_pack("{s:b}", "pinned", 1), {.status = "archived"}, b);
    finds(&ids, json_pack("{s:b}", "pinned", 1), &(ac_page_t){.status = "active"}, (const char *const[]){NULL});
    contract_done(
        contract_call(AC_STORE_THREAD_DELETE, ids.owner, b, json_pack("{s:s}", "deleted_at", contract_time(at, 1))));
    finds(&ids, json_pack("{s:b}", "pinned", 1), &(ac_page_t){.limit = 1}, (const char *const[]){NULL});
    FINDS(json_pack("{s:b}", "pinned", 0), ALL, c, a);
}

static void test_a_pin_changes_the_version_and_not_the_order(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char a[AC_ID_SIZE], b[AC_ID_SIZE];
    made_with(&ids, a, 1, false, NULL);
    made_with(&ids, b, 2, false, NULL);
    ac_store_op_t *op = contract_call(AC_STORE_THREAD_GET, ids.owner, a, NULL);
    char etag[AC_ETAG_SIZE];
    snprintf(etag, sizeof(etag), "%s", op->etag);
    contract_done(op);
    op = contract_op(AC_STORE_THREAD_UPDATE, ids.owner, a, json_pack("{s:b}", "pinned", 1));
    snprintf(op->if_match, sizeof(op->if_match), "%s", etag);
    op = contract_wait(op);
    assert_string_not_equal(op->etag, etag);
    contract_done(op);
    op = contract_op(AC_STORE_THREAD_UPDATE, ids.owner, a, json_pack("{s:b}", "pinned", 0));
    snprintf(op->if_match, sizeof(op->if_match), "%s", etag);
    contract_kind(contract_wait(op), AC_PRECONDITION_FAILED);
    FINDS(json_object(), ALL, b, a);
}

static void test_labels(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), other = contract_ids();
    char a[AC_ID_SIZE], b[AC_ID_SIZE], c[AC_ID_SIZE], theirs[AC_ID_SIZE];
    made_with(&ids, a, 1, true, json_pack("[s,s]", "work", "x'y\"z"));
    made_with(&ids, b, 2, false, json_pack("[s]", "work"));
    made_with(&ids, c, 3, false, json_string("work")); /* a plain text is no list of labels */
    made_with(&other, theirs, 4, false, json_pack("[s]", "work"));
    FINDS(json_pack("{s:s}", "label", "work"), ALL, b, a);
    FINDS(json_pack("{s:s}", "label", "x'y\"z"), ALL, a);
    FINDS(json_pack("{s:s, s:b}", "label", "work", "pinned", 1), ALL, a);
    FINDS(json_pack("{s:s, s:b}", "label", "work", "pinned", 0), ALL, b);
    finds(&ids, json_pack("{s:s}", "label", "red"), &(ac_page_t){.limit = 1}, (const char *const[]){NULL});
    change(&ids, b, json_pack("{s:{s:[s]}}", "metadata", "labels", "home"));
    FINDS(json_pack("{s:s}", "label", "work"), ALL, a);
    FINDS(json_pack("{s:s}", "label", "home"), ALL, b);
    change(&ids, b, json_pack("{s:{}}", "metadata"));
    finds(&ids, json_pack("{s:s}", "label", "home"), &(ac_page_t){.limit = 1}, (const char *const[]){NULL});
}

/* A move carries pins and labels, and a second import takes over what has changed. */
static void test_import_of_pins_and_labels(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    for (int pinned = 1; pinned >= 0; pinned--) {
        json_t *record = contract_thread(ids.thread, "T", 1);
        json_object_set_new(record, "owner", json_string(ids.owner));
        json_object_set_new(record, "pinned", json_boolean(pinned));
        json_object_set_new(record, "metadata", json_pack("{s:[s]}", "labels", pinned ? "first" : "second"));
        json_object_set_new(record, "deleted_at", json_null());
        json_object_set_new(record, "restore_status", json_null());
        contract_done(contract_call(AC_STORE_IMPORT, NULL, ids.thread,
                                    json_pack("{s:o, s:[], s:[]}", "thread", record, "messages", "runs")));
        FINDS(json_pack("{s:b}", "pinned", pinned), ALL, ids.thread);
        FINDS(json_pack("{s:s}", "label", pinned ? "first" : "second"), ALL, ids.thread);
    }
    finds(&ids, json_pack("{s:s}", "label", "first"), &(ac_page_t){.limit = 1}, (const char *const[]){NULL});
    finds(&ids, json_pack("{s:b}", "pinned", 1), &(ac_page_t){.limit = 1}, (const char *const[]){NULL});
    bool exported = false;
    for (json_t *next = json_null(), *page; next; json_decref(page)) {
        ac_store_op_t *op = contract_op(AC_STORE_EXPORT_THREADS, NULL, NULL, json_pack("{s:o}", "after", next));
        op->page.limit = 100;
        page = contract_ok(contract_wait(op));
        json_t *record;
        size_t i;
        json_array_foreach(json_object_get(page, "data"), i, record)
        {
            if (strcmp(ac_json_peek_string(record, "id", ""), ids.thread) == 0) {
                assert_true(json_is_false(json_object_get(record, "pinned")));
                exported = true;
            }
        }
        next = json_is_null(json_object_get(page, "next")) ? NULL : json_incref(json_object_get(page, "next"));
    }
    assert_true(exported);
}

/* ---- words ---- */

static void search(const contract_ids_t *ids, const char *words, const char *snippet)
{
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, ids->owner, NULL, json_pack("{s:s}", "q", words));
    op->page.limit = 10;
    json_t *list = contract_ok(contract_wait(op)), *data = json_object_get(list, "data");
    if (json_array_size(data) != (snippet ? 1 : 0)) {
        fail_msg("%s: %d threads", words, (int)json_array_size(data));
    }
    if (snippet) {
        const json_t *match = json_object_get(json_array_get(data, 0), "match");
        assert_string_equal(ac_json_peek_string(match, "snippet", ""), snippet);
        assert_true(json_array_size(json_object_get(match, "highlights")) > 0);
    }
    json_decref(list);
}

static void test_titles_are_found_by_their_words(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), other = contract_ids();
    const char *title = "Größe der Café-Terrasse, 東京タワー";
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, title, 1)));
    contract_done(contract_call(AC_STORE_THREAD_CREATE, other.owner, NULL, contract_thread(other.thread, "Café", 2)));
    static const char *const found[] = {"terrasse",  "TERR",   "cafe",    "\"cafe terrasse\"",
                                        "cafe-terr", "京タワ", "der größ"};
    for (size_t i = 0; i < sizeof(found) / sizeof(*found); i++) {
        search(&ids, found[i], title);
    }
    static const char *const missed[] = {"errasse", "cafe tee", "\"terrasse cafe\"", "京東", "?!", "\"",
                                         "* OR",    "caf "};
    for (size_t i = 0; i < sizeof(missed) / sizeof(*missed); i++) {
        search(&ids, missed[i], NULL);
    }
    change(&ids, ids.thread, json_pack("{s:s}", "title", "Another"));
    search(&ids, "cafe", NULL);
    search(&ids, "another", "Another");
    char at[AC_TIME_SIZE];
    contract_done(contract_call(AC_STORE_THREAD_DELETE, ids.owner, ids.thread,
                                json_pack("{s:s}", "deleted_at", contract_time(at, 3))));
    search(&ids, "another", NULL);
}

int contract_search(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pinned_threads),
        cmocka_unit_test(test_a_pin_changes_the_version_and_not_the_order),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_import_of_pins_and_labels),
        cmocka_unit_test(test_titles_are_found_by_their_words),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
