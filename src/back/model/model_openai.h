/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that only the files of the OpenAI models share: a configured model. */
#ifndef AC_MODEL_OPENAI_H
#define AC_MODEL_OPENAI_H

#include "back/credential/credential.h"
#include "io/io.h"
#include "model.h"

typedef struct ac_model_openai_t ac_model_openai_t;

/* The form of requests and answers: chat completions, or the Responses API. */
typedef struct ac_model_form_t {
    const char *path; /* behind the base of the address */
    /* *pchain: as of ac_responses_request() */
    apr_status_t (*request)(ac_buf_t *out, const ac_model_ask_t *ask, const ac_model_openai_t *model, bool *pchain,
                            ac_err_t *err);
    apr_status_t (*event)(ac_openai_answer_t *answer, const char *data, size_t len, ac_err_t *err);
    apr_status_t (*whole)(ac_openai_answer_t *answer, const char *body, size_t len, ac_err_t *err);
    apr_status_t (*end)(const ac_model_openai_t *model, ac_openai_answer_t *answer, ac_model_end_t *end);
} ac_model_form_t;

extern const ac_model_form_t ac_model_form_chat, ac_model_form_responses; /* model_form.c */

struct ac_model_openai_t {
    const ac_model_form_t *form;
    ac_responses_conf_t responses; /* of this form */
    const ac_model_conf_t *conf;
    const char *url, *probe_url;
    const char *model;             /* the member `model` of the body; NULL: none */
    const char *credential_header; /* the part before its value: "Authorization: Bearer "; NULL: none */
    const char *scope;             /* of an identity's token */
    const char *request_id_header; /* its name */
    bool azure;
    bool strict_probe; /* a 404 for the list of models means that the address is wrong */
    ac_loop_t *loop;   /* set by child_init */
};

/* create() of the providers of chat completions. */
const char *ac_model_endpoint_create(void **pself, const ac_model_conf_t *conf, apr_pool_t *p);
const char *ac_model_endpoint_create_azure(void **pself, const ac_model_conf_t *conf, apr_pool_t *p);
/* The value of an option; NULL: not given, or empty. */
const char *ac_model_endpoint_option(const ac_model_conf_t *conf, const char *name);
/* A model of OpenAI or a compatible server, or of Azure OpenAI. known: its options, up to NULL. */
const char *ac_model_endpoint_make(ac_model_openai_t **pmodel, const ac_model_conf_t *conf, const ac_model_form_t *form,
                                   const char *const *known, apr_pool_t *p);
const char *ac_model_endpoint_make_azure(ac_model_openai_t **pmodel, const ac_model_conf_t *conf,
                                         const ac_model_form_t *form, const char *const *known, apr_pool_t *p);
/* The header line with a request's id, on the heap; NULL: no id, or one that no header can have. */
char *ac_model_endpoint_request_id(const ac_model_openai_t *model, const char *id);

/* ---- model_responses.c: create() of the providers of the Responses API ---- */
const char *ac_model_responses_create(void **pself, const ac_model_conf_t *conf, apr_pool_t *p);
const char *ac_model_responses_create_azure(void **pself, const ac_model_conf_t *conf, apr_pool_t *p);
const char *ac_model_responses_create_foundry(void **pself, const ac_model_conf_t *conf, apr_pool_t *p);

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
