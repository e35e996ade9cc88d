/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations that a client names itself, as those of other protocols do. The thread's id follows from the name, so
 * that no store keeps a second name, and two requests with one name make one thread. */
#include "request.h"

#include <string.h>

#include <openssl/evp.h>

#include "apr_strings.h"

apr_status_t ac_request_thread_id(ac_request_t *rq, char id[AC_ID_SIZE], const char *name, const char *pointer)
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
    return ac_request_thread_id(rq, turn->thread_id, name, pointer);
}
