/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials: keys and tokens that can be used at once. Each scope has one text, at most one fetch, a list of waiting
 * callers, and a timer that refreshes the text before it expires. */
#include "identity.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "credential_internal.h"

#define MARGIN apr_time_from_sec(1) /* a token with less time left is not used */
#define RETRY_FIRST apr_time_from_sec(1)
#define RETRY_MOST apr_time_from_sec(30)
#define REJECT_PAUSE apr_time_from_sec(1) /* between two fetches after rejections */
#define SAME_PAUSE apr_time_from_sec(10)  /* before a text that was fetched again unchanged can be rejected again */
#define LOG_AGAIN apr_time_from_sec(60)
#define EXIT_PATIENCE apr_time_from_sec(5)

typedef struct waiter_t {
    ac_credential_fn *fn;
    void *baton;
    unsigned round;
    struct waiter_t *next;
} waiter_t;

struct ac_credential_slot_t { /* the state of a scope */
    ac_credential_t *credential;
    ac_credential_slot_t *next;
    char *text, *previous; /* previous: callers of ac_credential_now() may still use it in this turn */
    apr_time_t expires;    /* 0: never */
    apr_time_t retry_at;   /* after a failure: no fetch before this time */
    int n_failures;
    ac_err_t err;      /* of the last failure */
    apr_time_t logged; /* time of the outage's log line; 0: no outage */
    bool logged_lost;
    bool rejected;
    apr_time_t reject_fetch_at; /* earliest fetch caused by a rejection; 0: never rejected */
    apr_time_t kept_until;      /* no fetch by rejection before: the last one returned the same text */
    void *fetch;
    waiter_t *first, *last;
    unsigned round;
    ac_timer_t timer;
    ac_ready_t ready;
    char scope[AC_IDENTITY_SCOPE_SIZE];
};

static void begin_fetch(ac_credential_slot_t *slot);

/* ---- slots ---- */

static ac_credential_slot_t *find_slot(ac_credential_t *credential, const char *scope)
{
    const char *name = credential->kind == AC_CREDENTIAL_KEY || !scope ? "" : scope;
    ac_credential_slot_t *slot = credential->slots;
    while (slot && strcmp(slot->scope, name) != 0) {
        slot = slot->next;
    }
    if (!slot) {
        slot = ac_alloc(sizeof(*slot));
        slot->credential = credential;
        snprintf(slot->scope, sizeof(slot->scope), "%s", name);
        slot->text = credential->text ? strdup(credential->text) : NULL;
        slot->next = credential->slots;
        credential->slots = slot;
    }
    return slot;
}

static void credential_wipe(char *text)
{
    if (text) {
        OPENSSL_cleanse(text, strlen(text));
        free(text);
    }
}

static void slot_free(ac_credential_slot_t *slot)
{
    const ac_credential_t *credential = slot->credential;
    if (slot->fetch) {
        credential->source->cancel(slot->fetch);
    }
    ac_timer_cancel(credential->loop, &slot->timer);
    ac_loop_ready_cancel(credential->loop, &slot->ready);
    while (slot->first) {
        waiter_t *waiter = slot->first;
        slot->first = waiter->next;
        free(waiter);
    }
    credential_wipe(slot->text);
    credential_wipe(slot->previous);
    free(slot);
}

static bool lives(const ac_credential_slot_t *slot)
{
    return slot->text && (!slot->expires || ac_loop_now(slot->credential->loop) < slot->expires - MARGIN);
}

static bool credential_is_usable(const ac_credential_slot_t *slot)
{
    return lives(slot) && !slot->rejected;
}

/* "credential identity for https://cosmos.azure.com/.default" */
static const char *name_of(const ac_credential_slot_t *slot, char *buf, size_t size)
{
    snprintf(buf, size, "%s%s%s", slot->credential->spec, *slot->scope ? " for " : "", slot->scope);
    return buf;
}
/* ---- waiting callers ---- */

static void credential_set_timer(ac_credential_slot_t *slot, apr_time_t due);

/* Frees the state that the child has created, now or after the current callbacks. */
static void credential_end(ac_credential_t *credential)
{
    credential->stopped = true;
    if (credential->n_delivering) {
        return; /* the current delivery frees it */
    }
    while (credential->slots) {
        ac_credential_slot_t *slot = credential->slots;
        credential->slots = slot->next;
        slot_free(slot);
    }
    if (credential->source && credential->source->child_exit) {
        credential->source->child_exit(credential->self);
    }
}

/* A callback that asks again gets its answer in a later delivery. */
static void credential_deliver(void *baton)
{
    ac_credential_slot_t *slot = baton;
    ac_credential_t *credential = slot->credential;
    unsigned round = slot->round++;
    credential->n_delivering++;
    while (slot->first && slot->first->round <= round && !credential->stopped) {
        waiter_t waiter = *slot->first;
        free(slot->first);
        slot->first = waiter.next;
        slot->last = slot->first ? slot->last : NULL;
        if (lives(slot)) {
            waiter.fn(waiter.baton, APR_SUCCESS, slot->text, NULL);
        } else {
            waiter.fn(waiter.baton, ac_err_row(slot->err.kind)->status, NULL, &slot->err);
        }
    }
    credential->n_delivering--;
    if (credential->stopped) {
        credential_end(credential);
    }
}

static void credential_add_waiter(ac_credential_slot_t *slot, ac_credential_fn *fn, void *baton)
{
    waiter_t *waiter = ac_alloc(sizeof(*waiter));
    waiter->fn = fn;
    waiter->baton = baton;
    waiter->round = slot->round;
    if (slot->last) {
        slot->last->next = waiter;
    } else {
        slot->first = waiter;
    }
    slot->last = waiter;
}

/* ---- results of a fetch ---- */

static void credential_log_outage(ac_credential_slot_t *slot, const char *reasons)
{
    char name[AC_IDENTITY_SCOPE_SIZE * 2];
    apr_time_t now = ac_loop_now(slot->credential->loop);
    bool lost = !lives(slot);
    if (slot->credential->silent || (slot->logged && lost == slot->logged_lost && now - slot->logged < LOG_AGAIN)) {
        return;
    }
    slot->logged = now;
    slot->logged_lost = lost;
    if (lost) {
        ac_log(AC_M240, slot->err.status, "credential %s: there is none: %s", name_of(slot, name, sizeof(name)),
               reasons);
    } else {
        ac_log(AC_M241, slot->err.status, "credential %s: could not be renewed, the one there is stays in use: %s",
               name_of(slot, name, sizeof(name)), reasons);
    }
}

static void log_success(ac_credential_slot_t *slot, const char *text)
{
    char name[AC_IDENTITY_SCOPE_SIZE * 2];
    bool key = slot->credential->kind == AC_CREDENTIAL_KEY;
    if (slot->logged) {
        ac_log(AC_M242, APR_SUCCESS, "credential %s: works again", name_of(slot, name, sizeof(name)));
    }
    if (key && slot->text && strcmp(slot->text, text) != 0) {
        ac_log(AC_M243, APR_SUCCESS, "credential %s: the key has changed; the new one is used from now on",
               name_of(slot, name, sizeof(name)));
    }
    slot->logged = 0;
}

static void credential_take_text(ac_credential_slot_t *slot, const ac_credential_result_t *fetched)
{
    log_success(slot, fetched->text);
    if (slot->rejected && slot->text && strcmp(slot->text, fetched->text) == 0) {
        slot->kept_until = ac_loop_now(slot->credential->loop) + SAME_PAUSE;
    }
    if (!slot->text || strcmp(slot->text, fetched->text) != 0) {
        credential_wipe(slot->previous);
        slot->previous = slot->text;
        slot->text = strdup(fetched->text);
        if (!slot->text) {
            abort();
        }
    }
    slot->expires = fetched->expires;
    slot->rejected = false;
    slot->n_failures = 0;
    slot->retry_at = 0;
    ac_err_init(&slot->err);
    if (fetched->refresh) {
        credential_set_timer(slot, fetched->refresh);
    }
}

/* A rejected token is dropped. A rejected key stays in use: its source may be at fault as well. */
static void credential_take_failure(ac_credential_slot_t *slot, const ac_credential_result_t *fetched)
{
    apr_time_t now = ac_loop_now(slot->credential->loop);
    int shift = slot->n_failures < 5 ? slot->n_failures : 5;
    apr_interval_time_t wait = RETRY_FIRST << shift;
    slot->err = fetched->err;
    slot->n_failures++;
    if (slot->credential->kind == AC_CREDENTIAL_TOKEN && slot->rejected) {
        credential_wipe(slot->previous);
        slot->previous = slot->text;
        slot->text = NULL;
    }
    slot->rejected = false;
    wait = wait < RETRY_MOST ? wait : RETRY_MOST;
    if (lives(slot) && slot->expires) { /* several attempts before it expires */
        apr_interval_time_t quarter = (slot->expires - now) / 4;
        wait = quarter < wait ? quarter : wait;
    }
    wait = fetched->err.retry_after > wait ? fetched->err.retry_after : wait;
    slot->retry_at = now + wait;
    slot->err.retry_after = wait;
    if (lives(slot) || slot->credential->kind == AC_CREDENTIAL_KEY) {
        credential_set_timer(slot, slot->retry_at);
    }
    credential_log_outage(slot, fetched->reasons ? fetched->reasons : fetched->err.detail);
}

static void on_fetched(void *baton, const ac_credential_result_t *fetched)
{
    ac_credential_slot_t *slot = baton;
    char name[AC_IDENTITY_SCOPE_SIZE * 2];
    ac_credential_result_t mine = *fetched;
    slot->fetch = NULL;
    if (mine.err.kind == AC_OK && mine.expires && mine.expires - 2 * MARGIN <= ac_loop_now(slot->credential->loop)) {
        ac_err_set(&mine.err, AC_UPSTREAM_ERROR, "the token that came is about to expire; check this machine's clock");
    }
    ac_debug("credential %s: %s%s", name_of(slot, name, sizeof(name)), mine.err.kind ? "failed: " : "fetched",
             mine.err.detail);
    if (mine.err.kind == AC_OK) {
        credential_take_text(slot, &mine);
    } else {
        credential_take_failure(slot, &mine);
    }
    ac_loop_ready_set(slot->credential->loop, &slot->ready, credential_deliver, slot);
}

/* ---- fetching ---- */

static void begin_fetch(ac_credential_slot_t *slot)
{
    ac_credential_t *credential = slot->credential;
    if (!slot->fetch && credential->source) {
        slot->fetch = credential->source->start(credential->self, slot->scope, on_fetched, slot);
    }
}

static void credential_on_timer(void *baton)
{
    begin_fetch(baton);
}

static void credential_set_timer(ac_credential_slot_t *slot, apr_time_t due)
{
    ac_timer_set(slot->credential->loop, &slot->timer, due, credential_on_timer, slot);
}

/* ---- public functions ---- */

const char *ac_credential_now(ac_credential_t *credential, const char *scope)
{
    ac_credential_slot_t *slot = credential->stopped ? NULL : find_slot(credential, scope);
    return slot && credential_is_usable(slot) ? slot->text : NULL;
}

void ac_credential_get(ac_credential_t *credential, const char *scope, ac_credential_fn *fn, void *baton)
{
    if (credential->stopped) {
        return;
    }
    ac_credential_slot_t *slot = find_slot(credential, scope);
    bool later = slot->retry_at && ac_loop_now(credential->loop) < slot->retry_at;
    credential_add_waiter(slot, fn, baton);
    if (slot->fetch) {
        return;
    }
    if (credential_is_usable(slot) || !credential->source || (later && !slot->rejected)) {
        ac_loop_ready_set(credential->loop, &slot->ready, credential_deliver, slot);
    } else if (slot->rejected && ac_loop_now(credential->loop) < slot->reject_fetch_at) {
        credential_set_timer(slot, slot->reject_fetch_at);
    } else {
        begin_fetch(slot);
    }
}

void ac_credential_forget(ac_credential_t *credential, ac_credential_fn *fn, void *baton)
{
    for (ac_credential_slot_t *slot = credential->slots; slot; slot = slot->next) {
        waiter_t **plink = &slot->first;
        slot->last = NULL;
        while (*plink) {
            waiter_t *waiter = *plink;
            if (waiter->fn == fn && waiter->baton == baton) {
                *plink = waiter->next;
                free(waiter);
                continue;
            }
            slot->last = waiter;
            plink = &waiter->next;
        }
    }
}

void ac_credential_reject(ac_credential_t *credential, const char *scope, const char *text)
{
    if (!credential->source || credential->stopped) {
        return;
    }
    ac_credential_slot_t *slot = find_slot(credential, scope);
    apr_time_t now = ac_loop_now(credential->loop);
    if (!slot->text || slot->rejected || now < slot->kept_until || strcmp(slot->text, text) != 0) {
        return;
    }
    /* A service that refuses every token causes one fetch a second, for which the callers wait. */
    apr_time_t due = slot->reject_fetch_at ? slot->reject_fetch_at + REJECT_PAUSE : now;
    slot->rejected = true;
    slot->reject_fetch_at = due > now ? due : now;
}

ac_credential_kind_e ac_credential_kind(const ac_credential_t *credential)
{
    return credential->kind;
}

const char *ac_credential_spec(const ac_credential_t *credential)
{
    return credential->spec;
}

const char *ac_credential_first(const ac_credential_t *credential)
{
    return credential->text;
}

const char *ac_credential_scope(const ac_credential_t *credential, const char *fallback)
{
    return credential->scope ? credential->scope : fallback;
}

/* ---- start and end of a child ---- */

/* A child may start long after the configuration was read. */
static void start_key(void *baton)
{
    ac_credential_t *credential = baton;
    if (!credential->stopped) {
        begin_fetch(find_slot(credential, ""));
    }
}

apr_status_t ac_credential_child_init(ac_credential_t *credential, const ac_host_t *host, ac_err_t *err)
{
    credential->loop = host->loop;
    if (!credential->source) {
        return APR_SUCCESS;
    }
    apr_status_t status = credential->source->child_init(credential->self, host, err);
    if (status == APR_SUCCESS && credential->kind == AC_CREDENTIAL_KEY) {
        ac_loop_post(credential->loop, start_key, credential);
    }
    return status;
}

typedef struct leaving_t {
    ac_credential_t *credential;
    ac_latch_t *latch;
} leaving_t;

static void credential_leave(void *baton)
{
    leaving_t *leaving = baton;
    credential_end(leaving->credential);
    ac_latch_open(leaving->latch);
    ac_latch_unref(leaving->latch);
    free(leaving);
}

void ac_credential_child_exit(ac_credential_t *credential)
{
    if (!credential->loop) {
        return;
    }
    if (ac_loop_is_current(credential->loop)) {
        credential_end(credential);
        return;
    }
    leaving_t *leaving = ac_alloc(sizeof(*leaving));
    ac_latch_t *latch = ac_latch_create();
    leaving->credential = credential;
    leaving->latch = latch;
    ac_latch_ref(latch);
    ac_loop_post(credential->loop, credential_leave, leaving);
    ac_latch_wait(latch, ac_clock() + EXIT_PATIENCE);
    ac_latch_unref(latch);
}

void ac_credential_silence(ac_credential_t *credential)
{
    credential->silent = true;
}
