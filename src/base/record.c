/* SPDX-License-Identifier: Apache-2.0 */
/* Domain objects as JSON, in the form that the API shows and the store keeps. */
#include "base.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A cut between words further left would leave too little text; then a word is cut instead. */
#define TITLE_MIN 20

json_t *ac_record_usage(const ac_usage_t *usage)
{
    if (!usage) {
        return json_null();
    }
    json_t *record = json_object();
    ac_json_put(record, "prompt_tokens", json_integer(usage->prompt));
    ac_json_put(record, "completion_tokens", json_integer(usage->completion));
    ac_json_put(record, "total_tokens", json_integer(usage->total));
    ac_json_put(record, "cached_tokens", json_integer(usage->cached));
    ac_json_put(record, "reasoning_tokens", json_integer(usage->reasoning));
    ac_json_put(record, "estimated", json_boolean(usage->estimated));
    return record;
}

bool ac_record_amount(double *pamount, const ac_usage_t *usage, const ac_price_t *price)
{
    if (!usage || !price || !price->currency[0]) {
        return false;
    }
    /* Cached tokens are part of the prompt's tokens. */
    int64_t cached = usage->cached < usage->prompt ? usage->cached : usage->prompt;
    double amount = ((double)(usage->prompt - cached) * price->input + (double)cached * price->cached +
                     (double)usage->completion * price->output) /
        1e6;
    *pamount = round(amount * 1e8) / 1e8;
    return isfinite(*pamount);
}

json_t *ac_record_cost(const ac_usage_t *usage, const ac_price_t *price)
{
    double amount;
    if (!ac_record_amount(&amount, usage, price)) {
        return json_null();
    }
    return json_pack("{s:f, s:s}", "amount", amount, "currency", price->currency);
}

json_t *ac_record_error(const ac_err_t *err)
{
    if (!err || err->kind == AC_OK) {
        return json_null();
    }
    const ac_err_row_t *row = ac_err_row(err->kind);
    json_t *record = json_pack("{s:s}", "code", row->code);
    if (record && !ac_json_put(record, "message", ac_json_text(err->detail[0] ? err->detail : row->title))) {
        json_decref(record);
        record = NULL;
    }
    return record;
}

static apr_status_t check_label_list(const json_t *labels, ac_err_t *err)
{
    const json_t *label;
    size_t i;
    if (json_array_size(labels) > AC_MAX_LABELS) {
        return ac_err_set_at(err, AC_INVALID_REQUEST, "/metadata/labels", "a thread may have %d labels at most",
                             AC_MAX_LABELS);
    }
    json_array_foreach(labels, i, label)
    {
        size_t n_chars =
            ac_utf8_count(json_is_string(label) ? json_string_value(label) : "", json_string_length(label));
        if (n_chars < 1 || n_chars > AC_MAX_LABEL) {
            return ac_err_set_at(err, AC_INVALID_REQUEST, "/metadata/labels",
                                 "a label must be a string of 1 to %d characters", AC_MAX_LABEL);
        }
    }
    return APR_SUCCESS;
}

apr_status_t ac_record_check_labels(const json_t *metadata, ac_err_t *err)
{
    const json_t *labels = json_object_get(metadata, "labels");
    apr_status_t status = APR_SUCCESS;
    if (json_is_array(labels)) {
        json_t *others = json_copy((json_t *)metadata);
        ac_json_put(others, "labels", json_string(""));
        status = check_label_list(labels, err);
        if (status == APR_SUCCESS) {
            status = ac_record_check_metadata(others, err);
        }
        json_decref(others);
        return status;
    }
    return ac_record_check_metadata(metadata, err);
}

apr_status_t ac_record_check_metadata(const json_t *metadata, ac_err_t *err)
{
    if (!metadata || json_is_null(metadata)) {
        return APR_SUCCESS;
    }
    if (!json_is_object(metadata)) {
        return ac_err_set_at(err, AC_INVALID_REQUEST, "/metadata", "metadata must be an object");
    }
    if (json_object_size(metadata) > AC_MAX_METADATA) {
        return ac_err_set_at(err, AC_INVALID_REQUEST, "/metadata", "metadata may have %d members at most",
                             AC_MAX_METADATA);
    }
    json_t *members = (json_t *)metadata; /* iterating changes nothing */
    for (void *at = json_object_iter(members); at; at = json_object_iter_next(members, at)) {
        char pointer[AC_ERR_POINTER_SIZE] = "/metadata";
        const char *name = json_object_iter_key(at);
        const json_t *value = json_object_iter_value(at);
        ac_json_pointer_add(pointer, name);
        if (ac_utf8_count(name, strlen(name)) > AC_MAX_METADATA_KEY) {
            return ac_err_set_at(err, AC_INVALID_REQUEST, pointer,
                                 "the name of a metadata member may have %d "
                                 "characters at most",
                                 AC_MAX_METADATA_KEY);
        }
        if (!json_is_string(value)) {
            return ac_err_set_at(err, AC_INVALID_REQUEST, pointer, "the value of a metadata member must be a string");
        }
        if (ac_utf8_count(json_string_value(value), json_string_length(value)) > AC_MAX_METADATA_VALUE) {
            return ac_err_set_at(err, AC_INVALID_REQUEST, pointer,
                                 "the value of a metadata member may have %d "
                                 "characters at most",
                                 AC_MAX_METADATA_VALUE);
        }
    }
    return APR_SUCCESS;
}

typedef enum glyph_e { GLYPH, GLYPH_SPACE, GLYPH_LINE_END } glyph_e;

/* The kind of a valid character of n bytes in a title. Control characters count as space. */
static glyph_e classify(const char *text, size_t n)
{
    const unsigned char *c = (const unsigned char *)text;
    if (n == 1) {
        return c[0] == '\n' || c[0] == '\r' ? GLYPH_LINE_END : c[0] <= 0x20 || c[0] == 0x7f ? GLYPH_SPACE : GLYPH;
    }
    if (n == 2) {
        return c[0] == 0xc2 && c[1] == 0x85 ? GLYPH_LINE_END : c[0] == 0xc2 && c[1] <= 0xa0 ? GLYPH_SPACE : GLYPH;
    }
    if (n == 3 && c[0] == 0xe2 && c[1] == 0x80) {
        /* U+2000 to U+200B; U+2028 and U+2029 */
        return c[2] == 0xa8 || c[2] == 0xa9 ? GLYPH_LINE_END : c[2] <= 0x8b ? GLYPH_SPACE : GLYPH;
    }
    bool wide_space = n == 3 && memcmp(text, "\xe3\x80\x80", 3) == 0;
    bool byte_order_mark = n == 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;
    return wide_space || byte_order_mark ? GLYPH_SPACE : GLYPH;
}

typedef struct title_t {
    char text[4 * (AC_MAX_TITLE + 2) + 1];
    size_t len;
    int n_chars;
    size_t cut;      /* bytes of the first AC_MAX_TITLE - 1 characters */
    size_t word_cut; /* the last position between words up to there, or 0 */
} title_t;

static void add_char(title_t *title, const char *text, size_t n)
{
    memcpy(title->text + title->len, text, n);
    title->len += n;
    title->n_chars++;
    if (title->n_chars == AC_MAX_TITLE - 1) {
        title->cut = title->len;
    }
}

/* Collects the first line that is not blank, each run of spaces as one, until it is one character too long. */
static void record_collect(title_t *title, const char *content)
{
    size_t len = strlen(content);
    bool space = false;
    for (size_t i = 0, n; i < len && title->n_chars <= AC_MAX_TITLE; i += n) {
        bool valid;
        n = ac_utf8_next(content + i, len - i, &valid);
        glyph_e glyph = valid ? classify(content + i, n) : GLYPH;
        if (glyph == GLYPH_LINE_END && title->n_chars) {
            return;
        }
        if (glyph != GLYPH) {
            space = title->n_chars > 0;
            continue;
        }
        if (space && title->n_chars >= TITLE_MIN && title->n_chars < AC_MAX_TITLE) {
            title->word_cut = title->len;
        }
        if (space) {
            add_char(title, " ", 1);
        }
        add_char(title, valid ? content + i : "\xef\xbf\xbd", valid ? n : 3);
        space = false;
    }
}

json_t *ac_record_title_cut(const char *text)
{
    title_t title = {.len = 0};
    record_collect(&title, text ? text : "");
    if (!title.n_chars) {
        return NULL;
    }
    if (title.n_chars > AC_MAX_TITLE) {
        title.len = title.word_cut ? title.word_cut : title.cut;
        memcpy(title.text + title.len, "\xe2\x80\xa6", 3);
        title.len += 3;
    }
    return json_stringn(title.text, title.len);
}

void ac_record_answer_id(char id[AC_ID_SIZE], const char *run_id)
{
    const char *rest = strchr(run_id, '_');
    snprintf(id, AC_ID_SIZE, "msg%s", rest ? rest : "_");
}

bool ac_record_is_answer(const json_t *message)
{
    return strcmp(ac_json_peek_string(message, "role", ""), "assistant") == 0;
}

json_t *ac_record_title(const char *content)
{
    json_t *title = ac_record_title_cut(content);
    return title ? title : json_string("New conversation");
}

bool ac_record_is_active(const json_t *run)
{
    const char *status = ac_json_peek_string(run, "status", "");
    return strcmp(status, "queued") == 0 || strcmp(status, "in_progress") == 0;
}

/* ---- the order of an answer's text and calls ---- */

void ac_record_parts_add_call(ac_record_parts_t *parts, size_t at, const char *id)
{
    if (!parts->list) {
        parts->list = json_array();
    }
    if (at > parts->listed) {
        json_array_append_new(parts->list, json_integer((json_int_t)(at - parts->listed)));
        parts->listed = at;
    }
    json_array_append_new(parts->list, ac_json_text(id));
}

json_t *ac_record_parts_list(const ac_record_parts_t *parts, size_t len)
{
    json_t *list = parts->list ? json_copy(parts->list) : NULL;
    if (list && len > parts->listed) {
        json_array_append_new(list, json_integer((json_int_t)(len - parts->listed)));
    }
    return list;
}

void ac_record_parts_read(ac_record_parts_t *parts, json_t *list)
{
    const json_t *part;
    size_t i;
    ac_record_parts_free(parts);
    parts->list = list;
    json_array_foreach(list, i, part)
    {
        if (json_integer_value(part) > 0) {
            parts->listed += (size_t)json_integer_value(part);
        }
    }
}

void ac_record_parts_free(ac_record_parts_t *parts)
{
    json_decref(parts->list);
    memset(parts, 0, sizeof *parts);
}

/* One part in its form of the API. *pat: where its text begins; moves to its end. Returns NULL if it does not match the
 * text. */
static json_t *part_shown(const json_t *part, const char *text, size_t len, size_t *pat)
{
    json_int_t size = json_integer_value(part);
    if (json_is_string(part)) {
        return json_pack("{s:s, s:O}", "type", "tool_call", "id", part);
    }
    if (!json_is_integer(part) || size <= 0 || (uint64_t)size > len - *pat) {
        return NULL;
    }
    json_t *words = json_stringn(text + *pat, (size_t)size); /* NULL if it ends inside of a character */
    *pat += (size_t)size;
    return words ? json_pack("{s:s, s:o}", "type", "text", "text", words) : NULL;
}

static json_t *parts_shown(const json_t *list, const json_t *message)
{
    const json_t *content = json_object_get(message, "content"), *part;
    size_t len = json_string_length(content), at = 0, n_calls = 0, i;
    json_t *shown = json_array();
    bool fits = true;
    json_array_foreach((json_t *)list, i, part)
    {
        json_t *one = fits ? part_shown(part, json_string_value(content), len, &at) : NULL;
        fits = one != NULL;
        n_calls += json_is_string(part);
        json_array_append_new(shown, one);
    }
    if (!fits || at != len || n_calls != json_array_size(json_object_get(message, "tool_calls"))) {
        json_decref(shown);
        return NULL;
    }
    return shown;
}

json_t *ac_record_parts_of(const json_t *message)
{
    const json_t *list = json_object_get(json_object_get(message, "metadata"), "parts"), *call;
    const char *text = ac_json_peek_string(message, "content", "");
    json_t *parts = json_is_array(list) ? parts_shown(list, message) : NULL;
    size_t i;
    if (parts) {
        return parts;
    }
    parts = json_array();
    json_array_foreach(json_object_get(message, "tool_calls"), i, call)
    {
        json_array_append_new(parts, json_pack("{s:s, s:O*}", "type", "tool_call", "id", json_object_get(call, "id")));
    }
    if (*text) {
        json_array_append_new(parts, json_pack("{s:s, s:s}", "type", "text", "text", text));
    }
    return parts;
}

const json_t *ac_record_call(const json_t *message, const char *id)
{
    const json_t *call;
    size_t i;
    json_array_foreach(json_object_get(message, "tool_calls"), i, call)
    {
        if (strcmp(ac_json_peek_string(call, "id", ""), id) == 0) {
            return call;
        }
    }
    return NULL;
}

void ac_record_show_feedback(json_t *message)
{
    json_t *feedback = json_object_get(message, "feedback");
    json_object_del(feedback, "agent_id");
    json_object_del(feedback, "model");
}

void ac_record_show_parts(json_t *message)
{
    json_t *kept = json_object_get(message, "metadata"), *list = json_object_get(kept, "parts");
    json_t *sources = json_object_get(kept, "sources");
    if (!json_is_array(list) && !json_is_array(sources)) {
        return;
    }
    json_t *parts = json_is_array(list) ? parts_shown(list, message) : NULL, *metadata = json_copy(kept);
    if (json_is_array(sources)) { /* a user's message has texts only */
        ac_json_put(message, "sources", json_incref(sources));
        json_object_del(metadata, "sources");
    }
    if (json_is_array(list)) {
        json_object_del(metadata, "parts");
    }
    ac_json_put(message, "metadata", metadata);
    if (parts) {
        ac_json_put(message, "parts", parts);
    }
}
