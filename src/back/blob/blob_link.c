/* SPDX-License-Identifier: Apache-2.0 */
/* URLs by which any reader gets a file for a short time. The account's key signs them, or a key that the service
 * gives to the identity for a day. */
#include "blob_internal.h"

#include <string.h>

#include <apr_strings.h>
#include <openssl/crypto.h>

#define KEY_LIFE apr_time_from_sec(86400)
#define KEY_REST apr_time_from_sec(2 * 3600) /* of its life, in which it is not used for new URLs */
#define SLOW_CLOCK apr_time_from_sec(900)    /* this machine's may be that much ahead of the service's */

static apr_status_t delegation_fetch(ac_blob_t *blob, ac_blob_delegation_t *key, apr_time_t until, ac_err_t *err)
{
    char start[AC_TIME_SIZE], expiry[AC_TIME_SIZE];
    ac_blob_reply_t reply;
    ac_buf_t body;
    ac_blob_time(start, until - KEY_LIFE - SLOW_CLOCK);
    ac_blob_time(expiry, until);
    ac_buf_init(&body, 1024);
    ac_buf_printf(&body,
                  "<?xml version=\"1.0\" encoding=\"utf-8\"?><KeyInfo><Start>%s</Start><Expiry>%s</Expiry></KeyInfo>",
                  start, expiry);
    const ac_blob_request_t request = {.doing = "getting a key for links",
                                       .method = "POST",
                                       .query = (const char *const[]){"comp", "userdelegationkey", "restype", "service",
                                                                      NULL},
                                       .headers = (const char *const[]){"Content-Type: application/xml", NULL},
                                       .body = &body};
    apr_status_t status = ac_blob_call(blob, &request, &reply, err);
    if (status == APR_SUCCESS) {
        status = ac_blob_answer_delegation(key, &reply.body, err);
    }
    ac_buf_free(&reply.body);
    ac_buf_free(&body);
    return status;
}

/* Two threads may fetch a key at the same time; both keys are good. */
static apr_status_t delegation_get(ac_blob_t *blob, ac_blob_delegation_t *key, ac_err_t *err)
{
    apr_time_t now = apr_time_now();
    pthread_mutex_lock(&blob->delegation.lock);
    bool have = blob->delegation.until - KEY_REST > now;
    *key = blob->delegation.key;
    pthread_mutex_unlock(&blob->delegation.lock);
    if (have) {
        return APR_SUCCESS;
    }
    apr_status_t status = delegation_fetch(blob, key, now + KEY_LIFE, err);
    if (status == APR_SUCCESS) {
        pthread_mutex_lock(&blob->delegation.lock);
        blob->delegation.key = *key;
        blob->delegation.until = now + KEY_LIFE;
        pthread_mutex_unlock(&blob->delegation.lock);
    }
    return status;
}

/* The account's key, as it is now. */
static apr_status_t key_get(ac_blob_t *blob, ac_buf_t *key, ac_err_t *err)
{
    ac_blob_reply_t reply;
    const ac_blob_request_t request = {.doing = "getting the key for links"};
    apr_status_t status = ac_blob_call(blob, &request, &reply, err);
    *key = reply.body;
    return status;
}

static apr_status_t link_sign(ac_blob_t *blob, ac_buf_t *url, ac_blob_link_t *link, ac_err_t *err)
{
    ac_blob_delegation_t delegation;
    ac_buf_t key;
    apr_status_t status;
    if (ac_credential_kind(blob->conf.credential) != AC_CREDENTIAL_KEY) {
        link->delegation = &delegation;
        status = delegation_get(blob, &delegation, err);
        return status == APR_SUCCESS ? ac_blob_link(url, link, err) : status;
    }
    status = key_get(blob, &key, err);
    link->key = key.data;
    if (status == APR_SUCCESS) {
        status = ac_blob_link(url, link, err);
        OPENSSL_cleanse(key.data, key.len);
    }
    ac_buf_free(&key);
    return status;
}

apr_status_t ac_blob_link_make(void *self, char **purl, const char *id, apr_interval_time_t life, ac_err_t *err)
{
    ac_blob_t *blob = self;
    char name[AC_ID_SIZE + 256];
    ac_buf_t url;
    *purl = NULL;
    if (!blob->conf.encrypted || !ac_id_valid(id, AC_FILE_ID)) {
        return APR_SUCCESS;
    }
    apr_snprintf(name, sizeof(name), "%s%s", blob->conf.prefix, id);
    ac_buf_init(&url, AC_BLOB_TEXT);
    ac_buf_printf(&url, "%s%s/%s", blob->conf.origin, blob->conf.path, name);
    ac_blob_link_t link = {.account = blob->conf.account,
                           .container = blob->conf.container,
                           .name = name,
                           .expiry = apr_time_now() + life};
    apr_status_t status = link_sign(blob, &url, &link, err);
    if (status == APR_SUCCESS) {
        *purl = url.data;
    } else {
        ac_buf_free(&url);
    }
    return status;
}
