/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that only the files of this folder share. */
#ifndef AC_APIKEY_INTERNAL_H
#define AC_APIKEY_INTERNAL_H

#include "apikey.h"

/* keyring.c; any thread */
void ac_keyring_ref(ac_keyring_t *ring);

#endif
