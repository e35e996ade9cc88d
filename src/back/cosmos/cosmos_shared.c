/* SPDX-License-Identifier: Apache-2.0 */
/* What the children of one server know together of Cosmos DB, and what one of them knows alone while the others' is not to be had. */
#include "store_cosmos.h"

#include <errno.h>
#include <string.h>

#define PATIENCE \
    apr_time_from_msec(100) /* of the loop, once, for whoever has the lock; a busy machine may not let it run */

static void session_join(ac_cosmos_session_t *into, const ac_cosmos_session_t *from)
{
    ac_buf_t text;

    ac_buf_init(&text, AC_COSMOS_SESSION_TEXT);
    ac_cosmos_session_text(&text, from);
    ac_cosmos_session_note(into, text.data);
    ac_buf_free(&text);
}

ac_cosmos_known_t *ac_cosmos_known_take(ac_cosmos_t *store)
{
    ac_cosmos_known_t *known = &store->shared->known;
    int status = ac_shared_lock_take(&store->shared->lock, store->alone ? 0 : PATIENCE);

    if (status && status != EOWNERDEAD) {
        if (!store->alone) {
            ac_debug(
                "store cosmos: what the children know together is not to be had: a child holds it and does not run");
        }
        store->alone = true;
        return &store->own;
    }
    if (status == EOWNERDEAD) {
        *known = store->own;   /* whoever died in there may have left half a token; ours are whole */
    } else if (store->alone) { /* of the rest, either side's is soon asked for anew */
        for (int i = 0; i < AC_COSMOS_N_PLACES; i++) {
            session_join(&known->sessions[i], &store->own.sessions[i]);
        }
    }
    store->alone = false;
    return known;
}

void ac_cosmos_known_drop(ac_cosmos_t *store)
{
    if (!store->alone) {
        ac_shared_lock_drop(&store->shared->lock);
    }
}

/* ---- session tokens ---- */

void ac_cosmos_token_note(ac_cosmos_t *store, ac_cosmos_place_e place, const char *token)
{
    ac_cosmos_known_t *known = ac_cosmos_known_take(store);

    ac_cosmos_session_note(&known->sessions[place], token);
    ac_cosmos_known_drop(store);
    if (known != &store->own) {
        ac_cosmos_session_note(&store->own.sessions[place], token);
    }
}

char *ac_cosmos_token_text(ac_cosmos_t *store, ac_cosmos_place_e place)
{
    ac_cosmos_known_t *known = ac_cosmos_known_take(store);
    ac_buf_t text;

    if (known != &store->own) {
        store->own.sessions[place] = known->sessions[place];
    }
    ac_cosmos_known_drop(store);
    ac_buf_init(&text, AC_COSMOS_SESSION_TEXT);
    ac_cosmos_session_text(&text, &store->own.sessions[place]);
    return text.data;
}

void ac_cosmos_token_forget(ac_cosmos_t *store, ac_cosmos_place_e place)
{
    ac_cosmos_known_t *known = ac_cosmos_known_take(store);

    memset(&known->sessions[place], 0, sizeof(known->sessions[place]));
    ac_cosmos_known_drop(store);
    memset(&store->own.sessions[place], 0, sizeof(store->own.sessions[place]));
}
