/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams from other children:
 *
 *     wake RUN            the log of a run that this child follows has more events
 *     left RUN            the last follower in that child has left a run of this child
 *     close RUN           a message of the thread waits for the closing write of a run of this child
 *     cancel RUN OWNER    the outcome of a run of this child was decided in its log
 */
#include "follow_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define DATAGRAMS_MAX 64 /* read in one turn of the loop */

static ac_run_t *datagram_find_run(const ac_engine_t *engine, const char *run_id)
{
    return apr_hash_get(engine->runs, run_id, APR_HASH_KEY_STRING);
}

static void handle(ac_engine_t *engine, char *text)
{
    char *run_id = strchr(text, ' ');
    if (!run_id) {
        return;
    }
    *run_id++ = '\0';
    char *owner = strchr(run_id, ' ');
    if (owner) {
        *owner++ = '\0';
    }
    ac_run_t *run = datagram_find_run(engine, run_id);
    if (strcmp(text, "wake") == 0) {
        ac_tail_wake(engine, run_id);
    } else if (strcmp(text, "close") == 0) {
        ac_recover_retry_run(engine, run_id);
    } else if (strcmp(text, "cancel") == 0 && run && owner && strcmp(run->turn->owner, owner) == 0) {
        ac_run_cancel(engine, run_id, AC_CANCELLED);
    } else if (strcmp(text, "left") == 0 && run) {
        ac_run_follower_left(run);
    }
}

static void on_datagrams(void *baton, uint32_t events)
{
    ac_engine_t *engine = baton;
    char text[AC_OWNER_SIZE + AC_ID_SIZE + 16];
    (void)events;
    for (int i = 0; i < DATAGRAMS_MAX; i++) {
        ssize_t len = recv(engine->follow->watch.fd, text, sizeof text - 1, MSG_DONTWAIT);
        if (len < 0 && errno == EINTR) {
            continue;
        }
        if (len < 0) {
            return;
        }
        text[len] = '\0';
        handle(engine, text);
    }
}

void ac_datagram_listen(ac_engine_t *engine)
{
    int fd = ac_event_dir_socket(engine->dir);
    engine->follow->listens = true;
    if (fd >= 0 && !engine->follow->watch.slot) {
        ac_loop_watch_set(engine->loop, &engine->follow->watch, fd, EPOLLIN, on_datagrams, engine);
    }
}

void ac_datagram_stop(ac_engine_t *engine)
{
    engine->follow->listens = false;
    ac_loop_watch_cancel(engine->loop, &engine->follow->watch);
}

apr_status_t ac_datagram_recreate_dir(ac_engine_t *engine)
{
    ac_loop_watch_cancel(engine->loop, &engine->follow->watch);
    apr_status_t status = ac_event_dir_recreate(engine->dir);
    if (engine->follow->listens) {
        ac_datagram_listen(engine);
    }
    if (status == APR_SUCCESS) {
        ac_log(AC_M514, APR_SUCCESS,
               "event logs: the directory of this process below %s was missing, and was made; active runs without it "
               "cannot be resumed before they have ended",
               ac_event_dir_path(engine->dir));
    }
    return status;
}
