/* SPDX-License-Identifier: Apache-2.0 */
/* Followers of runs of another machine. The mirror is the test's: a list of entries, some of them missing. */
#include "tail_world.h"

#define RUN "run_elsewhere"

/* ---- the mirror ---- */

static struct {
    bool up;
    char bytes[16][512];
    ac_mirror_entry_t entries[16]; /* in order; those before `first` were trimmed */
    int first, n;
    ac_mirror_read_fn *fn;
    void *baton;
    uint64_t asked, position;
    int n_reads, n_followed;
} world;
static ac_mirror_t mirror;

static void read_page(void *self, const char *run_id, uint64_t after, ac_mirror_read_fn *fn, void *baton)
{
    (void)self;
    assert_string_equal(run_id, RUN);
    assert_null(world.fn);
    world.fn = fn;
    world.baton = baton;
    world.asked = after;
    world.n_reads++;
}

static uint64_t follow_run(void *self, const char *run_id, uint64_t after)
{
    (void)self, (void)run_id;
    if (!world.n_followed++) {
        world.position = after;
    }
    return world.position;
}

static void unfollow_run(void *self, const char *run_id)
{
    (void)self, (void)run_id;
    world.n_followed = 0;
}

static bool is_up(const void *self)
{
    (void)self;
    return world.up;
}

/* What this child copies is no matter of these tests. */
static void append_entry(void *self, const ac_mirror_append_t *what, ac_mirror_append_fn *fn, void *baton)
{
    (void)self, (void)what, (void)fn, (void)baton;
}

static const ac_mirror_vt mirror_vt = {
    .append = append_entry, .read = read_page, .follow = follow_run, .unfollow = unfollow_run, .is_up = is_up};

static void add_number(char **at, uint64_t value)
{
    for (; value > 127; value >>= 7) {
        *(*at)++ = (char)(value | 0x80);
    }
    *(*at)++ = (char)value;
}

static void add_event(char **at, ac_event_type_e type, const char *payload)
{
    add_number(at, type);
    add_number(at, 0);
    add_number(at, strlen(payload));
    memcpy(*at, payload, strlen(payload));
    *at += strlen(payload);
}

/* An entry of one event; n_text: the bytes of the tokens before it. */
static const ac_mirror_entry_t *add_entry(uint64_t seq, size_t n_text, ac_event_type_e type, const char *payload)
{
    ac_mirror_entry_t *entry = &world.entries[world.n];
    char *at = world.bytes[world.n++];
    *entry = (ac_mirror_entry_t){.last = seq, .bytes = at};
    add_number(&at, 1);
    add_number(&at, seq - 1);
    add_number(&at, n_text);
    add_number(&at, 1000);
    add_event(&at, type, payload);
    entry->len = (size_t)(at - entry->bytes);
    return entry;
}

static void answer_page(void)
{
    ac_mirror_page_t page = {0};
    ac_mirror_read_fn *fn = world.fn;
    assert_non_null(fn);
    world.fn = NULL;
    for (int i = world.first; i < world.n && page.n < AC_MIRROR_PAGE; i++) {
        if (world.entries[i].last > world.asked) {
            page.entries[page.n++] = world.entries[i];
        }
    }
    if (world.n > world.first) {
        page.newest = world.entries[world.n - 1];
    }
    fn(world.baton, &page);
    fake_turn();
}

static void report(const ac_mirror_entry_t *entry)
{
    world.position = entry->last;
    mirror.on_entry(mirror.baton, RUN, entry);
    fake_turn();
}

/* A run with the events RUN, "one ", "two ". */
static void begin_run(void)
{
    memset(&world, 0, sizeof world);
    world.up = true;
    mirror.vt = &mirror_vt;
    ac_engine_use_mirror(engine, &mirror);
    add_entry(1, 0, AC_EVENT_RUN, "{\"run_id\":\"" RUN "\"}");
    add_entry(2, 0, AC_EVENT_TOKEN, "one ");
    add_entry(3, 4, AC_EVENT_TOKEN, "two ");
}

static json_t *run_document(const char *status)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "id", RUN, "thread_id", "thread_1", "agent_id", "a", "status", status);
}

static void say_active(void)
{
    expect_op(AC_STORE_RUN_GET);
    answer_op(run_document("in_progress"), AC_OK);
}

static visitor_t *follow_live(uint64_t after)
{
    visitor_t *visitor = follow(0, RUN, after);
    fake_turn();
    say_active();
    answer_page();
    return visitor;
}

/* The rest of the answer comes from the store. */
static void end_in_store(const char *content)
{
    expect_op(AC_STORE_RUN_GET);
    answer_op(run_document("completed"), AC_OK);
    for (int i = 0; i < 10 && !n_ops; i++) { /* the end may still come to the mirror */
        if (world.fn) {
            answer_page();
        }
        fake_pass(apr_time_from_msec(250));
    }
    expect_op(AC_STORE_STEP_LIST);
    answer_op(json_pack("{s:[]}", "data"), AC_OK);
    expect_op(AC_STORE_MESSAGE_LIST);
    json_t *answer = json_pack("{s:s, s:s, s:s, s:s, s:i}", "id", "msg_2", "role", "assistant", "run_id", RUN,
                               "content", content, "seq", 2);
    json_t *question =
        json_pack("{s:s, s:s, s:s, s:s, s:i}", "id", "msg_1", "role", "user", "run_id", RUN, "content", "x", "seq", 1);
    answer_op(json_pack("{s:[o, o], s:b}", "data", answer, question, "has_more", 0), AC_OK);
}

/* ---- tests ---- */

static void test_pages_and_then_each_entry(void **state)
{
    (void)state;
    begin_run();
    visitor_t *visitor = follow_live(0);
    assert_string_equal(visitor->seen, "<run>one two <live>");
    assert_int_equal(world.n_followed, 1);
    report(add_entry(4, 8, AC_EVENT_TOKEN, "three"));
    report(add_entry(5, 13, AC_EVENT_ERROR, "{\"code\":\"interrupted\"}"));
    assert_string_equal(visitor->seen, "<run>one two <live>three<error>");
    assert_int_equal(visitor->kind, AC_INTERRUPTED);
    assert_int_equal(visitor->last_seq, 5);
    ac_channel_leave(&visitor->follower);
    fake_turn();
    assert_int_equal(world.n_followed, 0);
}

static void test_from_the_middle(void **state)
{
    (void)state;
    begin_run();
    visitor_t *visitor = follow_live(2);
    assert_int_equal(world.asked, 2);
    assert_string_equal(visitor->seen, "two <live>");
    report(add_entry(4, 8, AC_EVENT_TOKEN, "three"));
    assert_string_equal(visitor->seen, "two <live>three");
}

/* A number that this machine does not know yet, because the entry is on its way. */
static void test_a_follower_that_knows_more(void **state)
{
    (void)state;
    begin_run();
    visitor_t *visitor = follow_live(4);
    assert_string_equal(visitor->seen, "");
    add_entry(4, 8, AC_EVENT_TOKEN, "three ");
    add_entry(5, 14, AC_EVENT_TOKEN, "four");
    fake_pass(apr_time_from_msec(250));
    answer_page();
    assert_string_equal(visitor->seen, "four<live>");
}

static void test_a_number_that_was_never_reached(void **state)
{
    (void)state;
    begin_run();
    visitor_t *visitor = follow_live(1000);
    for (int i = 0; i < 4; i++) {
        fake_pass(apr_time_from_msec(250));
        answer_page();
    }
    assert_string_equal(visitor->seen, "<live>");
    report(add_entry(4, 8, AC_EVENT_TOKEN, "three"));
    assert_string_equal(visitor->seen, "<live>three");
}

static void test_an_ended_run(void **state)
{
    (void)state;
    for (uint64_t after = 0; after < 6; after++) {
        begin_run();
        add_entry(4, 8, AC_EVENT_ERROR, "{\"code\":\"interrupted\"}");
        visitor_t *visitor = follow(0, RUN, after);
        fake_turn();
        expect_op(AC_STORE_RUN_GET);
        answer_op(run_document("interrupted"), AC_OK);
        answer_page();
        static const char *const expected[] = {"<run>one two <error>", "one two <error>", "two <error>", "<error>"};
        if (after == 4) {
            assert_string_equal(visitor->seen, "<nothing>");
        } else {
            assert_string_equal(visitor->seen, expected[after < 3 ? after : 3]);
        }
        assert_int_equal(n_ops, 0);
    }
}

/* The first entries were trimmed: a follower from the beginning waits for the store, one behind them does not. */
static void test_a_trimmed_mirror(void **state)
{
    (void)state;
    begin_run();
    world.first = 2;
    visitor_t *visitor = follow_live(0);
    assert_string_equal(visitor->seen, "<live>");
    assert_int_equal(world.n_followed, 0);
    fake_pass(apr_time_from_msec(250));
    end_in_store("one two three");
    assert_string_equal(visitor->seen, "<live><run>one two three<done>");
    visitor = follow_live(2);
    assert_string_equal(visitor->seen, "two <live>");
}

static void test_a_follower_of_trimmed_events_is_refused(void **state)
{
    (void)state;
    begin_run();
    world.first = 2;
    visitor_t *visitor = follow_live(1);
    for (int i = 0; i < 4 && n_ops + (world.fn != NULL) + fake.n_timers > 0 && !visitor->kind; i++) {
        fake_pass(apr_time_from_sec(1));
        say_active();
        answer_page();
    }
    assert_string_equal(visitor->seen, "<error>");
    assert_int_equal(visitor->kind, AC_EVENTS_GONE);
}

/* An entry is missing: the page has it, or the rest comes from the store behind what was delivered. */
static void test_a_gap(void **state)
{
    (void)state;
    begin_run();
    visitor_t *visitor = follow_live(0);
    add_entry(4, 8, AC_EVENT_TOKEN, "three ");
    report(add_entry(5, 14, AC_EVENT_TOKEN, "four "));
    assert_string_equal(visitor->seen, "<run>one two <live>");
    answer_page();
    assert_string_equal(visitor->seen, "<run>one two <live>three four ");
    add_entry(6, 19, AC_EVENT_TOKEN, "five ");
    const ac_mirror_entry_t *last = add_entry(7, 24, AC_EVENT_TOKEN, "six ");
    world.first = 6;
    report(last);
    answer_page();
    fake_pass(apr_time_from_msec(250));
    end_in_store("one two three four five six seven");
    assert_string_equal(visitor->seen, "<run>one two <live>three four five six seven<done>");
    assert_true(visitor->last_seq > AC_TAIL_MIRROR);
}

/* A byte is missing, or its id says that it has later events. */
static void test_a_damaged_entry(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        begin_run();
        visitor_t *visitor = follow_live(0);
        ac_mirror_entry_t *entry = (ac_mirror_entry_t *)add_entry(4, 8, AC_EVENT_TOKEN, "three ");
        entry->len -= i == 0;
        entry->last += 1000 * i;
        report(entry);
        answer_page();
        fake_pass(apr_time_from_msec(250));
        end_in_store("one two three ");
        assert_string_equal(visitor->seen, "<run>one two <live>three <done>");
    }
}

/* The entry comes after the page was read, and before the run is followed. */
static void test_an_entry_between_page_and_reader(void **state)
{
    (void)state;
    begin_run();
    world.n_followed = 1;
    world.position = 4;
    visitor_t *visitor = follow_live(0);
    assert_string_equal(visitor->seen, "<run>one two ");
    add_entry(4, 8, AC_EVENT_TOKEN, "three");
    answer_page();
    assert_string_equal(visitor->seen, "<run>one two three<live>");
}

static void test_a_follower_without_room(void **state)
{
    (void)state;
    begin_run();
    visitor_t *visitor = follow_live(0);
    visitor->full = true;
    report(add_entry(4, 8, AC_EVENT_TOKEN, "three "));
    report(add_entry(5, 14, AC_EVENT_TOKEN, "four"));
    assert_string_equal(visitor->seen, "<run>one two <live>");
    visitor->full = false;
    ac_follower_resume(&visitor->follower);
    fake_turn();
    assert_int_equal(world.asked, 3);
    answer_page();
    assert_string_equal(visitor->seen, "<run>one two <live>three four");
    report(add_entry(6, 18, AC_EVENT_TOKEN, "!"));
    assert_string_equal(visitor->seen, "<run>one two <live>three four!");
}

static void test_a_mirror_that_fails_and_comes_back(void **state)
{
    (void)state;
    begin_run();
    visitor_t *visitor = follow_live(0);
    world.up = false;
    mirror.on_state(mirror.baton, false);
    fake_turn();
    say_active();
    assert_null(world.fn);
    world.up = true;
    mirror.on_state(mirror.baton, true);
    add_entry(4, 8, AC_EVENT_TOKEN, "three ");
    fake_pass(apr_time_from_msec(250));
    say_active();
    answer_page();
    assert_string_equal(visitor->seen, "<run>one two <live>three ");
    world.up = false;
    mirror.on_state(mirror.baton, false);
    fake_turn();
    end_in_store("one two three four");
    assert_string_equal(visitor->seen, "<run>one two <live>three four<done>");
}

/* Nothing comes: the store is asked, and says that the machine has died. */
static void test_silence(void **state)
{
    (void)state;
    begin_run();
    visitor_t *visitor = follow_live(0);
    fake_pass(apr_time_from_sec(3));
    report(add_entry(4, 8, AC_EVENT_TOKEN, "three "));
    fake_pass(apr_time_from_sec(3));
    assert_int_equal(n_ops, 0);
    fake_pass(apr_time_from_sec(3));
    expect_op(AC_STORE_RUN_GET);
    answer_op(run_document("interrupted"), AC_OK);
    for (int i = 0; i < 10 && world.fn; i++) {
        answer_page();
        fake_pass(apr_time_from_msec(250));
    }
    expect_op(AC_STORE_STEP_LIST);
    answer_op(json_pack("{s:[]}", "data"), AC_OK);
    expect_op(AC_STORE_MESSAGE_LIST);
    answer_op(json_pack("{s:[], s:b}", "data", "has_more", 0), AC_OK);
    assert_string_equal(visitor->seen, "<run>one two <live>three <error>");
    assert_int_equal(visitor->kind, AC_INTERRUPTED);
}

/* The store decides whose run it is; the mirror is not even read. */
static void test_another_owners_run(void **state)
{
    (void)state;
    begin_run();
    visitor_t *visitor = follow(0, RUN, 0);
    fake_turn();
    expect_op(AC_STORE_RUN_GET);
    answer_op(NULL, AC_NOT_FOUND);
    assert_string_equal(visitor->seen, "<error>");
    assert_int_equal(visitor->kind, AC_NOT_FOUND);
    assert_int_equal(world.n_reads, 0);
}

static void test_a_follower_that_leaves_while_a_page_is_read(void **state)
{
    (void)state;
    begin_run();
    visitor_t *visitor = follow(0, RUN, 0);
    fake_turn();
    say_active();
    ac_channel_leave(&visitor->follower);
    fake_turn();
    answer_page();
    assert_string_equal(visitor->seen, "");
    assert_false(ac_tail_exists(engine, RUN));
}

static void look_now(void)
{
    expect_op(AC_STORE_RUN_CHECK);
    answer_op(json_object(), AC_OK);
    assert_int_equal(n_ops, 0);
}

/* The process looks at once, and some times more, since its replica of the store may be behind. */
static void test_a_notice(void **state)
{
    char text[AC_ID_SIZE + 8];
    (void)state;
    begin_run();
    start_leaving(-1);
    assert_int_equal(n_ops, 0);
    mirror.on_notice(mirror.baton, "look " RUN);
    mirror.on_notice(mirror.baton, "look");
    mirror.on_notice(mirror.baton, "");
    assert_int_equal(n_ops, 0);
    const ac_run_t *run = apr_hash_this_val(apr_hash_first(NULL, engine->runs));
    snprintf(text, sizeof text, "look %s", run->turn->run_id);
    mirror.on_notice(mirror.baton, text);
    look_now();
    for (int i = 0; i < 10; i++) { /* many are no more than one, and keep no look away */
        mirror.on_notice(mirror.baton, text);
        assert_int_equal(n_ops, 0);
        fake_pass(apr_time_from_msec(10));
    }
    look_now();
    fake_pass(apr_time_from_msec(100));
    look_now();
    fake_pass(apr_time_from_msec(500));
    look_now();
    fake_pass(apr_time_from_sec(10));
    look_now();
    fake_pass(apr_time_from_sec(10));
    assert_int_equal(n_ops, 0);
    end_well();
    json_decref(close_well());
    mirror.on_notice(mirror.baton, text);
    assert_int_equal(n_ops, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_logged, teardown_logged)

int main(void)
{
    apr_initialize();
    const struct CMUnitTest tests[] = {
        TEST(test_pages_and_then_each_entry),
        TEST(test_from_the_middle),
        TEST(test_a_follower_that_knows_more),
        TEST(test_a_number_that_was_never_reached),
        TEST(test_an_ended_run),
        TEST(test_a_trimmed_mirror),
        TEST(test_a_follower_of_trimmed_events_is_refused),
        TEST(test_a_gap),
        TEST(test_a_damaged_entry),
        TEST(test_an_entry_between_page_and_reader),
        TEST(test_a_follower_without_room),
        TEST(test_a_mirror_that_fails_and_comes_back),
        TEST(test_silence),
        TEST(test_another_owners_run),
        TEST(test_a_follower_that_leaves_while_a_page_is_read),
        TEST(test_a_notice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
