/* SPDX-License-Identifier: Apache-2.0 */
/* A batch: its items, and the body that they become on a work thread. */
#include "telemetry_internal.h"

#include <zlib.h>

#define MAX_BODY ((size_t)AC_MAX_REQUEST)
#define GZIP_WINDOW (15 + 16) /* zlib's notation: the largest window, and gzip's frame */
#define GZIP_MEMORY 8
#define GZIP_PIECE 16384

ac_export_body_t *ac_export_body_create(ac_exporter_t *exporter, int most)
{
    ac_export_body_t *body = ac_alloc(sizeof *body);
    body->exporter = exporter;
    body->items = ac_alloc((size_t)most * sizeof(ac_telemetry_item_t *));
    body->n = ac_export_queue_take(&exporter->queue, body->items, most);
    body->again = ac_alloc((size_t)most);
    body->began = ac_clock();
    ac_buf_init(&body->bytes, MAX_BODY);
    return body;
}

/* Replaces the bytes by their compressed form. The fastest level: spans repeat themselves, and a higher one saves
 * little. */
static bool compress_body(ac_buf_t *bytes)
{
    z_stream stream = {.next_in = (Bytef *)bytes->data, .avail_in = (uInt)bytes->len};
    ac_buf_t out;
    char piece[GZIP_PIECE];
    int code = deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY);
    if (code != Z_OK) {
        return false;
    }
    ac_buf_init(&out, bytes->max);
    do {
        stream.next_out = (Bytef *)piece;
        stream.avail_out = sizeof piece;
        code = deflate(&stream, Z_FINISH);
        ac_buf_add(&out, piece, sizeof piece - stream.avail_out);
    } while (code == Z_OK && !out.failed);
    deflateEnd(&stream);
    if (code != Z_STREAM_END || out.failed) {
        ac_buf_free(&out);
        return false;
    }
    ac_buf_free(bytes);
    *bytes = out;
    return true;
}

void ac_export_body_encode(void *baton)
{
    ac_export_body_t *body = baton;
    const ac_exporter_conf_t *conf = &body->exporter->conf;
    ac_export_batch_t batch = {(const ac_telemetry_item_t *const *)body->items, body->n,
                               body->exporter->telemetry->resource};
    ac_buf_clear(&body->bytes);
    conf->format->encode(conf->baton, &body->bytes, &batch);
    body->failed = body->bytes.failed || (body->bytes.len && conf->gzip && !compress_body(&body->bytes));
}

void ac_export_body_keep_again(ac_export_body_t *body)
{
    int n = 0;
    for (int i = 0; i < body->n; i++) {
        if (body->again[i]) {
            body->items[n++] = body->items[i];
        } else {
            ac_telemetry_item_unref(body->items[i]);
        }
    }
    body->n = n;
}

unsigned ac_export_body_units(const ac_export_body_t *body)
{
    unsigned units = 0;
    for (int i = 0; i < body->n; i++) {
        units += body->items[i]->units;
    }
    return units;
}

void ac_export_body_free(ac_export_body_t *body)
{
    for (int i = 0; i < body->n; i++) {
        ac_telemetry_item_unref(body->items[i]);
    }
    ac_buf_free(&body->bytes);
    free(body->items);
    free(body->again);
    free(body);
}
