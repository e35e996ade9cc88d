/* SPDX-License-Identifier: Apache-2.0 */
/* Responses as they come: head, body by length, by chunks or to the end of the connection. */
#include "ssebench.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void response_done(load_conn_t *conn)
{
    if (load.setting_up) {
        load_conn_finish(conn, LOAD_OK);
        return;
    }
    load.tally.status[conn->status / 100 < 6 ? conn->status / 100 : 0]++;
    if (conn->status / 100 != 2) {
        load_conn_finish(conn, LOAD_STATUS);
    } else if (load_options.plain) {
        load_conn_finish(conn, LOAD_OK);
    } else if (conn->failed) {
        load_conn_finish(conn, LOAD_ERROR_EVENT);
    } else {
        load_conn_finish(conn, conn->done ? LOAD_OK : LOAD_INCOMPLETE);
    }
}

void load_response_on_eof(load_conn_t *conn)
{
    if (conn->phase == LOAD_TO_EOF) {
        response_done(conn);
    } else {
        load_conn_finish(conn, conn->phase > LOAD_HEAD ? LOAD_INCOMPLETE : LOAD_IO);
    }
}

static void parse_head(load_conn_t *conn)
{
    const char *head = conn->head.data;
    conn->status = conn->head.len > 12 ? (int)strtol(head + 9, NULL, 10) : 0;
    conn->phase = LOAD_TO_EOF;
    bool keep = memcmp(head, "HTTP/1.1", 8) == 0;
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        const char *name = line + 2;
        if (strncasecmp(name, "content-length:", 15) == 0 && conn->phase != LOAD_CHUNK_SIZE) {
            conn->left = strtoull(name + 15, NULL, 10);
            conn->phase = LOAD_SIZED;
        } else if (strncasecmp(name, "transfer-encoding:", 18) == 0) {
            conn->left = 0;
            conn->phase = LOAD_CHUNK_SIZE;
        } else if (strncasecmp(name, "connection:", 11) == 0) {
            keep = strncasecmp(name + 11 + strspn(name + 11, " "), "close", 5) != 0;
        }
    }
    if (conn->status == 204 || conn->status == 304) {
        conn->phase = LOAD_SIZED;
        conn->left = 0;
    }
    conn->close_after = !keep || conn->phase == LOAD_TO_EOF;
}

static void take_body(load_conn_t *conn, const char *data, size_t len, uint64_t now)
{
    if (load.setting_up) {
        rig_buf_add(&conn->line, data, len);
    } else if (!load_options.plain && conn->status == 200) {
        load_events_take(conn, data, len, now);
    }
}

static void take_head(load_conn_t *conn, char byte)
{
    rig_buf_t *head = &conn->head;
    rig_buf_add(head, &byte, 1);
    if (byte == '\n' && head->len >= 4 && memcmp(head->data + head->len - 4, "\r\n\r\n", 4) == 0) {
        rig_buf_add(head, "", 1);
        parse_head(conn);
    }
}

static unsigned hex_digit(char byte)
{
    return (unsigned)(byte >= '0' && byte <= '9' ? byte - '0' : (byte | 32) - 'a' + 10);
}

/* A byte of chunked coding that is no data. */
static void take_framing(load_conn_t *conn, char byte)
{
    if (conn->phase == LOAD_CHUNK_END) { /* CR LF */
        if (byte == '\n') {
            conn->phase = LOAD_CHUNK_SIZE;
        }
    } else if (conn->phase == LOAD_CHUNK_SIZE) { /* hex digits; an extension after them is not expected */
        if (byte == '\n') {
            conn->phase = conn->left ? LOAD_CHUNK_DATA : LOAD_TRAILER;
        } else if (byte != '\r') {
            conn->left = conn->left * 16 + hex_digit(byte);
        }
    } else if (byte == '\n' && !conn->trailing) { /* trailer: lines up to an empty one */
        response_done(conn);
    } else {
        conn->trailing = byte != '\n' && (conn->trailing || byte != '\r');
    }
}

void load_response_take(load_conn_t *conn, const char *data, size_t len, uint64_t now)
{
    const char *end = data + len;
    while (conn->phase != LOAD_IDLE) {
        if (conn->phase == LOAD_SIZED && conn->left == 0) {
            response_done(conn);
            return;
        }
        if (data == end) {
            return;
        }
        size_t take = 1;
        switch (conn->phase) {
        case LOAD_HEAD: take_head(conn, *data); break;
        case LOAD_SIZED:
        case LOAD_CHUNK_DATA:
            take = conn->left < (uint64_t)(end - data) ? (size_t)conn->left : (size_t)(end - data);
            take_body(conn, data, take, now);
            conn->left -= take;
            if (conn->left == 0 && conn->phase == LOAD_CHUNK_DATA) {
                conn->phase = LOAD_CHUNK_END;
            }
            break;
        case LOAD_CHUNK_END:
        case LOAD_CHUNK_SIZE:
        case LOAD_TRAILER: take_framing(conn, *data); break;
        default: take = (size_t)(end - data); take_body(conn, data, take, now);
        }
        data += take;
    }
}
