/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the OpenAI models: a model as its configuration makes it. */
#ifndef AC_MODEL_OPENAI_H
#define AC_MODEL_OPENAI_H

#include "back.h"

typedef struct openai_model_t {
    const ac_model_conf_t *conf;
    const char *url, *probe_url;
    const char *model;                      /* the body's member; NULL: none */
    const char *credential_header;          /* whole: "Authorization: Bearer …"; NULL: none */
    const char *request_id_header;          /* its name */
    bool azure;
    bool strict_probe;                      /* a 404 for the list of models says that the address is wrong */
    ac_loop_t *loop;                        /* set by child_init */
} openai_model_t;

/* The two providers' create(). */
const char *openai_model_create(void **pself, const ac_model_conf_t *conf, apr_pool_t *p);
const char *openai_model_create_azure(void **pself, const ac_model_conf_t *conf, apr_pool_t *p);
/* ac_model_vt's probe. */
void openai_model_probe(void *self, void (*done)(void *baton, apr_status_t status, apr_interval_time_t took,
                                                 const ac_err_t *err), void *baton);

#endif
