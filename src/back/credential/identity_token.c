/* SPDX-License-Identifier: Apache-2.0 */
/* The responses of token endpoints: tokens with their times, and errors with their remedies. Descriptions may name
 * users and addresses, so error messages contain the codes only. */
#include "identity.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define LONGEST_LIFE apr_time_from_sec(30 * 86400)
#define LONG_LIFE apr_time_from_sec(2 * 3600)
#define MARGIN apr_time_from_sec(300)

/* ---- times ---- */

/* Seconds east of UTC of "Z", "+02:00", " +00:00", "" … */
static bool read_zone(long *poffset, const char *text)
{
    int hours = 0, minutes = 0, used = 0;
    char sign = '+';
    text += strspn(text, " ");
    *poffset = 0;
    if (!*text || strcmp(text, "Z") == 0) {
        return true;
    }
    if (sscanf(text, "%c%2d:%2d%n", &sign, &hours, &minutes, &used) < 3 || text[used] || (sign != '+' && sign != '-')) {
        return false;
    }
    *poffset = (hours * 60L + minutes) * 60 * (sign == '-' ? -1 : 1);
    return true;
}

static bool read_iso(struct tm *tm, const char **prest, const char *text)
{
    int used = 0;
    char between;
    if (sscanf(text, "%4d-%2d-%2d%c%2d:%2d:%2d%n", &tm->tm_year, &tm->tm_mon, &tm->tm_mday, &between, &tm->tm_hour,
               &tm->tm_min, &tm->tm_sec, &used) < 7 ||
        !used) {
        return false;
    }
    text += used;
    if (*text == '.') {
        text += 1 + strspn(text + 1, "0123456789");
    }
    *prest = text;
    return true;
}

static bool read_american(struct tm *tm, const char **prest, const char *text)
{
    int used = 0;
    if (sscanf(text, "%2d/%2d/%4d %2d:%2d:%2d%n", &tm->tm_mon, &tm->tm_mday, &tm->tm_year, &tm->tm_hour, &tm->tm_min,
               &tm->tm_sec, &used) < 6 ||
        !used) {
        return false;
    }
    text += used + strspn(text + used, " ");
    bool pm = strncasecmp(text, "PM", 2) == 0, am = strncasecmp(text, "AM", 2) == 0;
    if (pm || am) {
        tm->tm_hour = tm->tm_hour % 12 + (pm ? 12 : 0);
        text += 2;
    }
    *prest = text;
    return true;
}

int64_t ac_identity_token_time(const char *text)
{
    struct tm tm;
    long offset = 0;
    const char *rest = "";
    int64_t seconds = 0;
    if (*text && strspn(text, "0123456789") == strlen(text) && strlen(text) <= 15) {
        return sscanf(text, "%" SCNd64, &seconds) == 1 ? seconds : 0;
    }
    memset(&tm, 0, sizeof(tm));
    if ((!read_iso(&tm, &rest, text) && !read_american(&tm, &rest, text)) || !read_zone(&offset, rest)) {
        return 0;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    time_t when = timegm(&tm);
    return when > 0 ? (int64_t)when - offset : 0;
}

apr_interval_time_t ac_identity_token_refresh_after(apr_interval_time_t life, apr_interval_time_t wish)
{
    apr_interval_time_t after = life > LONG_LIFE || life < 2 * MARGIN ? life / 2 : life - MARGIN;
    if (wish > 0 && wish < after) {
        after = wish;
    }
    /* The children of a server start together; the random part keeps them from all asking at once. */
    return after - (apr_interval_time_t)(ac_random() % (uint64_t)(after / 20 + 1));
}

/* ---- tokens ---- */

/* A number, or a number as text; 0 for anything else. */
static int64_t identity_token_read_number(const json_t *document, const char *name)
{
    const json_t *value = json_object_get(document, name);
    if (json_is_string(value)) {
        return ac_identity_token_time(json_string_value(value));
    }
    return ac_json_whole_part(value, 0);
}

static bool identity_token_is_token(const char *text)
{
    size_t len = 0;
    while (text[len] > ' ' && text[len] < 0x7f) {
        len++;
    }
    return len && !text[len];
}

apr_status_t ac_identity_token_read(ac_credential_result_t *fetched, json_t **pdocument, const char *body, size_t len,
                                    apr_interval_time_t life)
{
    json_t *document = json_loadb(body, len, 0, NULL);
    ac_err_t *err = &fetched->err;
    const char *text = ac_json_peek_string(document, "access_token", NULL);
    int64_t in = identity_token_read_number(document, "expires_in"),
            on = identity_token_read_number(document, "expires_on");
    int64_t wish = identity_token_read_number(document, "refresh_in");
    *pdocument = document;
    if (!text || !identity_token_is_token(text)) {
        return ac_err_set(err, AC_UPSTREAM_ERROR, "the answer holds no token");
    }
    if (in <= 0 && on > 0) {
        in = on - (int64_t)apr_time_sec(apr_time_now());
    }
    if (in <= 0 && on <= 0) {
        in = apr_time_sec(life);
    }
    if (in <= 0) {
        return ac_err_set(err, AC_UPSTREAM_ERROR,
                          on > 0 ? "the token has expired already; check this machine's clock"
                                 : "the answer does not say when its token expires");
    }
    in = in < LONGEST_LIFE / APR_USEC_PER_SEC ? in : LONGEST_LIFE / APR_USEC_PER_SEC;
    apr_time_t now = ac_clock();
    life = apr_time_from_sec(in);
    fetched->text = text;
    fetched->expires = now + life;
    fetched->refresh = now + ac_identity_token_refresh_after(life, wish > 0 && wish < in ? apr_time_from_sec(wish) : 0);
    return APR_SUCCESS;
}

/* ---- errors ---- */

static const struct {
    int code;
    const char *meaning;
} codes[] = {
    {7000215, "the client secret is wrong; give the secret's value, not its ID"},
    {7000222, "the client secret has expired; make a new one in the app registration"},
    {7000218, "the app needs a client secret or certificate"},
    {7000112, "the app is disabled in the tenant"},
    {700016, "the tenant has no app with this client id; check AZURE_CLIENT_ID and AZURE_TENANT_ID"},
    {700027, "the app does not know this certificate, or it has expired; upload it to the app registration"},
    {700030, "the app does not take this certificate; upload it to the app registration"},
    {700024, "the assertion is outside of its time; check this machine's clock"},
    {500133, "the assertion is outside of its time; check this machine's clock"},
    {70021, "no federated credential of the app fits the token's issuer, subject and audience"},
    {700211, "no federated credential of the app fits the token's issuer"},
    {700212, "no federated credential of the app fits the token's audience"},
    {700213, "no federated credential of the app fits the token's subject"},
    {90002, "there is no such tenant; check AZURE_TENANT_ID, and authority= for another cloud"},
    {900023, "this is not a tenant; check AZURE_TENANT_ID"},
    {900021, "no tenant was named; set AZURE_TENANT_ID"},
    {500011, "the tenant does not know the service of the scope; check scope="},
    {70011, "the scope is not valid; check scope="},
    {1002012, "the scope has to end in /.default"},
    {53003, "a conditional access policy blocks this sign-in"},
    {50196, "too many sign-ins of the same kind; it is tried again later"},
};

const char *ac_identity_token_explain(int code)
{
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i].code == code) {
            return codes[i].meaning;
        }
    }
    return NULL;
}

static bool identity_token_is_word(const char *text)
{
    size_t len = strlen(text);
    return len && len <= 64 && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == len;
}

static int code_of(const json_t *document)
{
    const char *text = ac_json_peek_string(document, "error_description", "");
    const char *found = strstr(text, "AADSTS");
    long code = found ? strtol(found + 6, NULL, 10) : 0;
    if (code <= 0) {
        code = (long)json_integer_value(json_array_get(json_object_get(document, "error_codes"), 0));
    }
    return code > 0 && code < 100000000 ? (int)code : 0;
}

void ac_identity_token_error(ac_err_t *err, int status, const char *body, size_t len)
{
    json_t *document = body && len ? json_loadb(body, len, 0, NULL) : NULL;
    const char *name = ac_json_peek_string(document, "error", "");
    const char *id = ac_json_peek_string(document, "trace_id", "");
    int code = code_of(document);
    const char *meaning = code ? ac_identity_token_explain(code) : NULL;
    bool transient = status == 408 || status == 429 || status >= 500;
    if (err->kind == AC_OK) {
        err->http_status = status;
        snprintf(err->upstream_id, sizeof(err->upstream_id), "%s", identity_token_is_word(id) ? id : "");
    }
    ac_kind_e kind = transient || code == 50196 ? AC_UPSTREAM_ERROR : AC_UNAUTHENTICATED;
    if (code) {
        ac_err_set(err, kind, "AADSTS%d: %s", code, meaning ? meaning : "the authority refused; look the code up");
    } else {
        ac_err_set(err, kind, "HTTP %d%s%s", status, identity_token_is_word(name) ? ", " : "",
                   identity_token_is_word(name) ? name : "");
    }
    json_decref(document);
}
