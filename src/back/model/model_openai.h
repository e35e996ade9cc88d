/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that only the files of the OpenAI models share: a configured model. */
#ifndef AC_MODEL_OPENAI_H
#define AC_MODEL_OPENAI_H

#include "back/credential/credential.h"
#include "io/io.h"
#include "model.h"

typedef struct ac_model_openai_t {
    const ac_model_conf_t *conf;
    const char *url, *probe_url;
    const char *model;             /* the member `model` of the body; NULL: none */
    const char *credential_header; /* the part before its value: "Authorization: Bearer "; NULL: none */
    const char *scope;             /* of an identity's token */
    const char *request_id_header; /* its name */
    bool azure;
    bool strict_probe; /* a 404 for the list of models means that the address is wrong */
    ac_loop_t *loop;   /* set by child_init */
} ac_model_openai_t;

/* create() of the two providers. */
const char *ac_model_endpoint_create(void **pself, const ac_model_conf_t *conf, apr_pool_t *p);
const char *ac_model_endpoint_create_azure(void **pself, const ac_model_conf_t *conf, apr_pool_t *p);
/* The header line with a request's id, on the heap; NULL: no id, or one that no header can have. */
char *ac_model_endpoint_request_id(const ac_model_openai_t *model, const char *id);

/* ---- model_credential.c ---- */
/* Makes the header with the credential's text. Returns it on the heap, for ac_model_credential_wipe(). */
char *ac_model_credential_header(const ac_model_openai_t *model, const char *text);
/* Overwrites and frees a secret, which may be NULL. */
void ac_model_credential_wipe(char *secret);
/* Sets the model's error for a missing credential. */
void ac_model_credential_fail(ac_err_t *err, const ac_err_t *cause);
/* Whether this response rejects the credential itself, so that a new one may succeed. */
bool ac_model_credential_is_rejected(int status, const char *error_body, size_t len);

/* ---- model_probe.c: ac_model_vt's probe ---- */
void ac_model_probe_start(void *self,
                          void (*done)(void *baton, apr_status_t status, apr_interval_time_t took, const ac_err_t *err),
                          void *baton);

#endif
