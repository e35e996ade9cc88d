/* SPDX-License-Identifier: Apache-2.0 */
/* Session tokens of Cosmos DB: a client that sends the newest tokens reads its own and other clients' writes. */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

/* Parses "-1#12" or "2#12#1=9": version and global LSN. Returns false for other text. */
static bool token_parse(int64_t *pversion, int64_t *plsn, const char *text, size_t len)
{
    char copy[sizeof(((ac_cosmos_session_t *)NULL)->ranges[0].token)], *end, *start;

    if (len == 0 || len >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    *pversion = strtoll(copy, &end, 10);
    if (end == copy || *end != '#') {
        return false;
    }
    start = end + 1;
    *plsn = strtoll(start, &end, 10);
    return end != start && (*end == '\0' || *end == '#');
}

static void note_one(ac_cosmos_session_t *session, const char *text, size_t len)
{
    const char *colon = memchr(text, ':', len);
    size_t range_len = colon ? (size_t)(colon - text) : 0, token_len = colon ? len - range_len - 1 : 0;
    int64_t version, lsn;
    int i = 0;

    if (range_len == 0 || range_len >= sizeof(session->ranges[0].range) ||
        !token_parse(&version, &lsn, text + range_len + 1, token_len)) {
        return;
    }
    while (i < session->n &&
           (strncmp(session->ranges[i].range, text, range_len) != 0 || session->ranges[i].range[range_len])) {
        i++;
    }
    if (i < session->n) {
        if (version < session->ranges[i].version ||
            (version == session->ranges[i].version && lsn <= session->ranges[i].lsn)) {
            return;
        }
    } else if (session->n < AC_COSMOS_RANGES) {
        session->n++;
    } else {
        i = session->oldest;
        session->oldest = (session->oldest + 1) % AC_COSMOS_RANGES;
    }
    memcpy(session->ranges[i].range, text, range_len);
    session->ranges[i].range[range_len] = '\0';
    memcpy(session->ranges[i].token, text + range_len + 1, token_len);
    session->ranges[i].token[token_len] = '\0';
    session->ranges[i].version = version;
    session->ranges[i].lsn = lsn;
}

void ac_cosmos_session_note(ac_cosmos_session_t *session, const char *text)
{
    while (text && *text) {
        size_t len = strcspn(text, ",");
        note_one(session, text, len);
        text += len + (text[len] == ',');
    }
}

apr_status_t ac_cosmos_session_text(ac_buf_t *text, const ac_cosmos_session_t *session)
{
    for (int i = 0; i < session->n; i++) {
        ac_buf_printf(text, "%s%s:%s", i ? "," : "", session->ranges[i].range, session->ranges[i].token);
    }
    return text->failed ? APR_ENOSPC : APR_SUCCESS;
}
