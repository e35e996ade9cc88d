/* SPDX-License-Identifier: Apache-2.0 */
/* A credential on a loop of its own, with work threads, an environment without anything of Azure's, and a log that is
 * kept: no secret may ever stand in it. */
#ifndef CREDENTIAL_RIG_H
#define CREDENTIAL_RIG_H

#include "back/credential/identity.h"
#include "http_rig.h"

#define ANSWER(status_, more_, body_) \
    SEND("HTTP/1.1 " status_ "\r\nContent-Type: application/json\r\nConnection: close\r\n" more_ "\r\n" body_), CUT, END
#define TOKEN(token_, seconds_) \
    ANSWER("200 OK", "", "{\"token_type\":\"Bearer\",\"access_token\":\"" token_ "\",\"expires_in\":" seconds_ "}")
#define SCOPE "https://cosmos.azure.com/.default"
#define SECRET "Zebra-~s3cr3t" /* what may not be logged begins so */

typedef struct credential_rig_t {
    rig_t loop;
    ac_work_t *work;
    ac_host_t host;
    apr_pool_t *pool;
    ac_credential_t *credential;
    bool started;
    char directory[64]; /* empty, its own */
} credential_rig_t;

typedef struct asked_t { /* one get(), and what came of it */
    credential_rig_t *rig;
    const char *scope;
    int n; /* how often fn was called */
    apr_status_t status;
    char text[256];
    ac_err_t err;
    ac_latch_t *done;
} asked_t;

/* For cmocka: *state is the rig. */
int credential_rig_open(void **state);
int credential_rig_close(void **state);
/* options: "name=value name=value", or NULL. Returns NULL, or the error message of create(). */
const char *credential_rig_make(credential_rig_t *rig, const char *spec, const char *options);
/* Makes it, which has to go well, and starts it in its child. */
void credential_rig_start(credential_rig_t *rig, const char *spec, const char *options);
void credential_rig_stop(credential_rig_t *rig);
/* get() from the loop, without waiting for it. */
void asked_begin(asked_t *asked, credential_rig_t *rig, const char *scope);
void asked_wait(asked_t *asked);
void asked_free(asked_t *asked);
/* All of it: the text that came, or the error's detail. */
const char *credential_rig_get(credential_rig_t *rig, const char *scope);
const char *credential_rig_fail(credential_rig_t *rig, const char *scope);
const char *credential_rig_now(credential_rig_t *rig, const char *scope); /* "" for NULL */
void credential_rig_reject(credential_rig_t *rig, const char *scope, const char *text);
void credential_rig_wait_log(const char *text, int n); /* until the log has it n times */
int credential_rig_count_log(const char *text);
/* A file in the rig's directory; its path is valid until the rig is closed. */
const char *credential_rig_file(credential_rig_t *rig, const char *name, const char *bytes, size_t len, int mode);
void set_url(const char *variable, const http_server_t *server, const char *rest);
void assert_contains(const char *text, const char *part);
void assert_lacks(const char *text, const char *part);

#endif
