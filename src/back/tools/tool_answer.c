/* SPDX-License-Identifier: Apache-2.0 */
/* The response of a service as a tool's result: JSON stays JSON, text becomes a string; both are bounded. */
#include "tool_support.h"

#include <apr_strings.h>
#include <string.h>
#include <strings.h>

void ac_tool_answer_init(ac_tool_answer_t *answer, const ac_tool_answer_rules_t *rules)
{
    memset(answer, 0, sizeof(*answer));
    answer->rules = rules;
    ac_buf_init(&answer->body, AC_MAX_TOOL_ANSWER);
}

void ac_tool_answer_free(ac_tool_answer_t *answer)
{
    ac_buf_free(&answer->body);
}

/* ---- reading ---- */

void ac_tool_answer_head(ac_tool_answer_t *answer, int status, const char *type)
{
    answer->status = status;
    apr_cpystrn(answer->type, type, sizeof(answer->type));
    ac_tool_mask_text(answer->rules->mask, answer->type, strlen(answer->type), strlen(type) >= sizeof(answer->type));
    answer->json = ac_tool_support_is_json(type) || answer->rules->result || !*type;
    answer->refused = !answer->json && !ac_tool_support_is_text(type);
}

/* JSON is read to its end: the configuration may select a part of it, and an incomplete text cannot be parsed. */
static size_t room(const ac_tool_answer_t *answer)
{
    size_t max = answer->rules->result_max;
    return answer->json || max > AC_MAX_TOOL_ANSWER ? AC_MAX_TOOL_ANSWER : max;
}

bool ac_tool_answer_body(ac_tool_answer_t *answer, const char *bytes, size_t len)
{
    size_t left = room(answer) - answer->body.len;
    if (answer->refused) {
        return false;
    }
    if (memchr(bytes, '\0', len)) {
        answer->refused = true;
        return false;
    }
    answer->cut = len > left;
    return ac_buf_add(&answer->body, bytes, answer->cut ? left : len) == APR_SUCCESS && !answer->cut;
}

/* ---- selecting a part ---- */

/* Reads one reference token of a pointer, unescaped; returns the position of the next one. */
static const char *take_token(ac_buf_t *token, const char *pointer)
{
    ac_buf_clear(token);
    ac_buf_add(token, "", 0);
    for (pointer++; *pointer && *pointer != '/'; pointer++) {
        bool escaped = *pointer == '~' && pointer[1];
        pointer += escaped;
        ac_buf_add(token, escaped ? *pointer == '1' ? "/" : "~" : pointer, 1);
    }
    return pointer;
}

static json_t *step(json_t *value, const char *token)
{
    if (json_is_object(value)) {
        return json_object_get(value, token);
    }
    size_t len = strlen(token);
    bool index = len && len < 10 && strspn(token, "0123456789") == len && (token[0] != '0' || len == 1);
    return json_is_array(value) && index ? json_array_get(value, (size_t)strtoul(token, NULL, 10)) : NULL;
}

/* source: RFC 6901. Borrowed, or NULL. */
static json_t *tool_answer_look_up(json_t *value, const char *pointer)
{
    ac_buf_t token;
    ac_buf_init(&token, strlen(pointer));
    while (value && *pointer) {
        pointer = take_token(&token, pointer);
        value = token.data ? step(value, token.data) : NULL;
    }
    ac_buf_free(&token);
    return value;
}

/* ---- making the result ---- */

/* UTF-8, or text converted from Latin-1, which older pages of the Web use. */
static json_t *text_value(const ac_tool_answer_t *answer, const char *note)
{
    size_t len = answer->cut ? ac_utf8_whole(answer->body.data, answer->body.len) : answer->body.len;
    bool latin = strcasestr(answer->type, "iso-8859-1") || strcasestr(answer->type, "windows-1252");
    const char *data = answer->body.data;
    ac_buf_t text;
    ac_buf_init(&text, 2 * AC_MAX_TOOL_ANSWER + 256);
    if (latin && !ac_utf8_valid(data, len)) {
        len = answer->body.len;
        for (size_t i = 0; i < len; i++) {
            unsigned char c = (unsigned char)data[i];
            char pair[2] = {(char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};
            ac_buf_add(&text, c < 0x80 ? data + i : pair, c < 0x80 ? 1 : 2);
        }
    } else {
        ac_buf_add(&text, data, len);
    }
    ac_buf_str(&text, note);
    json_t *value = text.failed ? NULL : ac_json_text(text.data);
    ac_buf_free(&text);
    return value;
}

static json_t *plain_result(ac_tool_answer_t *answer)
{
    char note[96] = "";
    size_t max = answer->rules->result_max;
    if (answer->body.len > max) { /* declared as JSON, but invalid */
        answer->body.len = max;
        answer->body.data[max] = '\0';
        answer->cut = true;
    }
    if (answer->cut) {
        apr_snprintf(note, sizeof(note), "\n[truncated: only the first %" APR_SIZE_T_FMT " bytes]", answer->body.len);
    }
    return text_value(answer, note);
}

/* Consumes value. */
static json_t *json_result(json_t *value, size_t max)
{
    size_t len;
    char *text = ac_json_dump(value, &len);
    json_t *result = NULL;
    if (text && len <= max) {
        result = json_incref(value);
    } else if (text) {
        result = json_pack("{s:b, s:I, s:o}", "truncated", 1, "bytes", (json_int_t)len, "text",
                           json_stringn(text, ac_utf8_whole(text, max)));
    }
    free(text);
    json_decref(value);
    return result;
}

static bool has_text(const ac_tool_answer_t *answer)
{
    for (size_t i = 0; i < answer->body.len; i++) {
        if ((unsigned char)answer->body.data[i] > 0x20) {
            return true;
        }
    }
    return false;
}

static apr_status_t tool_answer_take_part(json_t **pvalue, const char *pointer, ac_err_t *err)
{
    json_t *part = tool_answer_look_up(*pvalue, pointer);
    json_incref(part);
    json_decref(*pvalue);
    *pvalue = part;
    return part ? APR_SUCCESS
                : ac_err_set(err, AC_TOOL_ERROR,
                             "the service's answer holds no part that the tool is "
                             "set to take (%s)",
                             pointer);
}

apr_status_t ac_tool_answer_result(json_t **presult, ac_tool_answer_t *answer, ac_err_t *err)
{
    const ac_tool_answer_rules_t *rules = answer->rules;
    json_t *value = NULL;
    *presult = NULL;
    if (answer->refused) {
        return ac_err_set(err, AC_TOOL_ERROR, "the service answered with %s, which is not text",
                          answer->type[0] ? answer->type : "binary data");
    }
    if (!has_text(answer)) {
        *presult = json_pack("{s:i}", "status", answer->status);
    } else if (answer->json && !answer->cut && ac_tool_support_json(&value, answer->body.data, answer->body.len)) {
        apr_status_t status = rules->result ? tool_answer_take_part(&value, rules->result, err) : APR_SUCCESS;
        if (status != APR_SUCCESS) {
            return status;
        }
        *presult = json_result(ac_tool_mask_json(rules->mask, value), rules->result_max);
    } else if (rules->result) {
        return ac_err_set(err, AC_TOOL_ERROR,
                          answer->cut ? "the service's answer is too large" : "the service's answer is not JSON");
    } else {
        ac_tool_mask_text(rules->mask, answer->body.data, answer->body.len, answer->cut);
        *presult = ac_tool_mask_json(rules->mask, plain_result(answer)); /* masked again: Latin-1 has become UTF-8 */
    }
    return *presult ? APR_SUCCESS : ac_err_set(err, AC_INTERNAL, "memory ran out");
}
