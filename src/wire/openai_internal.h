/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of chat completions; no other folder includes it. */
#ifndef AC_OPENAI_INTERNAL_H
#define AC_OPENAI_INTERNAL_H

#include "wire.h"

/* Parses a foreign document leniently: a repeated member's last value counts, invalid UTF-8 and lone surrogates
 * become U+FFFD. NULL: it is not JSON, no object or array, or deeper than AC_MAX_JSON_DEPTH. New reference. */
json_t *ac_openai_document(const char *text, size_t len);
/* The ordinary chunk (one choice with text, nothing else that matters) read straight from its bytes. false: it may
 * be something else and nothing was done; otherwise all is as ac_openai_chunk_parsed() would have done it, *pstatus
 * included. */
bool ac_openai_quick_chunk(ac_openai_answer_t *answer, const char *data, size_t len, apr_status_t *pstatus,
                           ac_err_t *err);
/* Any chunk but [DONE], by way of a JSON tree. */
apr_status_t ac_openai_chunk_parsed(ac_openai_answer_t *answer, const char *data, size_t len, ac_err_t *err);
/* The model's own name, unless it is known already. */
void ac_openai_model(ac_openai_answer_t *answer, const char *name, size_t len);
apr_status_t ac_openai_text(ac_openai_answer_t *answer, const char *text, size_t len, ac_err_t *err);
/* One fragment of tool_calls, or a legacy function_call object. */
apr_status_t ac_openai_call_fragment(ac_openai_answer_t *answer, const json_t *fragment, ac_err_t *err);
apr_status_t ac_openai_call_legacy(ac_openai_answer_t *answer, const json_t *function, ac_err_t *err);
/* Announces what is still unannounced, since nothing more will come. errors: model_error (a call without a name). */
apr_status_t ac_openai_calls_end(ac_openai_answer_t *answer, ac_err_t *err);
void ac_openai_calls_free(ac_openai_answer_t *answer);
/* Sets err from a parsed error document, or only the status where document is NULL. */
apr_status_t ac_openai_error_parsed(int http_status, const json_t *document, bool *pretry, ac_err_t *err);

#endif
