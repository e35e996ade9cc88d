/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to Azure Blob Storage, and URLs that are signed for a short time. */
#include "wire.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Percent-encodes all characters except for RFC 3986's unreserved ones. */
static void blob_add_encoded(ac_buf_t *buf, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (isascii(c) && (isalnum(c) || strchr("-._~", c))) {
            ac_buf_add(buf, text, 1);
        } else {
            ac_buf_add(buf, (const char[]){'%', digits[c >> 4], digits[c & 15]}, 3);
        }
    }
}

apr_status_t ac_blob_query(ac_buf_t *url, const char *const *query)
{
    for (const char *const *at = query; at && *at; at += 2) {
        ac_buf_str(url, at == query ? "?" : "&");
        blob_add_encoded(url, at[0]);
        ac_buf_str(url, "=");
        blob_add_encoded(url, at[1]);
    }
    return url->failed ? APR_ENOSPC : APR_SUCCESS;
}

/* ---- the text to sign ---- */

/* The value of a header line with this name, or NULL. */
static const char *line_value(const char *line, const char *name)
{
    size_t len = strlen(name);

    if (strncasecmp(line, name, len) != 0 || line[len] != ':') {
        return NULL;
    }
    return line + len + 1 + strspn(line + len + 1, " ");
}

static const char *header_value(const char *const *lines, const char *name)
{
    const char *value = NULL;

    for (; *lines && !value; lines++) {
        value = line_value(*lines, name);
    }
    return value ? value : "";
}

static bool is_own(const char *line)
{
    return strncasecmp(line, "x-ms-", 5) == 0;
}

/* Whether name a comes before name b; both end with a colon. */
static bool comes_before(const char *a, const char *b)
{
    while (*a != ':' && tolower((unsigned char)*a) == tolower((unsigned char)*b)) {
        a++, b++;
    }
    int first = *a == ':' ? 0 : tolower((unsigned char)*a), second = *b == ':' ? 0 : tolower((unsigned char)*b);
    return first < second;
}

/* The x-ms- headers in the order of their names, each as "name:value". */
static void sign_own_headers(ac_buf_t *text, const char *const *lines)
{
    const char *last = NULL, *next = "";

    while (next) {
        next = NULL;
        for (const char *const *at = lines; *at; at++) {
            if (is_own(*at) && (!last || comes_before(last, *at)) && (!next || comes_before(*at, next))) {
                next = *at;
            }
        }
        if (next) {
            const char *value = strchr(next, ':') + 1;
            for (const char *c = next; *c != ':'; c++) {
                ac_buf_add(text, (const char[]){(char)tolower((unsigned char)*c)}, 1);
            }
            ac_buf_printf(text, ":%s\n", value + strspn(value, " "));
        }
        last = next;
    }
}

static void sign_request(ac_buf_t *text, const ac_blob_ask_t *ask, const char *account, const char *const *lines)
{
    static const char *const names[] = {"Content-MD5",         "Content-Type", "Date",
                                        "If-Modified-Since",   "If-Match",     "If-None-Match",
                                        "If-Unmodified-Since", "Range",        NULL};

    ac_buf_printf(text, "%s\n%s\n%s\n", ask->method, header_value(lines, "Content-Encoding"),
                  header_value(lines, "Content-Language"));
    if (ask->len) {
        ac_buf_printf(text, "%" APR_SIZE_T_FMT, ask->len);
    }
    ac_buf_str(text, "\n");
    for (int i = 0; names[i]; i++) {
        ac_buf_printf(text, "%s\n", header_value(lines, names[i]));
    }
    sign_own_headers(text, lines);
    ac_buf_printf(text, "/%s%s", account, ask->path);
    for (const char *const *at = ask->query; at && *at; at += 2) {
        ac_buf_printf(text, "\n%s:%s", at[0], at[1]);
    }
}

/* ---- header lines ---- */

typedef struct lines_t {
    const char **lines;
    ac_buf_t *text; /* does not move: its memory is reserved */
    int n;
} lines_t;

/* A control character in a value could begin another header. */
static void blob_add_line(lines_t *all, const char *name, const char *value)
{
    size_t at = all->text->len;

    for (const char *c = value; *c; c++) {
        all->text->failed = all->text->failed || (unsigned char)*c < 0x20 || *c == 0x7f;
    }
    ac_buf_printf(all->text, "%s%s", name, value);
    ac_buf_add(all->text, "", 1);
    if (all->text->failed || all->n >= AC_BLOB_HEADERS - 1) {
        all->text->failed = true;
        return;
    }
    all->lines[all->n++] = all->text->data + at;
    all->lines[all->n] = NULL;
}

apr_status_t ac_blob_headers(const char *lines[AC_BLOB_HEADERS], ac_buf_t *text, const ac_blob_ask_t *ask,
                             const ac_blob_auth_t *auth, ac_err_t *err)
{
    char date[APR_RFC822_DATE_LEN], value[AC_ACCOUNT_SIGNATURE_SIZE + 128];
    lines_t all = {lines, text, 0};
    apr_status_t status = APR_SUCCESS;
    ac_buf_t signed_text;

    ac_buf_reserve(text, text->max);
    apr_rfc822_date(date, auth->now);
    lines[0] = NULL;
    blob_add_line(&all, "x-ms-date: ", date);
    blob_add_line(&all, "x-ms-version: ", AC_BLOB_VERSION);
    for (int i = 0; ask->headers && ask->headers[i]; i++) {
        blob_add_line(&all, "", ask->headers[i]);
    }
    if (auth->key) {
        ac_buf_init(&signed_text, AC_BLOB_TEXT);
        sign_request(&signed_text, ask, auth->account, lines);
        int len = snprintf(value, sizeof(value) - AC_ACCOUNT_SIGNATURE_SIZE, "SharedKey %s:", auth->account);
        status = len < (int)(sizeof(value) - AC_ACCOUNT_SIGNATURE_SIZE)
            ? ac_account_key_sign(value + len, auth->key, &signed_text, err)
            : APR_ENOSPC;
        blob_add_line(&all, "Authorization: ", status == APR_SUCCESS ? value : "");
        ac_buf_free(&signed_text);
    } else {
        blob_add_line(&all, "Authorization: Bearer ", auth->token);
    }
    return status == APR_SUCCESS && !text->failed ? APR_SUCCESS
                                                  : ac_err_set(err, AC_INTERNAL, "a request could not be built");
}

/* ---- signed URLs ---- */

void ac_blob_time(char text[AC_TIME_SIZE], apr_time_t when)
{
    ac_time_format(text, when);
    memcpy(text + strcspn(text, "."), "Z", 2); /* a fraction is not accepted everywhere */
}

static void sign_link(ac_buf_t *text, const ac_blob_link_t *link, const char *expiry)
{
    const ac_blob_delegation_t *key = link->delegation;

    ac_buf_printf(text, "r\n\n%s\n/blob/%s/%s/%s\n", expiry, link->account, link->container, link->name);
    if (key) {
        ac_buf_printf(text, "%s\n%s\n%s\n%s\n%s\n%s\n\n\n\n", key->oid, key->tid, key->start, key->expiry, key->service,
                      key->version);
    } else {
        ac_buf_str(text, "\n"); /* no stored policy */
    }
    /* No address, https, the version, a blob; no snapshot and scope, no headers of the answer. */
    ac_buf_str(text, "\nhttps\n" AC_BLOB_VERSION "\nb\n\n\n\n\n\n\n");
}

apr_status_t ac_blob_link(ac_buf_t *url, const ac_blob_link_t *link, ac_err_t *err)
{
    char expiry[AC_TIME_SIZE], signature[AC_ACCOUNT_SIGNATURE_SIZE];
    const ac_blob_delegation_t *key = link->delegation;
    ac_buf_t text;

    ac_blob_time(expiry, link->expiry);
    ac_buf_init(&text, AC_BLOB_TEXT);
    sign_link(&text, link, expiry);
    apr_status_t status = ac_account_key_sign(signature, key ? key->value : link->key, &text, err);
    ac_buf_free(&text);
    if (status != APR_SUCCESS) {
        return status;
    }
    ac_blob_query(url,
                  (const char *const[]){"se", expiry, "sp", "r", "spr", "https", "sr", "b", "sv", AC_BLOB_VERSION,
                                        "sig", signature, NULL});
    if (key) {
        ac_buf_t more;
        ac_buf_init(&more, AC_BLOB_TEXT);
        ac_blob_query(&more,
                      (const char *const[]){"ske", key->expiry, "skoid", key->oid, "sks", key->service, "skt",
                                            key->start, "sktid", key->tid, "skv", key->version, NULL});
        ac_buf_str(url, "&");
        ac_buf_add(url, more.data ? more.data + 1 : "", more.len ? more.len - 1 : 0);
        ac_buf_free(&more);
    }
    return url->failed ? ac_err_set(err, AC_INTERNAL, "a URL could not be signed") : APR_SUCCESS;
}
