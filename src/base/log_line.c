/* SPDX-License-Identifier: Apache-2.0 */
/* A log line as one JSON object, in memory of a fixed size: it can be written whole, also when there is no memory
 * left. */
#include "base.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define END ",\"truncated\":true}\n"
#define ROOM (AC_LOG_LINE_SIZE - sizeof(END)) /* for members */
#define NAME_MAX_BYTES 256                    /* of a text other than the message, as written */

static void line_add(ac_log_line_t *line, const char *text, size_t len)
{
    memcpy(line->text + line->len, text, len);
    line->len += len;
}

/* Writes one character as it stands in a JSON string; returns its length. */
static size_t escape(char out[8], const char *text, size_t len, size_t *pused)
{
    bool valid;
    unsigned char c = (unsigned char)text[0];
    *pused = ac_utf8_next(text, len, &valid);
    if (!valid) {
        memcpy(out, "\xef\xbf\xbd", 3);
        return 3;
    }
    if (c == '"' || c == '\\') {
        out[0] = '\\';
        out[1] = (char)c;
        return 2;
    }
    /* A terminal acts on control characters, also on those of two bytes (U+0080 to U+009F). */
    bool is_control = c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)text[1] < 0xa0);
    if (is_control) {
        return (size_t)snprintf(out, 8, "\\u%04x", c == 0xc2 ? (unsigned char)text[1] : c);
    }
    memcpy(out, text, *pused);
    return *pused;
}

/* Adds a string with its quotes, in at most `max` bytes; what does not fit is cut between characters. */
static void line_add_string(ac_log_line_t *line, const char *text, size_t max)
{
    size_t len = strlen(text), used, end = line->len + max - 1;
    line->text[line->len++] = '"';
    for (size_t i = 0; i < len; i += used) {
        char character[8];
        size_t n = escape(character, text + i, len - i, &used);
        if (line->len + n > end) {
            line->truncated = true;
            break;
        }
        line_add(line, character, n);
    }
    line->text[line->len++] = '"';
}

/* Adds the name of a member. false: there is no room for it and `least` bytes of value. */
static bool line_add_name(ac_log_line_t *line, const char *name, size_t least)
{
    size_t len = strlen(name);
    if (line->len + len + 4 + least > ROOM) {
        line->truncated = true;
        return false;
    }
    line_add(line, line->len > 1 ? ",\"" : "\"", line->len > 1 ? 2 : 1);
    line_add(line, name, len);
    line_add(line, "\":", 2);
    return true;
}

void ac_log_line_begin(ac_log_line_t *line, apr_time_t when)
{
    char text[AC_TIME_SIZE];
    ac_time_format_micro(text, when);
    line->len = 1;
    line->text[0] = '{';
    line->truncated = false;
    ac_log_line_text(line, "time", text);
}

void ac_log_line_text(ac_log_line_t *line, const char *name, const char *text)
{
    if (text && *text && line_add_name(line, name, NAME_MAX_BYTES)) {
        line_add_string(line, text, NAME_MAX_BYTES);
    }
}

void ac_log_line_message(ac_log_line_t *line, const char *text)
{
    if (line_add_name(line, "message", 2)) {
        line_add_string(line, text, ROOM - line->len);
    }
}

void ac_log_line_int(ac_log_line_t *line, const char *name, int64_t value)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%" PRId64, value);
    if (line_add_name(line, name, (size_t)len)) {
        line_add(line, text, (size_t)len);
    }
}

/* Milliseconds, as 12.345. */
static void line_add_ms(ac_log_line_t *line, const char *name, apr_interval_time_t value)
{
    char text[32];
    apr_interval_time_t micro = value > 0 ? value : 0;
    int len = snprintf(text, sizeof(text), "%" PRId64 ".%03d", (int64_t)(micro / 1000), (int)(micro % 1000));
    if (line_add_name(line, name, (size_t)len)) {
        line_add(line, text, (size_t)len);
    }
}

static void line_add_amount(ac_log_line_t *line, const char *name, double value)
{
    char text[AC_AMOUNT_SIZE];
    ac_text_amount(text, value);
    size_t len = strlen(text);
    if (line_add_name(line, name, len)) {
        line_add(line, text, len);
    }
}

void ac_log_line_fields(ac_log_line_t *line, const ac_log_fields_t *fields)
{
    const ac_usage_t *usage = fields->usage;
    ac_log_line_text(line, "error", fields->error);
    ac_log_line_text(line, "run", fields->run);
    ac_log_line_text(line, "thread", fields->thread);
    ac_log_line_text(line, "request", fields->request);
    ac_log_line_text(line, "trace_id", fields->trace ? fields->trace->trace_id : NULL);
    ac_log_line_text(line, "span_id", fields->trace ? fields->trace->span_id : NULL);
    ac_log_line_text(line, "protocol", fields->protocol);
    ac_log_line_text(line, "route", fields->route);
    ac_log_line_text(line, "agent", fields->agent);
    ac_log_line_text(line, "model", fields->model);
    ac_log_line_text(line, "tool", fields->tool);
    ac_log_line_text(line, "status", fields->status);
    if (fields->http_status) {
        ac_log_line_int(line, "http_status", fields->http_status);
    }
    if (fields->latency) {
        line_add_ms(line, "latency_ms", fields->latency);
    }
    if (fields->first_token) {
        line_add_ms(line, "first_token_ms", fields->first_token);
    }
    if (fields->store) {
        line_add_ms(line, "store_ms", fields->store);
    }
    if (fields->rounds) {
        ac_log_line_int(line, "rounds", fields->rounds);
    }
    if (fields->tool_calls) {
        ac_log_line_int(line, "tool_calls", fields->tool_calls);
    }
    if (usage && usage->total) {
        ac_log_line_int(line, "input_tokens", usage->prompt);
        ac_log_line_int(line, "cached_tokens", usage->cached);
        ac_log_line_int(line, "output_tokens", usage->completion);
        ac_log_line_int(line, "reasoning_tokens", usage->reasoning);
        ac_log_line_text(line, "tokens", usage->estimated ? "estimated" : "reported");
    }
    if (usage && usage->total && fields->currency && *fields->currency) {
        line_add_amount(line, "cost", fields->cost);
        ac_log_line_text(line, "currency", fields->currency);
    }
}

void ac_log_line_end(ac_log_line_t *line)
{
    if (line->truncated) {
        line_add(line, END, sizeof(END) - 1);
    } else {
        line_add(line, "}\n", 2);
    }
}
