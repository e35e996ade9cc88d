/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that only the files of chat completions share. */
#ifndef AC_OPENAI_INTERNAL_H
#define AC_OPENAI_INTERNAL_H

#include "wire.h"

/* Parses another server's document leniently: of a repeated member the last value counts; invalid UTF-8 and lone
 * surrogates become U+FFFD. Returns NULL if it is not JSON, not an object or array, or deeper than AC_MAX_JSON_DEPTH.
 * New reference. */
json_t *ac_openai_document(const char *text, size_t len);
/* Reads the ordinary chunk (one choice with text, and nothing else of significance) directly from its bytes. Returns
 * false, and has done nothing, if the chunk may be of another form. Otherwise the effect equals that of
 * ac_openai_chunk_parsed(), *pstatus included. */
bool ac_openai_quick_chunk(ac_openai_answer_t *answer, const char *data, size_t len, apr_status_t *pstatus,
                           ac_err_t *err);
/* Handles any chunk except for [DONE], with a JSON tree. */
apr_status_t ac_openai_chunk_parsed(ac_openai_answer_t *answer, const char *data, size_t len, ac_err_t *err);
/* Stores the model's own name, unless one is stored already. */
void ac_openai_model(ac_openai_answer_t *answer, const char *name, size_t len);
apr_status_t ac_openai_text(ac_openai_answer_t *answer, const char *text, size_t len, ac_err_t *err);
/* Drops it if the caller wants no reasoning. */
apr_status_t ac_openai_reasoning(ac_openai_answer_t *answer, const char *text, size_t len, ac_err_t *err);
/* Stores the figures of a `usage` of chat completions or of a response, unless all are 0. */
void ac_openai_usage(ac_openai_answer_t *answer, const json_t *usage);
/* Handles one fragment of tool_calls, or a legacy function_call object. */
apr_status_t ac_openai_call_fragment(ac_openai_answer_t *answer, const json_t *fragment, ac_err_t *err);
apr_status_t ac_openai_call_legacy(ac_openai_answer_t *answer, const json_t *function, ac_err_t *err);
/* Announces all calls that are not announced yet: no more fragments will come. errors: model_error (a call without a
 * name). */
apr_status_t ac_openai_calls_end(ac_openai_answer_t *answer, ac_err_t *err);
/* Handles a whole call: what its fragments have not said before. Its arguments replace those of the fragments. */
apr_status_t ac_openai_call_whole(ac_openai_answer_t *answer, const json_t *fragment, ac_err_t *err);
/* Adds a question of the service, which wants to call a tool of its own: a call that is not announced. */
apr_status_t ac_openai_call_question(ac_openai_answer_t *answer, const json_t *fragment, ac_err_t *err);
void ac_openai_calls_free(ac_openai_answer_t *answer);
/* Sets err from a parsed error document, or only from the status if document is NULL. */
apr_status_t ac_openai_error_parsed(int http_status, const json_t *document, bool *pretry, ac_err_t *err);

/* ---- openai_body.c: what the bodies of chat completions and of responses have in common ---- */
typedef struct ac_openai_body_t {
    ac_buf_t *out;
    const json_t *params; /* of the model; NULL: none */
    bool open;            /* the next member is not the first one */
} ac_openai_body_t;

bool ac_openai_body_among(const char *name, const char *const *names); /* names: up to NULL */
void ac_openai_body_value(const ac_openai_body_t *body, const json_t *value);
void ac_openai_body_name(ac_openai_body_t *body, const char *name);
void ac_openai_body_put(ac_openai_body_t *body, const char *name, const json_t *value);
/* Puts a default, unless params has a member of that name (null included). Consumes value; NULL fails the body. */
void ac_openai_body_default(ac_openai_body_t *body, const char *name, json_t *value);
/* Puts the limit of tokens under the name that params chooses among names, else under the first one. A limit in params
 * is an upper bound; null there removes it. max_tokens: 0 for none. */
void ac_openai_body_limit(ac_openai_body_t *body, const char *const *names, int max_tokens);
/* Puts the members of params, except for nulls, those in `written`, and those about tools that the request says itself
 * or that upstreams refuse without tools. */
void ac_openai_body_params(ac_openai_body_t *body, const ac_model_ask_t *ask, const char *const *written);
/* Reserves the room of the images: many small steps of growth would copy them again and again. */
void ac_openai_body_reserve(ac_buf_t *out, const ac_model_ask_t *ask);
/* The image for which the part of a message stands; NULL: the part is no image, or its file is not among the images. */
const ac_model_image_t *ac_openai_body_image(const ac_model_ask_t *ask, const json_t *part);
/* Writes the image's URL, or its bytes as a data URL. */
void ac_openai_body_url(ac_buf_t *out, const ac_model_image_t *image);

/* ---- responses_hosted.c ---- */
#define AC_MAX_HOSTED_NAME 72
#define AC_MAX_HOSTED_ID 128
/* Reports the beginning or the end of a call that the service makes itself, if the item is one. */
void ac_responses_hosted_report(ac_openai_answer_t *answer, const json_t *item, int64_t index, bool ended);
/* An mcp_approval_request. */
apr_status_t ac_responses_hosted_ask(ac_openai_answer_t *answer, const json_t *item, ac_err_t *err);

#endif
