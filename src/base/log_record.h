/* SPDX-License-Identifier: Apache-2.0 */
/* A log message as other systems get it; base.h includes this. Any thread. */
#ifndef AC_LOG_RECORD_H
#define AC_LOG_RECORD_H

#include "agentchat.h"

typedef struct ac_log_entry_t { /* a message on its way; borrowed */
    ac_level_e level;
    apr_status_t status;
    const char *text;              /* with its number in front, if it has one */
    const ac_log_fields_t *fields; /* or NULL */
} ac_log_entry_t;
typedef struct ac_log_field_t {
    const char *name;         /* by the conventions of OpenTelemetry */
    ac_attribute_type_e type; /* TEXT, INTEGER or NUMBER */
    union {
        const char *text;
        int64_t integer;
        double number;
    } value;
} ac_log_field_t;
typedef struct ac_log_record_t { /* one piece of memory, for free() */
    apr_time_t when;
    ac_level_e level;
    ac_trace_t trace;
    const char *message; /* without its number */
    const char *error;   /* the code of an error kind, or NULL */
    size_t size;
    int n_fields;
    ac_log_field_t fields[];
} ac_log_record_t;
/* NULL: out of memory. */
ac_log_record_t *ac_log_record_make(const ac_log_entry_t *entry);

#endif
