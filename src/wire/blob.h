/* SPDX-License-Identifier: Apache-2.0 */
/* Azure Blob Storage over REST: the headers of requests with their signature, URLs that are signed for a short time,
 * and what answers say. Pure functions. Sources: "Authorize with Shared Key", "Create a service SAS", "Create a user
 * delegation SAS", "List Blobs" and "Get User Delegation Key" of the Azure Storage REST API. */
#ifndef AC_BLOB_H
#define AC_BLOB_H

#include "base/base.h"

/* ---- account_key.c: signatures by the key of an Azure account ---- */
#define AC_ACCOUNT_SIGNATURE_SIZE 64
/* Whether this can be an account's key: base64, or a connection string that contains it. */
bool ac_account_key_valid(const char *key);
/* Signs text by HMAC-SHA256, in base64. key: base64, or a connection string with one. errors: invalid_request (the key
 * is not base64), internal. */
apr_status_t ac_account_key_sign(char signature[AC_ACCOUNT_SIGNATURE_SIZE], const char *key, const ac_buf_t *text,
                                 ac_err_t *err);

#define AC_BLOB_VERSION "2021-12-02" /* x-ms-version, and the version of signed URLs */
#define AC_BLOB_HEADERS 16           /* lines of a request, at most, with the NULL */
#define AC_BLOB_PARAMETERS 6         /* of a query, at most */
#define AC_BLOB_TEXT 8192            /* of all header lines, and of a text to sign, at most */

/* ---- blob.c: requests ---- */
typedef struct ac_blob_ask_t {
    const char *method;
    const char *path; /* of the URL: "/container/name", of characters that need no encoding */
    /* Name, value, name, value, NULL: not encoded, in the order of the names, which are lower case. NULL: none. */
    const char *const *query;
    const char *const
        *headers; /* "Name: value", ends with NULL; without those that ac_blob_headers() adds. NULL: none */
    size_t len;   /* bytes of the body */
} ac_blob_ask_t;

typedef struct ac_blob_auth_t {
    const char *account;
    const char *key, *token; /* one of both: the account's key (base64, or a connection string), or a token */
    apr_time_t now;
} ac_blob_auth_t;

/* Appends "?name=value&…", percent-encoded. */
apr_status_t ac_blob_query(ac_buf_t *url, const char *const *query);
/* Writes all header lines of a request, with date, version and authorization. They point into text, which must be empty
 * with its maximum set. errors: invalid_request (the key is not base64), internal. */
apr_status_t ac_blob_headers(const char *lines[AC_BLOB_HEADERS], ac_buf_t *text, const ac_blob_ask_t *ask,
                             const ac_blob_auth_t *auth, ac_err_t *err);

/* ---- blob.c: signed URLs ---- */
typedef struct ac_blob_delegation_t { /* the key that an identity gets for signing URLs */
    char oid[64], tid[64], start[32], expiry[32], service[8], version[16], value[128];
} ac_blob_delegation_t;

typedef struct ac_blob_link_t {
    const char *account, *container, *name;
    apr_time_t expiry;
    const char *key;                        /* the account's */
    const ac_blob_delegation_t *delegation; /* NULL: the key signs */
} ac_blob_link_t;

/* Appends the query of a URL by which anybody can read the blob over https until it expires. errors: as above. */
apr_status_t ac_blob_link(ac_buf_t *url, const ac_blob_link_t *link, ac_err_t *err);
/* Writes "2026-11-24T08:00:00Z". */
void ac_blob_time(char text[AC_TIME_SIZE], apr_time_t when);

/* ---- blob_answer.c: answers ---- */
typedef void ac_blob_found_fn(void *baton, const char *name, apr_time_t modified);
/* Reads a page of List Blobs. next: the marker of the next page; empty: there is none. errors: store_error (not such an
 * answer). */
apr_status_t ac_blob_answer_list(ac_buf_t *next, const ac_buf_t *answer, ac_blob_found_fn *found, void *baton,
                                 ac_err_t *err);
/* Reads an answer of Get User Delegation Key. errors: as above. */
apr_status_t ac_blob_answer_delegation(ac_blob_delegation_t *delegation, const ac_buf_t *answer, ac_err_t *err);
/* Sets err from an answer that is no 2xx. code: x-ms-error-code, or "". skew: how far this machine's clock is behind
 * the service's; 0: unknown. errors: not_found (the blob is not there), overloaded, store_error. */
apr_status_t ac_blob_answer_error(ac_err_t *err, int status, const char *code, apr_interval_time_t skew);

#endif
