/* SPDX-License-Identifier: Apache-2.0 */
/* Application Insights: the connection string, the envelopes of its ingestion endpoint (v2.1/track), and its answer. Pure; any
 * thread. Sources: Microsoft Learn, "Connection strings in Application Insights"; the schemas of Application Insights; and what
 * the vendor's @azure/monitor-opentelemetry-exporter sends. */
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
/* Reads "InstrumentationKey=…;IngestionEndpoint=https://…;…". Names are compared without regard to case; unknown ones, and those of
 * other services (LiveEndpoint), are left out. http is changed to https, except for an address of this machine. errors:
 * invalid_request with what is wrong; the text itself is not repeated. */
apr_status_t ac_appinsights_target_read(ac_appinsights_target_t *target, const char *text, ac_err_t *err);
/* Reads "Authorization=AAD[;ClientId=…]" of APPLICATIONINSIGHTS_AUTHENTICATION_STRING. client: of a user-assigned identity, or ""; *pidentity:
 * whether requests need a token. errors: invalid_request. */
#define AC_APPINSIGHTS_CLIENT_SIZE 64
apr_status_t ac_appinsights_authentication_read(bool *pidentity, char client[AC_APPINSIGHTS_CLIENT_SIZE],
                                                const char *text, ac_err_t *err);

#endif
