/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics of a small configuration, for the tests of their memory and of their text. */
#ifndef METRICS_WORLD_H
#define METRICS_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t dead; /* a pid that does not live */

static bool lives(int64_t pid, int64_t started)
{
    (void)started;
    return pid != dead;
}

static const char *const routes[] = {"other other other", "native GET /threads", "native POST /threads"};

/* Names of one configuration: agents and models, each ended by NULL. */
static ac_metric_names_t names_of(const char *const *agents, const char *const *models)
{
    ac_metric_names_t names;
    ac_metrics_names_init(&names);
    names.list[AC_DOMAIN_ROUTE] = routes;
    names.n[AC_DOMAIN_ROUTE] = 3;
    names.list[AC_DOMAIN_AGENT] = agents;
    names.list[AC_DOMAIN_MODEL] = models;
    for (names.n[AC_DOMAIN_AGENT] = 0; agents[names.n[AC_DOMAIN_AGENT]]; names.n[AC_DOMAIN_AGENT]++) {
    }
    for (names.n[AC_DOMAIN_MODEL] = 0; models[names.n[AC_DOMAIN_MODEL]]; names.n[AC_DOMAIN_MODEL]++) {
    }
    return names;
}

static const char *const two[] = {"other", "alpha", "beta", NULL}, *const models[] = {"other", "m1", NULL};

static ac_metrics_t *make(int n_children)
{
    ac_metric_names_t names = names_of(two, models);
    ac_metrics_t *metrics = ac_metrics_create(&names, n_children, NULL);
    assert_non_null(metrics);
    dead = 0;
    return metrics;
}

#endif
