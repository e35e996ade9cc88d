/* SPDX-License-Identifier: Apache-2.0 */
/* An entry of the mirror: consecutive events of a run, packed from its event log and read on any machine.
 *
 *     version, first number - 1, bytes of all tokens before, time in µs, then of each event:
 *     type, time minus that of the event before, length, payload
 *
 * Each number is an integer of 7 bits for each byte, the lowest first; a difference of times has its sign in the lowest
 * bit. The payload is that of the record of the event log. */
#include "events_internal.h"

#include <string.h>

#define VERSION 1
#define EVENTS_MAX 64
#define BYTES_MAX (64 * 1024) /* a longer event is an entry of its own */

static void add_number(ac_buf_t *to, uint64_t value)
{
    char bytes[10];
    size_t n = 0;
    do {
        bytes[n++] = (char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (value);
    ac_buf_add(to, bytes, n);
}

static uint64_t from_signed(int64_t value)
{
    return value < 0 ? ~((uint64_t)value << 1) : (uint64_t)value << 1;
}

static int64_t to_signed(uint64_t value)
{
    return (int64_t)(value & 1 ? ~(value >> 1) : value >> 1);
}

/* ---- packing ---- */

/* The next record that is an event; at: behind it. NULL: none. */
static const char *next_event(ac_event_log_t *log, size_t *pat, ac_event_record_t *record)
{
    const char *payload;
    while ((payload = ac_event_record_read(log, pat, record)) != NULL && record->type >= AC_N_EVENTS) {
    }
    return payload;
}

int ac_mirror_entry_pack(ac_buf_t *to, ac_event_log_t *log, ac_mirror_place_t *place)
{
    int64_t time = 0;
    int n = 0;
    while (n < EVENTS_MAX) {
        ac_event_record_t record;
        size_t at = place->at ? place->at : AC_EVENT_FILE_HEADER;
        const char *payload = next_event(log, &at, &record);
        if (!payload || record.seq != place->seq + 1 || (n && to->len + record.len > BYTES_MAX)) {
            break;
        }
        if (!n) {
            time = record.at;
            add_number(to, VERSION);
            add_number(to, place->seq);
            add_number(to, place->n_text);
            add_number(to, (uint64_t)time);
        }
        add_number(to, record.type);
        add_number(to, from_signed(record.at - time));
        add_number(to, record.len);
        if (ac_buf_add(to, payload, record.len) != APR_SUCCESS) {
            return -1;
        }
        time = record.at;
        place->at = at;
        place->seq = record.seq;
        place->n_text += record.type == AC_EVENT_TOKEN ? record.len : 0;
        n++;
    }
    return n;
}

void ac_mirror_entry_seek(ac_mirror_place_t *place, ac_event_log_t *log, uint64_t seq)
{
    ac_event_record_t record;
    size_t at = AC_EVENT_FILE_HEADER;
    *place = (ac_mirror_place_t){0};
    while (place->seq < seq && next_event(log, &at, &record)) {
        place->at = at;
        place->seq = record.seq;
        place->n_text += record.type == AC_EVENT_TOKEN ? record.len : 0;
    }
}

/* ---- reading ---- */

static bool get_number(ac_mirror_cursor_t *cursor, uint64_t *pvalue)
{
    *pvalue = 0;
    for (int shift = 0; shift < 64 && cursor->at < cursor->end; shift += 7) {
        unsigned char byte = (unsigned char)*cursor->at++;
        *pvalue |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            return true;
        }
    }
    return false;
}

bool ac_mirror_entry_open(ac_mirror_cursor_t *cursor, const char *bytes, size_t len)
{
    uint64_t version, n_text, time;
    *cursor = (ac_mirror_cursor_t){.at = bytes, .end = bytes + len};
    if (!get_number(cursor, &version) || version != VERSION || !get_number(cursor, &cursor->seq) ||
        !get_number(cursor, &n_text) || !get_number(cursor, &time) || cursor->seq >= UINT64_C(1) << 40 ||
        time > (uint64_t)INT64_MAX / 2) {
        return false;
    }
    cursor->n_text = (size_t)n_text;
    cursor->time = (apr_time_t)time;
    return true;
}

ac_event_t *ac_mirror_entry_next(ac_mirror_cursor_t *cursor)
{
    uint64_t type, passed, len;
    if (cursor->at == cursor->end) {
        return NULL;
    }
    cursor->is_damaged = true;
    if (!get_number(cursor, &type) || !get_number(cursor, &passed) || !get_number(cursor, &len) ||
        type > AC_EVENT_SOURCES || passed > UINT64_C(1) << 62 || len > (uint64_t)(cursor->end - cursor->at)) {
        return NULL;
    }
    ac_event_t *event = ac_event_record_parse((uint32_t)type, cursor->at, (size_t)len);
    if (!event) {
        return NULL;
    }
    cursor->at += len;
    cursor->time = (apr_time_t)((uint64_t)cursor->time + (uint64_t)to_signed(passed));
    cursor->n_text += type == AC_EVENT_TOKEN ? (size_t)len : 0;
    cursor->is_damaged = false;
    event->seq = ++cursor->seq;
    event->at = cursor->time;
    return event;
}
