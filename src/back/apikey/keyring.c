/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of a file: from lines to keys, and from a key to its line. */
#include "apikey_internal.h"
#include "back/back.h"

#include <apr_strings.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define HASH_PREFIX "sha256:"
#define ID_MAX 64
#define ID_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-."
#define ROLE_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

struct ac_keyring_t {
    atomic_int refs;
    apr_pool_t *pool;
    apr_array_header_t *keys; /* of ac_api_key_t; complete before by_id points into it */
    apr_hash_t *by_id;
};

/* ---- lines ---- */

typedef struct parsing_t {
    apr_pool_t *pool;
    int line;
    unsigned given; /* a bit for each field that the line has had */
    ac_api_key_t key;
    ac_err_t *err;
} parsing_t;

typedef struct field_t {
    const char *name;
    /* Returns NULL, or the required form of the value. The value itself is not repeated: it may be a misplaced key. */
    const char *(*set)(parsing_t *parsing, const char *value);
} field_t;

bool ac_keyring_id_valid(const char *id)
{
    size_t len = strlen(id);
    return len >= 1 && len <= ID_MAX && strspn(id, ID_CHARS) == len;
}

static const char *keyring_set_id(parsing_t *parsing, const char *value)
{
    parsing->key.id = value;
    return ac_keyring_id_valid(value) ? NULL : "1 to 64 letters, digits, '-' and '.'";
}

static const char *set_hash_bytes(unsigned char hash[AC_API_KEY_HASH], const char *value)
{
    static const char wanted[] = "sha256: and the 64 hexadecimal digits of the key's SHA-256";
    size_t prefix = sizeof(HASH_PREFIX) - 1;
    if (strncmp(value, HASH_PREFIX, prefix) != 0 || strlen(value) != prefix + 2 * AC_API_KEY_HASH) {
        return wanted;
    }
    for (size_t i = 0; i < AC_API_KEY_HASH; i++) {
        int high = ac_hex_value(value[prefix + 2 * i]), low = ac_hex_value(value[prefix + 2 * i + 1]);
        if (high < 0 || low < 0) {
            return wanted;
        }
        hash[i] = (unsigned char)(high << 4 | low);
    }
    return NULL;
}

static const char *set_hash(parsing_t *parsing, const char *value)
{
    return set_hash_bytes(parsing->key.hash, value);
}

static const char *set_previous(parsing_t *parsing, const char *value)
{
    parsing->key.has_previous = true;
    return set_hash_bytes(parsing->key.previous, value);
}

static const char *set_owner(parsing_t *parsing, const char *value)
{
    parsing->key.owner = value;
    if (strcmp(value, AC_ANONYMOUS) == 0) {
        return "a person or program: '" AC_ANONYMOUS "' is the owner of requests without authentication";
    }
    return ac_store_owner_problem(value) ? "a name of 1 to 255 bytes that does not begin with a blank" : NULL;
}

static const char *set_roles(parsing_t *parsing, const char *value)
{
    parsing->key.roles = value;
    for (const char *at = value; *at;) {
        size_t len = strspn(at, ROLE_CHARS);
        if (!len || (at[len] && (at[len] != ',' || !at[len + 1]))) {
            return "names of letters, digits, '-' and '_', separated by commas";
        }
        at += len + (at[len] == ',');
    }
    return NULL;
}

static const char *set_limits(parsing_t *parsing, const char *value)
{
    ac_limits_t limits = {.n = 0};
    parsing->key.limits = *value ? value : NULL;
    if (!*value || ac_limit_parse(&limits, value, AC_BY_KEY, NULL) == APR_SUCCESS) {
        return NULL;
    }
    return "as AgentChatLimit has them, without by=, like \"requests=60/min tokens=100k/min streams=5 cost=2.50/day\"";
}

static const char *set_time(apr_time_t *ptime, const char *value)
{
    if (strcmp(value, "never") == 0) {
        *ptime = 0;
        return NULL;
    }
    return ac_time_parse(ptime, value) && *ptime > 0 ? NULL
                                                     : "a date like 2027-01-31 or 2027-01-31T12:00:00Z, or never";
}

static const char *set_expires(parsing_t *parsing, const char *value)
{
    return set_time(&parsing->key.expires, value);
}

static const char *set_previous_expires(parsing_t *parsing, const char *value)
{
    return set_time(&parsing->key.previous_expires, value);
}

static const char *set_enabled(parsing_t *parsing, const char *value)
{
    parsing->key.enabled = strcmp(value, "on") == 0;
    return parsing->key.enabled || strcmp(value, "off") == 0 ? NULL : "on or off";
}

enum { ID, KEY, OWNER, ROLES, LIMITS, EXPIRES, ENABLED, PREVIOUS, PREVIOUS_EXPIRES, N_FIELDS };
static const field_t fields[N_FIELDS] = {
    [ID] = {"id", keyring_set_id},
    [KEY] = {"key", set_hash},
    [OWNER] = {"owner", set_owner},
    [ROLES] = {"roles", set_roles},
    [LIMITS] = {"limits", set_limits},
    [EXPIRES] = {"expires", set_expires},
    [ENABLED] = {"enabled", set_enabled},
    [PREVIOUS] = {"previous", set_previous},
    [PREVIOUS_EXPIRES] = {"previous-expires", set_previous_expires},
};

static apr_status_t keyring_fail(parsing_t *parsing, const char *what)
{
    return ac_err_set(parsing->err, AC_INVALID_REQUEST, "line %d: %s", parsing->line, what);
}

/* An unknown name is repeated only if it looks like a name: it may be a misplaced key. */
static apr_status_t unknown_field(parsing_t *parsing, const char *name)
{
    size_t len = strlen(name);
    if (!len || len > 20 || strspn(name, "abcdefghijklmnopqrstuvwxyz-") != len) {
        return keyring_fail(
            parsing,
            "a field has no known name; the fields are id, key, owner, roles, limits, expires, enabled, previous, "
            "previous-expires");
    }
    return keyring_fail(parsing,
                        apr_pstrcat(parsing->pool, "there is no field '", name,
                                    "'; there are id, key, owner, roles, limits, expires, "
                                    "enabled, previous, previous-expires",
                                    NULL));
}

static apr_status_t take_field(parsing_t *parsing, const char *name, const char *value)
{
    int i = 0;
    while (i < N_FIELDS && strcmp(fields[i].name, name) != 0) {
        i++;
    }
    if (i == N_FIELDS) {
        return unknown_field(parsing, name);
    }
    if (parsing->given & 1u << i) {
        return keyring_fail(parsing, apr_pstrcat(parsing->pool, name, " is given twice", NULL));
    }
    parsing->given |= 1u << i;
    const char *wanted = fields[i].set(parsing, value);
    return wanted ? keyring_fail(parsing, apr_pstrcat(parsing->pool, name, " must be ", wanted, NULL)) : APR_SUCCESS;
}

/* The value at text, without its quotes; *pend: the text after it. Returns NULL if the closing quote is missing, or
 * text follows it without a blank. */
static const char *take_value(const char **pend, const char *text, apr_pool_t *pool)
{
    size_t len = strcspn(text, " \t");
    char *value, *to;
    if (*text != '"') {
        *pend = text + len;
        return memchr(text, '"', len) ? NULL : apr_pstrmemdup(pool, text, len);
    }
    value = to = apr_palloc(pool, strlen(text));
    for (text++; *text && *text != '"'; text++) {
        if (*text == '\\' && (text[1] == '"' || text[1] == '\\')) {
            text++;
        }
        *to++ = *text;
    }
    *to = '\0';
    *pend = text + 1;
    return *text && (!text[1] || text[1] == ' ' || text[1] == '\t') ? value : NULL;
}

static apr_status_t keyring_take_line(parsing_t *parsing, const char *text)
{
    apr_status_t status = APR_SUCCESS;
    while (status == APR_SUCCESS && *(text += strspn(text, " \t"))) {
        size_t len = strcspn(text, "= \t\"");
        if (text[len] != '=') {
            return keyring_fail(parsing, "a field is not name=value; put a value with blanks in double quotes");
        }
        const char *name = apr_pstrmemdup(parsing->pool, text, len);
        const char *value = take_value(&text, text + len + 1, parsing->pool);
        status = value ? take_field(parsing, name, value)
                       : keyring_fail(parsing, "a double quote is misplaced, or is not closed");
    }
    return status;
}

static apr_status_t check_line(parsing_t *parsing)
{
    static const int must[] = {ID, KEY, OWNER};
    for (size_t i = 0; i < sizeof(must) / sizeof(*must); i++) {
        if (!(parsing->given & 1u << must[i])) {
            return keyring_fail(parsing, apr_pstrcat(parsing->pool, fields[must[i]].name, " is not given", NULL));
        }
    }
    if (!(parsing->given & 1u << PREVIOUS) != !(parsing->given & 1u << PREVIOUS_EXPIRES)) {
        return keyring_fail(parsing, "previous and previous-expires go together");
    }
    return APR_SUCCESS;
}

/* Parses one line, without its end. Comments and blank lines have no key. */
static apr_status_t parse_line(ac_keyring_t *ring, parsing_t *parsing, const char *text, size_t len)
{
    len -= len && text[len - 1] == '\r';
    for (size_t i = 0; i < len; i++) {
        if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f) {
            return keyring_fail(parsing, "there is a control character");
        }
    }
    if (!ac_utf8_valid(text, len)) {
        return keyring_fail(parsing, "it is not UTF-8");
    }
    const char *line = apr_pstrmemdup(ring->pool, text, len);
    line += strspn(line, " \t");
    if (!*line || *line == '#') {
        return APR_SUCCESS;
    }
    parsing->given = 0;
    parsing->key = (ac_api_key_t){.roles = "", .enabled = true, .line = parsing->line};
    apr_status_t status = keyring_take_line(parsing, line);
    if (status == APR_SUCCESS) {
        status = check_line(parsing);
    }
    if (status == APR_SUCCESS) {
        APR_ARRAY_PUSH(ring->keys, ac_api_key_t) = parsing->key;
    }
    return status;
}

static apr_status_t index_keys(ac_keyring_t *ring, ac_err_t *err)
{
    for (int i = 0; i < ring->keys->nelts; i++) {
        const ac_api_key_t *key = &APR_ARRAY_IDX(ring->keys, i, ac_api_key_t);
        const ac_api_key_t *other = apr_hash_get(ring->by_id, key->id, APR_HASH_KEY_STRING);
        if (other) {
            return ac_err_set(err, AC_INVALID_REQUEST, "line %d: the id '%s' is already in line %d", key->line, key->id,
                              other->line);
        }
        apr_hash_set(ring->by_id, key->id, APR_HASH_KEY_STRING, key);
    }
    return APR_SUCCESS;
}

apr_status_t ac_keyring_parse(ac_keyring_t **pring, const char *text, size_t len, ac_err_t *err)
{
    ac_keyring_t *ring = ac_alloc(sizeof(*ring));
    apr_status_t status = apr_pool_create_unmanaged_ex(&ring->pool, NULL, NULL);
    if (status != APR_SUCCESS) {
        abort();
    }
    atomic_init(&ring->refs, 1);
    ring->keys = apr_array_make(ring->pool, 16, sizeof(ac_api_key_t));
    ring->by_id = apr_hash_make(ring->pool);
    parsing_t parsing = {.pool = ring->pool, .err = err};
    for (size_t at = 0; status == APR_SUCCESS && at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t line = end ? (size_t)(end - text) - at : len - at;
        parsing.line++;
        status = parse_line(ring, &parsing, text + at, line);
        at += line + 1;
    }
    if (status == APR_SUCCESS) {
        status = index_keys(ring, err);
    }
    if (status != APR_SUCCESS) {
        ac_keyring_unref(ring);
        return status;
    }
    *pring = ring;
    return APR_SUCCESS;
}

apr_status_t ac_keyring_read(ac_keyring_t **pring, const char *path, ac_err_t *err)
{
    char *text = NULL, reason[120];
    size_t len = 0;
    apr_status_t status = ac_file_read(&text, &len, path, AC_MAX_KEYRING);
    if (status != APR_SUCCESS) {
        return ac_err_set(err, AC_INVALID_REQUEST, "cannot be read: %s",
                          status == APR_ENOSPC       ? "it is too long"
                              : status == APR_EINVAL ? "it is not a regular file"
                                                     : apr_strerror(status, reason, sizeof(reason)));
    }
    status = ac_keyring_parse(pring, text, len, err);
    free(text);
    return status;
}

void ac_keyring_ref(ac_keyring_t *ring)
{
    atomic_fetch_add(&ring->refs, 1);
}

void ac_keyring_unref(ac_keyring_t *ring)
{
    if (ring && atomic_fetch_sub(&ring->refs, 1) == 1) {
        apr_pool_destroy(ring->pool);
        free(ring);
    }
}

const ac_api_key_t *ac_keyring_keys(int *pn, const ac_keyring_t *ring)
{
    *pn = ring->keys->nelts;
    return (const ac_api_key_t *)ring->keys->elts;
}

const ac_api_key_t *ac_keyring_find(const ac_keyring_t *ring, const char *id)
{
    return apr_hash_get(ring->by_id, id, APR_HASH_KEY_STRING);
}

/* ---- the check of a key from a request ---- */

void ac_keyring_hash(unsigned char hash[AC_API_KEY_HASH], const char *text)
{
    SHA256((const unsigned char *)text, strlen(text), hash);
}

/* The id inside the text of a key. Returns false if it has none. */
static bool id_of(char id[ID_MAX + 1], const char *text)
{
    size_t prefix = sizeof(AC_API_KEY_PREFIX) - 1;
    size_t len = strncmp(text, AC_API_KEY_PREFIX, prefix) != 0 ? 0 : strspn(text + prefix, ID_CHARS);
    if (!len || len > ID_MAX || text[prefix + len] != '_') {
        return false;
    }
    memcpy(id, text + prefix, len);
    id[len] = '\0';
    return true;
}

ac_keyring_verdict_e ac_keyring_check(const ac_api_key_t **pkey, const ac_keyring_t *ring, const char *text,
                                      apr_time_t now)
{
    static const ac_api_key_t no_key;
    char id[ID_MAX + 1] = "";
    unsigned char hash[AC_API_KEY_HASH];
    bool has_id = id_of(id, text);
    const ac_api_key_t *found = has_id ? ac_keyring_find(ring, id) : NULL, *key = found ? found : &no_key;
    ac_keyring_hash(hash, text);
    bool fits = CRYPTO_memcmp(hash, key->hash, sizeof(hash)) == 0;
    bool was = CRYPTO_memcmp(hash, key->previous, sizeof(hash)) == 0;
    OPENSSL_cleanse(hash, sizeof(hash));
    *pkey = NULL;
    if (!found || (!fits && !(was && key->has_previous))) {
        return AC_KEY_UNKNOWN;
    }
    *pkey = key;
    if (!key->enabled) {
        return AC_KEY_REVOKED;
    }
    if ((key->expires && key->expires <= now) || (!fits && key->previous_expires && key->previous_expires <= now)) {
        return AC_KEY_EXPIRED;
    }
    return AC_KEY_VALID;
}
