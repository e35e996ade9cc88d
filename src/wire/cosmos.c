/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to Cosmos DB: their resource, and the signature of the master key. */
#include "wire.h"

#include <ctype.h>
#include <string.h>

#define MAX_TEXT 8192 /* of a string to sign */

typedef enum depth_e { ACCOUNT, DATABASES, DATABASE, CONTAINERS, CONTAINER, DOCUMENTS, DOCUMENT } depth_e;

/* The path of each verb, and the resource that its signature covers. source: "Access control in the Azure Cosmos DB SQL
 * API". */
static const struct {
    const char *method, *type;
    depth_e path, link;
    bool writes;
} verbs[AC_COSMOS_N_VERBS] = {
    [AC_COSMOS_ACCOUNT_READ] = {"GET", "", ACCOUNT, ACCOUNT, false},
    [AC_COSMOS_DATABASE_READ] = {"GET", "dbs", DATABASE, DATABASE, false},
    [AC_COSMOS_DATABASE_CREATE] = {"POST", "dbs", DATABASES, ACCOUNT, true},
    [AC_COSMOS_CONTAINER_READ] = {"GET", "colls", CONTAINER, CONTAINER, false},
    [AC_COSMOS_CONTAINER_CREATE] = {"POST", "colls", CONTAINERS, DATABASE, true},
    [AC_COSMOS_READ] = {"GET", "docs", DOCUMENT, DOCUMENT, false},
    [AC_COSMOS_CREATE] = {"POST", "docs", DOCUMENTS, CONTAINER, true},
    [AC_COSMOS_UPSERT] = {"POST", "docs", DOCUMENTS, CONTAINER, true},
    [AC_COSMOS_REPLACE] = {"PUT", "docs", DOCUMENT, DOCUMENT, true},
    [AC_COSMOS_PATCH] = {"PATCH", "docs", DOCUMENT, DOCUMENT, true},
    [AC_COSMOS_DELETE] = {"DELETE", "docs", DOCUMENT, DOCUMENT, true},
    [AC_COSMOS_QUERY] = {"POST", "docs", DOCUMENTS, CONTAINER, false},
    [AC_COSMOS_BATCH] = {"POST", "docs", DOCUMENTS, CONTAINER, true},
};

const char *ac_cosmos_method(ac_cosmos_verb_e verb)
{
    return verbs[verb].method;
}

bool ac_cosmos_writes(ac_cosmos_verb_e verb)
{
    return verbs[verb].writes;
}

bool ac_cosmos_name_valid(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f || strchr("/\\#?", name[i])) {
            return false;
        }
    }
    return len > 0 && len <= 255 && name[len - 1] != ' ' && ac_utf8_valid(name, len);
}

/* ---- paths ---- */

/* Percent-encodes all characters except for RFC 3986's unreserved ones. */
static void cosmos_add_encoded(ac_buf_t *buf, const char *text)
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

static void add_name(ac_buf_t *buf, const char *kind, const char *name, bool encoded)
{
    ac_buf_str(buf, kind);
    if (name && encoded) {
        cosmos_add_encoded(buf, name);
    } else if (name) {
        ac_buf_str(buf, name);
    }
}

/* Adds the resource down to this depth, without slashes at its ends. */
static apr_status_t add_resource(ac_buf_t *buf, const ac_cosmos_ask_t *ask, depth_e depth, bool encoded)
{
    if (depth >= DATABASES) {
        add_name(buf, depth == DATABASES ? "dbs" : "dbs/", depth == DATABASES ? NULL : ask->database, encoded);
    }
    if (depth >= CONTAINERS) {
        add_name(buf, depth == CONTAINERS ? "/colls" : "/colls/", depth == CONTAINERS ? NULL : ask->container, encoded);
    }
    if (depth >= DOCUMENTS) {
        add_name(buf, depth == DOCUMENTS ? "/docs" : "/docs/", depth == DOCUMENTS ? NULL : ask->id, encoded);
    }
    return buf->failed ? APR_ENOSPC : APR_SUCCESS;
}

apr_status_t ac_cosmos_path(ac_buf_t *path, const ac_cosmos_ask_t *ask)
{
    ac_buf_str(path, "/");
    return add_resource(path, ask, verbs[ask->verb].path, true);
}

/* The signed resource, not encoded: the document itself, or its container for create, query and batch. */
static apr_status_t add_link(ac_buf_t *link, const ac_cosmos_ask_t *ask)
{
    return add_resource(link, ask, verbs[ask->verb].link, false);
}

/* ---- authorization ---- */

void ac_cosmos_date(char date[AC_COSMOS_DATE_SIZE], apr_time_t when)
{
    apr_rfc822_date(date, when);
}

static void add_lower(ac_buf_t *buf, const char *text)
{
    for (; *text; text++) {
        char c = (char)tolower((unsigned char)*text);
        ac_buf_add(buf, &c, 1);
    }
}

static void add_signed_text(ac_buf_t *text, const ac_cosmos_ask_t *ask, const char *date)
{
    add_lower(text, verbs[ask->verb].method);
    ac_buf_str(text, "\n");
    ac_buf_str(text, verbs[ask->verb].type);
    ac_buf_str(text, "\n");
    add_link(text, ask);
    ac_buf_str(text, "\n");
    add_lower(text, date);
    ac_buf_str(text, "\n\n");
}

apr_status_t ac_cosmos_auth_key(ac_buf_t *value, const ac_cosmos_ask_t *ask, const char *key, const char *date,
                                ac_err_t *err)
{
    char signature[AC_ACCOUNT_SIGNATURE_SIZE];
    ac_buf_t text;
    apr_status_t status;

    ac_buf_init(&text, MAX_TEXT);
    add_signed_text(&text, ask, date);
    status = ac_account_key_sign(signature, key, &text, err);
    ac_buf_free(&text);
    if (status != APR_SUCCESS) {
        return status;
    }
    ac_buf_str(value, "type%3Dmaster%26ver%3D1.0%26sig%3D");
    cosmos_add_encoded(value, signature);
    return value->failed ? ac_err_set(err, AC_INTERNAL, "a request could not be signed") : APR_SUCCESS;
}

apr_status_t ac_cosmos_auth_bearer(ac_buf_t *value, const char *token)
{
    ac_buf_str(value, "type%3Daad%26ver%3D1.0%26sig%3D");
    cosmos_add_encoded(value, token);
    return value->failed ? APR_ENOSPC : APR_SUCCESS;
}
