/* SPDX-License-Identifier: Apache-2.0 */
/* The forms of requests and answers that the OpenAI models have. */
#include "model_openai.h"

static apr_status_t chat_request(ac_buf_t *out, const ac_model_ask_t *ask, const ac_model_openai_t *model, bool *pchain,
                                 ac_err_t *err)
{
    *pchain = false;
    return ac_openai_request(out, ask, model->model, model->conf->params, err);
}

static apr_status_t chat_end(const ac_model_openai_t *model, ac_openai_answer_t *answer, ac_model_end_t *end)
{
    (void)model;
    return ac_openai_end(answer, end);
}

static apr_status_t responses_request(ac_buf_t *out, const ac_model_ask_t *ask, const ac_model_openai_t *model,
                                      bool *pchain, ac_err_t *err)
{
    return ac_responses_request(out, ask, &model->responses, pchain, err);
}

static apr_status_t responses_end(const ac_model_openai_t *model, ac_openai_answer_t *answer, ac_model_end_t *end)
{
    return ac_responses_end(answer, &model->responses, end);
}

const ac_model_form_t ac_model_form_chat = {"/chat/completions", chat_request, ac_openai_chunk, ac_openai_whole,
                                            chat_end};
const ac_model_form_t ac_model_form_responses = {"/responses", responses_request, ac_responses_event,
                                                 ac_responses_whole, responses_end};
