/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a run share. Everything is the loop thread's. */
#ifndef AC_RUN_INTERNAL_H
#define AC_RUN_INTERNAL_H

#include "run.h"

/* ---- run.c ---- */
/* A run in QUEUED. Consumes the turn. Aborts if out of memory. */
ac_run_t *ac_run_create(ac_engine_t *engine, ac_turn_t *turn);
/* The only writer of the state. Aborts at a transition that the table of states does not have. */
void ac_run_transit(ac_run_t *run, ac_run_state_e state, const char *cause);
void ac_run_begin(void *run);      /* QUEUED → LOADING: the run has a slot */
void ac_run_resume(ac_run_t *run); /* QUEUED → CALLING: a suspended run */
/* From any live state to SAVING with this outcome; err may be NULL. Cancels what is active. */
void ac_run_finish(ac_run_t *run, ac_run_state_e outcome, const ac_err_t *err, const char *cause);
/* Back to LOADING, as if the model had not been called: drops its answer, keeps its cost. No event was shown. */
void ac_run_restart(ac_run_t *run);
void ac_run_detach(
    ac_run_t *run);             /* the run is suspended in the store: it leaves this process without a terminal event */
void ac_run_end(ac_run_t *run); /* once: emits the terminal event and frees the run */
void ac_run_free(ac_run_t *run); /* nothing refers to it any more */

typedef struct ac_history_cut_t { /* what did not fit */
    bool results;                 /* of old tool calls; a text says so in their place */
    bool messages;                /* whole turns */
    bool summary;                 /* whole turns, which a summary replaces */
    size_t old, n_old;            /* stored messages that a summary is due for: the first one, and how many; 0: none */
} ac_history_cut_t;

/* ---- run_metrics.c: what is counted of a run ---- */
void ac_run_metrics_model_begin(const ac_run_t *run);    /* a model call */
void ac_run_metrics_model_answered(const ac_run_t *run); /* the first part of its answer */
void ac_run_metrics_model_end(ac_run_t *run, const ac_model_end_t *end);
void ac_run_metrics_usage(const ac_run_t *run, const ac_usage_t *before); /* usage has grown by a call's */
/* The usage of a call of this model; agent: its index. asked NULL: no model is known. */
void ac_run_metrics_tokens(unsigned agent, const ac_model_t *asked, const ac_usage_t *usage);
void ac_run_metrics_history(const ac_run_t *run, const ac_history_cut_t *cut);
void ac_run_metrics_tool_end(const ac_call_t *call, ac_tool_outcome_e outcome);
void ac_run_metrics_tools_begin(ac_run_t *run);               /* of a round */
void ac_run_metrics_leave_state(ac_run_t *run);               /* before the state changes */
void ac_run_metrics_publish(const ac_run_t *run);             /* the times so far, for the response */
apr_interval_time_t ac_run_metrics_took(const ac_run_t *run); /* so far, without suspensions */
void ac_run_metrics_end(const ac_run_t *run);
void ac_run_metrics_queue(const ac_engine_t *engine); /* the number of queued runs has changed */

/* ---- run_trace.c: the spans of a run ---- */
void ac_run_trace_begin(ac_run_t *run); /* its turn has the context that it is part of */
/* The context for what the run itself does, as operations of the store. Borrowed until the run ends. */
const ac_trace_t *ac_run_trace_context(const ac_run_t *run);
/* The context for what the tool does. Borrowed until the call ends. */
const ac_trace_t *ac_run_trace_call(const ac_call_t *call);
void ac_run_trace_chat_begin(ac_run_t *run); /* sets run->trace.asking */
void ac_run_trace_chat_answered(ac_run_t *run);
void ac_run_trace_chat_retry(ac_run_t *run, const ac_err_t *err); /* the next attempt begins; sets it again */
void ac_run_trace_chat_end(ac_run_t *run, const ac_model_end_t *end);
/* The attributes of a call of this model; span may be NULL. */
void ac_run_trace_model(ac_span_t *span, const ac_model_t *model, const json_t *messages);
/* Ends the span of such a call; consumes it. text: of the answer. */
void ac_run_trace_model_end(ac_span_t *span, const ac_model_t *model, const char *text, const ac_model_end_t *end);
void ac_run_trace_tool_begin(ac_call_t *call);
void ac_run_trace_tool_drop(ac_call_t *call); /* it was not called after all */
void ac_run_trace_tool_end(ac_call_t *call, ac_tool_outcome_e outcome);
void ac_run_trace_suspend(ac_run_t *run); /* the run leaves this process */
void ac_run_trace_end(ac_run_t *run);
/* The context for the state document, and back. */
json_t *ac_run_trace_json(const ac_run_t *run);
void ac_run_trace_read(ac_run_t *run, const json_t *state);

/* ---- run_trace_content.c: prompts and answers as the conventions have them; pure. NULL: out of memory, or nothing to
 * show. On the heap ---- */
char *ac_run_trace_content_instructions(const json_t *messages);
char *ac_run_trace_content_input(const json_t *messages);
char *ac_run_trace_content_output(const char *text, const ac_model_end_t *end);

/* ---- run_summary.c ---- */
void ac_run_summary_collect(ac_run_facts_t *facts, const ac_run_t *run);
void ac_run_summary_note(const ac_run_t *run); /* for the run's request: how things stand */
/* The run's request follows an earlier run instead. */
void ac_run_summary_attach(ac_run_t *run, const char *run_id);
/* The fields of a log line about the run. They point into facts and into the run. */
void ac_run_summary_fields(ac_log_fields_t *fields, ac_run_facts_t *facts, const ac_run_t *run);
void ac_run_summary_log(const ac_run_t *run, const ac_log_fields_t *fields); /* the line at the end of a run */

/* ---- run_slot.c ---- */
/* Counts and admits a run that was just created; it begins later, from the ready list. */
void ac_run_slot_request(ac_run_t *run);
void ac_run_slot_admit(ac_run_t *run);   /* runs= is counted, or refused: run->limits.refused or run->err is set */
void ac_run_slot_acquire(ac_run_t *run); /* a slot in any case, for a resumed run */
void ac_run_slot_release(ac_run_t *run); /* gives the slot to the next run */
void ac_run_slot_yield(ac_run_t *run);   /* the same, but the run stays; a run without a slot is allowed */
void ac_run_slot_take(ac_run_t *run);    /* a slot in any case, for a run that has yielded its own; it begins later */

/* ---- run_events.c: emitting, holding back and showing events ---- */
/* Emits an event, or holds it back until the opening write is durable. Consumes data. */
void ac_run_event_emit(ac_run_t *run, ac_event_type_e type, json_t *data, const char *text, size_t len);
/* The user's message is durable, or the turn is stateless: emits the RUN event and the held events. */
void ac_run_event_release(ac_run_t *run);
void ac_run_event_hold(ac_run_t *run, ac_event_t *event); /* consumes the event */
void ac_run_event_show_held(ac_run_t *run);
void ac_run_event_drop_held(ac_run_t *run);
void ac_run_event_show_terminal(ac_run_t *run); /* DONE or ERROR, the run's last event */

/* ---- run_log.c: the run's event log ---- */
void ac_run_log_begin(ac_run_t *run); /* before the first event is shown */
/* Decides the outcome in the log: from here on another child reads that it is too late to cancel. true: the run ends
 * as cancelled, because the caller says so, or because another child has decided so first. */
bool ac_run_log_decide(ac_run_t *run, bool cancelled);
bool ac_run_log_is_cancelled(const ac_run_t *run); /* by another child */
void ac_run_log_write_closing(ac_run_t *run);      /* before run->close.document is written to the store */
/* The closing write has failed, and is tried again from the log: followers wait at the log for the end. */
void ac_run_log_leave_pending(ac_run_t *run);
void ac_run_log_suspend(ac_run_t *run); /* followers continue at the suspended log */
/* Adopts the suspended log, or makes a new one from the state's `events` (null: no log). Writes the state's `run` to
 * it. */
void ac_run_log_resume(ac_run_t *run, const json_t *state);
/* The log's events for ac_run_log_resume(); null if the log does not have all of them. New reference. */
json_t *ac_run_log_events(ac_run_t *run);
void ac_run_log_end(ac_run_t *run); /* after the terminal event */

/* ---- run_follower.c ---- */
/* The followers continue at the tail of this run, behind event `after`. */
void ac_run_follower_move_all(ac_run_t *run, const char *run_id, uint64_t after);
/* Gives the followers to an earlier run with the same key, which the store has found, and ends this run without an
 * event. */
void ac_run_follower_attach(ac_run_t *run, const json_t *key);

/* ---- run_limit.c ---- */
/* LOADING → ASKING if the limits allow it; else the run ends as rate_limited or budget_exceeded. */
void ac_run_limit_admit(ac_run_t *run, const char *cause);
void ac_run_limit_spend(ac_run_t *run); /* the usage has grown */
/* Counts a new run for runs=; ac_run_slot_admit() follows, inside the call or later. */
void ac_run_limit_count(ac_run_t *run);
void ac_run_limit_uncount(ac_run_t *run); /* at the end of the run */
void ac_run_limit_resume(ac_run_t *run);  /* counts a resumed run and its further usage; refuses nothing */
void ac_run_limit_move(ac_run_t *run);    /* the same for a run that another agent continues */
void ac_run_limit_release(ac_run_t *run); /* the run uses no more: releases the rest of the reservation */

/* ---- run_load.c ---- */
void ac_run_load_enter(ac_run_t *run);
void ac_run_load_refuse_busy(ac_err_t *err, const char *run_id); /* the thread's active run; NULL: not known */

/* ---- run_busy.c: a turn whose thread is busy ---- */
/* The run that has to end, or to begin, before this turn; NULL: the thread is free. loaded: of TURN_LOAD; borrowed. */
const char *ac_run_busy_first(const ac_run_t *run, const json_t *loaded);
/* In LOADING, of a busy thread: lets the turn wait in the thread's queue. false: it is to be refused. */
bool ac_run_busy_defers(ac_run_t *run);
bool ac_run_busy_waits(const ac_run_t *run);  /* rather than to be refused */
void ac_run_busy_enter(ac_run_t *run);        /* WAITING */
void ac_run_busy_lost(ac_run_t *run);         /* the opening write found that the turn has left the queue */
void ac_run_busy_wake(const ac_run_t *ended); /* turns of its thread look at once */
/* SAVING, of a turn that was not opened: ends it in the store. false: it is not in the queue, or stays there. */
bool ac_run_busy_unqueue(ac_run_t *run);

/* ---- run_store.c ---- */
/* An operation on the run's thread, and its call. done comes on the loop, and first subtracts one from run->n_ops. */
ac_store_op_t *ac_run_store_op(const ac_run_t *run, ac_store_verb_e verb);
void ac_run_store_call(ac_run_t *run, ac_store_op_t *op, void (*done)(ac_store_op_t *op));

/* ---- run_open.c ---- */
void ac_run_open_write(ac_run_t *run);
bool ac_run_open_is_done(const ac_run_t *run);  /* the opening write is durable, or the turn has none */
bool ac_run_open_is_first(const ac_run_t *run); /* the opening write comes before the model call */
json_t *ac_run_open_key(const ac_run_t *run);   /* `idempotency` of TURN_OPEN, of a turn with a key. New reference */

/* ---- run_ask.c ---- */
void ac_run_ask_init(ac_run_t *run); /* of a new run, whose slot has its owner */
void ac_run_ask_enter(ac_run_t *run);
void ac_run_ask_try(void *run); /* calls the run's model or its fallback, or fails the run */
void ac_run_ask_stop(ac_run_t *run);

/* ---- run_cost.c ---- */
/* Adds the usage of an ended call; estimates it if the model has not said it. */
void ac_run_cost_add(ac_run_t *run, const ac_model_end_t *end);
/* What a nested run has used since `before`, its outer runs have used, too. amount: its cost before. */
void ac_run_cost_pass(ac_run_t *run, const ac_usage_t *before, double amount);
double ac_run_cost_amount(const ac_run_t *run);             /* 0: not known */
void ac_run_cost_commit(ac_run_t *run);                     /* the usage so far has the price of the current model */
void ac_run_cost_move(ac_run_t *run, const ac_agent_t *to); /* the same, before this agent continues the run */
json_t *ac_run_cost_json(const ac_run_t *run);              /* null if a model has no price. New reference */
int64_t ac_run_cost_estimate_prompt(const ac_run_t *run);   /* tokens of the model's conversation */

/* ---- run_tools.c ---- */
/* Chooses the run's tools, and calls then(run): at once, or when the lists of its agent's sources are here. */
void ac_run_tools_load(ac_run_t *run, void (*then)(ac_run_t *run));
void ac_run_tools_stop(ac_run_t *run); /* then is not called any more */
void ac_run_tools_free(ac_run_t *run);
/* Sets the tools of a resumed run's calls. A call whose name means another tool now is refused. */
void ac_run_tools_find(ac_run_t *run);

/* ---- run_nesting.c: where a run is among the runs of its turn; pure ---- */
ac_run_t *ac_run_nesting_root(const ac_run_t *run); /* the run of the turn; perhaps the run itself */
/* The run has no further rounds: its own, or those of all runs of the turn, are used up. */
bool ac_run_nesting_is_last(const ac_run_t *run);
/* false: the turn has no round left for a nested run. */
bool ac_run_nesting_may_ask(const ac_run_t *run);
/* Adds agent_id, depth and parent_step_id to what events and steps of a nested run have; else nothing. */
void ac_run_nesting_mark(const ac_run_t *run, json_t *data);
/* Calls fn for each call that awaits approval, also those of nested runs. */
typedef void ac_run_nesting_fn(ac_call_t *call, void *baton);
void ac_run_nesting_each(ac_run_t *run, ac_run_nesting_fn *fn, void *baton);

/* ---- run_nested.c: an agent that another agent calls as a tool; docs/architecture.md ---- */
/* Begins the nested run of a call, or resumes it from call->state. ac_run_call_result() follows, never inside. errors:
 * tool_error. */
apr_status_t ac_run_nested_start(ac_call_t *call, ac_err_t *err);
void ac_run_nested_stop(ac_call_t *call); /* its result is not wanted any more; no nested run is allowed */
void ac_run_nested_drop(ac_call_t *call); /* the same without events and steps: its state is stored */
void ac_run_nested_wait(ac_run_t *run);   /* all open calls of a nested run await approval */
void ac_run_nested_close(ac_run_t *run);  /* SAVING of a nested run */

/* ---- run_handoff.c: another agent continues the run; docs/architecture.md. Pure ---- */
/* Whether a call may hand over now. errors: tool_error. */
apr_status_t ac_run_handoff_check(const ac_call_t *call, ac_err_t *err);
bool ac_run_handoff_has(const ac_call_t *call);                /* it has ended, and has handed over */
const ac_call_t *ac_run_handoff_find(const ac_run_t *run);     /* that call of the round; NULL: none */
void ac_run_handoff_mark(const ac_call_t *call, json_t *data); /* hands_over_to, if the call is one of such a tool */
/* Makes the agent of the call the run's. The round is in the conversation, and its calls are still there. */
void ac_run_handoff_take(ac_run_t *run, const ac_call_t *call);

/* ---- run_job.c ---- */
typedef void ac_run_job_done_fn(void *call, apr_status_t status, json_t *result, const ac_err_t *err);
/* Calls a blocking tool; done comes on the loop, and consumes result. errors: overloaded. */
apr_status_t ac_run_job_start(ac_call_t *call, apr_time_t deadline, ac_run_job_done_fn *done, ac_err_t *err);
void ac_run_job_abandon(ac_call_t *call); /* done is not called any more */

/* ---- run_carried.c: what a model wants back of its answers ---- */
void ac_run_carried_take(ac_run_t *run, const ac_model_end_t *end); /* of an answer that has ended */
void ac_run_carried_put(ac_run_t *run, json_t *message); /* to the message of the round that ends, with decisions */
/* The messages for this model, without what other ones want back. Consumes messages. */
json_t *ac_run_carried_shown(json_t *messages, const ac_model_t *model);
/* `response` of the stored answer; NULL: the model's service does not know it. New reference. */
json_t *ac_run_carried_response(const ac_run_t *run);

/* ---- run_call.c ---- */
/* The round's call with this index; makes it at the first use, and emits TRACE_START. A question of the model's service
 * becomes a call that needs approval and calls no tool. */
ac_call_t *ac_run_call_get(ac_run_t *run, int index, const ac_tool_call_t *wanted);
/* A call by the model's service: makes it, and emits TRACE_START. The caller owns it. */
ac_call_t *ac_run_call_hosted(ac_run_t *run, const char *id, const char *name);
void ac_run_call_free(ac_call_t *call);
void ac_run_call_record(ac_run_t *run, ac_call_t *call); /* an ended call: emits TRACE_END, adds a step */
/* Cuts a result that is too long: each byte costs tokens in every further round. Consumes result. */
json_t *ac_run_call_cap(json_t *result, size_t max);
/* Consumes result. status AC_TOOL_ASKS: it is a question. Loop thread. */
void ac_run_call_result(void *baton, apr_status_t status, json_t *result, const ac_err_t *err);
/* Ends the round if all calls have ended; suspends the run if all open ones await approval. */
void ac_run_call_moved(ac_run_t *run);
void ac_run_call_enter(ac_run_t *run);
void ac_run_call_begin_all(ac_run_t *run);                    /* in CALLING, when the opening write is durable */
void ac_run_call_drop_all(ac_run_t *run);                     /* cancels active calls, frees the round's calls */
void ac_run_call_close_all(ac_run_t *run, const char *error); /* open calls end with this error, traced */

/* ---- run_round.c: what events, message and conversation have of the calls of a round ---- */
void ac_run_round_mark(const ac_call_t *call, json_t *data); /* the data of its events: which call it is */
/* Shows a part of the call's arguments. If it ends within a character, that is shown with the next part. */
void ac_run_round_stream(ac_call_t *call, const char *fragment, size_t len);
json_t *ac_run_round_ended(const ac_call_t *call); /* the data of TRACE_END; a new reference */
/* Adds the round's calls to the message, in the model's order, not in the order of their end. */
void ac_run_round_keep_calls(ac_run_t *run);
void ac_run_round_keep(ac_run_t *run, const ac_call_t *call); /* one of them */
/* Shows a call that the model's service carries out: its begin, or its end. */
void ac_run_round_hosted(ac_run_t *run, const ac_hosted_call_t *hosted);
void ac_run_round_end_hosted(ac_run_t *run); /* the model call has ended: so have they */
/* All calls have ended: asks the model again, perhaps that of another agent, or ends the run for the client's calls. */
void ac_run_round_end(ac_run_t *run);

/* ---- run_sources.c: what the answer rests on ---- */
void ac_run_sources_find(ac_call_t *call, const json_t *result); /* in the result, before it is cut */
/* One that the model names. Returns it as a list if it is new, else NULL; a new reference. */
json_t *ac_run_sources_name(ac_run_t *run, const json_t *annotation);
/* The data of SOURCES; a new reference. call: NULL: the model has named them. Consumes sources. */
json_t *ac_run_sources_event(const ac_call_t *call, json_t *sources);

/* ---- run_output.c: the form of the answer ---- */
bool ac_run_output_is_json(const ac_run_t *run);   /* it is shown when it is complete and checked */
json_t *ac_run_output_format(const ac_run_t *run); /* as in chat completions; NULL: text. New reference */
/* errors: output_invalid. */
apr_status_t ac_run_output_check(const ac_run_t *run, ac_finish_e finish, ac_err_t *err);
/* Takes the answer back, and adds to the model's conversation why it was not accepted. */
void ac_run_output_reject(ac_run_t *run, const ac_err_t *why);

/* ---- client_tools.c ---- */
bool ac_client_tools_has(const ac_run_t *run, const char *name); /* whether the model is offered it */
/* Drops the tools if the client chose "none"; refuses names of the agent's tools. errors: invalid_request. */
apr_status_t ac_client_tools_check(ac_run_t *run, ac_err_t *err);
/* Sets the members of a model call that are about tools. In the last round of a run, only the client's tools are
 * offered. Returns ask->tools, a new reference; NULL: none. */
json_t *ac_client_tools_offer(const ac_run_t *run, ac_model_ask_t *ask);
/* *panswered: the client's calls of the last stored message, with the results of the turn. errors: invalid_request:
 * they are not those of all these calls. New reference. */
apr_status_t ac_client_tools_match(json_t **panswered, const ac_turn_t *turn, const json_t *stored, ac_err_t *err);

/* ---- run_approval.c ---- */
void ac_run_approval_enter(ac_run_t *run);
void ac_run_approval_cancel(ac_engine_t *engine, const char *run_id, const char *owner); /* cancels a suspended run */

/* ---- run_decision.c ---- */
/* Emits what was decided about the calls of a resumed run, by id, and notes it in the calls. */
void ac_run_decision_apply(ac_run_t *run, const json_t *decisions);

/* ---- run_suspended.c: the state document of a suspended run; pure ---- */
json_t *ac_run_suspended_make(ac_run_t *run, json_t *events); /* consumes events */
/* Fills a new run; the caller finds its agent and its log. false: the document is damaged, and the run can only be
 * ended. */
bool ac_run_suspended_read(ac_run_t *run, const json_t *state);

/* ---- run_close.c ---- */
void ac_run_close_continue(ac_run_t *run); /* SAVING: takes the next step towards the end */

/* ---- run_document.c: the stored documents of a run; pure ---- */
json_t *ac_run_document_run(const ac_run_t *run); /* new reference, here and below */
json_t *ac_run_document_thread(const ac_run_t *run);
/* The automatic title of a message: from its text, else the name of its first file. */
json_t *ac_run_document_title_of(const char *content, const json_t *attachments);
json_t *ac_run_document_title(const ac_run_t *run); /* of the thread: from the message, else the name of its file */
json_t *ac_run_document_user_message(const ac_run_t *run);
json_t *ac_run_document_earlier(const ac_run_t *run); /* `earlier` of TURN_OPEN; NULL: the turn brings none */
json_t *ac_run_document_answer(const ac_run_t *run);  /* NULL: there is no text and no call to store */
json_t *ac_run_document_step(const ac_run_t *run, const ac_call_t *call); /* ended or not */
void ac_run_document_add_step(ac_run_t *run, json_t *step);               /* to those of the turn; consumes step */
void ac_run_document_add_model_step(ac_run_t *run, const ac_model_end_t *end);
const char *ac_run_document_status(const ac_run_t *run); /* "in_progress", "completed" and others */
/* The name the model gives itself, else its id; "": the run has ended before its agent was known. */
const char *ac_run_document_model(const ac_run_t *run);
/* Why the answer ended, in the words of chat completions and a few of ours. */
const char *ac_run_document_finish_reason(const ac_run_t *run);

/* ---- run_files.c: the files of the conversation ---- */
/* Refuses files of the new message that the agent's model does not take. errors, with the pointer of the part:
 * invalid_request. */
apr_status_t ac_run_files_check(const ac_run_t *run, ac_err_t *err);
/* Replaces the files in the model's conversation by what the model is shown, then calls done(run, cause, err); at once
 * if there are none. LOADING or ASKING; the run may have left that state when done is called. errors: overloaded. */
typedef void ac_run_files_fn(ac_run_t *run, const char *cause, const ac_err_t *err);
void ac_run_files_load(ac_run_t *run, ac_run_files_fn *done, const char *cause);
/* Whether the conversation refers to images that are not in memory, as after a suspension. */
bool ac_run_files_missing(const ac_run_t *run);
/* The conversation for this model, and its images. New reference. */
json_t *ac_run_files_shown(const ac_run_t *run, const ac_model_t *model, ac_model_ask_t *ask);
void ac_run_files_free(ac_run_t *run);

/* ---- after_run.c: a model call after a run, which makes a title or a summary ---- */
/* Begins later, from the ready list; NULL is allowed. left: called when it has gone. */
void ac_after_run_begin(ac_after_run_t *after, void (*left)(ac_engine_t *engine));

/* ---- title.c: a title that a model makes after a thread's first answer ---- */
/* Notes the thread's automatic title in run->load.title, if a model may replace it after this turn.
 * loaded: the `out` of TURN_LOAD; NULL: a new thread. */
void ac_title_note(ac_run_t *run, const json_t *loaded);
/* Of a run that is about to end; copies what it needs of the run. NULL: no title is to be made. */
ac_after_run_t *ac_title_create(const ac_run_t *run);

/* ---- history_summary.c: a summary that a model makes of old messages ---- */
/* Notes in run->load.summary what is to be summarized after the run, if AgentChatHistorySummary is on. stored: the list
 * that the cut was made of. */
void ac_history_summary_note(ac_run_t *run, const json_t *stored, const ac_history_cut_t *cut);
/* Of a run that is about to end; copies what it needs of the run. NULL: there is nothing to summarize. */
ac_after_run_t *ac_history_summary_create(const ac_run_t *run);

/* ---- title_text.c; pure ---- */
/* The title in a model's answer: its first line, without the marks that models put around it, at most AC_MAX_TITLE
 * characters. NULL: there is none. New reference. */
json_t *ac_title_text_clean(const char *answer);
/* The text after the reasoning that some models put in front of their answer; NULL: there is nothing else. */
char *ac_title_text_skip_reasoning(char *text);

/* ---- quota.c ---- */
/* In billionths, rounded up, but not for the rounding error of a double. */
int64_t ac_quota_money(double amount);
typedef struct ac_quota_places_t { /* where limits of a run are configured */
    const ac_limits_t *list[3];
    int n;
} ac_quota_places_t;
ac_quota_places_t ac_quota_places(const ac_quota_t *quota, const ac_agent_t *agent); /* agent NULL: not known yet */
/* Whether a limit of this place counts runs once their agent is known. */
bool ac_quota_counts(const ac_agent_t *agent, const ac_limits_t *place, const ac_limit_t *limit);
/* A reservation of these amounts with all limits that count the agent's runs; amount -1: not of this measure. NULL:
 * there is no such limit. */
ac_reservation_t *ac_quota_want(const ac_quota_t *quota, const ac_agent_t *agent, const int64_t amounts[AC_N_MEASURES]);
/* Adds the limits of one more agent to it; *preservation may be NULL. */
void ac_quota_want_agent(ac_reservation_t **preservation, const ac_quota_t *quota, const ac_agent_t *agent,
                         const int64_t amounts[AC_N_MEASURES]);
bool ac_quota_wants_cost(const ac_reservation_t *reservation); /* one of its limits is on the cost; NULL: false */
/* Publishes the fields of the reservations: when the run began, and before its model call; each may be NULL. Counts
 * once. */
void ac_quota_publish(ac_quota_t *quota, const ac_reservation_t *started, const ac_reservation_t *reserved);

/* ---- history.c: the model's conversation ---- */
typedef struct ac_history_t {
    const ac_agent_t *agent;
    const json_t *stored; /* the messages of the path, the oldest one first, as the API shows them */
    const char *content;  /* the user's new message; NULL: it is the last one of `stored` */
    const json_t *files;  /* of the new message, or NULL */
    bool deleted;         /* messages of the thread are deleted, which a model's service may still have */
} ac_history_t;
/* The messages of a model call: the instructions as the system message, then whole turns, then the user's new message.
 * Takes the newest turns that fit both budgets; the newest turn is kept even if it does not fit. Before a turn is left
 * out, the results of tool calls are, the oldest first, but not those of the newest turns. If a stored message has a
 * `summary`, it replaces that message and those before it, when they do not fit. A message with files has the member
 * `attachments`, which run_files.c replaces by what the model is shown. NULL: out of memory. New reference. */
json_t *ac_history_messages(const ac_history_t *history, ac_history_cut_t *cut);
/* Whether the model's safety system has refused this turn, the messages from `first` on and below `end`. Such a turn is
 * left out: it would make the system refuse every later turn. */
bool ac_history_is_filtered(const json_t *stored, size_t first, size_t end);
/* Adds a system message with this text, after the agent's instructions. */
void ac_history_instruct(json_t *messages, const char *text);
/* history_offer.c: calls of tools that are neither in the set nor in `client`, with their results, become text.
 * client: as chat completions have tools, or NULL. */
void ac_history_offer(json_t *messages, const ac_toolset_t *set, const json_t *client);
int64_t ac_history_estimate(const char *text); /* tokens, at 4 bytes each */
/* The `tool` message of a call. AC_TOOL_COMPUTES: the result as JSON text, a string as it is. Else {"origin": tool,
 * "note": …, "result": …}, since the result may contain other people's text. With an error: {"error": …}. New
 * reference. */
json_t *ac_history_tool_message(const ac_agent_t *agent, const char *call_id, const char *tool, const json_t *result,
                                const char *error);

#endif
