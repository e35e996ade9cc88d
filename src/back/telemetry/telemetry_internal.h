/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: an exporter. Everything is the loop's, unless a comment says otherwise. */
#ifndef AC_TELEMETRY_INTERNAL_H
#define AC_TELEMETRY_INTERNAL_H

#include "telemetry.h"

#include <pthread.h>

typedef struct ac_exporter_t ac_exporter_t;

/* ---- export_queue.c: what waits for an exporter; any thread ---- */
typedef struct ac_export_queue_t {
    pthread_mutex_t lock; /* held for a few instructions, never while waiting */
    ac_telemetry_item_t **ring;
    int size, first, n;
    size_t bytes, max_bytes;
    int enough;         /* items that are worth a batch */
    bool busy;          /* a batch is under way: the loop need not be woken */
    bool woken;         /* the loop was, and has not looked yet */
    bool closed;        /* items are dropped at once */
    uint64_t n_dropped; /* units that had no room, since ac_export_queue_take_dropped() */
} ac_export_queue_t;
void ac_export_queue_init(ac_export_queue_t *queue, const ac_exporter_conf_t *conf);
/* Consumes one reference. Returns true if the loop has to look at the queue. */
bool ac_export_queue_put(ac_export_queue_t *queue, ac_telemetry_item_t *item);
/* Takes up to `most` items of about AC_EXPORT_BATCH_BYTES, at least one if there is any, and sets busy. Returns how
 * many. */
int ac_export_queue_take(ac_export_queue_t *queue, ac_telemetry_item_t **items, int most);
typedef struct ac_export_state_t {
    int n;
    bool enough; /* for a batch */
} ac_export_state_t;
/* The loop has looked: the next item wakes it again if that is needed. */
ac_export_state_t ac_export_queue_look(ac_export_queue_t *queue);
void ac_export_queue_rest(ac_export_queue_t *queue);             /* clears busy */
void ac_export_queue_close(ac_export_queue_t *queue);            /* drops and counts everything, now and later */
uint64_t ac_export_queue_take_dropped(ac_export_queue_t *queue); /* returns the count and begins at zero */
void ac_export_queue_free(ac_export_queue_t *queue);
#define AC_EXPORT_BATCH_BYTES (1024 * 1024)

/* ---- telemetry_item.c ---- */
void ac_telemetry_item_unref(ac_telemetry_item_t *item); /* any thread */
/* Counts units of a signal as lost. Any thread. */
void ac_telemetry_item_count_lost(ac_signal_e signal, unsigned units);

/* ---- export_body.c: a batch, and its body ---- */
typedef struct ac_export_body_t {
    ac_exporter_t *exporter;
    ac_telemetry_item_t **items;
    bool *again; /* for verdicts */
    int n;
    ac_buf_t bytes; /* of the request; encoded, and compressed if it shall be */
    bool failed;    /* it could not be made */
    bool abandoned; /* its exporter has given it up while a work thread had it */
    bool renewed;   /* the credential was refused once */
    bool sent;      /* the destination may have it */
    int redirects;
    int attempts;
    apr_time_t began;
} ac_export_body_t;
ac_export_body_t *ac_export_body_create(ac_exporter_t *exporter, int most);
void ac_export_body_encode(void *body); /* any thread; one at a time for an exporter */
/* Keeps the items that are marked in `again`, to be encoded once more, and lets the others go. */
void ac_export_body_keep_again(ac_export_body_t *body);
unsigned ac_export_body_units(const ac_export_body_t *body);
void ac_export_body_free(ac_export_body_t *body);

/* ---- exporter.c ---- */
typedef enum ac_exporter_state_e {
    AC_EXPORTER_IDLE,
    AC_EXPORTER_ENCODING,
    AC_EXPORTER_CREDENTIAL, /* waits for its text */
    AC_EXPORTER_SENDING,
    AC_EXPORTER_PAUSING /* until the next attempt */
} ac_exporter_state_e;
struct ac_exporter_t {
    ac_exporter_conf_t conf;
    ac_telemetry_t *telemetry;
    ac_exporter_t *next;
    char *moved; /* where a redirect led; NULL: the URL of conf */
    char *place; /* the URL without its query and user, for the log */
    ac_export_queue_t queue;
    ac_exporter_state_e state;
    ac_export_body_t *body; /* NULL: idle */
    ac_timer_t timer;       /* IDLE: the oldest item's delay; else the state's limit */
    ac_timer_t collect_timer;
    ac_http_t *http;
    char *used; /* the credential's text, as sent; NULL: none */
    bool timed; /* IDLE: the timer is set */
    bool ending;
    struct { /* the answer */
        int status;
        apr_interval_time_t retry_after;
        char content_type[80], location[512];
        ac_buf_t body;
    } answer;
    /* The log: a line a minute. */
    apr_time_t logged; /* ac_clock; 0: never */
    bool failing;      /* a warning was logged, and no batch accepted since then */
    uint64_t n_lost;   /* units, since the last line */
};
ac_exporter_t *ac_exporter_create(ac_telemetry_t *telemetry, const ac_exporter_conf_t *conf);
void ac_exporter_start(ac_exporter_t *exporter);
void ac_exporter_look(void *exporter);         /* begins a batch if there is enough */
void ac_exporter_end(ac_exporter_t *exporter); /* from now on without delays */
bool ac_exporter_has_ended(const ac_exporter_t *exporter);
void ac_exporter_abandon(ac_exporter_t *exporter); /* drops and counts everything */
void ac_exporter_free(ac_exporter_t *exporter);

/* ---- export_send.c: one attempt of a batch ---- */
void ac_export_send(ac_exporter_t *exporter); /* ends in ac_exporter_done() or ac_exporter_pause() */
void ac_export_send_cancel(ac_exporter_t *exporter);

/* ---- exporter.c, for export_send.c ---- */
/* The batch is settled; `lost` units of it are lost. why: NULL, or for the log. */
void ac_exporter_settle(ac_exporter_t *exporter, ac_export_end_e end, unsigned lost, const char *why);
/* The attempt has failed, and may be repeated after this time; 0: the exporter's own delay. */
void ac_exporter_pause(ac_exporter_t *exporter, apr_interval_time_t asked, ac_export_end_e end, const char *why);

/* ---- otlp_export.c ---- */
/* The rules of OTLP for an answer. */
void ac_otlp_export_judge(void *baton, ac_export_verdict_t *verdict, const ac_export_answer_t *answer,
                          const ac_export_batch_t *batch);

/* ---- telemetry.c ---- */
struct ac_telemetry_t {
    const ac_host_t *host;
    const ac_otlp_resource_t *resource;
    ac_exporter_t *exporters;
    unsigned signals; /* of all exporters */
    bool started;
    ac_timer_t stop_timer;
    ac_ready_t stop_ready;
    ac_task_fn *stop_done;
    void *stop_baton;
};
void ac_telemetry_note_end(ac_telemetry_t *telemetry); /* an exporter may have ended */

#endif
