/* SPDX-License-Identifier: Apache-2.0 */
/* YAML as JSON. libyaml reads the text as events; this file makes values of them. Aliases can let a short text stand
 * for endlessly many values, so each counts as what it repeats. */
#include "wire_internal.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <yaml.h>

#define MAX_ANCHORS 10000

typedef struct anchor_t {
    char *name;
    json_t *value;  /* owned */
    size_t n_nodes; /* that it stands for */
} anchor_t;

typedef struct reader_t {
    yaml_parser_t parser;
    anchor_t *anchors;
    int n_anchors, room;
    size_t n_nodes;
    ac_err_t *err;
} reader_t;

static json_t *read_node(reader_t *reader, yaml_event_t *event, int depth);

static json_t *yaml_refuse(reader_t *reader, const yaml_event_t *event, const char *why)
{
    ac_err_set(reader->err, AC_BAD_JSON, "line %zu: %s", event->start_mark.line + 1, why);
    return NULL;
}

static bool yaml_next_event(reader_t *reader, yaml_event_t *event)
{
    if (yaml_parser_parse(&reader->parser, event)) {
        return true;
    }
    memset(event, 0, sizeof *event);
    const char *problem = reader->parser.problem ? reader->parser.problem : "memory ran out";
    ac_err_set(reader->err, AC_BAD_JSON, "line %zu: %s", reader->parser.problem_mark.line + 1, problem);
    return false;
}

/* ---- scalars; source: YAML 1.2.2, 10.3.2 ---- */

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(text, *words) == 0) {
            return true;
        }
    }
    return false;
}

static json_t *yaml_number(const char *text)
{
    bool based = text[0] == '0' && (text[1] == 'x' || text[1] == 'o');
    const char *digits = text + (*text == '-' || *text == '+');
    char *end;
    errno = 0;
    if (based || (*digits && digits[strspn(digits, "0123456789")] == '\0')) {
        int base = !based ? 10 : text[1] == 'x' ? 16 : 8;
        const char *from = based ? text + 2 : text;
        long long value = strtoll(from, &end, base);
        if (*from && !*end && errno == 0 && (!based || (*from != '-' && *from != '+'))) {
            return json_integer(value);
        }
        return based ? NULL : json_real(strtod(text, NULL));
    }
    if (!*digits || digits[strspn(digits, "0123456789.eE+-")] || !strpbrk(digits, "0123456789")) {
        return NULL;
    }
    double value = strtod(text, &end);
    return *end || !isfinite(value) ? NULL : json_real(value);
}

static json_t *yaml_scalar(reader_t *reader, const yaml_event_t *event)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const yes[] = {"true", "True", "TRUE", NULL}, *const no[] = {"false", "False", "FALSE", NULL};
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    json_t *value = NULL;
    if (event->data.scalar.plain_implicit && strlen(text) == len) {
        value = is_one_of(text, nulls) ? json_null()
            : is_one_of(text, yes)     ? json_true()
            : is_one_of(text, no)      ? json_false()
                                       : yaml_number(text);
    }
    value = value ? value : json_stringn(text, len);
    return value ? value : yaml_refuse(reader, event, "the text is not UTF-8");
}

/* ---- aliases ---- */

static void anchor_set(reader_t *reader, const char *name, json_t *value, size_t n_nodes)
{
    if (reader->n_anchors == reader->room) {
        reader->room = reader->room ? 2 * reader->room : 16;
        anchor_t *list = realloc(reader->anchors, (size_t)reader->room * sizeof *list);
        if (!list) {
            abort();
        }
        reader->anchors = list;
    }
    reader->anchors[reader->n_anchors++] = (anchor_t){strdup(name), json_incref(value), n_nodes};
}

/* The last anchor of a name holds. One that is still open is not there yet, so no value contains itself. */
static json_t *yaml_alias(reader_t *reader, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    for (int i = reader->n_anchors; i-- > 0;) {
        if (strcmp(reader->anchors[i].name, name) == 0) {
            reader->n_nodes += reader->anchors[i].n_nodes;
            return json_incref(reader->anchors[i].value);
        }
    }
    return yaml_refuse(reader, event, "an alias names no anchor before it");
}

/* ---- collections ---- */

static json_t *yaml_read_list(reader_t *reader, int depth)
{
    json_t *list = json_array();
    yaml_event_t event;
    while (yaml_next_event(reader, &event)) {
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            return list;
        }
        json_t *value = read_node(reader, &event, depth + 1);
        yaml_event_delete(&event);
        if (!value) {
            break;
        }
        json_array_append_new(list, value);
    }
    json_decref(list);
    return NULL;
}

static bool read_member(reader_t *reader, json_t *object, const yaml_event_t *key, int depth)
{
    yaml_event_t event;
    const char *name = (const char *)key->data.scalar.value;
    if (key->type != YAML_SCALAR_EVENT || strlen(name) != key->data.scalar.length) {
        yaml_refuse(reader, key, "a key is not a text");
        return false;
    }
    if (!yaml_next_event(reader, &event)) {
        return false;
    }
    json_t *value = read_node(reader, &event, depth + 1);
    yaml_event_delete(&event);
    if (!value) {
        return false;
    }
    if (strcmp(name, "<<") == 0 && json_is_object(value)) { /* a merge, of YAML 1.1 */
        json_object_update_missing(object, value);
        json_decref(value);
    } else if (!ac_json_put(object, name, value)) {
        yaml_refuse(reader, key, "a key is not UTF-8");
        return false;
    }
    return true;
}

static json_t *yaml_read_object(reader_t *reader, int depth)
{
    json_t *object = json_object();
    yaml_event_t event;
    bool good = true;
    while (good && yaml_next_event(reader, &event)) {
        if (event.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&event);
            return object;
        }
        good = read_member(reader, object, &event, depth);
        yaml_event_delete(&event);
    }
    json_decref(object);
    return NULL;
}

static json_t *read_node(reader_t *reader, yaml_event_t *event, int depth)
{
    const yaml_char_t *anchor = NULL;
    json_t *value = NULL;
    size_t before = reader->n_nodes++;
    if (depth > AC_MAX_YAML_DEPTH) {
        return yaml_refuse(reader, event, "the values are nested too deeply");
    }
    switch (event->type) {
    case YAML_ALIAS_EVENT: value = yaml_alias(reader, event); break;
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        value = yaml_scalar(reader, event);
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        value = yaml_read_list(reader, depth);
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        value = yaml_read_object(reader, depth);
        break;
    default: return yaml_refuse(reader, event, "there is no value");
    }
    if (value && (reader->n_nodes > AC_MAX_YAML_NODES || (anchor && reader->n_anchors == MAX_ANCHORS))) {
        json_decref(value);
        return yaml_refuse(reader, event, "with all its aliases the document has too many values");
    }
    if (value && anchor) {
        anchor_set(reader, (const char *)anchor, value, reader->n_nodes - before);
    }
    return value;
}

/* ---- the document ---- */

static json_t *yaml_read_document(reader_t *reader)
{
    yaml_event_t event;
    json_t *value = NULL;
    for (bool found = false; !found && yaml_next_event(reader, &event);) {
        found = event.type != YAML_STREAM_START_EVENT && event.type != YAML_DOCUMENT_START_EVENT;
        value = found ? read_node(reader, &event, 0) : NULL;
        yaml_event_delete(&event);
    }
    return value;
}

apr_status_t ac_yaml_parse(json_t **pvalue, const char *text, size_t len, ac_err_t *err)
{
    reader_t reader = {.err = err};
    if (!yaml_parser_initialize(&reader.parser)) {
        return ac_err_set(err, AC_OVERLOADED, "memory ran out");
    }
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, len);
    *pvalue = yaml_read_document(&reader);
    if (*pvalue && ac_json_is_deeper(*pvalue, AC_MAX_YAML_DEPTH)) { /* by aliases within one another */
        json_decref(*pvalue);
        *pvalue = NULL;
        ac_err_set(err, AC_BAD_JSON, "the values are nested too deeply");
    }
    for (int i = 0; i < reader.n_anchors; i++) {
        free(reader.anchors[i].name);
        json_decref(reader.anchors[i].value);
    }
    free(reader.anchors);
    yaml_parser_delete(&reader.parser);
    return *pvalue ? APR_SUCCESS : ac_err_row(AC_BAD_JSON)->status;
}
