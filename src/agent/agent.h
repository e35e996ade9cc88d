/* SPDX-License-Identifier: Apache-2.0 */
/* Floor 5: runs. Start, cancel and follow one turn of an agent. */
#ifndef AC_AGENT_H
#define AC_AGENT_H

#include "back/back.h"
#include "back/limit/limit.h"

#include <stdatomic.h>

/* ---- gate.c: what stands before a model, as configured ---- */
typedef struct ac_breaker_conf_t { /* AgentChatBreaker */
    bool off;
    int failures;                     /* percent of the calls within `window` that open it; 0: there is none */
    int calls;                        /* fewer than that tell nothing */
    apr_interval_time_t window, open; /* open: at first; longer each time it was in vain */
} ac_breaker_conf_t;
typedef struct ac_gate_conf_t {
    ac_breaker_conf_t breaker;
    int max_runs, max_queued; /* AgentChatModelLimit, in each child; 0 runs: no limit */
    apr_interval_time_t wait;
    const ac_model_t *fallback; /* AgentChatFallback, or NULL; never leads back here */
} ac_gate_conf_t;

/* ---- registry.c: agents, models, tools by name; immutable after configuration ---- */
typedef struct ac_registry_t {
    const apr_hash_t *models, *tools,
        *agents; /* id → ac_model_t, ac_tool_t, ac_agent_t; agents also under their aliases */
    const apr_array_header_t *agent_list; /* of const ac_agent_t *, in order of configuration */
    const ac_agent_t *default_agent;      /* or NULL */
    const apr_hash_t *gates;              /* model id → ac_gate_conf_t; NULL: nothing is configured */
} ac_registry_t;
const ac_agent_t *ac_registry_agent(const ac_registry_t *registry, const char *id_or_alias);
const ac_tool_t *ac_registry_agent_tool(const ac_agent_t *agent, const char *name); /* only the agent's own */
/* The model's `tools` array for these tools; NULL for none. New reference. */
json_t *ac_registry_tools_json(const ac_tool_t *const *tools, int n_tools);

/* ---- agents.c: the agents there are at one moment, those of the configuration and those of the store ---- */
typedef struct ac_agents_t ac_agents_t; /* immutable, counted; any thread */
/* documents: as AGENT_LIST gives them, copied; what the configuration has is as there. stamp: theirs; NULL: the store was not asked
 * yet, and documents is NULL. pattern: what a document cannot say. config outlives it. */
ac_agents_t *ac_agents_create(const ac_registry_t *config, const ac_agent_t *pattern, const char *stamp,
                              const json_t *documents);
ac_agents_t *ac_agents_ref(ac_agents_t *agents);
void ac_agents_unref(ac_agents_t *agents); /* NULL is fine */
const ac_agent_t *ac_agents_find(const ac_agents_t *agents, const char *id_or_alias);
bool ac_agents_known(const ac_agents_t *agents);        /* the store was asked: who is not found does not exist */
const char *ac_agents_stamp(const ac_agents_t *agents); /* NULL where the store was not asked */
int ac_agents_made(const ac_agents_t *agents);          /* how many were made through the API */
/* In the API's shape, in order of configuration, then by id. whole: with instructions. New reference. */
json_t *ac_agents_json(const ac_agents_t *agents, bool whole);
json_t *ac_agent_json(const ac_agent_t *agent, bool whole);
/* Why nobody can talk to it, a sentence; NULL: one can. */
const char *ac_agent_problem(const ac_agent_t *agent);

/* ---- agent_document.c: an agent as the API is given it; pure ---- */
/* Whether it can be the id of an agent: 1 to 64 letters, digits, '-', '_' and '.', which is not the first. */
bool ac_agent_document_id_valid(const char *id);
/* The document that the store keeps, whole and with a new tag, from a request's body. `source`, `etag` and `id` of the body say nothing.
 * errors: invalid_request at the member's pointer. New reference. */
apr_status_t ac_agent_document_make(json_t **pdocument, const json_t *body, const char *id,
                                    const ac_registry_t *registry, ac_err_t *err);

/* ---- catalog.c: the agents of a child as they change ---- */
typedef struct ac_catalog_t ac_catalog_t;
/* Of the configuration at first. config outlives it. */
ac_catalog_t *ac_catalog_create(const ac_registry_t *config, const ac_agent_t *pattern);
void ac_catalog_destroy(ac_catalog_t *catalog);        /* after the loop has ended; NULL is fine */
ac_agents_t *ac_catalog_agents(ac_catalog_t *catalog); /* those of now, a new reference. Any thread */
/* An AGENT_LIST for what has changed; and what came of it, which counts where no later question has been answered yet: who has changed
 * an agent and asks then, finds it changed from then on. false: that nothing has changed was said of agents that are not those of now
 * any more; ask again. Any thread. */
ac_store_op_t *ac_catalog_ask(ac_catalog_t *catalog);
bool ac_catalog_adopt(ac_catalog_t *catalog, const ac_store_op_t *op);
/* Loop thread: looks now and then every so often, until unwatched, which is before the store ends. */
void ac_catalog_watch(ac_catalog_t *catalog, ac_loop_t *loop, const ac_store_t *store, apr_interval_time_t every);
void ac_catalog_unwatch(ac_catalog_t *catalog);

/* ---- hub.c: events of runs ---- */
ac_event_t *ac_event_create(ac_event_type_e type, json_t *data, const char *text, size_t len); /* takes data */
void ac_event_ref(ac_event_t *event);                                                          /* any thread */
void ac_event_unref(ac_event_t *event);                                                        /* any thread */
const char *ac_event_name(ac_event_type_e type);                                               /* "trace_start" */

typedef struct ac_event_log_t ac_event_log_t; /* event_log.h */
typedef struct ac_event_cursor_t {            /* a place in a run's log; zero: the beginning */
    uint64_t at;                              /* bytes of the file */
    uint64_t after;                           /* events up to this number are passed over, but never the terminal one */
    size_t n_text;                            /* bytes of the tokens so far, also of those passed over */
} ac_event_cursor_t;
typedef struct ac_channel_t ac_channel_t; /* one run's events; loop thread only */
typedef struct ac_tail_t ac_tail_t;       /* tail.c */
typedef struct ac_follower_t ac_follower_t;
struct ac_follower_t { /* lives inside its owner; zero before use */
    /* Loop thread. Called once per event in order; must not block, may leave. The event is borrowed: ref it to keep it. */
    void (*on_event)(ac_follower_t *follower, ac_event_t *event);
    /* Loop thread, may be NULL. Whether a run's past may go on being told; who said no says ac_follower_resume() later. What happens
     * now is told in any case. */
    bool (*has_room)(ac_follower_t *follower);
    char run_id[AC_ID_SIZE]; /* the run in whose log is what it is told; "": in none */
    ac_event_cursor_t mark;  /* of that log */
    ac_channel_t *channel;
    ac_follower_t *next, *prev;
};
ac_channel_t *ac_channel_create(void);
void ac_channel_destroy(ac_channel_t *channel); /* detaches who still follows */
/* Numbers the event and gives it to all followers. Takes it. */
void ac_channel_emit(ac_channel_t *channel, ac_event_t *event);
void ac_channel_follow(ac_channel_t *channel, ac_follower_t *follower);
void ac_channel_leave(ac_follower_t *follower); /* fine when not following */
int ac_channel_followers(const ac_channel_t *channel);
/* Gives an event that has its number already. Takes it. */
void ac_channel_deliver(ac_channel_t *channel, ac_event_t *event);
/* From now on events go to this log before anybody is told; NULL: no more. */
void ac_channel_set_log(ac_channel_t *channel, ac_event_log_t *log);
/* fn is called when the last follower has left, but not where it was moved. */
void ac_channel_on_empty(ac_channel_t *channel, void (*fn)(void *baton), void *baton);
/* To another channel, without having left. */
void ac_channel_move(ac_channel_t *to, ac_follower_t *follower);
ac_follower_t *ac_channel_first(const ac_channel_t *channel);
uint64_t ac_channel_seq(const ac_channel_t *channel);            /* of the last event */
ac_event_log_t *ac_channel_get_log(const ac_channel_t *channel); /* its log, or NULL */
/* The tail that this is the channel of, or NULL. */
void ac_channel_set_tail(ac_channel_t *channel, ac_tail_t *tail);
ac_tail_t *ac_channel_get_tail(const ac_channel_t *channel);
void ac_channel_set_seq(ac_channel_t *channel, uint64_t seq); /* the next event is the one after this number */

/* ---- event_dir.c: where the children of a server keep the events of their runs, so that each can read all of them ---- */
typedef struct ac_event_dir_t ac_event_dir_t;
/* The directory, for this user alone. One that is there must be that: it may lie where everybody can make one. Any process; root gives it
 * to the user and the group. */
apr_status_t ac_event_dir_make(const char *path, uid_t user, gid_t group);
const char *ac_event_outage_remedy(
    apr_status_t status); /* what an operator does about a directory that failed so; a sentence */
/* This child's place below path, which is made where it is missing, as far as this process may. max: bytes of one run's log.
 * total: bytes of all logs below path; 0: no limit.
 * After fork. Whatever it returns, *pdir is to be closed; an error says that there is no place yet: it is tried again with each run. */
apr_status_t ac_event_dir_open(ac_event_dir_t **pdir, const char *path, size_t max, uint64_t total);
void ac_event_dir_close(ac_event_dir_t *dir); /* NULL is fine. From here on this child is dead to the others */
/* httpd has ended: removes the ended logs of all children that have. What was under way or rests stays, for the next start. */
void ac_event_dir_clean(const char *path);

/* ---- history.c: what the model is shown ---- */
/* The request's messages: instructions as the system message, then whole turns (user … assistant with its tool calls and results) from
 * `stored` (oldest first, API shape), the newest that fit both budgets, then the user's new message. Tokens are estimated at 4 bytes each;
 * the newest turn is kept even if it is over. New reference, or NULL out of memory. */
json_t *ac_history_messages(const ac_agent_t *agent, const json_t *stored, const char *content);
int64_t ac_history_estimate(const char *text); /* tokens, about */
/* What the model reads of a tool's outcome. What the tool has worked out itself (AC_TOOL_COMPUTES): the result as JSON text, a string as it
 * is. Else {"origin": tool, "note": …, "result": …}, as others' words may be in it. Or {"error": …}. New reference. */
json_t *ac_history_tool_message(const ac_agent_t *agent, const char *call_id, const char *tool, const json_t *result,
                                const char *error);

/* ---- quota.c: whom a turn is counted for; shared by its request and its run ---- */
typedef struct ac_quota_fields_t {
    ac_buf_t policy, left;
} ac_quota_fields_t; /* of RateLimit-Policy and RateLimit */
typedef struct ac_quota_t {
    atomic_uint refs;
    const ac_limits_t *place; /* of the request's place in the configuration; lives as long as that. NULL: none */
    ac_limits_t key;          /* of the key it came with; n 0: none */
    ac_subject_t who;         /* copies; its agent is the run's to say */
    char *key_scope;
    _Atomic(ac_quota_fields_t *) fields;
} ac_quota_t;
/* Copies who and key, which may be NULL. One reference. */
ac_quota_t *ac_quota_create(const ac_limits_t *place, const ac_limits_t *key, const ac_subject_t *who);
void ac_quota_ref(ac_quota_t *quota);   /* any thread; NULL is fine, here and below */
void ac_quota_unref(ac_quota_t *quota); /* any thread */
/* The run, once: what was counted when it began, and before its model was asked; each may be NULL. */
void ac_quota_publish(ac_quota_t *quota, const ac_takes_t *start, const ac_takes_t *takes);
const ac_quota_fields_t *ac_quota_fields(
    ac_quota_t *quota); /* any thread; NULL: nothing yet. Lives as long as the quota */

/* ---- run.c: the state machine ---- */
typedef enum ac_run_state_e {
    AC_RUN_QUEUED,
    AC_RUN_LOADING,
    AC_RUN_ASKING,
    AC_RUN_CALLING,
    AC_RUN_SUSPENDING,
    AC_RUN_SAVING,
    AC_RUN_COMPLETED,
    AC_RUN_FAILED,
    AC_RUN_CANCELLED,
    AC_RUN_N_STATES
} ac_run_state_e;

typedef struct ac_engine_conf_t {    /* from configuration, once per server */
    apr_interval_time_t run_timeout; /* of a whole run */
    apr_interval_time_t queue_timeout, store_timeout;
    int max_runs;                         /* at once in this child; more are queued */
    int max_queued;                       /* more than that: overloaded */
    apr_size_t max_answer;                /* bytes of a run's answer; 0: AC_MAX_ANSWER */
    apr_interval_time_t approval_timeout; /* how long a call waits for its owner's word */
    apr_interval_time_t log_keep;         /* how long a run's event log stays after its end */
} ac_engine_conf_t;

typedef struct ac_engine_t ac_engine_t; /* all runs of a child; engine.c */
typedef struct ac_run_t ac_run_t;
apr_status_t ac_engine_create(ac_engine_t **pengine, ac_loop_t *loop, ac_work_t *work, const ac_store_t *store,
                              const ac_registry_t *registry, const ac_engine_conf_t *conf);
/* Loop thread: cancels every run with `stopping` and calls done when the last one has been stored. */
void ac_engine_stop(ac_engine_t *engine, void (*done)(void *baton), void *baton);
void ac_engine_destroy(ac_engine_t *engine); /* after the loop has ended */
/* Before the first run, before the loop runs: runs leave their events here (the engine does not own it). Without it no run can be
 * followed or cancelled from another child, nor resumed before its end. */
void ac_engine_use_dir(ac_engine_t *engine, ac_event_dir_t *dir);
/* Before the first run: what runs use is counted here (the engine does not own it). Without it no limit holds. */
void ac_engine_use_counters(ac_engine_t *engine, ac_counters_t *counters);
/* Loop thread: listens to other children, takes over what dead ones left, now and once a minute. */
void ac_engine_watch(ac_engine_t *engine);
int ac_engine_active(const ac_engine_t *engine); /* any thread: runs under way */
typedef struct ac_gate_state_t {                 /* the way to a model in this child, now */
    const char *breaker;                         /* "off", "closed", "open", "half-open" */
    apr_interval_time_t retry_after;             /* how long the breaker lets nobody through; 0: it does */
    bool limited;
    int n_runs, n_queued; /* asking, its slots; waiting for one */
} ac_gate_state_t;
/* Loop thread. */
void ac_gate_state(ac_engine_t *engine, const ac_model_t *model, ac_gate_state_t *state);

/* What a client asked for: a command that carries copies, on the heap. */
typedef struct ac_turn_t {
    ac_agents_t *agents;              /* those there were when it was asked; a reference; NULL: the engine's registry */
    const ac_agent_t *agent;          /* NULL: the thread's own, else fallback_agent */
    const ac_agent_t *fallback_agent; /* or NULL */
    char run_id[AC_ID_SIZE];          /* made by ac_turn_create */
    char owner[AC_OWNER_SIZE];
    char thread_id[AC_ID_SIZE];  /* "" : a thread is made (unless stateless) */
    char message_id[AC_ID_SIZE]; /* of the user's message; made by ac_turn_create */
    char request_id[64];
    char key[AC_MAX_KEY + 1];        /* Idempotency-Key, or "" */
    char key_hash[AC_KEY_HASH_SIZE]; /* of what was asked with it */
    uint64_t after;                  /* where the follower is, should the key lead to a run that is there */
    apr_interval_time_t leave;       /* how long the run goes on without a follower; -1: to its end */
    bool stateless;                  /* nothing is stored */
    char *content;
    json_t *metadata;  /* of the message, or NULL */
    ac_quota_t *quota; /* a reference; NULL: not counted */
} ac_turn_t;
ac_turn_t *ac_turn_create(const ac_agent_t *agent, const char *owner, const char *content);
void ac_turn_free(ac_turn_t *turn);

/* Loop thread. Takes turn. Starts the run with this follower already there; its first event comes later, never inside.
 * A run that cannot even
 * begin says so by an ERROR event, which is then its only one. */
void ac_run_start(ac_engine_t *engine, ac_turn_t *turn, ac_follower_t *follower);
/* Loop thread: the run ends as cancelled, having stored what was said; AC_INTERRUPTED: as what another server has made of it, and nothing
 * is stored. not_found, run_ended. */
apr_status_t ac_run_cancel(ac_engine_t *engine, const char *run_id, ac_kind_e why);
/* A worker: cancels the owner's run in whichever child it lives. APR_SUCCESS: it ends as cancelled. run_ended: it ends, or has ended, as
 * something else. not_found: in none that can be asked. APR_EAGAIN: its log rests, so it waits for its owner's word and is in no child;
 * goes_on: the store says that it has ceased to wait, so the child that goes on with it is about to read the log. APR_INCOMPLETE: it was
 * asked for, and nothing tells what becomes of it: all children were asked, since no log says in which it is, or the loop of this one
 * does not answer in time. */
apr_status_t ac_run_cancel_anywhere(ac_engine_t *engine, const char *run_id, const char *owner, bool goes_on);
/* A worker: the same without the store, of a run whose log tells what is stored of it. *pstored: that, a new reference, where the run was
 * cancelled, or where that was asked for (APR_INCOMPLETE: the child that has it does not answer in time); else it is left as it is.
 * run_ended: it ends, or has ended. not_found: there is no such log, and nothing was asked of anybody. */
apr_status_t ac_run_cancel_logged(ac_engine_t *engine, const char *run_id, const char *owner, json_t **pstored);

/* ---- run_wait.c: calls that wait for the word of the run's owner ---- */
typedef struct ac_approval_t {
    const char *run_id, *owner;
    json_t *said;      /* {call_id, approve, reason?} or {cancel: true}; borrowed */
    ac_quota_t *quota; /* whom the run is counted for when it goes on, or NULL; borrowed */
} ac_approval_t;
/* A worker. Decides about calls of the owner's run, in whichever child it began; with the last word it goes on here. errors:
 * not_waiting, the store's. */
apr_status_t ac_run_approval_decide(ac_engine_t *engine, const ac_approval_t *word, ac_err_t *err);
/* Loop thread: looks for runs whose owners say nothing, now and then, until the engine stops. catalog: where the agents of runs that go
 * on are looked for; NULL: in the registry. */
void ac_run_approval_watch(ac_engine_t *engine, ac_catalog_t *catalog);

/* ---- tail.c: a run that goes on, or has ended, followed by whoever comes back ---- */
/* Loop thread. The events of the owner's run after number `after`: from its log, then as they happen, in whichever child, to the terminal
 * one. Without a log, what the store has of an ended run is told as events. Who had been told everything is told NOTHING; an
 * `after` that lies behind the end gets the terminal event. The first event comes later, never inside. errors, as ERROR events:
 * not_found (also another owner's), the store's. The follower leaves by ac_channel_leave(). */
void ac_tail_start(ac_engine_t *engine, const char *run_id, const char *owner, uint64_t after, ac_follower_t *follower);
/* Loop thread, all three. A slow follower needs no memory for what it cannot take yet: the log has it.
 * Marks where the follower is in its run's log: what it was told so far it need not be told again. false: in none; the mark stays. */
bool ac_follower_checkpoint(ac_follower_t *follower);
/* The follower goes back to its mark, and is told nothing until it says ac_follower_resume(): then from the log, and live when it has
 * caught up. told: the number of the last event that it was told. Also while it is told one, and after the terminal one. false: there
 * is no log that has all of that; the follower stays where it is. */
bool ac_follower_rewind(ac_engine_t *engine, ac_follower_t *follower, uint64_t told);
/* It has room again. Fine at any time. */
void ac_follower_resume(ac_follower_t *follower);
/* At most this many bytes of an answer in one event, where it is told from the store. */
#define AC_TAIL_PIECE 8192

#endif
