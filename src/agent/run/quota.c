/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of a turn and their subject, on the way from the request to the run; and the fields of the response, on
 * the way back. */
#include "run_internal.h"

#include <math.h>
#include <string.h>

static char *quota_copy(const char *text)
{
    size_t len = text ? strlen(text) + 1 : 0;
    return len ? memcpy(ac_alloc(len), text, len) : NULL;
}

ac_quota_t *ac_quota_create(const ac_limits_t *scope, const ac_limits_t *key, const ac_subject_t *subject)
{
    ac_quota_t *quota = ac_alloc(sizeof(*quota));
    atomic_init(&quota->refs, 1);
    quota->scope = scope;
    if (key && key->n) {
        quota->key = ac_alloc(sizeof(*quota->key));
        *quota->key = *key;
        quota->key->scope = quota->key_scope = quota_copy(key->scope);
    }
    quota->subject = (ac_subject_t){.owner = quota_copy(subject->owner),
                                    .key = quota_copy(subject->key),
                                    .address = quota_copy(subject->address)};
    return quota;
}

void ac_quota_ref(ac_quota_t *quota)
{
    if (quota) {
        atomic_fetch_add_explicit(&quota->refs, 1, memory_order_relaxed);
    }
}

void ac_quota_unref(ac_quota_t *quota)
{
    if (!quota || atomic_fetch_sub_explicit(&quota->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    ac_quota_fields_t *fields = atomic_load(&quota->fields);
    if (fields) {
        ac_buf_free(&fields->policy);
        ac_buf_free(&fields->left);
        free(fields);
    }
    free((char *)quota->subject.owner);
    free((char *)quota->subject.key);
    free((char *)quota->subject.address);
    free(quota->key_scope);
    free(quota->key);
    free(quota);
}

void ac_quota_publish(ac_quota_t *quota, const ac_reservation_t *started, const ac_reservation_t *reserved)
{
    ac_quota_fields_t *fields = ac_alloc(sizeof(*fields)), *none = NULL;
    ac_buf_init(&fields->policy, AC_MAX_HEAD);
    ac_buf_init(&fields->left, AC_MAX_HEAD);
    ac_reservation_fields(started, &fields->policy, &fields->left);
    ac_reservation_fields(reserved, &fields->policy, &fields->left);
    if (!atomic_compare_exchange_strong(&quota->fields, &none, fields)) {
        ac_buf_free(&fields->policy);
        ac_buf_free(&fields->left);
        free(fields);
    }
}

const ac_quota_fields_t *ac_quota_fields(ac_quota_t *quota)
{
    return quota ? atomic_load(&quota->fields) : NULL;
}

/* ---- what it counts ---- */

int64_t ac_quota_money(double amount)
{
    double units = ceil(amount * (double)AC_COST_ONE - 1e-6);
    return units < 0 ? 0 : units > (double)AC_MAX_LIMIT ? AC_MAX_LIMIT : (int64_t)units;
}

ac_quota_places_t ac_quota_places(const ac_quota_t *quota, const ac_agent_t *agent)
{
    ac_quota_places_t places = {.n = 0};
    if (quota->scope) {
        places.list[places.n++] = quota->scope;
    }
    if (quota->key) {
        places.list[places.n++] = quota->key;
    }
    if (agent && agent->limits) {
        places.list[places.n++] = agent->limits;
    }
    return places;
}

bool ac_quota_counts(const ac_agent_t *agent, const ac_limits_t *place, const ac_limit_t *limit)
{
    return place == agent->limits || ac_reservation_phase(limit) == AC_PHASE_RUN;
}

ac_reservation_t *ac_quota_want(const ac_quota_t *quota, const ac_agent_t *agent, const int64_t amounts[AC_N_MEASURES])
{
    ac_quota_places_t places = ac_quota_places(quota, agent);
    ac_subject_t who = quota->subject;
    ac_reservation_t *reservation = NULL;
    who.agent = agent->id;
    for (int i = 0; i < places.n; i++) {
        for (int j = 0; j < places.list[i]->n; j++) {
            const ac_limit_t *limit = &places.list[i]->list[j];
            if (ac_quota_counts(agent, places.list[i], limit) && amounts[limit->measure] >= 0) {
                ac_reservation_add(&reservation, places.list[i], limit, &who, amounts[limit->measure]);
            }
        }
    }
    return reservation;
}

void ac_quota_want_agent(ac_reservation_t **preservation, const ac_quota_t *quota, const ac_agent_t *agent,
                         const int64_t amounts[AC_N_MEASURES])
{
    ac_subject_t who = quota->subject;
    who.agent = agent->id;
    for (int i = 0; agent->limits && i < agent->limits->n; i++) {
        const ac_limit_t *limit = &agent->limits->list[i];
        if (amounts[limit->measure] >= 0) {
            ac_reservation_add(preservation, agent->limits, limit, &who, amounts[limit->measure]);
        }
    }
}

bool ac_quota_wants_cost(const ac_reservation_t *reservation)
{
    for (int i = 0; reservation && i < reservation->n; i++) {
        if (reservation->list[i].measure == AC_LIMIT_COST) {
            return true;
        }
    }
    return false;
}
