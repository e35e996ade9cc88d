/* SPDX-License-Identifier: Apache-2.0 */
/* API keys: the file that they stand in, one line each, and whether a key that somebody shows is one of them.
 *
 *     # A comment. Blank lines are fine.
 *     id=ann-laptop key=sha256:9f86d0…0f00a08 owner=ann roles=admin,support limits="requests=60/min" expires=2027-01-31
 *
 * Fields are name=value, in any order, separated by blanks; a value with blanks stands in double quotes, in which \"
 * and \\ stand for
 * the characters behind the backslash.
 *
 * id                1 to 64 letters, digits, '-' and '.'; must be given, once in the file
 * key               "sha256:" and the SHA-256 of the whole key, in hexadecimal; must be given
 * owner             whose threads the key opens; must be given
 * roles             names separated by commas; none where it is left out
 * limits            in the form of AgentChatLimit; none of its own where it is left out
 * expires           "2027-01-31" (its first moment), "2027-01-31T12:00:00Z", or "never"
 * enabled           "on" or "off"; off is a key that was revoked
 * previous          as key: the one before, which a rotation leaves valid for a while
 * previous-expires  as expires; must be given with previous
 *
 * A key is "ack_" ID "_" and its secret, so that its line is found by what is no secret, and one comparison tells
 * whether the rest
 * fits. It has the same length for every key, and an id that is not there costs the same two comparisons: the time an
 * answer
 * takes tells neither how much of a key was right nor, beyond the look-up of a public id, whether there is one. */
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

/* out: *pring, with one reference. errors: invalid_request, "line 7: …"; never repeats a key or its hash. Any
 * thread. */
apr_status_t ac_keyring_parse(ac_keyring_t **pring, const char *text, size_t len, ac_err_t *err);
/* The same from a file of at most AC_MAX_KEYRING bytes. Blocks. errors: invalid_request, also where it cannot be
 * read. */
apr_status_t ac_keyring_read(ac_keyring_t **pring, const char *path, ac_err_t *err);
void ac_keyring_ref(ac_keyring_t *ring);
void ac_keyring_unref(ac_keyring_t *ring); /* NULL is fine */
/* All keys in the order of their lines. */
const ac_api_key_t *ac_keyring_keys(int *pn, const ac_keyring_t *ring);
const ac_api_key_t *ac_keyring_find(const ac_keyring_t *ring, const char *id); /* NULL: there is none */

typedef enum ac_keyring_verdict_e { AC_KEY_VALID, AC_KEY_UNKNOWN, AC_KEY_REVOKED, AC_KEY_EXPIRED } ac_keyring_verdict_e;
/* Whether text is a key of the ring at this time (apr_time_now). *pkey: the key whose secret it has, also where it is
 * revoked or
 * expired; NULL where it is unknown. Any thread. */
ac_keyring_verdict_e ac_keyring_check(const ac_api_key_t **pkey, const ac_keyring_t *ring, const char *text,
                                      apr_time_t now);
/* The hash that stands in the file for this key. */
void ac_keyring_hash(unsigned char hash[AC_API_KEY_HASH], const char *text);
/* Whether id may be one. */
bool ac_keyring_id_valid(const char *id);

/* ---- keyring_file.c: a file of keys in a process that lives long ---- */
typedef struct ac_keyring_file_t ac_keyring_file_t;
/* Config time; in p. Reads nothing yet. */
ac_keyring_file_t *ac_keyring_file_create(const char *path, apr_pool_t *p);
const char *ac_keyring_file_path(const ac_keyring_file_t *file);
/* Config time: reads it for the first time. errors: those of ac_keyring_read(). */
apr_status_t ac_keyring_file_load(ac_keyring_file_t *file, ac_err_t *err);
/* The keys in force, a new reference; NULL before load has succeeded. Looks whether the file has changed, at most once
 * a second and
 * one caller at a time; the others go on with what was read before. A changed file that cannot be read or has a mistake
 * is logged
 * once and leaves the keys as they are. May block on the file: any thread but the loop's. */
ac_keyring_t *ac_keyring_file_now(ac_keyring_file_t *file);

#endif
