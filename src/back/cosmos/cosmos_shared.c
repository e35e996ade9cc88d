/* SPDX-License-Identifier: Apache-2.0 */
/* The state that the children of one server share in the Cosmos DB store, and a child's own state while it cannot
 * acquire the lock. */
#include "cosmos_internal.h"

#include <errno.h>
#include <string.h>

#define PATIENCE apr_time_from_msec(100) /* the loop waits once; a busy machine may delay the child that has the lock */

static void session_join(ac_cosmos_session_t *into, const ac_cosmos_session_t *from)
{
    ac_buf_t text;
    ac_buf_init(&text, AC_COSMOS_SESSION_TEXT);
    ac_cosmos_session_text(&text, from);
    ac_cosmos_session_note(into, text.data);
    ac_buf_free(&text);
}

ac_cosmos_state_t *ac_cosmos_shared_acquire(ac_cosmos_t *store)
{
    ac_cosmos_state_t *state = &store->shared->state;
    int status = ac_shared_lock_acquire(&store->shared->lock, store->alone ? 0 : PATIENCE);
    if (status && status != EOWNERDEAD) {
        if (!store->alone) {
            ac_debug("store cosmos: the state that the children share is locked by a child that does not run");
        }
        store->alone = true;
        return &store->own_state;
    }
    if (status == EOWNERDEAD) {
        *state = store->own_state; /* the dead child may have left half a token */
    } else if (store->alone) {     /* everything else is soon read from the service again */
        for (int i = 0; i < AC_COSMOS_N_CONTAINERS; i++) {
            session_join(&state->sessions[i], &store->own_state.sessions[i]);
        }
    }
    store->alone = false;
    return state;
}

void ac_cosmos_shared_release(ac_cosmos_t *store)
{
    if (!store->alone) {
        ac_shared_lock_release(&store->shared->lock);
    }
}

/* ---- session tokens ---- */

void ac_cosmos_shared_note_token(ac_cosmos_t *store, ac_cosmos_container_e container, const char *token)
{
    ac_cosmos_state_t *state = ac_cosmos_shared_acquire(store);
    ac_cosmos_session_note(&state->sessions[container], token);
    ac_cosmos_shared_release(store);
    if (state != &store->own_state) {
        ac_cosmos_session_note(&store->own_state.sessions[container], token);
    }
}

char *ac_cosmos_shared_token_text(ac_cosmos_t *store, ac_cosmos_container_e container)
{
    ac_cosmos_state_t *state = ac_cosmos_shared_acquire(store);
    ac_buf_t text;
    if (state != &store->own_state) {
        store->own_state.sessions[container] = state->sessions[container];
    }
    ac_cosmos_shared_release(store);
    ac_buf_init(&text, AC_COSMOS_SESSION_TEXT);
    ac_cosmos_session_text(&text, &store->own_state.sessions[container]);
    return text.data;
}

void ac_cosmos_shared_forget_token(ac_cosmos_t *store, ac_cosmos_container_e container)
{
    ac_cosmos_state_t *state = ac_cosmos_shared_acquire(store);
    memset(&state->sessions[container], 0, sizeof(state->sessions[container]));
    ac_cosmos_shared_release(store);
    memset(&store->own_state.sessions[container], 0, sizeof(store->own_state.sessions[container]));
}
