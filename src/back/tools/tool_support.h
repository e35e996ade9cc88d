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
/* The time until deadline. errors: tool_timeout if the deadline has passed. */
apr_status_t ac_tool_support_time_left(apr_interval_time_t *pleft, apr_time_t now, apr_time_t deadline, ac_err_t *err);
/* Sets the error of a failed exchange for the model: "<who> could not be reached: …", as tool_error or tool_timeout. */
apr_status_t ac_tool_support_exchange_failed(ac_err_t *err, const char *who, const ac_err_t *cause);
/* Sets tool_error: "<who> answered 404", and the beginning of body if it is readable text. type: its media type. */
apr_status_t ac_tool_support_answer_refused(ac_err_t *err, const char *who, int status, const char *type,
                                            const char *body, size_t len);
/* Whether a Content-Type is JSON ("application/json", "application/problem+json; charset=…"), or any text. */
bool ac_tool_support_is_json(const char *type);
bool ac_tool_support_is_text(const char *type);
/* Parses JSON of a service; duplicate members are allowed. *pvalue: a new reference. Returns false if it is not JSON,
 * or nested too deeply. */
bool ac_tool_support_json(json_t **pvalue, const char *text, size_t len);

#endif
