/* SPDX-License-Identifier: Apache-2.0 */
/* The items of a conversation: those of the messages of its current path. An item's id has the characters of its
 * message's id. */
#include "v1_response.h"

#include <string.h>

#include "apr_strings.h"

/* The message that has this item. errors: not_found, the store's. */
static apr_status_t message_of_item(ac_request_t *rq, const json_t **pmessage, const char *thread_id, const char *item)
{
    static const char *const prefixes[] = {"msg_", "mcp_", "fc_", "fco_", NULL};
    char id[AC_ID_SIZE] = "";
    ac_store_op_t *op, *result = NULL;
    for (const char *const *prefix = prefixes; *prefix && !ac_v1_id_read(id, NULL, item, *prefix, "msg_"); prefix++) {
        *id = '\0';
    }
    rq->doing = "reading the conversation";
    op = *id ? ac_store_op_create(AC_STORE_TURN_LOAD, rq->owner, thread_id) : NULL;
    if (!*id) {
        return ac_err_set(&rq->err, AC_NOT_FOUND, "no item with this id");
    }
    if (op) {
        op->page.limit = 1;
        op->in = json_pack("{s:s}", "parent_id", id);
    }
    apr_status_t status = ac_request_store(rq, op, &result);
    if (status != APR_SUCCESS && rq->err.kind == AC_NOT_FOUND) {
        ac_err_init(&rq->err);
        return ac_err_set(&rq->err, AC_NOT_FOUND, "no item with this id");
    }
    *pmessage = result ? ac_request_thread_last(result->out) : NULL;
    return status;
}

/* Whether the list has more items behind `after` than the page. */
static bool is_enough(const json_t *list, const ac_v1_page_t *page)
{
    size_t n = json_array_size(list), i = 0;
    while (page->after && i < n && strcmp(ac_json_peek_string(json_array_get(list, i), "id", ""), page->after) != 0) {
        i++;
    }
    return n - i > (size_t)page->limit + 1;
}

/* Appends the items of messages from this one on, until there are enough. seq: 0: from the beginning. */
static apr_status_t list_items(ac_request_t *rq, json_t *list, const char *thread_id, const ac_v1_page_t *page,
                               int64_t seq)
{
    const json_t *message;
    bool more = true;
    size_t i;
    int64_t after = seq && !page->descending ? seq - 1 : 0, before = seq && page->descending ? seq + 1 : 0;
    rq->doing = "reading the conversation";
    while (more && !is_enough(list, page)) {
        ac_store_op_t *op = ac_store_op_create(AC_STORE_MESSAGE_LIST, rq->owner, thread_id), *result = NULL;
        if (op) {
            op->page = (ac_page_t){.limit = AC_MAX_PAGE,
                                   .descending = page->descending,
                                   .after_seq = after,
                                   .before_seq = before};
        }
        apr_status_t status = ac_v1_conversation_call(rq, op, &result);
        if (status != APR_SUCCESS) {
            return status;
        }
        json_array_foreach(json_object_get(result->out, "data"), i, message)
        {
            json_t *items = json_array();
            ac_v1_stored_add(items, message);
            if (page->descending) {
                ac_v1_stored_reverse(items);
            }
            json_array_extend(list, items);
            json_decref(items);
            after = before = ac_json_peek_int(message, "seq", 0);
        }
        after = page->descending ? 0 : after;
        before = page->descending ? before : 0;
        more = json_is_true(json_object_get(result->out, "has_more"));
        ac_request_store_free(rq, result);
    }
    return APR_SUCCESS;
}

int ac_v1_conversation_items_list(ac_request_t *rq)
{
    const char *id = NULL;
    const json_t *message = NULL;
    ac_v1_page_t page;
    json_t *list = json_array();
    apr_status_t status = ac_v1_stored_read_page(&page, rq);
    if (status == APR_SUCCESS) {
        status = ac_v1_conversation_id(rq, &id);
    }
    if (status == APR_SUCCESS && page.after) {
        status = message_of_item(rq, &message, id, page.after);
    }
    if (status == APR_SUCCESS) {
        status = list_items(rq, list, id, &page, ac_json_peek_int(message, "seq", 0));
    }
    if (status != APR_SUCCESS) {
        json_decref(list);
        return ac_reply_problem(rq, NULL);
    }
    return ac_v1_stored_reply(rq, list, &page, false);
}

static apr_status_t refuse_item(ac_request_t *rq)
{
    ac_err_init(&rq->err);
    return ac_err_set(&rq->err, AC_NOT_FOUND, "no item with this id");
}

/* The item of the path, a new reference, and its message. errors: not_found, the store's. */
static apr_status_t item_of_path(ac_request_t *rq, json_t **pitem, const json_t **pmessage, const char *thread_id)
{
    json_t *list = json_array(), *item;
    size_t i;
    apr_status_t status = message_of_item(rq, pmessage, thread_id, rq->args[1]);
    *pitem = NULL;
    if (status == APR_SUCCESS) {
        ac_v1_stored_add(list, *pmessage);
    }
    json_array_foreach(list, i, item)
    {
        if (strcmp(ac_json_peek_string(item, "id", ""), rq->args[1]) == 0) {
            *pitem = json_incref(item);
        }
    }
    json_decref(list);
    return status != APR_SUCCESS || *pitem ? status : refuse_item(rq);
}

int ac_v1_conversation_items_get(ac_request_t *rq)
{
    const char *id = NULL;
    const json_t *message = NULL;
    json_t *item = NULL;
    apr_status_t status = ac_v1_conversation_id(rq, &id);
    if (status == APR_SUCCESS) {
        status = item_of_path(rq, &item, &message, id);
    }
    return status == APR_SUCCESS ? ac_reply_json(rq, HTTP_OK, item) : ac_reply_problem(rq, NULL);
}

/* An item goes with its message: the texts and calls of an answer are one. */
int ac_v1_conversation_items_delete(ac_request_t *rq)
{
    const char *id = NULL, *message_id;
    const json_t *message = NULL, *thread = NULL;
    json_t *item = NULL;
    apr_status_t status = ac_v1_conversation_id(rq, &id);
    if (status == APR_SUCCESS) {
        status = item_of_path(rq, &item, &message, id);
    }
    json_decref(item);
    rq->doing = "deleting the item";
    if (status == APR_SUCCESS) {
        message_id = ac_json_peek_string(message, "id", "");
        rq->audit = (ac_audit_t){AC_AUDIT_MESSAGE_DELETED, message_id, NULL};
        status = ac_deletion_run(&thread, rq, id, json_pack("{s:s}", "message_id", message_id));
        if (status != APR_SUCCESS && rq->err.kind == AC_NOT_FOUND) { /* by another request meanwhile */
            status = refuse_item(rq);
        }
    }
    return status == APR_SUCCESS ? ac_v1_conversation_reply(rq, thread) : ac_reply_problem(rq, NULL);
}
