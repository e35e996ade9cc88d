/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of an exporter: a ring of counted items, bounded by their number and their bytes. */
#include "telemetry_internal.h"

void ac_export_queue_init(ac_export_queue_t *queue, const ac_exporter_conf_t *conf)
{
    pthread_mutex_init(&queue->lock, NULL);
    queue->size = conf->max_items > 0 ? conf->max_items : 1;
    queue->ring = ac_alloc((size_t)queue->size * sizeof *queue->ring);
    queue->max_bytes = conf->max_bytes;
    queue->enough = conf->batch < queue->size ? conf->batch : queue->size;
}

static ac_telemetry_item_t *take_first(ac_export_queue_t *queue)
{
    ac_telemetry_item_t *item = queue->ring[queue->first];
    queue->first = (queue->first + 1) % queue->size;
    queue->n--;
    queue->bytes -= item->bytes;
    return item;
}

static void drop(ac_export_queue_t *queue, ac_telemetry_item_t *item)
{
    queue->n_dropped += item->units;
    ac_telemetry_item_count_lost(item->signal, item->units);
    ac_telemetry_item_unref(item);
}

static bool has_enough(const ac_export_queue_t *queue)
{
    return queue->n >= queue->enough || queue->bytes >= AC_EXPORT_BATCH_BYTES;
}

bool ac_export_queue_put(ac_export_queue_t *queue, ac_telemetry_item_t *item)
{
    bool wakes = false;
    pthread_mutex_lock(&queue->lock);
    if (queue->closed || item->bytes > queue->max_bytes) {
        drop(queue, item);
    } else {
        while (queue->n && (queue->n == queue->size || queue->bytes + item->bytes > queue->max_bytes)) {
            drop(queue, take_first(queue));
        }
        queue->ring[(queue->first + queue->n++) % queue->size] = item;
        queue->bytes += item->bytes;
        wakes = !queue->busy && !queue->woken && (queue->n == 1 || has_enough(queue));
        queue->woken = queue->woken || wakes;
    }
    pthread_mutex_unlock(&queue->lock);
    return wakes;
}

int ac_export_queue_take(ac_export_queue_t *queue, ac_telemetry_item_t **items, int most)
{
    int n = 0;
    size_t bytes = 0;
    pthread_mutex_lock(&queue->lock);
    while (queue->n && n < most && (!n || bytes + queue->ring[queue->first]->bytes <= AC_EXPORT_BATCH_BYTES)) {
        bytes += queue->ring[queue->first]->bytes;
        items[n++] = take_first(queue);
    }
    queue->busy = n > 0;
    pthread_mutex_unlock(&queue->lock);
    return n;
}

ac_export_state_t ac_export_queue_look(ac_export_queue_t *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->woken = false;
    ac_export_state_t state = {queue->n, has_enough(queue)};
    pthread_mutex_unlock(&queue->lock);
    return state;
}

void ac_export_queue_rest(ac_export_queue_t *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->busy = false;
    pthread_mutex_unlock(&queue->lock);
}

void ac_export_queue_close(ac_export_queue_t *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    while (queue->n) {
        drop(queue, take_first(queue));
    }
    pthread_mutex_unlock(&queue->lock);
}

uint64_t ac_export_queue_take_dropped(ac_export_queue_t *queue)
{
    pthread_mutex_lock(&queue->lock);
    uint64_t n = queue->n_dropped;
    queue->n_dropped = 0;
    pthread_mutex_unlock(&queue->lock);
    return n;
}

void ac_export_queue_free(ac_export_queue_t *queue)
{
    ac_export_queue_close(queue);
    pthread_mutex_destroy(&queue->lock);
    free(queue->ring);
}
