/* SPDX-License-Identifier: Apache-2.0 */
/* The model providers. */
#ifndef AC_MODEL_H
#define AC_MODEL_H

#include "agentchat.h"

extern const ac_model_vt ac_model_openai;       /* model_openai.c: "openai", for any compatible server */
extern const ac_model_vt ac_model_azure_openai; /* model_openai.c: "azure-openai" */
extern const ac_model_vt ac_model_demo;         /* model_demo.c: "demo" */

#endif
