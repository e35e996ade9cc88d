/* SPDX-License-Identifier: Apache-2.0 */
/* The records of an event log: writing, reading, and their payloads. */
#include "events_internal.h"

#include <stdlib.h>
#include <string.h>

static size_t padded(size_t len)
{
    return (len + 7) & ~(size_t)7;
}

apr_status_t ac_event_record_write(ac_event_log_t *log, const ac_event_record_t *record, const char *payload)
{
    size_t at = atomic_load_explicit(&log->file->committed, memory_order_relaxed);
    size_t end = at + sizeof *record + padded(record->len);
    apr_status_t status = end > log->size ? ac_event_map_grow(log, end) : APR_SUCCESS;
    if (status != APR_SUCCESS) {
        return status;
    }
    char *to = (char *)log->file + at;
    memcpy(to, record, sizeof *record);
    memcpy(to + sizeof *record, payload, record->len);
    if (record->seq) {
        atomic_store_explicit(&log->file->seq, record->seq, memory_order_relaxed);
    }
    atomic_store_explicit(&log->file->committed, end, memory_order_release);
    return APR_SUCCESS;
}

const char *ac_event_record_read(ac_event_log_t *log, size_t *pat, ac_event_record_t *record)
{
    uint64_t committed = atomic_load_explicit(&log->file->committed, memory_order_acquire);
    if (committed < *pat + sizeof *record || (committed > log->size && !ac_event_map_extend(log, committed))) {
        return NULL;
    }
    const char *place = (const char *)log->file + *pat;
    memcpy(record, place, sizeof *record);
    uint64_t end = *pat + sizeof *record + padded(record->len);
    if (end > committed) {
        return NULL; /* the file is damaged */
    }
    *pat = end;
    return place + sizeof *record;
}

/* ---- payloads ---- */

char *ac_event_record_make_done(const ac_event_t *event, size_t *plen)
{
    json_t *parts = json_array();
    json_array_append(parts, event->data);
    json_array_append_new(parts, event->message ? json_incref(event->message) : json_null());
    json_array_append_new(parts, event->message ? json_null() : ac_json_text(event->text));
    char *text = ac_json_dump(parts, plen);
    json_decref(parts);
    return text;
}

static ac_event_t *read_done(uint32_t type, json_t *parts)
{
    const json_t *message = json_array_get(parts, 1), *text = json_array_get(parts, 2);
    json_t *data = json_array_get(parts, 0);
    const json_t *said = json_is_object(message) ? json_object_get(message, "content") : text;
    const char *words = json_is_string(said) ? json_string_value(said) : "";
    ac_event_t *event =
        json_is_object(data) ? ac_event_create((ac_event_type_e)type, json_incref(data), words, strlen(words)) : NULL;
    if (event && json_is_object(message)) {
        event->message = json_incref((json_t *)message);
    }
    return event;
}

ac_event_t *ac_event_record_parse(uint32_t type, const char *payload, size_t len)
{
    ac_event_t *event = NULL;
    if (ac_event_is_text(type)) {
        event = ac_event_create((ac_event_type_e)type, NULL, payload, len);
    } else {
        json_t *value = json_loadb(payload, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        if (!value) {
            return NULL;
        }
        if (type == AC_EVENT_DONE) {
            event = read_done(type, value);
            json_decref(value);
        } else if (json_is_object(value)) {
            event = ac_event_create((ac_event_type_e)type, value, NULL, 0);
        } else {
            json_decref(value);
        }
    }
    if (!event) {
        return NULL;
    }
    if (type == AC_EVENT_ERROR) {
        event->kind = ac_err_kind_by_code(ac_json_peek_string(event->data, "code", ""));
        event->retry_after = apr_time_from_msec(ac_json_peek_int(event->data, "retry_after_ms", 0));
    }
    return event;
}
