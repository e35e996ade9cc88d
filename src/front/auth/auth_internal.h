/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that the files of this folder share. */
#ifndef AC_AUTH_INTERNAL_H
#define AC_AUTH_INTERNAL_H

#include "auth.h"

/* principal.c. Signs r in with this key: sets what httpd and its logs know of the user too, and the note
 * AC_NOTE_KEY. */
void ac_principal_sign(request_rec *r, const ac_api_key_t *key);
/* sign_in.c. Checks a key in r where httpd asked for none. errors: unauthenticated where the key is not valid. */
apr_status_t ac_sign_in_unasked(request_rec *r, ac_err_t *err);
/* host.c. Refuses a request that names another host than its server's ServerName, its ServerAliases, localhost or an
 * address: a page whose own name leads here (DNS rebinding). For requests that no user has signed in to. errors:
 * forbidden. */
apr_status_t ac_host_check(request_rec *r, ac_err_t *err);

#endif
