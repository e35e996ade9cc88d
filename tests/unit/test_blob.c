/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to Azure Blob Storage and its answers. The signatures are those that the service's own client library for
 * JavaScript makes for the same requests, key and time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "wire/wire.h"

#define KEY "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
#define NOW apr_time_from_sec(1795507200) /* 24 November 2026, 08:00 */
#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static const struct {
    ac_blob_ask_t ask;
    const char *signature;
} requests[] = {
    {{"PUT", "/files/file_01", NULL,
      LIST("x-ms-blob-type: BlockBlob", "If-None-Match: *", "Content-Type: image/png", "x-ms-meta-agentchat: up_1",
           "x-ms-blob-content-type: image/png"),
      5},
     "ptJ76dZM3LKWBJWQjpbbNj3KaOKgcZcf2ZJbWGQt7o8="},
    {{"PUT", "/files/file_01", LIST("blockid", "MDAwMDAw+/=", "comp", "block"), NULL, 21},
     "ZX/9CSA4g9ciIECVB1YaIFIlwIJ6cbBpCEfINr/hPXk="},
    {{"GET", "/files/file_01", NULL, LIST("x-ms-range: bytes=0-1048575", "If-Match: \"0x8D\""), 0},
     "rQ710+/oIWD5dkDuv2RQNXaBzb5j9eKqIFcbroejZLY="},
    {{"GET", "/files",
      LIST("comp", "list", "marker", "2!88!a&b/", "maxresults", "500", "prefix", "a/file_", "restype", "container"),
      NULL, 0},
     "ExYmhZZf13WQEFmJYUEqfsfbNz+kTfQ+UnJXN3mRUwY="},
    {{"DELETE", "/files/file_01", NULL, LIST("x-ms-delete-snapshots: include"), 0},
     "yHKguno3xE4A4RmF7npId+OyrTVEmYFyScV4hp0frnw="},
    {{"GET", "/myaccount/files", LIST("restype", "container"), NULL, 0},
     "hnh38gyjcHkNSSUmQ6uPAPfyYDKWEDNLOAWX/CfpsDk="},
};

static void test_signatures(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        const char *lines[AC_BLOB_HEADERS];
        char wanted[128];
        int n = 0;
        ac_buf_t text;
        ac_buf_init(&text, AC_BLOB_TEXT);
        ac_blob_auth_t auth = {.account = "myaccount",
                               .key = "AccountName=myaccount;AccountKey=" KEY ";x=y",
                               .now = NOW};
        assert_int_equal(ac_blob_headers(lines, &text, &requests[i].ask, &auth, NULL), APR_SUCCESS);
        assert_string_equal(lines[0], "x-ms-date: Tue, 24 Nov 2026 08:00:00 GMT");
        assert_string_equal(lines[1], "x-ms-version: 2021-12-02");
        while (lines[n + 1]) {
            n++;
        }
        snprintf(wanted, sizeof(wanted), "Authorization: SharedKey myaccount:%s", requests[i].signature);
        assert_string_equal(lines[n], wanted);
        ac_buf_free(&text);
    }
}

static void test_headers(void **state)
{
    const char *lines[AC_BLOB_HEADERS];
    const ac_blob_ask_t ask = {"GET", "/c", NULL, LIST("x: y"), 0}, bad = {"GET", "/c", NULL, LIST("x: a\nb: c"), 0};
    ac_blob_auth_t auth = {.account = "a", .token = "tok", .now = NOW}, no_key = {.account = "a", .key = "?"};
    ac_buf_t text;
    ac_err_t err;
    (void)state;
    ac_buf_init(&text, AC_BLOB_TEXT);
    assert_int_equal(ac_blob_headers(lines, &text, &ask, &auth, NULL), APR_SUCCESS);
    assert_string_equal(lines[2], "x: y");
    assert_string_equal(lines[3], "Authorization: Bearer tok");
    assert_null(lines[4]);
    ac_buf_clear(&text);
    assert_int_not_equal(ac_blob_headers(lines, &text, &bad, &auth, NULL), APR_SUCCESS);
    ac_buf_free(&text);
    ac_buf_init(&text, AC_BLOB_TEXT);
    ac_err_init(&err);
    assert_int_not_equal(ac_blob_headers(lines, &text, &ask, &no_key, &err), APR_SUCCESS);
    assert_string_equal(err.detail, "the account's key is not base64");
    ac_buf_free(&text);
    ac_buf_init(&text, 100);
    assert_int_not_equal(ac_blob_headers(lines, &text, &requests[0].ask, &auth, NULL), APR_SUCCESS);
    ac_buf_free(&text);
}

static void test_query(void **state)
{
    ac_buf_t url;
    (void)state;
    ac_buf_init(&url, 100);
    assert_int_equal(ac_blob_query(&url, LIST("a", "b c/+=", "d", "")), APR_SUCCESS);
    assert_string_equal(url.data, "?a=b%20c%2F%2B%3D&d=");
    ac_buf_free(&url);
}

/* ---- signed URLs ---- */

static const char delegation_xml[] =
    "<?xml version=\"1.0\" encoding=\"utf-8\"?><UserDelegationKey><SignedOid>11111111-2222-3333-4444-555555555555"
    "</SignedOid><SignedTid>66666666-7777-8888-9999-000000000000</SignedTid><SignedStart>2026-11-24T07:55:00Z"
    "</SignedStart><SignedExpiry>2026-11-25T08:00:00Z</SignedExpiry><SignedService>b</SignedService><SignedVersion>"
    "2021-12-02</SignedVersion><Value>" KEY "</Value></UserDelegationKey>";

static void set_text(ac_buf_t *buf, const char *text)
{
    ac_buf_init(buf, 1024 * 1024);
    ac_buf_str(buf, text);
}

static void test_links(void **state)
{
    ac_blob_delegation_t key;
    ac_blob_link_t link = {.account = "myaccount",
                           .container = "files",
                           .name = "file_01",
                           .expiry = NOW + apr_time_from_sec(600) + 1234,
                           .key = KEY};
    ac_buf_t url, answer;
    (void)state;
    ac_buf_init(&url, AC_BLOB_TEXT);
    assert_int_equal(ac_blob_link(&url, &link, NULL), APR_SUCCESS);
    assert_string_equal(url.data,
                        "?se=2026-11-24T08%3A10%3A00Z&sp=r&spr=https&sr=b&sv=2021-12-02&sig="
                        "k44EaROLmWe34hbSRPSkFKV5dueywp%2FldzC5e6q80uk%3D");
    ac_buf_clear(&url);
    set_text(&answer, delegation_xml);
    assert_int_equal(ac_blob_answer_delegation(&key, &answer, NULL), APR_SUCCESS);
    link.delegation = &key;
    assert_int_equal(ac_blob_link(&url, &link, NULL), APR_SUCCESS);
    assert_string_equal(url.data,
                        "?se=2026-11-24T08%3A10%3A00Z&sp=r&spr=https&sr=b&sv=2021-12-02&sig="
                        "HmzfB4GCRnVI1OcdVO%2BSgjl%2F3q%2BSUh7Z4ngItOBYfM8%3D&ske=2026-11-25T08%3A00%3A00Z&"
                        "skoid=11111111-2222-3333-4444-555555555555&sks=b&skt=2026-11-24T07%3A55%3A00Z&"
                        "sktid=66666666-7777-8888-9999-000000000000&skv=2021-12-02");
    ac_buf_free(&url);
    ac_buf_free(&answer);
}

static void test_no_delegation(void **state)
{
    static const char *const texts[] = {"", "<UserDelegationKey>", "<SignedOid>a</SignedOid>",
                                        "<SignedOid>a<SignedTid>"};
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ac_blob_delegation_t key;
        ac_buf_t answer;
        set_text(&answer, texts[i]);
        assert_int_not_equal(ac_blob_answer_delegation(&key, &answer, NULL), APR_SUCCESS);
        ac_buf_free(&answer);
    }
}

/* ---- lists ---- */

typedef struct found_t {
    char names[200];
    apr_time_t last;
} found_t;

static void on_found(void *baton, const char *name, apr_time_t modified)
{
    found_t *found = baton;
    size_t len = strlen(found->names);
    snprintf(found->names + len, sizeof(found->names) - len, "%s ", name);
    found->last = modified;
}

#define BLOB(name, date) \
    "<Blob><Name>" name "</Name><Properties><Creation-Time>x</Creation-Time><Last-Modified>" date \
    "</Last-Modified><Content-Length>3</Content-Length></Properties></Blob>"

static void test_lists(void **state)
{
    static const struct {
        const char *text, *names, *next;
    } rows[] = {
        {"<EnumerationResults><Prefix>x</Prefix><Blobs>" BLOB("file_1", "Tue, 24 Nov 2026 08:00:00 GMT")
             BLOB("file_2", "Tue, 24 Nov 2026 08:00:00 GMT") "</Blobs><NextMarker>2!a&amp;b&lt;&gt;&quot;&apos;&amp;lt;"
                                                             "</NextMarker></EnumerationResults>",
         "file_1 file_2 ", "2!a&b<>\"'&lt;"},
        {"<EnumerationResults><Blobs>" BLOB("file_1", "Tue, 24 Nov 2026 08:00:00 GMT") "</Blobs><NextMarker />"
                                                                                       "</EnumerationResults>",
         "file_1 ", ""},
        {"<EnumerationResults><Blobs /><NextMarker>m</NextMarker></EnumerationResults>", "", "m"},
        {"<EnumerationResults><Blobs></Blobs><NextMarker></NextMarker></EnumerationResults>", "", ""},
        {"<Blobs>" BLOB("odd", "yesterday") "<Blob><Name>half</Blobs>", "", ""},
        {"<html>", NULL, NULL},
        {"", NULL, NULL},
        {"<Blobs><Blob>", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        found_t found = {"", 0};
        ac_buf_t answer, next;
        ac_err_t err;
        ac_err_init(&err);
        set_text(&answer, rows[i].text);
        ac_buf_init(&next, 1000);
        apr_status_t status = ac_blob_answer_list(&next, &answer, on_found, &found, &err);
        if (rows[i].names) {
            assert_int_equal(status, APR_SUCCESS);
            assert_string_equal(found.names, rows[i].names);
            assert_string_equal(next.data ? next.data : "", rows[i].next);
            assert_true(!*found.names || found.last == NOW);
        } else {
            assert_int_equal(err.kind, AC_STORE_ERROR);
        }
        ac_buf_free(&answer);
        ac_buf_free(&next);
    }
}

/* ---- errors ---- */

static void test_errors(void **state)
{
    static const struct {
        int status;
        const char *code;
        int skew;
        ac_kind_e kind;
        const char *text;
    } rows[] = {
        {404, "BlobNotFound", 0, AC_NOT_FOUND, "gone"},
        {404, "ContainerNotFound", 0, AC_STORE_ERROR, "does not exist"},
        {403, "AuthenticationFailed", 0, AC_STORE_ERROR, "not one of this account"},
        {403, "AuthenticationFailed", 3600, AC_STORE_ERROR, "3600 s slow"},
        {403, "AuthenticationFailed", -3600, AC_STORE_ERROR, "3600 s fast"},
        {401, "InvalidAuthenticationInfo", 10, AC_STORE_ERROR, "not one of this account"},
        {403, "AuthorizationPermissionMismatch", 0, AC_STORE_ERROR, "Storage Blob Data Contributor"},
        {403, "KeyBasedAuthenticationNotPermitted", 0, AC_STORE_ERROR, "credential=identity"},
        {409, "BlobImmutableDueToPolicy", 0, AC_STORE_ERROR, "policy"},
        {412, "ConditionNotMet", 0, AC_STORE_ERROR, "meanwhile"},
        {503, "ServerBusy", 0, AC_OVERLOADED, "busy"},
        {429, "", 0, AC_OVERLOADED, "busy"},
        {500, "InternalError", 0, AC_STORE_ERROR, "500 InternalError"},
        {404, "", 0, AC_STORE_ERROR, "404"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ac_err_t err;
        ac_err_init(&err);
        assert_int_not_equal(ac_blob_answer_error(&err, rows[i].status, rows[i].code, apr_time_from_sec(rows[i].skew)),
                             APR_SUCCESS);
        assert_int_equal(err.kind, rows[i].kind);
        assert_non_null(strstr(err.detail, rows[i].text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signatures), cmocka_unit_test(test_headers),       cmocka_unit_test(test_query),
        cmocka_unit_test(test_links),      cmocka_unit_test(test_no_delegation), cmocka_unit_test(test_lists),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
