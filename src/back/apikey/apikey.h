/* SPDX-License-Identifier: Apache-2.0 */
/* API keys: the file with one key per line, and the check of a key from a request.
 *
 *     # A comment. Blank lines are allowed.
 *     id=ann-laptop key=sha256:9f86d0…0f00a08 owner=ann roles=admin,support limits="requests=60/min" expires=2027-01-31
 *
 * Fields are name=value, in any order, separated by blanks. A value with blanks is enclosed in double quotes, in which
 * \" and \\ mean " and \.
 *
 * id                1 to 64 letters, digits, '-' and '.'; required, unique in the file
 * key               "sha256:" and the SHA-256 of the whole key, in hexadecimal; required
 * owner             the owner of the threads that the key gives access to; required
 * roles             names separated by commas; default: no roles
 * limits            in the form of AgentChatLimit; default: no limits of its own
 * expires           "2027-01-31" (its first moment), "2027-01-31T12:00:00Z", or "never"
 * enabled           "on" or "off"; off: the key is revoked
 * previous          as key: the previous one, which stays valid for some time after a rotation
 * previous-expires  as expires; required with previous
 *
 * A key is "ack_" ID "_" and a secret. The public id finds the line; then one comparison checks the secret. All keys
 * have the same length, and an unknown id costs the same two comparisons: the response time shows neither how much of a
 * key was right nor, except for the look-up of a public id, whether a key exists. */
#ifndef AC_APIKEY_H
#define AC_APIKEY_H

#include "base/base.h"

#define AC_API_KEY_PREFIX "ack_"
#define AC_API_KEY_HASH 32 /* bytes of SHA-256 */

typedef struct ac_api_key_t { /* one line; lives as long as its ring */
    const char *id, *owner;
    const char *roles;  /* "admin,support", or "" */
    const char *limits; /* NULL: none of its own */
    unsigned char hash[AC_API_KEY_HASH], previous[AC_API_KEY_HASH];
    bool has_previous, enabled;
    apr_time_t expires, previous_expires; /* 0: never */
    int line;                             /* counted from 1 */
} ac_api_key_t;

typedef struct ac_keyring_t ac_keyring_t; /* one reading of a file: immutable, counted */

/* Parses the text of a file. *pring: one reference. errors: invalid_request, "line 7: …"; an error text never contains
 * a key or its hash. Any thread. */
apr_status_t ac_keyring_parse(ac_keyring_t **pring, const char *text, size_t len, ac_err_t *err);
/* Parses a file of at most AC_MAX_KEYRING bytes. Blocks. errors: those of ac_keyring_parse(); invalid_request also if
 * the file cannot be read. */
apr_status_t ac_keyring_read(ac_keyring_t **pring, const char *path, ac_err_t *err);
void ac_keyring_unref(ac_keyring_t *ring); /* ring may be NULL */
/* All keys, in the order of their lines. */
const ac_api_key_t *ac_keyring_keys(int *pn, const ac_keyring_t *ring);
const ac_api_key_t *ac_keyring_find(const ac_keyring_t *ring, const char *id); /* NULL: not found */

typedef enum ac_keyring_verdict_e { AC_KEY_VALID, AC_KEY_UNKNOWN, AC_KEY_REVOKED, AC_KEY_EXPIRED } ac_keyring_verdict_e;
/* Checks text, a key from a request, at the time `now` (apr_time_now). *pkey: the key with that secret, also if it is
 * revoked or expired; NULL if unknown. Any thread. */
ac_keyring_verdict_e ac_keyring_check(const ac_api_key_t **pkey, const ac_keyring_t *ring, const char *text,
                                      apr_time_t now);
/* The hash of a key, as the file contains it. */
void ac_keyring_hash(unsigned char hash[AC_API_KEY_HASH], const char *text);
/* Whether id has the form of a key's id. */
bool ac_keyring_id_valid(const char *id);

/* ---- keyring_file.c: a file of keys that may change while the process runs ---- */
typedef struct ac_keyring_file_t ac_keyring_file_t;
/* At configuration time. Allocates in p; does not read the file yet. */
ac_keyring_file_t *ac_keyring_file_create(const char *path, apr_pool_t *p);
const char *ac_keyring_file_path(const ac_keyring_file_t *file);
/* At configuration time: reads the file for the first time. errors: those of ac_keyring_read(). */
apr_status_t ac_keyring_file_load(ac_keyring_file_t *file, ac_err_t *err);
typedef void ac_keyring_changed_fn(const ac_keyring_t *before, const ac_keyring_t *now);
/* At configuration time, after the file was read: fn is called when ac_keyring_file_now() sees other keys, by its
 * thread. version: shared by all processes that read the file, so that only one of them calls fn for a change. */
void ac_keyring_file_watch(ac_keyring_file_t *file, _Atomic(uint64_t) *version, ac_keyring_changed_fn *fn);
/* The keys in force, a new reference; NULL if ac_keyring_file_load() has not succeeded. Checks whether the file has
 * changed, at most once a second and by one caller at a time; the other callers use the previous keys meanwhile. If a
 * changed file is invalid or unreadable, that is logged once and the keys stay as they are. May block on the file: any
 * thread except for the loop's. */
ac_keyring_t *ac_keyring_file_now(ac_keyring_file_t *file);

#endif
