/* SPDX-License-Identifier: Apache-2.0 */
/* Parts that the built-in tools share. */
#ifndef AC_TOOL_SUPPORT_H
#define AC_TOOL_SUPPORT_H

#include "io/io.h"
#include "tools.h"

/* Returns NULL, or an error message about the first option that is not in names (NULL-terminated). */
const char *ac_tool_support_check_options(const apr_table_t *options, const char *const *names, apr_pool_t *p);
/* Reads an option that is an absolute http or https URL without a query; a '/' at its end is removed. Returns NULL, or
 * an error message. */
const char *ac_tool_support_option_url(const char **purl, const ac_tool_conf_t *conf, const char *name,
                                       const char *fallback, apr_pool_t *p);
/* How long there is until deadline; errors: tool_timeout where there is nothing left. */
apr_status_t ac_tool_support_time_left(apr_interval_time_t *pleft, apr_time_t now, apr_time_t deadline, ac_err_t *err);
/* The error of a failed exchange as the model reads it: "<who> could not be reached: …", as tool_error or
 * tool_timeout. */
apr_status_t ac_tool_support_exchange_failed(ac_err_t *err, const char *who, const ac_err_t *cause);
/* tool_error: "<who> answered 404", and the beginning of body where it is text that people read. type: its
 * media type. */
apr_status_t ac_tool_support_answer_refused(ac_err_t *err, const char *who, int status, const char *type,
                                            const char *body, size_t len);
/* Whether a Content-Type's value names JSON ("application/json", "application/problem+json; charset=…"), any text. */
bool ac_tool_support_is_json(const char *type);
bool ac_tool_support_is_text(const char *type);
/* Reads foreign JSON; duplicate members are allowed. *pvalue: a new reference; false: no JSON, or nested more
 * deeply than we keep. */
bool ac_tool_support_json(json_t **pvalue, const char *text, size_t len);

#endif
