/* SPDX-License-Identifier: Apache-2.0 */
/* A store with a cache before it: it is a store like any other, and reads less. */
#include "http_rig.h"
#include "sqlite_harness.h"

#include <apr_general.h>

#include "back/cache/cache_backend.h"

typedef struct world_t {
    harness_t *harness;
    rig_t rig;
    ac_host_t host;
    ac_store_vt counting; /* the embedded store, with a count of what it is asked */
    ac_cache_memory_t *memory;
    ac_store_cache_t *cache;
    ac_store_t store;
} world_t;

static atomic_int n_asked[AC_STORE_N_VERBS];

static void counting_post(void *self, ac_store_op_t *op)
{
    atomic_fetch_add(&n_asked[op->verb], 1);
    ac_store_sqlite.start_post(self, op);
}

static int open_world(void **state, bool check)
{
    world_t *world = ac_alloc(sizeof(*world));
    void *harness = NULL;
    ac_err_t err;
    ac_err_init(&err);
    *state = world;
    if (harness_setup(&harness)) {
        return -1;
    }
    world->harness = harness;
    rig_open(&world->rig);
    world->host =
        (ac_host_t){.version = 1, .loop = world->rig.loop, .loop_post = ac_loop_post, .store_done = ac_store_done};
    world->counting = ac_store_sqlite;
    world->counting.start_post = counting_post;
    for (int i = 0; i < AC_STORE_N_VERBS; i++) {
        atomic_store(&n_asked[i], 0);
    }
    if (ac_cache_memory_create(&world->memory, 8 * 1024 * 1024, apr_time_from_sec(600), &err) != APR_SUCCESS) {
        return -1;
    }
    ac_store_t inner = {&world->counting, world->harness->store.self, AC_METRIC_OTHER, NULL};
    ac_cache_t place = {&ac_cache_memory, world->memory};
    ac_store_cache_create(&world->cache, &inner, &place, "sqlite:test", check);
    world->store = ac_store_cache_store(world->cache);
    contract_use(&world->store);
    return world->store.vt->child_init(world->store.self, &world->host, &err) != APR_SUCCESS;
}

static int setup(void **state)
{
    return open_world(state, false);
}
static int setup_checked(void **state)
{
    return open_world(state, true);
}

static int teardown(void **state)
{
    world_t *world = *state;
    void *harness = world->harness;
    world->store.vt->child_exit(world->store.self);
    rig_close(&world->rig);
    ac_store_cache_destroy(world->cache);
    ac_cache_memory_destroy(world->memory);
    harness_teardown(&harness);
    free(world);
    return 0;
}

static int n_loads(void)
{
    return atomic_load(&n_asked[AC_STORE_TURN_LOAD]);
}

static ac_store_op_t *load_op(const char *owner, const char *thread, int limit)
{
    ac_store_op_t *op = contract_op(AC_STORE_TURN_LOAD, owner, thread, NULL);
    op->page.limit = limit;
    return op;
}

static json_t *load_of(const contract_ids_t *ids, int limit)
{
    return contract_ok(contract_wait(load_op(ids->owner, ids->thread, limit)));
}

/* The store's own answer. */
static json_t *load_fresh(const contract_ids_t *ids, int limit)
{
    ac_store_op_t *op = load_op(ids->owner, ids->thread, limit);
    op->in = json_pack("{s:b}", "fresh", 1);
    return contract_ok(contract_wait(op));
}

static void turn(const contract_ids_t *ids, const char *content, bool fresh)
{
    char run_id[AC_ID_SIZE] = "";
    contract_open(ids, run_id, content, fresh);
    contract_close(ids, run_id, "an answer");
}

/* Loaded from the cache, and the same as what is stored. */
static void expect_cached(const contract_ids_t *ids, int limit)
{
    int before = n_loads();
    json_t *cached = load_of(ids, limit);
    assert_int_equal(n_loads(), before);
    contract_equal(cached, load_fresh(ids, limit));
}

static void expect_read(const contract_ids_t *ids, int limit)
{
    int before = n_loads();
    json_t *loaded = load_of(ids, limit);
    assert_int_equal(n_loads(), before + 1);
    contract_equal(loaded, load_fresh(ids, limit));
}

static void test_turns_read_nothing(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    turn(&ids, "the first one", true);
    expect_cached(&ids, 100);
    for (int i = 0; i < 2 * AC_MAX_CACHED_PARTS; i++) {
        int before = n_loads();
        json_decref(load_of(&ids, 100));
        turn(&ids, "and so on \"\\ \xe2\x82\xac", false);
        assert_int_equal(n_loads(), before);
    }
    expect_cached(&ids, 100);
}

static void test_a_thread_that_was_read_is_known(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1)));
    expect_read(&ids, 100);
    expect_cached(&ids, 100);
    turn(&ids, "x", false);
    expect_cached(&ids, 100);
}

static void test_how_much_is_asked_for(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    for (int i = 0; i < 5; i++) {
        turn(&ids, "x", i == 0);
    }
    json_decref(load_fresh(&ids, 4)); /* from here on only four are known */
    expect_cached(&ids, 3);
    json_decref(load_fresh(&ids, 4));
    turn(&ids, "x", false);
    expect_cached(&ids, 4);
    json_decref(load_fresh(&ids, 4));
    expect_read(&ids, 5);
}

/* The cache does not answer that a thread is free while a run is active. */
static void test_an_active_run_is_the_stores(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run_id[AC_ID_SIZE] = "";
    turn(&ids, "x", true);
    contract_open(&ids, run_id, "y", false);
    json_t *loaded = load_of(&ids, 100);
    assert_string_equal(ac_json_peek_string(loaded, "active_run", ""), run_id);
    json_decref(loaded);
    contract_kind(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread,
                                contract_open_in(&ids, "run_other", "z", false)),
                  AC_RUN_IN_PROGRESS);
    contract_close(&ids, run_id, "done");
    expect_read(&ids, 100);
    expect_cached(&ids, 100);
}

static void test_a_run_without_an_answer(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run_id[AC_ID_SIZE] = "";
    turn(&ids, "x", true);
    contract_open(&ids, run_id, "y", false);
    json_t *in = contract_close_in(&ids, run_id, "-");
    json_object_set_new(in, "message", json_null());
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, in));
    expect_cached(&ids, 100);
}

/* The same write again, as after an answer that was lost. */
static void test_a_repeated_write_counts_once(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run_id[AC_ID_SIZE];
    turn(&ids, "x", true);
    ac_id_make(run_id, "run_");
    json_t *open = contract_open_in(&ids, run_id, "y", false), *close = contract_close_in(&ids, run_id, "z");
    for (int i = 0; i < 2; i++) {
        contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, json_incref(open)));
    }
    for (int i = 0; i < 2; i++) {
        contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, json_incref(close)));
    }
    json_decref(open);
    json_decref(close);
    expect_cached(&ids, 100);
}

static void delete_last(const contract_ids_t *ids)
{
    json_t *list = contract_ok(contract_call(AC_STORE_MESSAGE_LIST, ids->owner, ids->thread, NULL));
    const json_t *data = json_object_get(list, "data");
    contract_done(contract_call(AC_STORE_MESSAGE_DELETE, ids->owner, ids->thread,
                                json_pack("{s:O}", "message_id",
                                          json_object_get(json_array_get(data, json_array_size(data) - 1), "id"))));
    json_decref(list);
}

static void test_changes_are_read(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char time[AC_TIME_SIZE];
    turn(&ids, "x", true);
    contract_done(contract_call(AC_STORE_THREAD_UPDATE, ids.owner, ids.thread,
                                json_pack("{s:s, s:s}", "title", "New", "updated_at", contract_time(time, 9))));
    expect_read(&ids, 100);
    expect_cached(&ids, 100);
    delete_last(&ids);
    expect_read(&ids, 100);
    expect_cached(&ids, 100);
    contract_done(contract_call(AC_STORE_THREAD_DELETE, ids.owner, ids.thread,
                                json_pack("{s:s}", "deleted_at", contract_time(time, 9))));
    contract_kind(contract_wait(load_op(ids.owner, ids.thread, 100)), AC_NOT_FOUND);
    contract_done(contract_call(AC_STORE_THREAD_RESTORE, ids.owner, ids.thread,
                                json_pack("{s:s}", "updated_at", contract_time(time, 9))));
    expect_read(&ids, 100);
    json_t *in = json_pack("{s:s}", "deleted_at", contract_time(time, 9));
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_DELETE, ids.owner, ids.thread, in);
    op->hard = true;
    contract_done(contract_wait(op));
    contract_kind(contract_wait(load_op(ids.owner, ids.thread, 100)), AC_NOT_FOUND);
}

static void test_another_owner_finds_nothing(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), other = contract_ids();
    turn(&ids, "secret", true);
    expect_cached(&ids, 100);
    contract_kind(contract_wait(load_op(other.owner, ids.thread, 100)), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_THREAD_UPDATE, other.owner, ids.thread,
                                json_pack("{s:s, s:s}", "title", "Mine", "updated_at", "2026-01-01T00:00:00.000Z")),
                  AC_NOT_FOUND);
    expect_cached(&ids, 100); /* nor does he take it away */
}

/* As another machine does it: past the cache. */
static void delete_elsewhere(world_t *world, const contract_ids_t *ids)
{
    ac_store_t direct = {&world->counting, world->harness->store.self, AC_METRIC_OTHER, NULL};
    contract_use(&direct);
    delete_last(ids);
    contract_use(&world->store);
}

/* As another machine does it: past the cache. */
static void go_on_elsewhere(world_t *world, const contract_ids_t *ids)
{
    ac_store_t direct = {&world->counting, world->harness->store.self, AC_METRIC_OTHER, NULL};
    contract_use(&direct);
    turn(ids, "from elsewhere", false);
    contract_use(&world->store);
}

static void test_a_stale_history_is_found_by_the_turn(void **state)
{
    contract_ids_t ids = contract_ids();
    turn(&ids, "x", true);
    go_on_elsewhere(*state, &ids);
    json_t *stale = load_of(&ids, 100);
    assert_int_equal(json_array_size(json_object_get(stale, "messages")), 2);
    json_decref(stale);
    json_t *in = contract_open_in(&ids, "run_late", "y", false);
    json_object_set_new(in, "after", json_integer(2));
    contract_kind(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, in), AC_PRECONDITION_FAILED);
    expect_read(&ids, 100); /* the wrong entry is removed */
    expect_cached(&ids, 100);
    json_t *counts = contract_ok(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    assert_int_equal(ac_json_peek_int(counts, "cache_stale", -1), 1);
    assert_true(ac_json_peek_int(counts, "cache_hits", -1) >= 2);
    json_decref(counts);
}

static void test_a_checked_thread_is_never_stale(void **state)
{
    contract_ids_t ids = contract_ids();
    turn(&ids, "x", true);
    int looks = atomic_load(&n_asked[AC_STORE_THREAD_GET]);
    expect_cached(&ids, 100);
    assert_int_equal(atomic_load(&n_asked[AC_STORE_THREAD_GET]), looks + 1);
    go_on_elsewhere(*state, &ids);
    expect_read(&ids, 100);
    expect_cached(&ids, 100);
    delete_elsewhere(*state, &ids);
    expect_read(&ids, 100);
    expect_cached(&ids, 100);

    world_t *world = *state;
    ac_store_t direct = {&world->counting, world->harness->store.self, AC_METRIC_OTHER, NULL};
    contract_use(&direct);
    json_t *in = json_pack("{s:s}", "deleted_at", "2026-01-01T00:00:00.000Z");
    contract_done(contract_call(AC_STORE_THREAD_DELETE, ids.owner, ids.thread, in));
    contract_use(&world->store);
    contract_kind(contract_wait(load_op(ids.owner, ids.thread, 100)), AC_NOT_FOUND);
}

/* ---- a place of the test's, for what must not happen in one ---- */

static const char *texts;
static size_t texts_len;
static int n_dropped;

static void read_texts(void *self, const unsigned char key[AC_CACHE_KEY], ac_cache_read_fn *fn, void *baton)
{
    (void)self, (void)key;
    ac_buf_t buf;
    ac_buf_init(&buf, 100000);
    ac_buf_add(&buf, texts, texts_len);
    fn(baton, &buf);
    ac_buf_free(&buf);
}

static void count_drops(void *self, const ac_cache_write_t *write, ac_cache_written_fn *fn, void *baton)
{
    (void)self;
    n_dropped += write->way == AC_CACHE_DROP;
    if (fn) {
        fn(baton);
    }
}

static const ac_cache_vt fake_place = {"fake", read_texts, count_drops};

static apr_status_t started(void *self, const ac_host_t *host, ac_err_t *err)
{
    (void)self, (void)host, (void)err;
    return APR_SUCCESS;
}

static void test_useless_records_are_dropped(void **state)
{
    world_t *world = *state;
    contract_ids_t ids = contract_ids();
    turn(&ids, "x", true);
    static const struct {
        const char *texts;
        size_t len;
        bool drops;
    } cases[] = {
#define CASE(text, drops) {text, sizeof(text), drops}
        CASE("", true),
        CASE("{", true),
        CASE("[]", true),
        CASE("{}", true),
        CASE("null", true),
        CASE("7\0{}", true),
        CASE("{\"thread\":{\"id\":\"thread_other\",\"message_count\":0},\"messages\":[],\"limit\":100,\"run\":null}",
             true),
        CASE("{\"thread\":{\"id\":\"T\",\"message_count\":2},\"messages\":[{\"seq\":1}],\"limit\":100,\"run\":null}",
             true),
        CASE("{\"thread\":{\"id\":\"T\",\"message_count\":1},\"messages\":[1],\"limit\":100,\"run\":null}", true),
        CASE("{\"thread\":{\"id\":\"T\",\"message_count\":0},\"messages\":[],\"limit\":100,\"run\":null}\0"
             "{\"message\":{\"seq\":2},\"ends\":\"r\"}",
             true),
        CASE("{\"thread\":{\"id\":\"T\",\"message_count\":0},\"messages\":[],\"limit\":100,\"run\":null}\0"
             "{\"message\":{\"seq\":1}}",
             true),
        CASE("{\"thread\":{\"id\":\"T\",\"message_count\":0},\"messages\":[],\"limit\":100,\"run\":\"r\"}", false),
        CASE("{\"thread\":{\"id\":\"T\",\"message_count\":0},\"messages\":[],\"limit\":9,\"run\":null}", false),
#undef CASE
    };
    ac_store_t inner = {&world->counting, world->harness->store.self, AC_METRIC_OTHER, NULL};
    ac_cache_t place = {&fake_place, NULL};
    ac_store_cache_t *cache;
    ac_store_cache_create(&cache, &inner, &place, "x", false);
    ac_store_t store = ac_store_cache_store(cache);
    ac_err_t none;
    ac_err_init(&none);
    world->counting.child_init = started; /* it has, with the other cache */
    assert_int_equal(store.vt->child_init(store.self, &world->host, &none), APR_SUCCESS);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char text[1000];
        size_t at = 0;
        for (size_t k = 0; k < cases[i].len; k++) { /* T is the thread's id */
            bool id = k && cases[i].texts[k] == 'T' && cases[i].texts[k - 1] == '"';
            at += id ? (size_t)snprintf(text + at, sizeof(text) - at, "%s", ids.thread) : 1;
            if (!id) {
                text[at - 1] = cases[i].texts[k];
            }
        }
        texts = text;
        texts_len = at;
        n_dropped = 0;
        int before = n_loads();
        ac_store_op_t *op = load_op(ids.owner, ids.thread, 100);
        ac_err_t err;
        ac_err_init(&err);
        assert_int_equal(ac_store_wait(&store, &op, apr_time_from_sec(20), &err), APR_SUCCESS);
        assert_int_equal(n_loads(), before + 1);
        if ((n_dropped > 0) != cases[i].drops) {
            fail_msg("case %zu", i);
        }
        ac_store_op_free(op);
    }
    ac_store_cache_destroy(cache);
}

static int contract(const char *name, bool check)
{
    void *world = NULL;
    int n_failed = open_world(&world, check);
    if (!n_failed) {
        n_failed = store_contract_run(name, &((world_t *)world)->store);
    }
    teardown(&world);
    return n_failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_turns_read_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_turns_read_nothing, setup_checked, teardown),
        cmocka_unit_test_setup_teardown(test_a_thread_that_was_read_is_known, setup, teardown),
        cmocka_unit_test_setup_teardown(test_how_much_is_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_active_run_is_the_stores, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_run_without_an_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_repeated_write_counts_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changes_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_owner_finds_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_stale_history_is_found_by_the_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_checked_thread_is_never_stale, setup_checked, teardown),
        cmocka_unit_test_setup_teardown(test_useless_records_are_dropped, setup, teardown),
    };
    apr_initialize();
    int n_failed = contract("store_contract, with a cache", false);
    n_failed += contract("store_contract, with a cache and a look", true);
    n_failed += cmocka_run_group_tests_name("store_cache", tests, NULL, NULL);
    apr_terminate();
    return n_failed;
}
