/* SPDX-License-Identifier: Apache-2.0 */
/* Ids of the Responses API. They are those of this server with other prefixes, so that nothing stores them. */
#include "v1_response.h"

#include <stdio.h>
#include <string.h>

#define CHARACTERS 26 /* of each id, behind its prefix */

bool ac_v1_id_read(char id_own[AC_ID_SIZE], const char **prest, const char *id, const char *theirs, const char *ours)
{
    size_t len = strlen(theirs);
    if (strncmp(id, theirs, len) != 0 || strlen(id + len) < CHARACTERS) {
        return false;
    }
    const char *rest = id + len + CHARACTERS;
    snprintf(id_own, AC_ID_SIZE, "%s%.*s", ours, CHARACTERS, id + len);
    if (prest) {
        *prest = *rest ? rest + 1 : "";
    }
    return ac_id_valid(id_own, ours) && (!*rest || (*rest == '_' && rest[1]));
}

bool ac_v1_id_read_response(char run_id[AC_ID_SIZE], unsigned *psegment, const char *id)
{
    const char *rest;
    *psegment = 0;
    if (!ac_v1_id_read(run_id, &rest, id, "resp_", "run_")) {
        return false;
    }
    if (!*rest) {
        return true;
    }
    size_t len = strlen(rest);
    *psegment = (unsigned)strtoul(rest, NULL, 10);
    return len <= 4 && strspn(rest, "0123456789") == len && *rest != '0';
}

void ac_v1_id_write(char id[AC_V1_ID_SIZE], const char *theirs, const char *id_own, const char *rest)
{
    const char *characters = strchr(id_own, '_');
    snprintf(id, AC_V1_ID_SIZE, "%s%s%s%s", theirs, characters ? characters + 1 : "", rest ? "_" : "",
             rest ? rest : "");
}
