/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of Azure Blob Storage. Its XML is of plain elements without attributes that matter here. */
#include "wire.h"

#include <stdio.h>
#include <string.h>

#include <apr_date.h>
#include <apr_strings.h>

#define LONG_SKEW apr_time_from_sec(300) /* the service refuses a clock that is 15 minutes off */

/* ---- XML ---- */

typedef struct piece_t { /* a part of a document */
    const char *at, *end;
} piece_t;

static const char *find_text(const piece_t *in, const char *text)
{
    return in->at < in->end ? memmem(in->at, (size_t)(in->end - in->at), text, strlen(text)) : NULL;
}

/* The contents of the next element with this name; `in` then begins behind it. */
static bool next_element(piece_t *out, piece_t *in, const char *name)
{
    char begin[40], end[40];

    snprintf(begin, sizeof(begin), "<%s>", name);
    snprintf(end, sizeof(end), "</%s>", name);
    const char *found = find_text(in, begin);
    if (!found) {
        return false;
    }
    *out = (piece_t){found + strlen(begin), in->end};
    out->end = find_text(out, end);
    if (!out->end) {
        return false;
    }
    in->at = out->end + strlen(end);
    return true;
}

/* Appends a text without its entities. */
static void add_unescaped(ac_buf_t *buf, const piece_t *text)
{
    static const struct {
        const char *entity, *text;
    } rows[] = {{"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&apos;", "'"}};
    const char *at = text->at;

    while (at < text->end) {
        size_t len = 1;
        const char *plain = at;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            size_t n = strlen(rows[i].entity);
            if ((size_t)(text->end - at) >= n && memcmp(at, rows[i].entity, n) == 0) {
                len = n;
                plain = rows[i].text;
            }
        }
        ac_buf_add(buf, plain, 1);
        at += len;
    }
}

/* Copies the text of the first element of this name. Returns false if there is none, or if it is too long. */
static bool copy_element(char *out, size_t size, piece_t in, const char *name)
{
    piece_t text;

    if (!next_element(&text, &in, name) || (size_t)(text.end - text.at) >= size) {
        return false;
    }
    memcpy(out, text.at, (size_t)(text.end - text.at));
    out[text.end - text.at] = '\0';
    return true;
}

static piece_t whole_of(const ac_buf_t *answer)
{
    return answer->data ? (piece_t){answer->data, answer->data + answer->len} : (piece_t){"", NULL};
}

/* ---- answers ---- */

apr_status_t ac_blob_answer_list(ac_buf_t *next, const ac_buf_t *answer, ac_blob_found_fn *found, void *baton,
                                 ac_err_t *err)
{
    piece_t all = whole_of(answer), blobs = {NULL, NULL}, blob, marker;
    char name[1100], modified[64];

    if (!all.end || !next_element(&blobs, &all, "Blobs")) {
        piece_t rest = whole_of(answer);
        if (!rest.end || !find_text(&rest, "<Blobs />")) {
            return ac_err_set(err, AC_STORE_ERROR, "Blob Storage's answer is not a list of blobs");
        }
        all = rest;
    }
    while (next_element(&blob, &blobs, "Blob")) {
        if (copy_element(name, sizeof(name), blob, "Name") &&
            copy_element(modified, sizeof(modified), blob, "Last-Modified")) {
            apr_time_t when = apr_date_parse_http(modified);
            if (when > 0) {
                found(baton, name, when);
            }
        }
    }
    ac_buf_clear(next);
    if (next_element(&marker, &all, "NextMarker")) {
        add_unescaped(next, &marker);
    }
    return next->failed ? ac_err_set(err, AC_STORE_ERROR, "Blob Storage's list of blobs has too long a marker")
                        : APR_SUCCESS;
}

apr_status_t ac_blob_answer_delegation(ac_blob_delegation_t *delegation, const ac_buf_t *answer, ac_err_t *err)
{
    piece_t all = whole_of(answer);
    ac_blob_delegation_t *key = delegation;

    memset(key, 0, sizeof(*key));
    if (all.end && copy_element(key->oid, sizeof(key->oid), all, "SignedOid") &&
        copy_element(key->tid, sizeof(key->tid), all, "SignedTid") &&
        copy_element(key->start, sizeof(key->start), all, "SignedStart") &&
        copy_element(key->expiry, sizeof(key->expiry), all, "SignedExpiry") &&
        copy_element(key->service, sizeof(key->service), all, "SignedService") &&
        copy_element(key->version, sizeof(key->version), all, "SignedVersion") &&
        copy_element(key->value, sizeof(key->value), all, "Value") && ac_account_key_valid(key->value)) {
        return APR_SUCCESS;
    }
    return ac_err_set(err, AC_STORE_ERROR, "Blob Storage's answer is not a key for signing URLs");
}

/* ---- errors ---- */

/* What a code means, and what the operator can do. Source: "Common REST API error codes", "Blob Storage error
 * codes". */
static const struct {
    const char *code;
    ac_kind_e kind;
    const char *text;
} errors[] = {
    {"BlobNotFound", AC_NOT_FOUND, "the bytes of this file are gone"},
    {"ContainerNotFound", AC_STORE_ERROR, "the container does not exist; create it, or correct AgentChatFiles"},
    {"ContainerBeingDeleted", AC_STORE_ERROR, "the container is being deleted"},
    {"ContainerDisabled", AC_STORE_ERROR, "the container is disabled"},
    {"AccountIsDisabled", AC_STORE_ERROR, "the storage account is disabled"},
    {"AuthorizationPermissionMismatch", AC_STORE_ERROR,
     "the identity may not do this; give it the role Storage Blob Data Contributor on the container, for links also "
     "Storage Blob Delegator on the account"},
    {"AuthorizationFailure", AC_STORE_ERROR,
     "the account's network rules refuse this machine, or the key may not do this"},
    {"KeyBasedAuthenticationNotPermitted", AC_STORE_ERROR, "the account permits no keys; use credential=identity"},
    {"InsufficientAccountPermissions", AC_STORE_ERROR, "the account may not do this; it may be locked"},
    {"BlobImmutableDueToPolicy", AC_STORE_ERROR, "a policy of the container forbids changes of the file"},
    {"LeaseIdMissing", AC_STORE_ERROR, "another program has a lease on the file"},
    {"BlobAlreadyExists", AC_STORE_ERROR, "there is a file with this id already"},
    {"ConditionNotMet", AC_STORE_ERROR, "the file was changed meanwhile"},
    {"ServerBusy", AC_OVERLOADED, "Blob Storage is busy"},
};

static apr_status_t set_refused(ac_err_t *err, int status, const char *code, apr_interval_time_t skew)
{
    bool off = skew > LONG_SKEW || skew < -LONG_SKEW;

    if (off) {
        return ac_err_set(err, AC_STORE_ERROR,
                          "Blob Storage refuses the credential (%d %s): this machine's clock is %" APR_INT64_T_FMT
                          " s %s; set it right",
                          status, code, apr_time_sec(skew > 0 ? skew : -skew), skew > 0 ? "slow" : "fast");
    }
    return ac_err_set(err, AC_STORE_ERROR, "Blob Storage refuses the credential (%d %s): %s", status, code,
                      "the key or the token is not one of this account");
}

apr_status_t ac_blob_answer_error(ac_err_t *err, int status, const char *code, apr_interval_time_t skew)
{
    char shown[64];

    ac_text_printable(shown, code);
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (strcmp(errors[i].code, code) == 0) {
            return errors[i].kind == AC_NOT_FOUND
                ? ac_err_set(err, AC_NOT_FOUND, "%s", errors[i].text)
                : ac_err_set(err, errors[i].kind, "Blob Storage answered %d %s: %s", status, shown, errors[i].text);
        }
    }
    if (status == 401 || strcmp(code, "AuthenticationFailed") == 0) {
        return set_refused(err, status, shown, skew);
    }
    if (status == 429 || status == 503) {
        return ac_err_set(err, AC_OVERLOADED, "Blob Storage is busy (%d %s)", status, shown);
    }
    return ac_err_set(err, AC_STORE_ERROR, "Blob Storage answered %d %s", status, shown);
}
