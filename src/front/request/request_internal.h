/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef AC_REQUEST_INTERNAL_H
#define AC_REQUEST_INTERNAL_H

#include "request.h"

/* ---- problem_v1.c ---- */
/* Whether the path is one of that API, so that errors have its form. */
bool ac_problem_v1_is(const request_rec *r);

#endif
