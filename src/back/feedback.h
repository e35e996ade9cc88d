/* SPDX-License-Identifier: Apache-2.0 */
/* Feedback on assistant messages. Included by back.h.
 *
 * Feedback is a part of its message: {rating: "up"|"down", reason|null, comment|null, at, agent_id, model}.
 * MESSAGE_LIST, TURN_LOAD and EXPORT_MESSAGES show it as the member `feedback` of a message that has one, and IMPORT
 * takes it. It is removed with its message. The verbs, in the form of the table in agentchat_store.h:
 *
 * FEEDBACK_PUT     id message in {rating|null, reason, comment, at, thread_id?}
 *                  out {thread_id, agent_id, model, before: rating|null}. A null rating removes the feedback.
 *                  thread_id: the message's thread, which saves a search in stores that need one. errors: not_found,
 *                  also if the message is in another thread; invalid_request: not an assistant message.
 * FEEDBACK_LIST    id -       in {from, to, agent_id?, rating?, words?: true, after: cursor|null}, page.limit
 *                  out {data: [feedback with owner, thread_id, run_id, message_id], next: cursor|null}: of every owner,
 *                  except for deleted threads; from <= at <= to, as texts. words: with `question` and `answer`, else
 *                  also without reason and comment. A page may have fewer rows than its limit. */
#ifndef AC_FEEDBACK_H
#define AC_FEEDBACK_H

/* What FEEDBACK_PUT stores and answers, except for the answer's thread_id. before: the stored feedback, or NULL; run:
 * that of the message, or NULL. *pmade: NULL: none. New references. errors: invalid_request */
apr_status_t ac_feedback_make(json_t **pmade, json_t **pout, ac_store_op_t *op, const json_t *before,
                              const json_t *run);
/* Whether the filters of FEEDBACK_LIST's `in` let it in. */
bool ac_feedback_wanted(const json_t *in, const json_t *feedback);

#endif
