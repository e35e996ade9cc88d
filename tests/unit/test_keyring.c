/* SPDX-License-Identifier: Apache-2.0 */
/* The file of API keys: valid lines, error messages about invalid ones, and the validity of a key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <apr_general.h>

#include "back/apikey/apikey_internal.h"

#define ZERO "sha256:0000000000000000000000000000000000000000000000000000000000000000"

static ac_keyring_t *parse(const char *text)
{
    ac_keyring_t *ring = NULL;
    ac_err_t err;
    ac_err_init(&err);
    if (ac_keyring_parse(&ring, text, strlen(text), &err) != APR_SUCCESS) {
        fail_msg("%s", err.detail);
    }
    return ring;
}

/* The key's text, with its line in *pline, for free(). */
static const char *line_for(char **pline, const char *id, const char *fields)
{
    static char text[120];
    unsigned char hash[AC_API_KEY_HASH];
    char hex[2 * AC_API_KEY_HASH + 1];
    snprintf(text, sizeof(text), "ack_%s_0123456789abcdefghjkmnpqrstvwxyz", id);
    ac_keyring_hash(hash, text);
    for (int i = 0; i < AC_API_KEY_HASH; i++) {
        snprintf(hex + 2 * i, 3, "%02X", hash[i]);
    }
    size_t size = 400 + strlen(fields);
    *pline = ac_alloc(size);
    snprintf(*pline, size, "id=%s key=sha256:%s %s", id, hex, fields);
    return text;
}

static void test_a_file(void **state)
{
    int n = 0;
    ac_keyring_t *ring = parse("# a comment\n\n   \t\r\n"
                               "id=a key=" ZERO " owner=ann\r\n"
                               "\towner=\"Gr\xc3\xb6\xc3\x9f"
                               "e \\\"x\\\" \\\\ #1\" key=" ZERO " id=b-2.c roles=admin,x"
                               " limits=\"requests=60/min streams=5\" expires=2027-01-31T12:00:01Z enabled=off"
                               " previous=" ZERO " previous-expires=2027-01-31");
    const ac_api_key_t *keys = ac_keyring_keys(&n, ring);
    (void)state;
    assert_int_equal(n, 2);
    assert_string_equal(keys[0].id, "a");
    assert_string_equal(keys[0].owner, "ann");
    assert_string_equal(keys[0].roles, "");
    assert_null(keys[0].limits);
    assert_true(keys[0].enabled && !keys[0].has_previous && !keys[0].expires);
    assert_int_equal(keys[0].line, 4);
    assert_string_equal(keys[1].owner,
                        "Gr\xc3\xb6\xc3\x9f"
                        "e \"x\" \\ #1");
    assert_string_equal(keys[1].roles, "admin,x");
    assert_string_equal(keys[1].limits, "requests=60/min streams=5");
    assert_true(!keys[1].enabled && keys[1].has_previous);
    assert_int_equal(apr_time_sec(keys[1].expires), 1801396801);
    assert_int_equal(apr_time_sec(keys[1].previous_expires), 1801353600);
    assert_ptr_equal(ac_keyring_find(ring, "b-2.c"), &keys[1]);
    assert_null(ac_keyring_find(ring, "c"));
    ac_keyring_ref(ring);
    ac_keyring_unref(ring);
    assert_ptr_equal(ac_keyring_find(ring, "a"), &keys[0]);
    ac_keyring_unref(ring);
    ac_keyring_unref(parse(""));
    ac_keyring_unref(NULL);
}

static const struct {
    const char *text, *said;
} wrong[] = {
    {"id=a key=" ZERO, "line 1: owner is not given"},
    {"# x\n\nid=a owner=b", "line 3: key is not given"},
    {"key=" ZERO " owner=b", "line 1: id is not given"},
    {"id=a key=" ZERO " owner=b colour=red",
     "line 1: there is no field 'colour'; there are id, key, owner, roles, limits, expires, "
     "enabled, previous, previous-expires"},
    {"id=a key=" ZERO " owner=b ack_a_secret=", "line 1: a field has no known name; the fields are id"},
    {"ack_a_secret", "line 1: a field is not name=value"},
    {"id=a key=ack_a_secret owner=b", "line 1: key must be sha256: and the 64"},
    {"id=a key=" ZERO "0 owner=b", "line 1: key must be sha256: and the 64"},
    {"id=a key=sha256:000000000000000000000000000000000000000000000000000000000000000g owner=b",
     "line 1: key must be sha256: and"},
    {"id=a id=b key=" ZERO " owner=b", "line 1: id is given twice"},
    {"id=a_b key=" ZERO " owner=b", "line 1: id must be 1 to 64 letters"},
    {"id= key=" ZERO " owner=b", "line 1: id must be 1 to 64 letters"},
    {"id=a key=" ZERO " owner=", "line 1: owner must be a name"},
    {"id=a key=" ZERO " owner=\"\"", "line 1: owner must be a name"},
    {"id=a key=" ZERO " owner=\" agents\"", "line 1: owner must be a name"},
    {"id=a key=" ZERO " owner=anonymous", "line 1: owner must be a person or program"},
    {"id=a key=" ZERO " owner=b roles=a,,b", "line 1: roles must be names"},
    {"id=a key=" ZERO " owner=b roles=a,", "line 1: roles must be names"},
    {"id=a key=" ZERO " owner=b roles=\"a b\"", "line 1: roles must be names"},
    {"id=a key=" ZERO " owner=b limits=secret=5", "line 1: limits must be as AgentChatLimit has them"},
    {"id=a key=" ZERO " owner=b limits=\"requests=5/min by=owner\"",
     "line 1: limits must be as AgentChatLimit has them"},
    {"id=a key=" ZERO " owner=b expires=tomorrow", "line 1: expires must be a date"},
    {"id=a key=" ZERO " owner=b expires=2027-02-29", "line 1: expires must be a date"},
    {"id=a key=" ZERO " owner=b enabled=yes", "line 1: enabled must be on or off"},
    {"id=a key=" ZERO " owner=b previous=" ZERO, "line 1: previous and previous-expires go together"},
    {"id=a key=" ZERO " owner=b previous-expires=2027-01-01", "line 1: previous and previous-expires go together"},
    {"id=a key=" ZERO " owner=\"b", "line 1: a double quote is misplaced"},
    {"id=a key=" ZERO " owner=\"b\"c", "line 1: a double quote is misplaced"},
    {"id=a key=" ZERO " owner=b\"c", "line 1: a double quote is misplaced"},
    {"id=a key=" ZERO " owner=\"b\\\"", "line 1: a double quote is misplaced"},
    {"id=a key=" ZERO " owner=b\x01", "line 1: there is a control character"},
    {"id=a key=" ZERO " owner=\xff", "line 1: it is not UTF-8"},
    {"id=a key=" ZERO " owner=b\nid=b key=" ZERO " owner=b\nid=a key=" ZERO " owner=c",
     "line 3: the id 'a' is already in line 1"},
};

static void test_wrong_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        ac_keyring_t *ring = NULL;
        ac_err_t err;
        ac_err_init(&err);
        assert_int_not_equal(ac_keyring_parse(&ring, wrong[i].text, strlen(wrong[i].text), &err), APR_SUCCESS);
        assert_null(ring);
        if (strncmp(err.detail, wrong[i].said, strlen(wrong[i].said)) != 0) {
            fail_msg("%s: %s", wrong[i].text, err.detail);
        }
        assert_null(strstr(err.detail, "secret"));
    }
}

static void test_which_key_fits(void **state)
{
    const ac_api_key_t *key = NULL;
    char *line = NULL, other[130];
    const char *text = line_for(&line, "a.1", "owner=ann expires=2001-01-02 previous=" ZERO " previous-expires=never");
    ac_keyring_t *ring = parse(line);
    (void)state;
    assert_int_equal(ac_keyring_check(&key, ring, text, 978307200 * APR_USEC_PER_SEC), AC_KEY_VALID);
    assert_string_equal(key->owner, "ann");
    assert_int_equal(ac_keyring_check(&key, ring, text, 978393600 * APR_USEC_PER_SEC - 1), AC_KEY_VALID);
    assert_int_equal(ac_keyring_check(&key, ring, text, 978393600 * APR_USEC_PER_SEC), AC_KEY_EXPIRED);
    assert_non_null(key);
    for (size_t i = 0; i < strlen(text); i++) {
        snprintf(other, sizeof(other), "%s", text);
        other[i] = other[i] == 'x' ? 'y' : 'x';
        assert_int_equal(ac_keyring_check(&key, ring, other, 0), AC_KEY_UNKNOWN);
        assert_null(key);
        other[i] = '\0';
        assert_int_equal(ac_keyring_check(&key, ring, other, 0), AC_KEY_UNKNOWN);
    }
    snprintf(other, sizeof(other), "%.100sx", text);
    assert_int_equal(ac_keyring_check(&key, ring, other, 0), AC_KEY_UNKNOWN);
    ac_keyring_unref(ring);
    free(line);
}

static void test_revoked_and_rotated(void **state)
{
    const ac_api_key_t *key = NULL;
    char *line = NULL, *hash, fields[300];
    const char *text = line_for(&line, "a", "owner=ann enabled=off");
    ac_keyring_t *ring = parse(line);
    (void)state;
    assert_int_equal(ac_keyring_check(&key, ring, text, 0), AC_KEY_REVOKED);
    assert_string_equal(key->id, "a");
    ac_keyring_unref(ring);
    hash = strstr(line, "sha256:");
    *strchr(hash, ' ') = '\0';
    snprintf(fields, sizeof(fields), "id=a key=" ZERO " owner=ann previous=%s previous-expires=2001-01-02", hash);
    ring = parse(fields);
    assert_int_equal(ac_keyring_check(&key, ring, text, 978307200 * APR_USEC_PER_SEC), AC_KEY_VALID);
    assert_int_equal(ac_keyring_check(&key, ring, text, 978393600 * APR_USEC_PER_SEC), AC_KEY_EXPIRED);
    ac_keyring_unref(ring);
    free(line);
}

/* A key without a second secret has none that consists of zeros, and no line has the empty key. */
static void test_an_unknown_key(void **state)
{
    static const char *const texts[] = {"",       "_",      "ack",     "ack_",    "ack__",  "ack_a",
                                        "ack_a_", "ack_b_", "ack_a_0", "ack_A_0", "ACK_a_0"};
    const ac_api_key_t *key = NULL;
    ac_keyring_t *ring = parse("id=a key=" ZERO " owner=ann"), *none = parse("");
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        assert_int_equal(ac_keyring_check(&key, ring, texts[i], 0), AC_KEY_UNKNOWN);
        assert_int_equal(ac_keyring_check(&key, none, texts[i], 0), AC_KEY_UNKNOWN);
        assert_null(key);
    }
    ac_keyring_unref(ring);
    ac_keyring_unref(none);
}

static void test_files_that_cannot_be_read(void **state)
{
    ac_keyring_t *ring = NULL;
    ac_err_t err;
    (void)state;
    ac_err_init(&err);
    assert_int_not_equal(ac_keyring_read(&ring, "/no/such/file", &err), APR_SUCCESS);
    assert_string_equal(err.detail, "cannot be read: No such file or directory");
    ac_err_init(&err);
    assert_int_not_equal(ac_keyring_read(&ring, "/tmp", &err), APR_SUCCESS);
    assert_string_equal(err.detail, "cannot be read: it is not a regular file");
    assert_null(ring);
}

/* ---- a file that changes ---- */

static const char *owner_in_force(ac_keyring_file_t *file)
{
    static char owner[16];
    ac_keyring_t *ring = ac_keyring_file_now(file);
    const ac_api_key_t *key = ac_keyring_find(ring, "a");
    snprintf(owner, sizeof(owner), "%s", key ? key->owner : "");
    ac_keyring_unref(ring);
    return owner;
}

static void write_owner(const char *path, const char *owner)
{
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fprintf(out, "id=a key=" ZERO " owner=%s\n", owner);
    assert_int_equal(fclose(out), 0);
}

/* A process without free descriptors reads a revocation as soon as it has a descriptor again, after any time. */
static void test_a_change_that_could_not_be_read_is_read_later(void **state)
{
    char path[] = "/tmp/agentchat-keys-XXXXXX";
    struct rlimit limit, none;
    struct stat info;
    ac_err_t err;
    apr_pool_t *pool;
    (void)state;
    ac_err_init(&err);
    close(mkstemp(path));
    write_owner(path, "ann");
    apr_pool_create(&pool, NULL);
    ac_keyring_file_t *file = ac_keyring_file_create(path, pool);
    assert_int_equal(ac_keyring_file_load(file, &err), APR_SUCCESS);
    write_owner(path, "bob");
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){0, limit.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    while (apr_time_sec(apr_time_now()) - info.st_ctime <
           5) { /* so old that the same change would not be looked at twice */
        assert_string_equal(owner_in_force(file), "ann");
        apr_sleep(apr_time_from_msec(50));
    }
    setrlimit(RLIMIT_NOFILE, &limit);
    apr_time_t deadline = ac_clock() + apr_time_from_sec(10);
    while (strcmp(owner_in_force(file), "bob") != 0 && ac_clock() < deadline) {
        apr_sleep(apr_time_from_msec(50));
    }
    assert_string_equal(owner_in_force(file), "bob");
    apr_pool_destroy(pool);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file),
        cmocka_unit_test(test_wrong_lines),
        cmocka_unit_test(test_which_key_fits),
        cmocka_unit_test(test_revoked_and_rotated),
        cmocka_unit_test(test_an_unknown_key),
        cmocka_unit_test(test_files_that_cannot_be_read),
        cmocka_unit_test(test_a_change_that_could_not_be_read_is_read_later),
    };
    apr_initialize();
    atexit(apr_terminate);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
