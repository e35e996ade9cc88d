/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations that a client names itself, as those of other protocols do. The thread's id follows from the name, so
 * that no store keeps a second name, and two requests with one name make one thread. */
#include "request.h"

#include <string.h>

#include <openssl/evp.h>

#include "apr_strings.h"

static apr_status_t thread_id_of(ac_request_t *rq, char id[AC_ID_SIZE], const char *name, const char *pointer)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (ac_id_valid(name, "thread_")) {
        apr_cpystrn(id, name, AC_ID_SIZE);
        return APR_SUCCESS;
    }
    if (!*name || strlen(name) > AC_MAX_KEY) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "the id of a conversation has 1 to %d bytes",
                             AC_MAX_KEY);
    }
    /* The length keeps one owner's names apart from those of others. */
    const char *text = apr_psprintf(rq->r->pool, "%" APR_SIZE_T_FMT ":%s:%s", strlen(rq->owner), rq->owner, name);
    if (!EVP_Digest(text, strlen(text), digest, &len, EVP_sha256(), NULL)) {
        return ac_err_set(&rq->err, AC_INTERNAL, "memory ran out");
    }
    ac_id_of_bits(id, "thread_", digest);
    return APR_SUCCESS;
}

apr_status_t ac_request_thread_of(ac_request_t *rq, ac_turn_t *turn, const char *name, const char *pointer)
{
    turn->creates = !ac_id_valid(name, "thread_");
    return thread_id_of(rq, turn->thread_id, name, pointer);
}

apr_status_t ac_request_thread_load(ac_request_t *rq, const json_t **ploaded, const char *name, const char *pointer)
{
    char id[AC_ID_SIZE];
    ac_store_op_t *op, *result = NULL;
    *ploaded = NULL;
    apr_status_t status = thread_id_of(rq, id, name, pointer);
    if (status != APR_SUCCESS) {
        return status;
    }
    rq->doing = "reading the thread";
    op = ac_store_op_create(AC_STORE_TURN_LOAD, rq->owner, id);
    if (op) {
        op->page.limit = AC_MAX_PAGE;
    }
    status = ac_request_store(rq, op, &result);
    if (status != APR_SUCCESS && rq->err.kind == AC_NOT_FOUND && strcmp(id, name) != 0) {
        ac_err_init(&rq->err);
        return APR_SUCCESS;
    }
    *ploaded = result ? result->out : NULL;
    return status;
}

const json_t *ac_request_thread_message(const json_t *loaded, const char *id)
{
    const json_t *list = json_object_get(loaded, "messages");
    for (size_t i = json_array_size(list); *id && i-- > 0;) {
        const json_t *message = json_array_get(list, i);
        const char *made = ac_json_peek_string(json_object_get(message, "metadata"), AC_REQUEST_MESSAGE_ID, "");
        if (strcmp(made, id) == 0 || strcmp(ac_json_peek_string(message, "id", ""), id) == 0) {
            return message;
        }
    }
    return NULL;
}

const json_t *ac_request_thread_last(const json_t *loaded)
{
    const json_t *list = json_object_get(loaded, "messages");
    return json_array_get(list, json_array_size(list) - 1);
}

void ac_request_thread_enter(ac_turn_t *turn, const ac_request_place_t *place)
{
    turn->has_parent = place->parent != NULL;
    apr_cpystrn(turn->parent_id, place->parent ? place->parent : "", sizeof(turn->parent_id));
    apr_cpystrn(turn->regenerate, place->again ? place->again : "", sizeof(turn->regenerate));
}
