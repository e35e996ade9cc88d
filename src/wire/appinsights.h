/* SPDX-License-Identifier: Apache-2.0 */
/* wire.h includes this. Application Insights: the connection string, the envelopes of its ingestion endpoint
 * (v2.1/track), and its answers. Any thread. Sources: Microsoft Learn, "Connection strings in Application Insights";
 * and what the vendor's package @azure/monitor-opentelemetry-exporter sends. */
#ifndef AC_APPINSIGHTS_H
#define AC_APPINSIGHTS_H

#include "base/base.h"

/* ---- appinsights_string.c: what an administrator pastes ---- */
#define AC_APPINSIGHTS_SCOPE "https://monitor.azure.com/.default"
typedef struct ac_appinsights_target_t {
    char key[40];          /* InstrumentationKey */
    char url[512];         /* of v2.1/track */
    char scope[256];       /* of the Entra ID token */
    char application[128]; /* ApplicationId, or "" */
} ac_appinsights_target_t;
/* Reads "InstrumentationKey=…;IngestionEndpoint=https://…;…". Names are compared without regard to case; unknown ones,
 * and those of other services (LiveEndpoint), are left out. http is changed to https, except for an address of this
 * machine. errors: invalid_request with what is wrong; the text itself is not repeated. */
apr_status_t ac_appinsights_string_read(ac_appinsights_target_t *target, const char *text, ac_err_t *err);
/* Reads "Authorization=AAD[;ClientId=…]" of APPLICATIONINSIGHTS_AUTHENTICATION_STRING. client: of a user-assigned
 * identity, or ""; *pidentity: whether requests need a token. errors: invalid_request. */
#define AC_APPINSIGHTS_CLIENT_SIZE 64
apr_status_t ac_appinsights_string_authentication(bool *pidentity, char client[AC_APPINSIGHTS_CLIENT_SIZE],
                                                  const char *text, ac_err_t *err);

/* ---- appinsights.c: envelopes, each a line of JSON ---- */
typedef struct ac_appinsights_source_t { /* what all envelopes have; borrowed */
    const char *key, *role, *instance;
    const char *version; /* of the application, or NULL */
    double sample_rate;  /* of spans: the percentage of traces that are recorded */
    bool old_names;      /* attributes of spans have their earlier names, too */
} ac_appinsights_source_t;
/* These append one envelope and a newline. What does not fit sets out->failed. A span of a server is a request, any
 * other a dependency. A log record with an error kind, of level error, is an exception, any other a trace. A point has
 * what was counted since the last one: Application Insights adds values up. */
void ac_appinsights_span(ac_buf_t *out, const ac_appinsights_source_t *source, const ac_span_t *span);
void ac_appinsights_log(ac_buf_t *out, const ac_appinsights_source_t *source, const ac_log_record_t *record);
void ac_appinsights_metric(ac_buf_t *out, const ac_appinsights_source_t *source, const ac_metric_naming_t *naming,
                           const ac_metric_point_t *point, apr_time_t when);
#define AC_APPINSIGHTS_DURATION_SIZE 40
/* "00:00:01.500", "1.02:03:04.0000005" */
void ac_appinsights_duration(char text[AC_APPINSIGHTS_DURATION_SIZE], apr_interval_time_t duration);

/* ---- appinsights_answer.c ---- */
typedef enum ac_appinsights_result_e {
    AC_APPINSIGHTS_ACCEPTED, /* but for `rejected` */
    AC_APPINSIGHTS_REFUSED,  /* for good */
    AC_APPINSIGHTS_AGAIN,    /* the same request, later */
    AC_APPINSIGHTS_SOME,     /* the envelopes in `again`, later */
    AC_APPINSIGHTS_ELSEWHERE /* a redirect */
} ac_appinsights_result_e;
typedef struct ac_appinsights_answer_t {
    ac_appinsights_result_e result;
    int rejected;      /* envelopes that are lost */
    char message[160]; /* of the first error; printable; "": none */
} ac_appinsights_answer_t;
/* Reads an answer to a request with n envelopes. again: n flags, which are set for the envelopes to send again. */
void ac_appinsights_answer_read(ac_appinsights_answer_t *answer, int status, const char *body, size_t len, bool *again,
                                int n);
/* Whether requests for one address may be sent to another one, which a redirect names: the same host and port, or both
 * with the port of https and of the same family of Azure Monitor's domains. */
bool ac_appinsights_answer_may_redirect(const char *from, const char *to);

#endif
