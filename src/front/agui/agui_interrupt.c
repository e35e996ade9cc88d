/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupts of a run: each is a call that awaits approval, with the question of its tool if that asks one. */
#include "agui_internal.h"

#include <stdlib.h>
#include <string.h>

#include "apr_strings.h"

#define LITERAL(out, text) ac_buf_add(out, text, sizeof(text) - 1)

/* What the answer to the interrupt looks like. */
static void interrupt_add_schema(ac_buf_t *out, const json_t *form)
{
    char *text = form ? json_dumps(form, JSON_COMPACT) : NULL;
    LITERAL(out,
            ",\"responseSchema\":{\"type\":\"object\",\"properties\":{\"approved\":{\"type\":\"boolean\"},"
            "\"reason\":{\"type\":\"string\"}");
    if (text) {
        LITERAL(out, ",\"content\":");
        ac_buf_str(out, text);
    }
    LITERAL(out, "},\"required\":[\"approved\"]}");
    free(text);
}

void ac_agui_interrupt_add(ac_buf_t *out, const char *run_id, const json_t *call, const char *expires_at)
{
    const json_t *question = json_object_get(call, "question");
    const char *id = ac_json_peek_string(call, "call_id", "");
    char may[160];
    apr_snprintf(may, sizeof(may), "May %s be called?", ac_json_peek_string(call, "tool", "the tool"));
    LITERAL(out, "{\"reason\":\"tool_call\"");
    ac_agui_id_add_call(out, "id", run_id, id, "");
    ac_agui_id_add_call(out, "toolCallId", run_id, id, "");
    ac_dialect_add_text(out, "message", ac_json_peek_string(question, "message", may));
    interrupt_add_schema(out, json_object_get(question, "form"));
    ac_dialect_add_text(out, "expiresAt", expires_at);
    LITERAL(out, "}");
}
