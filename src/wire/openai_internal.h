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
/* Handles one fragment of tool_calls, or a legacy function_call object. */
apr_status_t ac_openai_call_fragment(ac_openai_answer_t *answer, const json_t *fragment, ac_err_t *err);
apr_status_t ac_openai_call_legacy(ac_openai_answer_t *answer, const json_t *function, ac_err_t *err);
/* Announces all calls that are not announced yet: no more fragments will come. errors: model_error (a call without a
 * name). */
apr_status_t ac_openai_calls_end(ac_openai_answer_t *answer, ac_err_t *err);
void ac_openai_calls_free(ac_openai_answer_t *answer);
/* Sets err from a parsed error document, or only from the status if document is NULL. */
apr_status_t ac_openai_error_parsed(int http_status, const json_t *document, bool *pretry, ac_err_t *err);

#endif
