/* SPDX-License-Identifier: Apache-2.0 */
/* Cosmos DB's requests and answers as bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/wire.h"

#define KEY1 "dsZQi3KtZmCv1ljt3VNWNm7sQUF1y5rJfC6kv5JiwvW0EndXdDku/dkKBp8/ufDToSxLzR4y+O/0H/t4bQtVNw=="
#define KEY2 "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="
#define DATE "Thu, 27 Apr 2017 00:51:12 GMT"
#define PREFIX "type%3Dmaster%26ver%3D1.0%26sig%3D"

/* ---- signatures ---- */

static void check_signature(const ac_cosmos_ask_t *ask, const char *key, const char *date, const char *wanted)
{
    ac_buf_t value;
    ac_buf_init(&value, 1024);
    assert_int_equal(ac_cosmos_auth_key(&value, ask, key, date, NULL), APR_SUCCESS);
    assert_string_equal(value.data, wanted);
    ac_buf_free(&value);
}

static void test_signatures_of_the_vendors_examples(void **state)
{
    (void)state;
    check_signature(&(ac_cosmos_ask_t){.verb = AC_COSMOS_DATABASE_READ, .database = "ToDoList"}, KEY1, DATE,
                    PREFIX "c09PEVJrgp2uQRkr934kFbTqhByc7TVr3OHyqlu%2Bc%2Bc%3D");
    check_signature(&(ac_cosmos_ask_t){.verb = AC_COSMOS_ACCOUNT_READ}, KEY2, DATE,
                    PREFIX "gFB1bRB%2FPLJTG3bCgMuoVgNzOyFvZAamzEtLuSITjRc%3D");
    check_signature(&(ac_cosmos_ask_t){.verb = AC_COSMOS_CREATE, .database = "MyDb", .container = "MyColl"}, KEY2, DATE,
                    PREFIX "s0xP8VO0ZOVHL99FhcwggjhrnponOpQXEk%2BT5PrPBUg%3D");
    check_signature(
        &(ac_cosmos_ask_t){.verb = AC_COSMOS_READ, .database = "MyDb", .container = "MyColl", .id = "Item 1"}, KEY2,
        DATE, PREFIX "%2BiTPxBd6Bv8ev8MmYaM9XX1Blc5LEHlqSdEY6RVB3f0%3D");
    /* A connection string holds the key too. */
    check_signature(&(ac_cosmos_ask_t){.verb = AC_COSMOS_ACCOUNT_READ},
                    "AccountEndpoint=https://a.documents.azure.com:443/;AccountKey=" KEY2 ";", DATE,
                    PREFIX "gFB1bRB%2FPLJTG3bCgMuoVgNzOyFvZAamzEtLuSITjRc%3D");
}

/* tests/peers/signatures.json is made by the vendor's own signing package; tests/httpd/test_peers.py compares them
 * again. */
static void test_signatures_of_the_vendors_package(void **state)
{
    (void)state;
    json_t *table = json_load_file("tests/peers/signatures.json", 0, NULL), *row;
    size_t i;
    assert_true(json_array_size(table) >= 30);
    json_array_foreach(table, i, row)
    {
        const char *verb = json_string_value(json_object_get(row, "verb")),
                   *id = json_string_value(json_object_get(row, "id"));
        ac_cosmos_ask_t ask = {.database = json_string_value(json_object_get(row, "database")),
                               .container = json_string_value(json_object_get(row, "container")),
                               .id = id};
        static const struct {
            const char *name;
            ac_cosmos_verb_e verb;
        } verbs[] = {
            {"account", AC_COSMOS_ACCOUNT_READ},
            {"database read", AC_COSMOS_DATABASE_READ},
            {"database create", AC_COSMOS_DATABASE_CREATE},
            {"container read", AC_COSMOS_CONTAINER_READ},
            {"container create", AC_COSMOS_CONTAINER_CREATE},
            {"read", AC_COSMOS_READ},
            {"create", AC_COSMOS_CREATE},
            {"upsert", AC_COSMOS_UPSERT},
            {"replace", AC_COSMOS_REPLACE},
            {"patch", AC_COSMOS_PATCH},
            {"delete", AC_COSMOS_DELETE},
            {"query", AC_COSMOS_QUERY},
            {"batch", AC_COSMOS_BATCH},
        };
        size_t k = 0;
        while (k < sizeof(verbs) / sizeof(*verbs) && strcmp(verbs[k].name, verb) != 0) {
            k++;
        }
        assert_true(k < sizeof(verbs) / sizeof(*verbs));
        ask.verb = verbs[k].verb;
        ac_buf_t value, path;
        ac_buf_init(&value, 1024);
        ac_buf_init(&path, 8192);
        assert_int_equal(ac_cosmos_auth_key(&value, &ask, json_string_value(json_object_get(row, "key")),
                                            json_string_value(json_object_get(row, "date")), NULL),
                         APR_SUCCESS);
        assert_string_equal(value.data, json_string_value(json_object_get(row, "authorization")));
        assert_int_equal(ac_cosmos_path(&path, &ask), APR_SUCCESS);
        assert_string_equal(path.data, json_string_value(json_object_get(row, "path")));
        ac_buf_free(&value);
        ac_buf_free(&path);
    }
    json_decref(table);
}

static void test_invalid_keys(void **state)
{
    (void)state;
    static const char *const keys[] = {"",          "=",        "====",
                                       "abc",       "ab=c",     "a===",
                                       "YWJj YWJj", "YWJj\n",   "AccountKey=;",
                                       "äöü=",      "YWJj=YWJ", "AccountEndpoint=https://x/;AccountKey="};
    char large[2049];
    ac_cosmos_ask_t ask = {.verb = AC_COSMOS_ACCOUNT_READ};
    ac_buf_t value;
    memset(large, 'A', sizeof(large));
    large[2048] = '\0';
    for (size_t i = 0; i <= sizeof(keys) / sizeof(*keys); i++) {
        ac_err_t err;
        ac_err_init(&err);
        ac_buf_init(&value, 1024);
        const char *key = i < sizeof(keys) / sizeof(*keys) ? keys[i] : large;
        ac_cosmos_auth_key(&value, &ask, key, DATE, &err);
        assert_false(ac_account_key_valid(key));
        assert_int_equal(err.kind, AC_INVALID_REQUEST);
        assert_int_equal(value.len, 0);
        ac_buf_free(&value);
    }
}

static void test_token_is_encoded(void **state)
{
    (void)state;
    ac_buf_t value;
    ac_buf_init(&value, 1024);
    assert_int_equal(ac_cosmos_auth_bearer(&value, "a.b-c_d+/="), APR_SUCCESS);
    assert_string_equal(value.data, "type%3Daad%26ver%3D1.0%26sig%3Da.b-c_d%2B%2F%3D");
    ac_buf_free(&value);
}

static void test_date(void **state)
{
    (void)state;
    char date[AC_COSMOS_DATE_SIZE];
    ac_cosmos_date(date, apr_time_from_sec(1493254272));
    assert_string_equal(date, DATE);
    ac_cosmos_date(date, apr_time_from_sec(1709251199));
    assert_string_equal(date, "Thu, 29 Feb 2024 23:59:59 GMT");
}

static void test_names(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "Chat box", "ünïcode", "a.b-c_d~e", "x y"};
    static const char *const bad[] = {"", "a/b", "a\\b", "a#b", "a?b", "a ", "a\nb", "a\x7f", "\xff\xfe"};
    char large[300];
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_true(ac_cosmos_name_valid(good[i]));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_false(ac_cosmos_name_valid(bad[i]));
    }
    memset(large, 'n', sizeof(large));
    large[255] = '\0';
    assert_true(ac_cosmos_name_valid(large));
    large[255] = 'n';
    large[256] = '\0';
    assert_false(ac_cosmos_name_valid(large));
}

/* ---- headers and bodies ---- */

static const char *line_of(const char *const *lines, const char *name)
{
    size_t len = strlen(name);
    for (; *lines; lines++) {
        if (strncmp(*lines, name, len) == 0 && (*lines)[len] == ':') {
            return *lines + len + 2;
        }
    }
    return NULL;
}

static void test_headers_of_a_query(void **state)
{
    (void)state;
    const char *lines[AC_COSMOS_HEADERS];
    ac_cosmos_ask_t ask = {.verb = AC_COSMOS_QUERY,
                           .database = "d",
                           .container = "c",
                           .key = "Ünï \"x\"",
                           .max_items = 25,
                           .continuation = "{\"t\":1}",
                           .session = "0:-1#7"};
    ac_buf_t text;
    ac_buf_init(&text, 4096);
    assert_int_equal(ac_cosmos_request_headers(lines, &text, &ask, DATE, "auth"), APR_SUCCESS);
    assert_string_equal(line_of(lines, "Content-Type"), "application/query+json");
    assert_string_equal(line_of(lines, "x-ms-version"), "2020-07-15");
    assert_string_equal(line_of(lines, "x-ms-date"), DATE);
    assert_string_equal(line_of(lines, "authorization"), "auth");
    assert_string_equal(line_of(lines, "x-ms-documentdb-isquery"), "True");
    assert_string_equal(line_of(lines, "x-ms-documentdb-query-enablecrosspartition"), "True");
    assert_string_equal(line_of(lines, "x-ms-documentdb-partitionkey"), "[\"\\u00DCn\\u00EF \\\"x\\\"\"]");
    assert_string_equal(line_of(lines, "x-ms-max-item-count"), "25");
    assert_string_equal(line_of(lines, "x-ms-continuation"), "{\"t\":1}");
    assert_string_equal(line_of(lines, "x-ms-session-token"), "0:-1#7");
    assert_null(line_of(lines, "Prefer"));
    ac_buf_free(&text);
}

static void test_headers_of_writes(void **state)
{
    (void)state;
    const char *lines[AC_COSMOS_HEADERS];
    const struct {
        ac_cosmos_verb_e verb;
        const char *name, *value;
    } cases[] = {
        {AC_COSMOS_UPSERT, "x-ms-documentdb-is-upsert", "True"},
        {AC_COSMOS_CREATE, "x-ms-documentdb-is-upsert", NULL},
        {AC_COSMOS_REPLACE, "If-Match", "\"e\""},
        {AC_COSMOS_CREATE, "Content-Type", "application/json"},
        {AC_COSMOS_PATCH, "Content-Type", "application/json-patch+json"},
        {AC_COSMOS_DELETE, "Content-Type", NULL},
        {AC_COSMOS_BATCH, "x-ms-cosmos-is-batch-request", "True"},
        {AC_COSMOS_BATCH, "x-ms-cosmos-batch-atomic", "True"},
        {AC_COSMOS_BATCH, "x-ms-cosmos-batch-continue-on-error", "False"},
        {AC_COSMOS_BATCH, "Prefer", "return=minimal"},
        {AC_COSMOS_READ, "x-ms-documentdb-query-enablecrosspartition", "True"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ac_cosmos_ask_t ask = {
            .verb = cases[i].verb, .database = "d", .container = "c", .id = "i", .key = "k", .if_match = "\"e\""};
        ac_buf_t text;
        ac_buf_init(&text, 4096);
        assert_int_equal(ac_cosmos_request_headers(lines, &text, &ask, DATE, "auth"), APR_SUCCESS);
        if (cases[i].value) {
            assert_string_equal(line_of(lines, cases[i].name), cases[i].value);
        } else {
            assert_null(line_of(lines, cases[i].name));
        }
        ac_buf_free(&text);
    }
    ac_cosmos_ask_t make = {.verb = AC_COSMOS_DATABASE_CREATE, .throughput = "400", .autoscale = "4000"};
    ac_buf_t text;
    ac_buf_init(&text, 4096);
    assert_int_equal(ac_cosmos_request_headers(lines, &text, &make, DATE, "auth"), APR_SUCCESS);
    assert_string_equal(line_of(lines, "x-ms-offer-throughput"), "400");
    assert_string_equal(line_of(lines, "x-ms-cosmos-offer-autopilot-settings"), "{\"maxThroughput\":4000}");
    assert_null(line_of(lines, "x-ms-documentdb-partitionkey"));
    ac_buf_free(&text);
}

static void test_a_header_is_one_line(void **state)
{
    (void)state;
    const char *lines[AC_COSMOS_HEADERS];
    ac_cosmos_ask_t ask = {.verb = AC_COSMOS_READ,
                           .database = "d",
                           .container = "c",
                           .id = "i",
                           .key = "k",
                           .session = "0:-1#7\r\nx-evil: 1"};
    ac_buf_t text;
    ac_buf_init(&text, 4096);
    assert_int_not_equal(ac_cosmos_request_headers(lines, &text, &ask, DATE, "auth"), APR_SUCCESS);
    ac_buf_free(&text);
}

static void test_query_body(void **state)
{
    (void)state;
    json_t *parameters = json_pack("{s:s, s:i}", "@a", "x'; --", "@b", 7);
    ac_buf_t body;
    ac_buf_init(&body, 4096);
    assert_int_equal(ac_cosmos_request_query(&body, "SELECT * FROM c WHERE c.a = @a", parameters), APR_SUCCESS);
    assert_string_equal(
        body.data,
        "{\"query\":\"SELECT * FROM c WHERE c.a = @a\",\"parameters\":[{\"name\":\"@a\",\"value\":\"x'; --\"},"
        "{\"name\":\"@b\",\"value\":7}]}");
    ac_buf_free(&body);
    json_decref(parameters);
}

static void test_batch_body(void **state)
{
    (void)state;
    json_t *document = json_pack("{s:s}", "id", "ä"), *body;
    ac_cosmos_batch_t batch;
    ac_cosmos_request_batch_init(&batch);
    ac_cosmos_request_batch_add(&batch, AC_COSMOS_REPLACE, "kéy", "ä", document, "\"tag\"");
    ac_cosmos_request_batch_add(&batch, AC_COSMOS_CREATE, "kéy", NULL, document, NULL);
    ac_cosmos_request_batch_add(&batch, AC_COSMOS_DELETE, "kéy", "gone", NULL, NULL);
    assert_int_equal(ac_cosmos_request_batch_end(&batch), APR_SUCCESS);
    assert_int_equal(batch.n, 3);
    body = json_loads(batch.body.data, 0, NULL);
    json_t *wanted = json_pack("[{s:s,s:s,s:s,s:s,s:O},{s:s,s:s,s:O},{s:s,s:s,s:s}]", "operationType", "Replace",
                               "partitionKey", "[\"k\\u00E9y\"]", "id", "ä", "ifMatch", "\"tag\"", "resourceBody",
                               document, "operationType", "Create", "partitionKey", "[\"k\\u00E9y\"]", "resourceBody",
                               document, "operationType", "Delete", "partitionKey", "[\"k\\u00E9y\"]", "id", "gone");
    assert_true(json_equal(body, wanted));
    json_decref(body);
    json_decref(wanted);
    json_decref(document);
    ac_cosmos_request_batch_free(&batch);
}

/* ---- answers ---- */

static void test_the_action_for_each_status(void **state)
{
    (void)state;
    const struct {
        int status, substatus;
        ac_cosmos_next_e next;
        bool usable;
    } cases[] = {
        {200, 0, AC_COSMOS_FINAL, true},         {201, 0, AC_COSMOS_FINAL, true},
        {204, 0, AC_COSMOS_FINAL, true},         {304, 0, AC_COSMOS_FINAL, true},
        {404, 0, AC_COSMOS_FINAL, true},         {409, 0, AC_COSMOS_FINAL, true},
        {412, 0, AC_COSMOS_FINAL, true},         {412, 1110, AC_COSMOS_FINAL, true},
        {404, 1002, AC_COSMOS_BEHIND, false},    {404, 1003, AC_COSMOS_FINAL, false},
        {429, 3200, AC_COSMOS_THROTTLED, false}, {429, 3092, AC_COSMOS_THROTTLED, false},
        {449, 0, AC_COSMOS_CONTENDED, false},    {410, 1002, AC_COSMOS_AGAIN, false},
        {408, 0, AC_COSMOS_AGAIN, false},        {503, 0, AC_COSMOS_AGAIN, false},
        {500, 0, AC_COSMOS_AGAIN, false},        {401, 0, AC_COSMOS_REJECTED, false},
        {403, 5300, AC_COSMOS_REJECTED, false},  {403, 5301, AC_COSMOS_FINAL, false},
        {401, 5202, AC_COSMOS_FINAL, false},     {403, 0, AC_COSMOS_FINAL, false},
        {403, 3, AC_COSMOS_MOVED, false},        {403, 1008, AC_COSMOS_MOVED, false},
        {403, 1014, AC_COSMOS_FINAL, false},     {400, 1001, AC_COSMOS_FINAL, false},
        {413, 0, AC_COSMOS_FINAL, false},        {424, 0, AC_COSMOS_FINAL, false},
        {418, 0, AC_COSMOS_FINAL, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(ac_cosmos_answer_next(cases[i].status, cases[i].substatus), cases[i].next);
        assert_int_equal(ac_cosmos_answer_usable(cases[i].status, cases[i].substatus), cases[i].usable);
        if (!cases[i].usable) {
            ac_err_t err;
            ac_err_init(&err);
            ac_cosmos_answer_error(&err, cases[i].status, cases[i].substatus, 0);
            assert_true(err.kind == AC_STORE_ERROR || err.kind == AC_STORE_TIMEOUT);
            assert_int_equal(err.http_status, cases[i].status);
        }
    }
}

static void test_errors_name_the_remedy(void **state)
{
    (void)state;
    const struct {
        int status, substatus;
        apr_interval_time_t skew;
        const char *part;
    } cases[] = {
        {401, 0, 0, "give a key of this account"},
        {403, 0, apr_time_from_sec(3600), "clock is 1h behind; set it"},
        {403, 0, -apr_time_from_sec(3600), "clock is 1h ahead"},
        {403, 0, 0, "firewall"},
        {403, 5202, 0, "credential=identity"},
        {403, 5300, 0, "expired"},
        {403, 5301, 0, "data role"},
        {403, 5302, 0, "data role"},
        {401, 5202, 0, "credential=identity"},
        {403, 1014, apr_time_from_sec(3600), "20 GB"},
        {404, 1003, 0, "missing"},
        {429, 3200, 0, "raise the throughput"},
        {413, 0, 0, "2 MB"},
        {418, 7, 0, "418/7"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ac_err_t err;
        ac_err_init(&err);
        ac_cosmos_answer_error(&err, cases[i].status, cases[i].substatus, cases[i].skew);
        if (!strstr(err.detail, cases[i].part)) {
            fail_msg("%d/%d: %s", cases[i].status, cases[i].substatus, err.detail);
        }
    }
}

static void test_batch_answers(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int n, status, substatus, at;
        ac_kind_e kind;
    } cases[] = {
        {"[{\"statusCode\":200},{\"statusCode\":201}]", 2, 200, 0, -1, AC_OK},
        {"[{\"statusCode\":424},{\"statusCode\":409,\"subStatusCode\":3301},{\"statusCode\":424}]", 3, 409, 3301, 1,
         AC_OK},
        {"[{\"statusCode\":412},{\"statusCode\":424}]", 2, 412, 0, 0, AC_OK},
        {"[{\"statusCode\":200},{\"statusCode\":429}]", 2, 429, 0, 1, AC_OK},
        {"[{\"statusCode\":200},{\"statusCode\":424}]", 2, 424, 0, 1, AC_OK},
        {"[{\"statusCode\":200},{}]", 2, 500, 0, 1, AC_OK},
        {"[{\"statusCode\":99999}]", 1, 500, 0, 0, AC_OK},
        {"[{\"statusCode\":200}]", 2, 200, 0, -1, AC_STORE_ERROR},
        {"{}", 1, 200, 0, -1, AC_STORE_ERROR},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int status, substatus, at;
        ac_err_t err;
        json_t *body = json_loads(cases[i].text, 0, NULL);
        ac_err_init(&err);
        ac_cosmos_answer_batch(&status, &substatus, &at, body, cases[i].n, &err);
        assert_int_equal(err.kind, cases[i].kind);
        assert_int_equal(status, cases[i].status);
        assert_int_equal(substatus, cases[i].substatus);
        assert_int_equal(at, cases[i].at);
        json_decref(body);
    }
}

static void test_retry_after(void **state)
{
    (void)state;
    const struct {
        const char *text;
        apr_interval_time_t wanted;
    } cases[] = {
        {NULL, 0},    {"", 0},           {"x", 0},  {"-5", 0},    {"12", 12000},
        {"0.5", 500}, {"286.7", 286700}, {"9x", 0}, {"1e300", 0}, {"99999999", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(ac_cosmos_answer_retry_after(cases[i].text), cases[i].wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signatures_of_the_vendors_examples),
        cmocka_unit_test(test_signatures_of_the_vendors_package),
        cmocka_unit_test(test_invalid_keys),
        cmocka_unit_test(test_token_is_encoded),
        cmocka_unit_test(test_date),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_headers_of_a_query),
        cmocka_unit_test(test_headers_of_writes),
        cmocka_unit_test(test_a_header_is_one_line),
        cmocka_unit_test(test_query_body),
        cmocka_unit_test(test_batch_body),
        cmocka_unit_test(test_the_action_for_each_status),
        cmocka_unit_test(test_errors_name_the_remedy),
        cmocka_unit_test(test_batch_answers),
        cmocka_unit_test(test_retry_after),
    };
    return cmocka_run_group_tests_name("cosmos_wire", tests, NULL, NULL);
}
