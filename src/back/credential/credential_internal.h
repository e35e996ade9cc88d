/* SPDX-License-Identifier: Apache-2.0 */
/* A credential as its configuration creates it (credential_spec.c) and its cache uses it (credential.c). */
#ifndef AC_CREDENTIAL_INTERNAL_H
#define AC_CREDENTIAL_INTERNAL_H

#include "identity.h"

typedef struct ac_credential_slot_t ac_credential_slot_t;

struct ac_credential_t {
    const char *spec; /* may be shown */
    ac_credential_kind_e kind;
    const char *scope;                     /* of the option, or NULL */
    const char *text;                      /* a key that was read with the configuration, or NULL */
    const ac_credential_source_vt *source; /* NULL: the text never changes */
    void *self;                            /* the state of the source */
    bool silent;
    ac_loop_t *loop; /* set by child_init */
    ac_credential_slot_t *slots;
    int n_delivering;
    bool stopped;
};

#endif
