/* SPDX-License-Identifier: Apache-2.0 */
/* A tool in a module of its own: the provider "example-words" counts the words and characters of a text.
 *
 *   apxs -c mod_agentchat_tool_example.c && apxs -i -n agentchat_tool_example mod_agentchat_tool_example.la
 *
 *   LoadModule agentchat_module              modules/mod_agentchat.so
 *   LoadModule agentchat_tool_example_module modules/mod_agentchat_tool_example.so
 *   <AgentChatTool count_words>
 *       AgentChatToolProvider example-words
 *   </AgentChatTool>
 *
 * The result follows from the arguments and nothing waits, so the tool needs `compute` alone: mod_agentchat checks the
 * arguments against `parameters`, calls it on the loop thread, and shows the result to the model and in the trace. */
#include "agentchat.h"

#include "ap_provider.h"
#include "apr_strings.h"
#include "httpd.h"
#include "http_config.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool begins_character(char c) /* of UTF-8 */
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

/* Loop thread. *presult is a new reference, which mod_agentchat owns from now on. */
static apr_status_t count_words(void *self, const json_t *arguments, json_t **presult, ac_err_t *err)
{
    const char *text = json_string_value(json_object_get(arguments, "text"));
    json_int_t n_words = 0, n_characters = 0;

    (void)self;
    for (const char *at = text; *at; at++) {
        n_words += !is_blank(*at) && (at == text || is_blank(at[-1]));
        n_characters += begins_character(*at);
    }
    if (n_words == 0) {
        err->kind = AC_TOOL_ERROR; /* the model reads `detail` and may call again */
        apr_cpystrn(err->detail, "the text has no words", sizeof(err->detail));
        return APR_EINVAL;
    }
    *presult = json_pack("{s:I, s:I}", "words", n_words, "characters", n_characters);
    return *presult ? APR_SUCCESS : APR_ENOMEM;
}

static const ac_tool_vt words = {
    .name = "example-words",
    .flags = AC_TOOL_COMPUTES,
    .description = "Counts the words and the characters of a text.",
    .parameters = "{\"type\": \"object\", \"properties\": {\"text\": {\"type\": \"string\", \"minLength\": 1}}, "
                  "\"required\": [\"text\"], \"additionalProperties\": false}",
    .compute = count_words,
};

static void register_hooks(apr_pool_t *p)
{
    ap_register_provider(p, AC_TOOL_PROVIDER, words.name, AC_PROVIDER_VERSION, &words);
}

AP_DECLARE_MODULE(agentchat_tool_example) = {STANDARD20_MODULE_STUFF, .register_hooks = register_hooks};
