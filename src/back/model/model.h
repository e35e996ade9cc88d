/* SPDX-License-Identifier: Apache-2.0 */
/* The model providers. */
#ifndef AC_MODEL_H
#define AC_MODEL_H

#include "agentchat.h"

extern const ac_model_vt ac_model_openai;          /* model_ask.c: "openai", for any compatible server */
extern const ac_model_vt ac_model_azure_openai;    /* model_ask.c: "azure-openai" */
extern const ac_model_vt ac_model_responses;       /* model_ask.c: "responses", OpenAI's newer API */
extern const ac_model_vt ac_model_azure_responses; /* model_ask.c: "azure-responses" */
extern const ac_model_vt ac_model_foundry;         /* model_ask.c: "foundry-agent" */
extern const ac_model_vt ac_model_demo;            /* model_demo.c: "demo" */

#endif
