/* SPDX-License-Identifier: Apache-2.0 */
/* Log messages with their numbers, passed to the sink that the layer above installed. */
#include "base.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT_SIZE 2048

static const ac_log_row_t rows[] = {
#define AC_MESSAGE(number, level, meaning, remedy) {number, level, meaning, remedy},
#include "messages.h"
#undef AC_MESSAGE
    {0, AC_ERROR, NULL, NULL},
};

/* Written by ac_log_install() before threads start; read by all threads. */
static ac_log_sink_fn *sink;
static int threshold = -1;
static _Thread_local const ac_log_fields_t *current; /* of the line that is given to the sink */

void ac_log_install(ac_log_sink_fn *new_sink, ac_level_e new_threshold)
{
    sink = new_sink;
    threshold = new_sink ? (int)new_threshold : -1;
}

bool ac_log_on(ac_level_e level)
{
    return (int)level <= threshold;
}

static const ac_log_row_t *log_find_row(int number)
{
    const ac_log_row_t *row = rows;
    while (row->number && row->number != number) {
        row++;
    }
    return row;
}

/* Formats after the first len bytes of text. A cut never leaves an incomplete character. */
static void format(char text[TEXT_SIZE], size_t len, const char *fmt, va_list args)
{
    if (vsnprintf(text + len, TEXT_SIZE - len, fmt, args) < 0) {
        text[len] = '\0';
    }
    text[ac_utf8_whole(text, strlen(text))] = '\0';
}

static void log_numbered(ac_log_id_e number, const char *file, int line, apr_status_t status, const char *fmt,
                         va_list args)
{
    const ac_log_row_t *row = log_find_row((int)number);
    if (!ac_log_on(row->level)) {
        return;
    }
    char text[TEXT_SIZE];
    int len = snprintf(text, sizeof(text), "AC%04d: ", (int)number);
    format(text, (size_t)len, fmt, args);
    sink(row->level, file, line, status, text);
}

void ac_log_message(ac_log_id_e number, const char *file, int line, apr_status_t status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_numbered(number, file, line, status, fmt, args);
    va_end(args);
}

void ac_log_message_about(ac_log_id_e number, const ac_log_fields_t *fields, const char *file, int line,
                          apr_status_t status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    current = fields;
    log_numbered(number, file, line, status, fmt, args);
    current = NULL;
    va_end(args);
}

void ac_log_detail_about(ac_level_e level, const ac_log_fields_t *fields, const char *file, int line, const char *fmt,
                         ...)
{
    char text[TEXT_SIZE];
    va_list args;
    va_start(args, fmt);
    current = fields;
    if (ac_log_on(level)) {
        format(text, 0, fmt, args);
        sink(level, file, line, APR_SUCCESS, text);
    }
    current = NULL;
    va_end(args);
}

const ac_log_fields_t *ac_log_fields(void)
{
    return current;
}

void ac_log_detail(ac_level_e level, const char *file, int line, const char *fmt, ...)
{
    if (!ac_log_on(level)) {
        return;
    }
    char text[TEXT_SIZE];
    va_list args;
    va_start(args, fmt);
    format(text, 0, fmt, args);
    va_end(args);
    sink(level, file, line, APR_SUCCESS, text);
}

const ac_log_row_t *ac_log_rows(void)
{
    return rows;
}
