/* SPDX-License-Identifier: Apache-2.0 */
/* Layer 5: runs. Starts, cancels and follows one turn of an agent. This header says what leaves the layer; engine.h and
 * the headers of the folders say what the layer's own files share. */
#ifndef AC_AGENT_H
#define AC_AGENT_H

#include "agent/catalog/catalog.h"
#include "back/files/files.h"
#include "back/limit/limit.h"
#include "back/mirror/mirror.h"
#include "back/webhook/webhook.h"

#include <stdatomic.h>

/* ---- events/event.c ---- */
/* A new event with one reference and no number. Consumes data. NULL: out of memory. Any thread. */
ac_event_t *ac_event_create(ac_event_type_e type, json_t *data, const char *text, size_t len);
void ac_event_ref(ac_event_t *event);            /* any thread */
void ac_event_unref(ac_event_t *event);          /* any thread; NULL is allowed */
const char *ac_event_name(ac_event_type_e type); /* "trace_start" */
/* Whether events of this type have text and no data: TOKEN and REASONING. */
bool ac_event_is_text(uint32_t type);

/* ---- events/channel.c: the followers of one run's events in this process; loop thread ---- */
typedef struct ac_event_log_t ac_event_log_t;
typedef struct ac_event_cursor_t { /* a position in an event log; all zero: the beginning */
    uint64_t at;                   /* bytes from the beginning of the file */
    uint64_t after;                /* skips events up to this number, but never the terminal event */
    size_t n_text;                 /* bytes of all tokens before the position, also of skipped ones */
} ac_event_cursor_t;
typedef struct ac_channel_t ac_channel_t;
typedef struct ac_follower_t ac_follower_t;
struct ac_follower_t { /* embedded in its owner; all zero before use */
    /* Called once for each event, in order. Must not block; may leave the channel. The event is borrowed. */
    void (*on_event)(ac_follower_t *follower, ac_event_t *event);
    /* May be NULL. Whether the follower has room for one more event of a run's past. After false, the follower calls
     * ac_follower_resume() when it has room. Live events are delivered in any case. */
    bool (*has_room)(ac_follower_t *follower);
    char run_id[AC_ID_SIZE];      /* the run whose log has the events delivered; "": no log has them */
    ac_event_cursor_t checkpoint; /* in that log */
    bool unstored;                /* no store has the run: its owner's key led to it */
    ac_channel_t *channel;        /* NULL: does not follow */
    ac_follower_t *next, *prev;
};
ac_channel_t *ac_channel_create(void);          /* NULL: out of memory */
void ac_channel_destroy(ac_channel_t *channel); /* detaches all followers; NULL is allowed */
/* Numbers the event, appends it to the channel's log and gives it to all followers. Consumes the event; NULL is
 * allowed. */
void ac_channel_emit(ac_channel_t *channel, ac_event_t *event);
void ac_channel_follow(ac_channel_t *channel, ac_follower_t *follower);
void ac_channel_leave(ac_follower_t *follower); /* a follower without a channel is allowed */
int ac_channel_followers(const ac_channel_t *channel);

/* ---- events/event_dir.c: the directory of the event logs, shared by the children of a server ---- */
typedef struct ac_event_dir_t ac_event_dir_t;
/* Makes the directory for this user alone. As root, gives a new directory to the user and the group. errors: EACCES:
 * what exists is no directory, is not the user's, or others may read it; the system's. Any process. */
apr_status_t ac_event_dir_make(const char *path, uid_t user, gid_t group);
/* Opens the directory and makes the child directory of this process in it. max: bytes of one event log. total: bytes
 * of all event logs together; 0: no limit. After fork. Always sets *pdir, which the caller closes; after an error
 * there is no child directory yet, and each run tries again to make it. */
apr_status_t ac_event_dir_open(ac_event_dir_t **pdir, const char *path, size_t max, uint64_t total);
/* From here on this child is dead to the others. NULL is allowed. */
void ac_event_dir_close(ac_event_dir_t *dir);
int64_t ac_event_dir_bytes(const ac_event_dir_t *dir); /* of all event logs; 0: not known. Any thread */
/* The context of the span of this owner's run, from its event log, in whichever child's directory. false: none. Any
 * thread. */
bool ac_event_log_find_trace(ac_trace_t *trace, const ac_event_dir_t *dir, const char *run_id, const char *owner);
/* events/event_scan.c. After the end of httpd: removes the ended logs of all children that have ended. Logs of
 * active and of suspended runs stay for the next start. */
void ac_event_scan_clean(const char *path);
/* Removes the ended logs of this owner, in the directories of all children. run_id: only this run's; NULL: all. Returns
 * how many others there are. Any thread but the loop's. */
int ac_event_scan_erase(const ac_event_dir_t *dir, const char *owner, const char *run_id);
/* events/event_outage.c. An error message that says what an operator does about a directory that failed with this
 * status. */
const char *ac_event_outage_remedy(apr_status_t status);

/* ---- gate/: the concurrency limit before a model ---- */
typedef struct ac_breaker_conf_t { /* AgentChatBreaker */
    bool off;
    int failures;                     /* percent of the calls within `window` that open the breaker; 0: no breaker */
    int calls;                        /* the least number of calls within `window` that count */
    apr_interval_time_t window, open; /* open: the first time; doubles with each failed probe */
} ac_breaker_conf_t;
typedef struct ac_gate_conf_t {
    ac_breaker_conf_t breaker;
    int max_runs, max_queued;   /* AgentChatModelLimit, in each child; 0 runs: no limit */
    apr_interval_time_t wait;   /* the longest time in the queue */
    const ac_model_t *fallback; /* AgentChatFallback, or NULL; a chain of fallbacks has no cycle */
} ac_gate_conf_t;
typedef struct ac_gate_state_t {     /* of a model's gate in this child */
    const char *breaker;             /* "off", "closed", "open", "half-open" */
    apr_interval_time_t retry_after; /* until the breaker allows a call; 0: it does now */
    bool limited;
    int n_runs, n_queued; /* runs that hold a slot; runs in the queue */
} ac_gate_state_t;

/* ---- run/quota.c: the limits of a turn, and the fields of its response; shared by a request and its run ---- */
typedef struct ac_quota_fields_t { /* the values of RateLimit-Policy and RateLimit */
    ac_buf_t policy, left;
} ac_quota_fields_t;
typedef struct ac_quota_t {
    atomic_uint refs;
    const ac_limits_t *scope; /* of the request's part of the configuration, which owns it; NULL: none */
    ac_limits_t *key;         /* of the request's API key; NULL: none */
    ac_subject_t subject;     /* copies; the run adds the agent */
    char *key_scope;
    _Atomic(ac_quota_fields_t *) fields;
    _Atomic int64_t store_time, model_time, tool_time; /* of the run so far, microseconds; for Server-Timing */
} ac_quota_t;
/* Copies key and subject; key may be NULL. One reference. */
ac_quota_t *ac_quota_create(const ac_limits_t *scope, const ac_limits_t *key, const ac_subject_t *subject);
void ac_quota_ref(ac_quota_t *quota);   /* any thread; NULL is allowed, here and below */
void ac_quota_unref(ac_quota_t *quota); /* any thread */
/* The fields that the run has published; NULL: none yet. Owned by the quota. Any thread. */
const ac_quota_fields_t *ac_quota_fields(ac_quota_t *quota);

/* ---- run/run_summary.c: what a run has done and used so far; shared by the run and its request ---- */
typedef struct ac_run_facts_t {
    char run_id[AC_ID_SIZE], thread_id[AC_ID_SIZE]; /* "": not known, as the agent and the model */
    char agent[AC_MAX_AGENT_ID + 1], model[80];
    ac_protocol_e protocol;
    const char *status; /* as the API shows it; constant; NULL: not known */
    ac_kind_e error;    /* AC_OK: none */
    ac_usage_t usage;
    char currency[4]; /* of cost; "": a model has no price */
    double cost;
    apr_interval_time_t took, first_token, store; /* since it was created; 0: no token yet; spent in the store */
    int rounds, tool_calls;
} ac_run_facts_t;
typedef struct ac_run_summary_t ac_run_summary_t;
ac_run_summary_t *ac_run_summary_create(void);                   /* one reference */
ac_run_summary_t *ac_run_summary_ref(ac_run_summary_t *summary); /* any thread, here and below */
void ac_run_summary_unref(ac_run_summary_t *summary);            /* NULL is allowed */
/* A copy of what the run has noted; its last note comes before its terminal event. All zero before the first one. */
void ac_run_summary_get(ac_run_summary_t *summary, ac_run_facts_t *facts);

/* ---- run/client_tools.c: tools that the client carries out; docs/architecture.md ---- */
/* The model is offered these tools beside the agent's. A round in which it calls one of them ends the run as completed:
 * first the agent's tools of this round are called; then DONE has `finish_reason` "tool_calls" and `client_calls`
 * [{id, tool, arguments}]. The next turn has the results. Events of such a call have `client` true, and its `index`
 * among the client's calls, from 0: TRACE_START, TRACE_UPDATE with `arguments_delta` (together the whole arguments),
 * TRACE_END with the arguments and no result. */
typedef struct ac_client_tools_t {
    json_t *list;   /* as chat completions have `tools`; NULL: none */
    json_t *choice; /* of the first model call, as chat completions have `tool_choice`; NULL: "auto" */
    bool one_call;  /* the model shall make at most one call in each round */
    json_t
        *results; /* [{id, result, error}]: the input of the turn, beside its content, which may be empty; NULL: none */
    size_t bytes; /* of the list, as counted for its limit */
} ac_client_tools_t;
void ac_client_tools_free(ac_client_tools_t *tools); /* all zero is allowed, and is left */
/* Adds a tool: {name, description?, parameters?, strict?}; other members are ignored. Each function: pointer is that of
 * the object in the request, for errors; errors: invalid_request. Any thread. */
apr_status_t ac_client_tools_add(ac_client_tools_t *tools, const json_t *function, const char *pointer, ac_err_t *err);
/* mode: "auto", "required", or "none", which offers none of the client's tools. name: the only tool to be called, or
 * NULL; the agent may have it. A name of no tool fails the run. */
apr_status_t ac_client_tools_choose(ac_client_tools_t *tools, const char *mode, const char *name, const char *pointer,
                                    ac_err_t *err);
/* Adds the result of a call: JSON that the model gets as it is, or an error message. One of the two is NULL. */
apr_status_t ac_client_tools_answer(ac_client_tools_t *tools, const char *call_id, const json_t *result,
                                    const char *error, const char *pointer, ac_err_t *err);
/* The calls of a stored message that the client has to carry out, [{id, tool, arguments}]; NULL: none. New
 * reference. */
json_t *ac_client_tools_calls(const json_t *message);

/* ---- run/turn.c: what a client asks for; a command of copies, on the heap ---- */
#define AC_TURN_MEMBER_SIZE 40
#define AC_KEY_IS_NEW apr_time_from_sec(INT64_C(253402300799)) /* the last second of the year 9999 */

/* While another run of the thread is active: the turn is refused, waits in the thread's queue, or cancels that run and
 * is the first in the queue. */
typedef enum ac_busy_e { AC_BUSY_REJECT, AC_BUSY_ENQUEUE, AC_BUSY_INTERRUPT } ac_busy_e;
typedef struct ac_turn_t {
    ac_agents_t *agents;     /* the agents at the time of the request; a reference; NULL: the engine's registry */
    const ac_agent_t *agent; /* NULL: the thread's own, else fallback_agent */
    const ac_agent_t *fallback_agent; /* or NULL */
    char run_id[AC_ID_SIZE];          /* made by ac_turn_create() */
    char owner[AC_OWNER_SIZE];
    char thread_id[AC_ID_SIZE];  /* "": makes a thread, unless stateless */
    bool creates;                /* the owner may have no thread with this id yet: then it is made with the turn */
    char message_id[AC_ID_SIZE]; /* of the user's message; made by ac_turn_create(). With regenerate that of the stored
                                    question, from LOADING on */
    char parent_id[AC_ID_SIZE];  /* with has_parent: what the user's message follows; "": nothing */
    bool has_parent;             /* false: it follows the thread's current leaf */
    char regenerate[AC_ID_SIZE]; /* an answer, or its question: the turn answers that question once more, and has no
                                    message of its own; "": it has one */
    char request_id[64];
    ac_protocol_e protocol;          /* of the request */
    char *key;                       /* Idempotency-Key, or NULL; on the heap */
    char key_hash[AC_KEY_HASH_SIZE]; /* of the request that came with the key */
    apr_time_t key_since;            /* an earlier run counts that got the key since then; AC_KEY_IS_NEW: none does */
    bool key_optional;               /* the turn continues without the key if the store fails */
    uint64_t after;                  /* the follower's last event, for a key that leads to an earlier run */
    apr_interval_time_t leave;       /* how long the run continues without a follower; -1: to its end */
    ac_busy_e on_busy;
    int queue_most;                 /* turns that wait in the queue of a thread, with this one */
    apr_interval_time_t queue_wait; /* how long it waits there */
    bool stateless;                 /* stores nothing but its key, which leads to its event log */
    bool no_approvals;              /* calls that need approval are refused at once */
    json_t *history;                /* the messages before this one, as a store has them, behind those of the thread,
                                        which gets the newest AC_STORE_MAX_EARLIER of them; NULL: none. A call of the
                                        client has `client` true in `tool_calls`; the message after it has the results
                                        in its own `tool_calls` */
    ac_client_tools_t client;       /* owned */
    char *instructions;             /* further ones, after the agent's; NULL: none; on the heap */
    int max_tokens;                 /* of each answer of the model, if the agent allows more; 0: as the agent says */
    json_t *format;                 /* of the answer, as in chat completions; NULL: as the agent says; owned */
    json_t *webhook;                /* {name, events?}: what is notified of the run's end; NULL: nothing; owned */
    char *content;
    json_t *metadata;                 /* of the message, or NULL */
    json_t *attachments;              /* its files as they are stored, [{file_id, name, type, size}], or NULL */
    char member[AC_TURN_MEMBER_SIZE]; /* of the request, that has their parts: "messages/3/content" */
    int parts[AC_MAX_ATTACHMENTS];    /* the index of each one's part in it, for errors */
    json_t *file_limits;              /* `limits` of FILE_PUT, or NULL */
    ac_files_memory_t *files;  /* stateless: those files of the request that no storage has; a reference, or NULL */
    ac_quota_t *quota;         /* a reference; NULL: no limit counts the run */
    ac_trace_t trace;          /* of the client's request, or empty; set by ac_turn_set_trace() */
    ac_run_summary_t *summary; /* a reference; NULL: no request wants to know */
} ac_turn_t;
/* NULL: out of memory. Any thread. */
ac_turn_t *ac_turn_create(const ac_agent_t *agent, const char *owner, const char *content);
void ac_turn_set_trace(ac_turn_t *turn, const ac_trace_t *trace); /* copies it */
int ac_turn_max_tokens(const ac_turn_t *turn,
                       const ac_agent_t *agent); /* of one answer; 0: as many as the model likes */
void ac_turn_free(ac_turn_t *turn);              /* NULL is allowed */

/* ---- engine.c: all runs of a child ---- */
typedef struct ac_after_run_conf_t { /* AgentChatTitles, AgentChatHistorySummary */
    int on;
    const ac_model_t *model; /* NULL: the model of the run's agent */
    int max_tokens;          /* of the model's answer */
    apr_interval_time_t timeout;
    const char *prompt; /* NULL: the module's */
} ac_after_run_conf_t;
typedef struct ac_engine_conf_t {    /* from the configuration, once for each server */
    apr_interval_time_t run_timeout; /* of a whole run */
    apr_interval_time_t queue_timeout, store_timeout;
    int max_runs;                         /* at once in this child; the engine queues more */
    int max_queued;                       /* more than that: overloaded */
    apr_size_t max_answer;                /* bytes of a run's answer; 0: AC_MAX_ANSWER */
    apr_interval_time_t approval_timeout; /* how long a tool call awaits approval */
    ac_after_run_conf_t titles, summaries;
    apr_interval_time_t log_keep; /* how long a run's event log stays after the run's end */
} ac_engine_conf_t;
typedef struct ac_engine_t ac_engine_t;
/* errors: APR_ENOMEM. The engine owns none of its arguments; conf is copied. Before the loop runs. */
apr_status_t ac_engine_create(ac_engine_t **pengine, ac_loop_t *loop, ac_work_t *work, const ac_store_t *store,
                              const ac_registry_t *registry, const ac_engine_conf_t *conf);
/* Cancels every run with `stopping`, and calls done after the closing write of the last run. Loop thread. */
void ac_engine_stop(ac_engine_t *engine, void (*done)(void *baton), void *baton);
void ac_engine_destroy(ac_engine_t *engine); /* after the loop has ended; NULL is allowed */
/* Runs write their events here; the caller owns dir. Without a directory no other child can follow or cancel a run, and
 * no client can resume its stream before the end of the run. Before the first run and before the loop runs. */
void ac_engine_use_dir(ac_engine_t *engine, ac_event_dir_t *dir);
/* Event logs are copied there, and runs of other machines are followed from there; the caller owns the mirror, which
 * outlives the engine. Before the first run and before the loop runs. */
void ac_engine_use_mirror(ac_engine_t *engine, ac_mirror_t *mirror);
/* follow/notice.c. The store has a change of this run for the process that runs it, on whichever machine: asks all
 * processes to look. Without a mirror they look from time to time. Any thread. */
void ac_notice_post(ac_engine_t *engine, const char *run_id);
/* The bytes of files that messages have (NULL: there are none), and the threads that read them and those of requests;
 * both are the caller's. Before the first run. */
void ac_engine_use_files(ac_engine_t *engine, const ac_files_t *files, ac_work_t *work);
/* Calls on_end with the sender, which is the caller's, for each run that has ended or is suspended. Before the first
 * run. */
typedef void ac_engine_webhook_fn(ac_webhook_sender_t *sender, const ac_webhook_cause_t *cause);
void ac_engine_use_webhooks(ac_engine_t *engine, ac_webhook_sender_t *sender, ac_engine_webhook_fn *on_end);
/* Counts what runs use; the caller owns the counters. Without counters there are no limits. Before the first run. */
void ac_engine_use_counters(ac_engine_t *engine, ac_counters_t *counters);
/* Listens to other children, and recovers the runs of dead ones: now and once a minute. Loop thread. */
void ac_engine_watch(ac_engine_t *engine);
/* The number of active runs. Any thread. */
int ac_engine_active(const ac_engine_t *engine);
/* The gate of a model in this child. Loop thread. */
void ac_engine_gate_state(ac_engine_t *engine, const ac_model_t *model, ac_gate_state_t *state);
/* Whether the mirror works, and for how long the oldest event that it lacks has been waiting. Only with a mirror. */
bool ac_engine_mirror_state(const ac_engine_t *engine, apr_interval_time_t *plag);

/* ---- run/: one run ---- */
/* Starts the run with this follower. Consumes the turn. The first event comes later, never inside the call. A run that
 * cannot begin emits one ERROR event. Loop thread. */
void ac_run_start(ac_engine_t *engine, ac_turn_t *turn, ac_follower_t *follower);
/* Ends the run as cancelled, and stores its partial answer. why: AC_CANCELLED; AC_STOPPING; AC_INTERRUPTED: another
 * server has closed the run, and nothing is stored. errors: not_found, run_ended. Loop thread. */
apr_status_t ac_run_cancel(ac_engine_t *engine, const char *run_id, ac_kind_e why);
/* Cancels the owner's run in whichever child it is. A worker's thread; blocks. resumed: the store says that the run
 * no longer awaits approval, so that the child that resumes it is about to read the log. Returns: APR_SUCCESS: the
 * run ends as cancelled. run_ended: the run ends, or has ended, otherwise. not_found: no child has it. APR_EAGAIN:
 * the run is suspended and in no child. APR_INCOMPLETE: the request was sent, and its outcome is not known: no log
 * says which child has the run, or the loop of this child does not answer in time. */
apr_status_t ac_run_cancel_anywhere(ac_engine_t *engine, const char *run_id, const char *owner, bool resumed);
/* The same without the store, for a run whose log has its stored document. *pstored: that document, a new reference,
 * after APR_SUCCESS and APR_INCOMPLETE; else unchanged. errors: run_ended; not_found: there is no such log, and no
 * child was asked. A worker's thread; blocks. */
apr_status_t ac_run_cancel_logged(ac_engine_t *engine, const char *run_id, const char *owner, json_t **pstored);

/* ---- run/run_call.c ---- */
/* For ac_host_t.tool_progress. */
void ac_run_call_progress(void *baton, json_t *progress);

/* ---- run/run_approval.c: tool calls that await approval ---- */
typedef struct ac_approval_t {
    const char *run_id, *owner;
    json_t *decision;          /* {call_id, approve, reason?} or {cancel: true}; borrowed */
    ac_quota_t *quota;         /* counts the resumed run, or NULL; borrowed */
    const ac_trace_t *trace;   /* the context of the resumed run, or NULL; borrowed */
    apr_interval_time_t leave; /* of the resumed run, as ac_turn_t has it */
} ac_approval_t;
/* Stores a decision about calls of the owner's run, whichever child began it; after the last decision the run
 * resumes in this child. errors: not_waiting, the store's. A worker's thread; blocks. */
apr_status_t ac_run_approval_decide(ac_engine_t *engine, const ac_approval_t *approval, ac_err_t *err);
/* Looks for approvals whose time is over, until the engine stops. catalog: has the agents of resumed runs; NULL: the
 * registry has them. Loop thread. */
void ac_run_approval_watch(ac_engine_t *engine, ac_catalog_t *catalog);
/* Looks for queued turns whose process is gone, and begins them, until the engine stops. After
 * ac_run_approval_watch(). Loop thread. */
void ac_run_queued_watch(ac_engine_t *engine);

/* ---- follow/: a run that is active anywhere, or has ended ---- */
/* Follows the owner's run from event number `after` on, to its terminal event: from the event log, then live. For an
 * ended run without a log, events are made from the stored documents. A follower that has all events gets NOTHING;
 * an `after` behind the end gets the terminal event. The first event comes later, never inside the call. The
 * follower ends this by ac_channel_leave(). errors, as ERROR events: not_found (also for another owner's run), the
 * store's. Loop thread. */
void ac_tail_start(ac_engine_t *engine, const char *run_id, const char *owner, uint64_t after, ac_follower_t *follower);
#define AC_TAIL_PIECE 8192 /* the most bytes of an answer in one event made from stored documents */
/* A slow follower needs no memory for events it cannot take: it rewinds, and reads them from the log later.
 * Sets the checkpoint to the follower's position in its run's log. false: there is no log; the checkpoint stays. Loop
 * thread. */
bool ac_follower_checkpoint(ac_follower_t *follower);
/* Rewinds the follower to its checkpoint. It gets nothing until ac_follower_resume(); then the log's events, then
 * live ones. last_seq: the number of the last event delivered. Allowed inside on_event, and after the terminal
 * event. false: no log has the events up to last_seq; the follower stays where it is. Loop thread. */
bool ac_follower_rewind(ac_engine_t *engine, ac_follower_t *follower, uint64_t last_seq);
/* The follower has room again. Allowed at any time. Loop thread. */
void ac_follower_resume(ac_follower_t *follower);

#endif
