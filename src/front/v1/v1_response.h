/* SPDX-License-Identifier: Apache-2.0 */
/* What the files about the Responses API share. A response is a run, or, where calls awaited approval, a part of one: a
 * segment begins with the run or with the decisions, and ends with the next request for approval or with the run. */
#ifndef AC_V1_RESPONSE_H
#define AC_V1_RESPONSE_H

#include "v1_internal.h"

#define AC_V1_SERVER_LABEL "agentchat" /* of the server's own tools, which clients see as those of one MCP server */
#define AC_V1_ID_SIZE 320              /* of an id with the id of a model's call in it; a longer one is cut */

/* ---- v1_id.c: ids of this API and of this server ---- resp_X and resp_X_1 are the segments of run_X, conv_X is
 * thread_X, and items of run_X are msg_X, msg_X_1, rs_X, mcp_X_CALL, mcpr_X_CALL, fc_X_0; call_X_0 is the call of
 * fc_X_0. */
/* Whether id is theirs, 26 characters and at most `_` and a rest. id_own gets ours and those characters. *prest: the
 * rest, borrowed; "": none; may be NULL. */
bool ac_v1_id_read(char id_own[AC_ID_SIZE], const char **prest, const char *id, const char *theirs, const char *ours);
/* The response of a run: resp_X, or resp_X_N. false: another text. */
bool ac_v1_id_read_response(char run_id[AC_ID_SIZE], unsigned *psegment, const char *id);
/* Writes theirs, the characters of an id of this server, and `_` with the rest unless it is NULL. */
void ac_v1_id_write(char id[AC_V1_ID_SIZE], const char *theirs, const char *id_own, const char *rest);

/* ---- v1_facts.c: what a response shows of its request ---- kept with the message of the user, as AC_V1_FACTS of its
 * metadata: {model, background, store, conversation: bool, previous_response_id, max_output_tokens, metadata, body:
 * hash of the request}. */
#define AC_V1_FACTS "response"
/* What the dialects need of the request. */
typedef struct ac_v1_response_view_t {
    unsigned segment;     /* of the run */
    bool in_conversation; /* the response names its thread as a conversation */
    bool ends_begun;      /* a document: as soon as the run has begun */
    bool ends_live;       /* a document: what there is now */
    int64_t after;        /* a stream: without the events up to this number; -1: all */
    char members[];       /* of the response: ,"name":value…, which do not change while the run does */
} ac_v1_response_view_t;
/* Makes the view of the request. facts: NULL: unknown, as of runs that began by another API; agent_id: the model then.
 * segment: one behind others answers the one before. errors: internal. */
ac_v1_response_view_t *ac_v1_facts_view(ac_request_t *rq, const json_t *facts, const char *agent_id, unsigned segment,
                                        const char *run_id);
/* The facts of a message, borrowed; NULL: none. */
const json_t *ac_v1_facts_of(const json_t *message);
/* SHA-256 of path and body in hexadecimal, in the pool; NULL: rq->err is set. */
const char *ac_v1_facts_hash(ac_request_t *rq);

/* ---- v1_input.c: the member `input` ---- */
typedef struct ac_v1_input_t {
    json_t *items;             /* owned */
    bool is_text;              /* the member is a text, the only item's */
    const char *run_id;        /* of the last item that this server made, or that answers one of its; NULL: none */
    size_t at, first;          /* that item, and the first one behind it; 0: all are new */
    ac_v1_messages_t messages; /* the new ones */
    json_t *calls;             /* of the answer before, that the client carries out; owned; NULL: none */
    json_t *decisions;         /* [{call_id, approve, reason?}] about calls of run_id; owned; NULL: none */
} ac_v1_input_t;
/* Finds the new items of rq->body. The caller frees the result, also after an error. errors: invalid_request. */
apr_status_t ac_v1_input_locate(ac_v1_input_t *input, ac_request_t *rq);
/* Whether the item `at` says nothing by itself, so that its run must be known. */
bool ac_v1_input_is_reference(const ac_v1_input_t *input);
/* Reads the new items. tools gets the results of calls; NULL: calls and results are left out. answer: the stored
 * message before them, or NULL. errors: invalid_request, not_found. */
apr_status_t ac_v1_input_read(ac_v1_input_t *input, ac_request_t *rq, ac_client_tools_t *tools, const json_t *answer);
/* Reads the member `items`, an array, as a history without a last message. The caller frees the result, also after an
 * error. errors: invalid_request, not_found. */
apr_status_t ac_v1_input_read_items(ac_v1_input_t *input, ac_request_t *rq);
void ac_v1_input_free(ac_v1_input_t *input); /* all zero is allowed */

/* ---- v1_conversation.c ---- */
/* The thread of the conversation of the path, in the pool. errors: not_found. */
apr_status_t ac_v1_conversation_id(ac_request_t *rq, const char **pid);
/* ac_request_store() about that thread. errors: not_found in the words of this API, the store's. */
apr_status_t ac_v1_conversation_call(ac_request_t *rq, ac_store_op_t *op, ac_store_op_t **presult);
/* Answers with the conversation. */
int ac_v1_conversation_reply(ac_request_t *rq, const json_t *thread);

/* ---- v1_place.c: the thread of a request, and its place there ---- */
typedef struct ac_v1_place_t { /* all zero: a new thread; texts and documents live as long as the request */
    const char *thread_id;     /* NULL: none yet */
    const char *parent_id;     /* the message that the new ones follow; NULL: the thread's leaf */
    const json_t *run;         /* of the response before; NULL: none was named */
    const json_t *loaded;      /* the path to the parent, as TURN_LOAD gives it; NULL: none */
    bool in_conversation;      /* the request names it as one */
} ac_v1_place_t;
/* previous_response_id, conversation, or the input's last item of ours; else a new thread. whole: with all messages
 * that a model may be shown, else with the last ones. errors: invalid_request, not_found, run_in_progress, the
 * store's. */
apr_status_t ac_v1_place_find(ac_v1_place_t *place, ac_request_t *rq, ac_v1_input_t *input, bool whole);
/* The run that the same request has started before, if this one is a repetition after a broken connection; NULL: none.
 * hash: ac_v1_facts_hash(). errors: the store's. */
apr_status_t ac_v1_place_repeated(const char **prun_id, ac_request_t *rq, const ac_v1_place_t *place, const char *hash);
/* The run, by the id that a client has. errors: not_found, the store's. */
apr_status_t ac_v1_place_run(const json_t **prun, ac_request_t *rq, const char *run_id, const char *pointer);
/* How often the run has awaited approvals: segments that have ended. *popen: ids of calls that await one, if the last
 * one has not ended; a new reference. errors: the store's. */
apr_status_t ac_v1_place_pauses(unsigned *pn, json_t **popen, ac_request_t *rq, const char *run_id);
/* The message of the user with which the run began; NULL: there is none. errors: the store's. */
apr_status_t ac_v1_place_question(const json_t **pmessage, ac_request_t *rq, const json_t *run);

/* ---- v1_items.c: the items of a run's output, as its events tell them; any one thread ---- */
typedef enum ac_v1_item_e {
    AC_V1_ITEM_TEXT,
    AC_V1_ITEM_REASONING, /* what the model thinks */
    AC_V1_ITEM_CALL,      /* of a tool that this server calls */
    AC_V1_ITEM_REQUEST,   /* for an approval of such a call */
    AC_V1_ITEM_FUNCTION   /* a call of a tool that the client carries out */
} ac_v1_item_e;
typedef struct ac_v1_item_t {
    ac_v1_item_e kind;
    unsigned segment;
    int number;      /* of the text within the run, of the client's call; from 0 */
    size_t from, to; /* a text: where it is in ac_v1_items_t.text */
    char *step_id;   /* of a call; NULL: none */
    char *call_id, *tool;
    ac_buf_t arguments; /* as the model wrote them; else JSON, when the call has ended */
    char *result, *error;
    size_t cited, cited_end; /* of a text that has ended: its sources in ac_v1_items_t.sources */
    bool approved;           /* the call follows a request */
    bool ended;              /* what follows is another item */
    bool incomplete;         /* and the model had more to say */
} ac_v1_item_t;
typedef struct ac_v1_items_t {
    ac_v1_item_t **list;
    size_t n;
    ac_buf_t text;             /* all texts and reasonings so far */
    int n_texts, n_reasonings; /* items of these kinds */
    unsigned segment;          /* of the next item */
    json_t *sources;           /* so far; a text has those that came before its end, and that no other one has */
    uint64_t seq; /* of the last event; those up to it are known, and change nothing when they come again */
} ac_v1_items_t;
ac_v1_items_t *ac_v1_items_create(void);
void ac_v1_items_free(void *items);
/* The line ends that separate a text from what was before it, unless it is the run's first item; they are in no item. A
 * text that has nothing else begins none. */
size_t ac_v1_items_gap(const char *text, size_t len, bool first);
/* Adds what the event tells. */
void ac_v1_items_add(ac_v1_items_t *items, const ac_event_t *event);
/* The newest call with this step, of the first n items; NULL: none. *pat: its index; may be NULL. */
const ac_v1_item_t *ac_v1_items_call(const ac_v1_items_t *items, size_t n, const char *step_id, size_t *pat);
/* Appends an item as JSON. begun: as it was when it began, with nothing in it yet. */
void ac_v1_items_json(ac_buf_t *out, const ac_v1_items_t *items, size_t at, const char *run_id, bool begun);
/* The annotations of a text that has ended. New reference. */
json_t *ac_v1_items_citations(const ac_v1_items_t *items, size_t at);
/* Appends the text of a text or a reasoning as a JSON string. */
void ac_v1_items_text(ac_buf_t *out, const ac_v1_items_t *items, size_t at);

/* ---- v1_stored.c: stored messages as items ---- */
/* Appends the items of a message to the list, in the order in which they were said; a deleted one says nothing. */
void ac_v1_stored_add(json_t *list, const json_t *message);
void ac_v1_stored_reverse(json_t *list);
/* What a list of items shall have: the parameters limit, order and after. */
typedef struct ac_v1_page_t {
    int limit;
    bool descending;
    const char *after; /* the id of an item; NULL: from the beginning */
} ac_v1_page_t;
/* errors: invalid_request. */
apr_status_t ac_v1_stored_read_page(ac_v1_page_t *page, ac_request_t *rq);
/* Answers with a page of these items, which are in the page's order; consumes the list. more: there are further ones
 * behind them. Returns what the handler returns. */
int ac_v1_stored_reply(ac_request_t *rq, json_t *list, const ac_v1_page_t *page, bool more);

/* ---- v1_document.c: a response as one document ---- */
ac_v1_items_t *ac_v1_document_items(ac_render_t *render); /* what the dialect keeps */
/* {message, type, param, code} of a failed run. New reference. */
json_t *ac_v1_document_error(const ac_event_t *event);
/* event: the last one of the response. */
const char *ac_v1_document_status(const ac_event_t *event);
/* Appends the response. event: its last one; NULL: there is none yet. with_output: with the items so far. */
void ac_v1_document_put(ac_render_t *render, const ac_event_t *event, bool with_output, ac_buf_t *out);
/* Whether a response ends here because calls await approval. */
bool ac_v1_document_ends_segment(const ac_event_t *event);
extern const ac_dialect_t ac_v1_document_dialect, ac_v1_document_shown;

#endif
