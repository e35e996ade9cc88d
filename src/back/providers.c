/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in stores, models and tools. A new one is one row here. */
#include "back.h"
#include "back/cosmos/cosmos.h"
#include "back/model/model.h"
#include "back/sqlite/sqlite.h"
#include "back/tools/tools.h"

const ac_store_vt *const ac_back_stores[] = {&ac_store_sqlite, &ac_store_cosmos, NULL};

const ac_model_vt *const ac_back_models[] = {&ac_model_openai,
                                             &ac_model_azure_openai,
                                             &ac_model_responses,
                                             &ac_model_azure_responses,
                                             &ac_model_foundry,
                                             &ac_model_demo,
                                             NULL};

const ac_tool_vt *const ac_back_tools[] = {&ac_tool_calculator, &ac_tool_weather, &ac_tool_knowledge, &ac_tool_http,
                                           NULL};
