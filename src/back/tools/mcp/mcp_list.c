/* SPDX-License-Identifier: Apache-2.0 */
/* The list of a server's tools: asked for when a run wants it and the last one is out of date, once for all runs that
 * wait. The first request also finds out which of the two eras the server speaks. */
#include "mcp_internal.h"

#include <string.h>

#define LEAST_TTL apr_time_from_sec(1)
#define MOST_TTL apr_time_from_sec(86400)
#define RETRY_FIRST apr_time_from_sec(1)
#define LATER apr_time_from_sec(1) /* after the deadline of the list, which has the better error */
#define RETRY_SHIFT 6              /* the longest time between two attempts is about a minute */

static void ask_page(ac_mcp_upstream_t *server);

/* ---- lists ---- */

ac_mcp_tools_t *ac_mcp_list_ref(ac_mcp_tools_t *tools)
{
    tools->refs++;
    return tools;
}

void ac_mcp_list_unref(ac_mcp_tools_t *tools)
{
    if (!tools || --tools->refs > 0) {
        return;
    }
    for (int i = 0; i < tools->n; i++) {
        ac_mcp_tool_free(&tools->list[i].tool);
        free(tools->list[i].source);
    }
    free(tools);
}

const ac_mcp_entry_t *ac_mcp_list_find(const ac_mcp_tools_t *tools, const char *name)
{
    for (int i = 0; tools && i < tools->n; i++) {
        if (strcmp(tools->list[i].tool.name, name) == 0) {
            return &tools->list[i];
        }
    }
    return NULL;
}

static char *mcp_list_source(const ac_mcp_upstream_t *server, const char *name)
{
    ac_buf_t text;
    ac_buf_init(&text, 1024);
    ac_buf_printf(&text, "%s/%s", server->source.name, name);
    return text.data;
}

static void list_set_names(const ac_mcp_upstream_t *server)
{
    const ac_mcp_listing_t *listing = &server->listing;
    ac_tool_name_t *names = ac_alloc(((size_t)listing->n + 1) * sizeof *names);
    for (int i = 0; i < listing->n; i++) {
        names[i].name = listing->tools[i].name;
    }
    ac_tool_name_make(names, listing->n, server->prefix);
    for (int i = 0; i < listing->n; i++) {
        memcpy(listing->tools[i].id, names[i].id, sizeof names[i].id);
    }
    free(names);
}

/* Takes the tools that were read over. */
static ac_mcp_tools_t *list_create(ac_mcp_upstream_t *server)
{
    const ac_mcp_conf_t *conf = server->conf;
    ac_mcp_listing_t *listing = &server->listing;
    ac_mcp_tools_t *tools = ac_alloc(sizeof *tools + (size_t)listing->n * sizeof tools->list[0]);
    tools->refs = 1;
    list_set_names(server);
    for (int i = 0; i < listing->n; i++) {
        if (!listing->tools[i].id[0]) {
            ac_mcp_tool_free(&listing->tools[i]);
            listing->n_left_out++;
            continue;
        }
        ac_mcp_entry_t *entry = &tools->list[tools->n++];
        entry->tool = listing->tools[i];
        entry->source = mcp_list_source(server, entry->tool.name);
        entry->conf = (ac_tool_conf_t){
            .id = entry->tool.id,
            .provider = "mcp",
            .description = entry->tool.description,
            .parameters = entry->tool.parameters,
            .timeout = conf->call_timeout,
            .result_max = conf->result_max,
            .approval = ac_mcp_filter_approval(conf, &entry->tool),
        };
    }
    listing->n = 0;
    tools->n_left_out = listing->n_left_out;
    return tools;
}

/* ---- the end ---- */

static void listing_end(ac_mcp_upstream_t *server)
{
    ac_mcp_listing_t *listing = &server->listing;
    ac_tool_source_forget(&listing->session);
    ac_timer_cancel(server->loop, &listing->timer);
    if (listing->request) {
        ac_mcp_request_cancel(listing->request);
    }
    for (int i = 0; i < listing->n; i++) {
        ac_mcp_tool_free(&listing->tools[i]);
    }
    free(listing->tools);
    free(listing->cursor);
    memset(listing, 0, sizeof *listing);
}

static void listing_report(ac_mcp_upstream_t *server)
{
    ac_tool_source_report(&server->waiters);
}

static void listing_fail(ac_mcp_upstream_t *server, const ac_err_t *err)
{
    int shift = server->n_failures < RETRY_SHIFT ? server->n_failures : RETRY_SHIFT;
    server->err = *err;
    server->n_failures++;
    server->retry_at = ac_loop_now(server->loop) + (RETRY_FIRST << shift);
    if (!server->down) {
        ac_log(AC_M410, err->status, "mcp[%s]: its tools cannot be listed: %s; runs %s", server->conf->id, err->detail,
               server->tools ? "use the list from before" : "go without them");
    }
    server->down = true;
    listing_end(server);
    listing_report(server);
}

static void listing_on_deadline(void *baton)
{
    ac_mcp_upstream_t *server = baton;
    char limit[AC_TIME_SIZE];
    ac_err_t err;
    ac_err_init(&err);
    ac_time_format_duration(limit, server->conf->list_timeout);
    ac_err_set(&err, AC_TOOL_TIMEOUT, "the MCP server '%s' did not list its tools within %s", server->conf->id, limit);
    listing_fail(server, &err);
}

static void listing_succeed(ac_mcp_upstream_t *server)
{
    const ac_mcp_listing_t *listing = &server->listing;
    apr_interval_time_t life = server->conf->refresh;
    if (listing->ttl >= 0) {
        life = listing->ttl < apr_time_as_msec(MOST_TTL) ? apr_time_from_msec(listing->ttl) : MOST_TTL;
        life = life > LEAST_TTL ? life : LEAST_TTL;
    }
    bool fewer = listing->n_left_out > 0 && (!server->tools || server->tools->n_left_out != listing->n_left_out);
    ac_mcp_list_unref(server->tools);
    server->tools = list_create(server);
    server->expires = ac_loop_now(server->loop) + life;
    server->retry_at = 0;
    server->n_failures = 0;
    ac_err_init(&server->err);
    if (server->down) {
        ac_log(AC_M411, APR_SUCCESS, "mcp[%s]: its tools can be listed again", server->conf->id);
    }
    server->down = false;
    if (fewer) {
        ac_log(AC_M412, APR_SUCCESS, "mcp[%s]: %d of its tools are left out, %d can be used", server->conf->id,
               server->tools->n_left_out, server->tools->n);
    }
    ac_debug("mcp[%s]: %d tools, version %s", server->conf->id, server->tools->n,
             server->modern ? AC_MCP_MODERN : server->session.version);
    listing_end(server);
    listing_report(server);
}

/* ---- a page ---- */

static void take_tool(ac_mcp_upstream_t *server, const json_t *entry)
{
    ac_mcp_listing_t *listing = &server->listing;
    const char *name = ac_json_peek_string(entry, "name", "");
    char shown[64];
    if (!ac_mcp_filter_allows(server->conf, name)) {
        return;
    }
    const char *problem = listing->n == AC_MAX_MCP_TOOLS
        ? "a server may have at most 128 tools; AgentChatMCPTools chooses which"
        : ac_mcp_tool_read(&listing->tools[listing->n], entry, server->modern);
    for (int i = 0; !problem && i < listing->n; i++) {
        if (strcmp(listing->tools[i].name, name) == 0) {
            problem = "another tool of the server has the same name";
            ac_mcp_tool_free(&listing->tools[listing->n]);
        }
    }
    if (problem) {
        ac_debug("mcp[%s]: the tool '%s' is left out: %s", server->conf->id, ac_text_printable(shown, name), problem);
        listing->n_left_out++;
    } else {
        listing->n++;
    }
}

/* Returns whether there is another page to ask for. A server that repeats its cursor, or never ends, is cut. */
static bool take_cursor(ac_mcp_upstream_t *server, const json_t *result)
{
    ac_mcp_listing_t *listing = &server->listing;
    const char *cursor = ac_json_peek_string(result, "nextCursor", NULL);
    bool repeated = cursor && listing->cursor && strcmp(cursor, listing->cursor) == 0;
    bool more = cursor && !repeated && listing->n_pages < AC_MAX_MCP_PAGES &&
        listing->n_bytes < AC_MAX_MCP_LIST_BYTES && listing->n < AC_MAX_MCP_TOOLS;
    if (cursor && !more) {
        ac_debug("mcp[%s]: the list is cut after %d pages", server->conf->id, listing->n_pages);
        listing->n_left_out++;
    }
    free(listing->cursor);
    listing->cursor = more ? strdup(cursor) : NULL;
    return more;
}

static void take_page(ac_mcp_upstream_t *server, const json_t *result)
{
    ac_mcp_listing_t *listing = &server->listing;
    const json_t *list = json_object_get(result, "tools"), *entry;
    int64_t ttl = ac_json_peek_int(result, "ttlMs", -1);
    size_t i;
    ac_err_t err;
    if (!json_is_array(list)) {
        ac_err_init(&err);
        ac_err_set(&err, AC_TOOL_ERROR, "the MCP server '%s' answered without a list of tools", server->conf->id);
        listing_fail(server, &err);
        return;
    }
    listing->n_pages++;
    if (ttl >= 0 && (listing->ttl < 0 || ttl < listing->ttl)) {
        listing->ttl = ttl;
    }
    json_array_foreach((json_t *)list, i, entry)
    {
        take_tool(server, entry);
    }
    if (take_cursor(server, result)) {
        ask_page(server);
    } else {
        listing_succeed(server);
    }
}

/* ---- the two eras ---- */

static bool supports(const ac_mcp_message_t *message, const char *version)
{
    const json_t *list = json_object_get(message->data, "supported");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *one = json_string_value(json_array_get(list, i));
        if (one && (version ? strcmp(one, version) == 0 : ac_mcp_message_is_legacy(one))) {
            return true;
        }
    }
    return false;
}

/* Whether the error is one that only a modern server answers with. Source: 2026-07-28, "Backward Compatibility". */
bool ac_mcp_list_is_modern(const ac_mcp_answer_t *answer)
{
    const ac_mcp_message_t *message = answer->message;
    if (!message || message->type != AC_MCP_ERROR) {
        return false;
    }
    return message->code == AC_MCP_HEADER_MISMATCH || message->code == AC_MCP_MISSING_CAPABILITY ||
        message->code == AC_MCP_UNSUPPORTED_VERSION ||
        (answer->status == 404 && message->code == AC_MCP_METHOD_NOT_FOUND);
}

/* Whether a server of the other era could have answered so. */
static bool may_be_legacy(const ac_mcp_answer_t *answer)
{
    int status = answer->status;
    return (status >= 200 && status <= 299 && answer->message) || status == 400 || status == 404 || status == 405 ||
        status == 406 || status == 415;
}

/* Whether a server answers the first request of the newer form with a result of the older one: it has not looked at
 * the members that are new. */
static bool ignores_form(const ac_mcp_upstream_t *server, const ac_mcp_answer_t *answer)
{
    const json_t *result = answer->message ? answer->message->result : NULL;
    return result && !server->known && server->conf->protocol == AC_MCP_PROTOCOL_AUTO &&
        !json_object_get(result, "resultType") && !json_object_get(result, "ttlMs");
}

static void on_session(void *baton)
{
    ac_mcp_upstream_t *server = baton;
    const ac_mcp_upstream_session_t *session = &server->session;
    if (session->open) {
        server->known = true;
        server->modern = false;
        ask_page(server);
    } else if (server->listing.unsure) { /* it has answered in the newer form */
        server->known = server->modern = true;
        ask_page(server);
    } else if (session->code == AC_MCP_UNSUPPORTED_VERSION && !server->listing.renegotiated &&
               server->conf->protocol != AC_MCP_PROTOCOL_LEGACY) {
        server->listing.renegotiated = true; /* it spoke the older form formerly */
        server->known = server->modern = true;
        ask_page(server);
    } else {
        server->known = false;
        listing_fail(server, &session->err);
    }
}

static void begin_legacy(ac_mcp_upstream_t *server)
{
    server->listing.session = (ac_tool_waiter_t){.fn = on_session, .baton = server};
    ac_mcp_upstream_session_want(&server->session, &server->listing.session);
}

static void take_modern_failure(ac_mcp_upstream_t *server, const ac_mcp_answer_t *answer)
{
    ac_mcp_listing_t *listing = &server->listing;
    ac_err_t err;
    ac_err_init(&err);
    ac_mcp_request_failed(server, answer, &err);
    bool modern = ac_mcp_list_is_modern(answer);
    bool versions = modern && answer->message->code == AC_MCP_UNSUPPORTED_VERSION;
    if (versions && supports(answer->message, AC_MCP_MODERN) && !listing->renegotiated) {
        listing->renegotiated = true;
        ask_page(server);
    } else if (server->conf->protocol != AC_MCP_PROTOCOL_MODERN &&
               (versions ? supports(answer->message, NULL) : !modern && may_be_legacy(answer))) {
        begin_legacy(server);
    } else {
        listing_fail(server, &err);
    }
}

/* The session may have ended since it was opened. */
static void take_legacy_failure(ac_mcp_upstream_t *server, const ac_mcp_answer_t *answer)
{
    ac_mcp_listing_t *listing = &server->listing;
    ac_err_t err;
    ac_err_init(&err);
    ac_mcp_request_failed(server, answer, &err);
    if ((answer->status == 404 || answer->status == 400) && !listing->reopened) {
        listing->reopened = true;
        ac_mcp_upstream_session_lost(&server->session);
        begin_legacy(server);
    } else {
        server->known = false;
        ac_mcp_upstream_session_lost(&server->session);
        listing_fail(server, &err);
    }
}

static void mcp_list_on_page(void *baton, const ac_mcp_answer_t *answer)
{
    ac_mcp_upstream_t *server = baton;
    ac_mcp_listing_t *listing = &server->listing;
    bool modern = server->modern || !server->known;
    listing->request = NULL;
    listing->n_bytes += answer->n_bytes;
    if (ignores_form(server, answer)) {
        listing->unsure = true;
        begin_legacy(server);
    } else if (answer->message && answer->message->type == AC_MCP_RESULT) {
        server->modern = modern;
        server->known = true;
        take_page(server, answer->message->result);
    } else if (modern) {
        take_modern_failure(server, answer);
    } else {
        take_legacy_failure(server, answer);
    }
}

/* ---- asking ---- */

static void ask_page(ac_mcp_upstream_t *server)
{
    static const ac_mcp_request_cb_t callbacks = {.on_answer = mcp_list_on_page};
    static const char *const headers[] = {"Mcp-Method: tools/list", NULL};
    ac_mcp_listing_t *listing = &server->listing;
    bool modern = server->modern || !server->known;
    json_t *params = json_object();
    if (listing->cursor) {
        ac_json_put(params, "cursor", ac_json_text(listing->cursor));
    }
    if (modern) {
        ac_json_put(params, "_meta", ac_mcp_message_meta(AC_MCP_MODERN, false, NULL));
    }
    ac_mcp_request_ask_t ask = {
        .method = "tools/list",
        .params = params,
        .version = modern ? AC_MCP_MODERN : server->session.version,
        .session = modern ? NULL : server->session.id,
        .resumes = !modern,
        .headers = modern ? headers : NULL,
        .deadline = listing->deadline + LATER,
        .retries = 1,
    };
    listing->request = ac_mcp_request_start(server, &ask, &callbacks, server);
}

static void listing_begin(ac_mcp_upstream_t *server)
{
    ac_mcp_listing_t *listing = &server->listing;
    memset(listing, 0, sizeof *listing);
    listing->active = true;
    listing->ttl = -1;
    listing->tools = ac_alloc(AC_MAX_MCP_TOOLS * sizeof *listing->tools);
    listing->deadline = ac_loop_now(server->loop) + server->conf->list_timeout;
    ac_timer_set(server->loop, &listing->timer, listing->deadline, listing_on_deadline, server);
    if (server->conf->protocol == AC_MCP_PROTOCOL_LEGACY || (server->known && !server->modern)) {
        begin_legacy(server);
    } else {
        ask_page(server);
    }
}

bool ac_mcp_list_want(ac_mcp_upstream_t *server, ac_tool_waiter_t *waiter)
{
    apr_time_t now = ac_loop_now(server->loop);
    bool current = server->tools && now < server->expires, resting = server->retry_at && now < server->retry_at;
    if (!server->listing.active) {
        if (current || resting) {
            return false;
        }
        listing_begin(server);
    }
    ac_tool_source_wait(&server->waiters, waiter);
    return true;
}

void ac_mcp_list_expire(ac_mcp_upstream_t *server)
{
    server->expires = 0;
}

void ac_mcp_list_stop(ac_mcp_upstream_t *server)
{
    while (server->waiters) {
        ac_tool_source_forget(server->waiters);
    }
    listing_end(server);
}
