/* SPDX-License-Identifier: Apache-2.0 */
/* The table of routes, and the checks of a request before its handler. */
#include "front_internal.h"

#include "front/agui/agui.h"
#include "front/api/api.h"
#include "front/mcp/mcp.h"
#include "front/ui/ui.h"
#include "front/v1/v1.h"
#include "front/stream/stream.h"

#include <string.h>

#include "apr_strings.h"

#define NOTE_ROUTE "agentchat-route"
#define ASK_AGAIN apr_time_from_sec(30) /* an administrator has to correct the configuration */
#define STORED (AC_NEEDS_OWNER | AC_NEEDS_CHILD)

static const char *const q_threads[] = {"limit", "after", "status", "agent_id", "order", "pinned", "label", "q", NULL};
static const char *const q_delete[] = {"hard_delete", NULL};
static const char *const q_messages[] = {"limit", "after", "before", "order", "all", NULL};
static const char *const q_runs[] = {"limit", "after", NULL};
static const char *const q_agent_threads[] = {"limit", "offset", "status", NULL};
static const char *const q_say[] = {"message", NULL};
static const char *const q_events[] = {"after", NULL};
static const char *const q_usage[] = {"from", "to", "by", "agent_id", "model", "owner", "format", NULL};
static const char *const q_ready[] = {"check", NULL};
static const char *const q_export[] = {"format", "all", NULL};
static const char *const q_me[] = {"after", NULL};
static const char *const q_feedback[] = {"from", "to", "agent_id", "rating", "limit", "after", NULL};
static const char *const q_upload[] = {"thread_id", NULL};
static const char *const q_files[] = {"limit", "after", "thread_id", NULL};
static const char *const q_content[] = {"inline", NULL};
static const char *const q_response[] = {"stream", "starting_after", NULL};
static const char *const q_items[] = {"limit", "order", "after", NULL};
static const char *const q_none[] = {NULL};

const ac_route_t ac_routes[] = {
    {M_POST, "/threads", STORED, ac_api_threads_create, NULL, "Create a thread", NULL},
    {M_GET, "/threads", STORED, ac_api_threads_list, NULL, "List the caller's threads", q_threads},
    {M_GET, "/threads/{id}", STORED, ac_api_threads_get, NULL, "Show a thread", NULL},
    {M_PATCH, "/threads/{id}", STORED, ac_api_threads_patch, NULL, "Change title, status, pin or metadata", NULL},
    {M_DELETE, "/threads/{id}", STORED, ac_api_threads_delete, NULL, "Delete a thread", q_delete},
    {M_POST, "/threads/{id}/restore", STORED, ac_api_threads_restore, NULL, "Undo a soft delete", NULL},
    {M_POST, "/threads/{id}/messages", STORED, ac_api_messages_send, &ac_dialect_native,
     "Send a message and run the agent", NULL},
    {M_GET, "/threads/{id}/messages", STORED, ac_api_messages_list, NULL, "The conversation in order", q_messages},
    {M_GET, "/threads/{id}/runs", STORED, ac_api_runs_list, NULL, "List a thread's runs", q_runs},
    {M_GET, "/runs/{id}", STORED, ac_api_runs_get, NULL, "Show a run", NULL},
    {M_GET, "/runs/{id}/steps", STORED, ac_api_runs_steps, NULL, "List a run's steps", NULL},
    {M_GET, "/runs/{id}/events", STORED | AC_ALWAYS_STREAMS, ac_api_runs_events, &ac_dialect_native,
     "Follow a run, from any point", q_events},
    {M_POST, "/runs/{id}/cancel", STORED, ac_api_runs_cancel, NULL, "Stop a run", NULL},
    {M_POST, "/runs/{id}/approvals", STORED, ac_api_runs_approve, NULL, "Approve or refuse a tool call", NULL},
    {M_GET, "/agents", STORED, ac_api_agents_list, NULL, "List the agents", NULL},
    {M_GET, "/agents/{id}", STORED, ac_api_agents_get, NULL, "Show an agent", NULL},
    {M_POST, "/agents", STORED | AC_NEEDS_ADMIN, ac_api_agent_manage_create, NULL, "Create an agent", NULL},
    {M_PUT, "/agents/{id}", STORED | AC_NEEDS_ADMIN, ac_api_agent_manage_put, NULL, "Create or replace an agent", NULL},
    {M_DELETE, "/agents/{id}", STORED | AC_NEEDS_ADMIN, ac_api_agent_manage_delete, NULL, "Delete an agent", NULL},
    {M_POST, "/agents/{id}/chat", STORED, ac_api_agents_chat, &ac_dialect_native, "Send a message to an agent", NULL},
    {M_GET, "/agents/{id}/threads", STORED, ac_api_agents_threads, NULL, "List the threads of an agent",
     q_agent_threads},
    {M_GET, "/agents/{id}/threads/{tid}", STORED, ac_api_agents_thread_get, NULL, "A thread with its full history",
     NULL},
    {M_DELETE, "/agents/{id}/threads/{tid}", STORED, ac_api_agents_thread_delete, NULL, "Delete an agent's thread",
     q_delete},
    {M_POST, "/chat", STORED, ac_api_chat_send, &ac_dialect_chunk, "Send a message to the default agent", NULL},
    {M_POST, "/agent/stream", STORED | AC_ALWAYS_STREAMS, ac_api_chat_stream, &ac_dialect_text, "Ask without a thread",
     NULL},
    {M_GET, "/agent/stream", STORED | AC_ALWAYS_STREAMS, ac_api_chat_stream_get, &ac_dialect_text,
     "The same for an EventSource", q_say},
    {M_GET, "/usage", STORED | AC_ALSO_CSV, ac_api_usage_get, NULL, "Tokens, cost and runs by day and other groups",
     q_usage},
    {M_GET, "/threads/{id}/export", STORED | AC_IS_LINES, ac_api_export_thread, NULL,
     "A conversation as Markdown or JSON", q_export},
    {M_GET, "/me/export", STORED | AC_IS_LINES, ac_api_export_me, NULL, "All that the caller has, as JSON lines", q_me},
    {M_GET, "/me", STORED, ac_api_me_get, NULL, "The caller, and what the server offers", NULL},
    {M_DELETE, "/me", STORED | AC_TAKES_BODY, ac_api_forget_me, NULL, "Forget all that the caller has", NULL},
    {M_PUT, "/messages/{id}/feedback", STORED, ac_api_feedback_put, NULL, "Rate an answer", NULL},
    {M_GET, "/feedback", STORED | AC_NEEDS_ADMIN | AC_IS_LINES, ac_api_feedback_list, NULL,
     "The feedback of all owners, as JSON lines", q_feedback},
    {M_GET, "/v1/models", STORED, ac_v1_models_list, NULL, "List the agents as OpenAI's models", NULL},
    {M_GET, "/v1/models/{id}", STORED, ac_v1_models_get, NULL, "Show an agent as OpenAI's model", NULL},
    {M_POST, "/v1/chat/completions", STORED, ac_v1_chat_send, &ac_v1_dialect_chunk,
     "Answer a conversation that the client keeps", NULL},
    {M_POST, "/openai/deployments/{agent}/chat/completions", STORED, ac_v1_chat_send, &ac_v1_dialect_chunk,
     "Answer a conversation (Azure's path)", NULL},
    {M_POST, "/v1/responses", STORED, ac_v1_response_create, &ac_v1_dialect_response, "Create a response", NULL},
    {M_GET, "/v1/responses/{id}", STORED, ac_v1_shown_get, &ac_v1_dialect_shown, "Show or follow a response",
     q_response},
    {M_DELETE, "/v1/responses/{id}", STORED, ac_v1_shown_delete, NULL, "Delete a response", NULL},
    {M_POST, "/v1/responses/{id}/cancel", STORED, ac_v1_shown_cancel, &ac_v1_dialect_shown, "Stop a response", NULL},
    {M_GET, "/v1/responses/{id}/input_items", STORED, ac_v1_shown_input, NULL, "List the items that a response answers",
     q_items},
    {M_POST, "/v1/conversations", STORED, ac_v1_conversation_create, NULL, "Create a conversation", NULL},
    {M_GET, "/v1/conversations/{id}", STORED, ac_v1_conversation_get, NULL, "Show a conversation", NULL},
    {M_POST, "/v1/conversations/{id}", STORED, ac_v1_conversation_update, NULL, "Replace a conversation's metadata",
     NULL},
    {M_DELETE, "/v1/conversations/{id}", STORED, ac_v1_conversation_delete, NULL, "Delete a conversation", NULL},
    {M_POST, "/v1/conversations/{id}/items", STORED, ac_v1_conversation_add, NULL, "Add items to a conversation", NULL},
    {M_GET, "/v1/conversations/{id}/items", STORED, ac_v1_conversation_items_list, NULL,
     "List the items of a conversation", q_items},
    {M_GET, "/v1/conversations/{id}/items/{item}", STORED, ac_v1_conversation_items_get, NULL, "Show an item", NULL},
    {M_DELETE, "/v1/conversations/{id}/items/{item}", STORED, ac_v1_conversation_items_delete, NULL, "Delete an item",
     NULL},
    {M_POST, "/ui/chat", STORED, ac_ui_chat_send, &ac_ui_dialect, "Send a message of the AI SDK's useChat", NULL},
    {M_GET, "/ui/chat/{id}", STORED, ac_ui_messages_list, NULL, "A conversation as messages of the AI SDK", NULL},
    {M_GET, "/ui/chat/{id}/stream", STORED | AC_ALWAYS_STREAMS, ac_ui_chat_resume, &ac_ui_dialect,
     "Follow a run of the AI SDK's useChat", NULL},
    {M_POST, "/mcp", STORED, ac_mcp_server_post, &ac_mcp_dialect, "Use the agents as tools of an MCP host", NULL},
    {M_POST, "/agui/{agent}", STORED, ac_agui_run_start, &ac_agui_dialect, "Run an agent for a client of AG-UI", NULL},
    {M_GET, "/agui/{agent}", STORED, ac_agui_capabilities_get, NULL,
     "Show the capabilities of an agent, for a client of AG-UI", NULL},
    {M_POST, "/files", STORED, ac_api_upload_create, NULL, "Upload a file", q_upload},
    {M_GET, "/files", STORED, ac_api_files_list, NULL, "List the caller's files", q_files},
    {M_GET, "/files/{id}", STORED, ac_api_files_get, NULL, "Show what is known about a file", NULL},
    {M_GET, "/files/{id}/content", STORED | AC_IS_FILE, ac_api_files_content, NULL, "The bytes of a file", q_content},
    {M_DELETE, "/files/{id}", STORED, ac_api_files_delete, NULL, "Delete a file", NULL},
    {M_GET, "/health", AC_MAY_BE_MOUNT, ac_api_health_live, NULL, "Liveness", NULL},
    {M_GET, "/ready", AC_MAY_BE_MOUNT, ac_api_health_ready, NULL, "Readiness of store and models", q_ready},
    {M_GET, "/debug/config", AC_NEEDS_OWNER | AC_NEEDS_ADMIN, ac_api_config_get, NULL, "The configuration in force",
     NULL},
    {M_GET, "/metrics", AC_NEEDS_OWNER | AC_NEEDS_ADMIN | AC_IS_METRICS, ac_api_metrics_get, NULL,
     "The metrics of this server, for Prometheus", NULL},
    {M_GET, "/selftest/stream", AC_NEEDS_CHILD | AC_ALWAYS_STREAMS, ac_api_selftest_stream, &ac_dialect_selftest,
     "Ten timed events, to detect buffering", NULL},
    {M_GET, "/openapi.json", 0, ac_api_docs_openapi_json, NULL, "The contract as JSON", NULL},
    {M_GET, "/openapi.yaml", 0, ac_api_docs_openapi_yaml, NULL, "The contract as YAML", NULL},
    {M_GET, "/docs", 0, ac_api_docs_page, NULL, "A page that shows the contract", NULL},
    {M_GET, "/docs/{file}", 0, ac_api_docs_file, NULL, "The files of that page", NULL},
    AC_COMPAT_ROUTES,
    {0, NULL, 0, NULL, NULL, NULL, NULL},
};

/* ---- matching ---- */

typedef struct match_t {
    const ac_route_t *route; /* NULL: no route with this method */
    const char *allow;       /* methods of the path; NULL: no such path */
} match_t;

/* Whether path matches pattern; args gets the values of {…}. Both begin with "/". */
static bool pattern_matches(const char *pattern, const char *path, const char *args[2], apr_pool_t *pool)
{
    int n_args = 0;
    while (*pattern == '/' && *path == '/') {
        size_t want = strcspn(++pattern, "/"), have = strcspn(++path, "/");
        if (*pattern == '{') {
            if (!have || n_args == 2) {
                return false;
            }
            args[n_args++] = apr_pstrmemdup(pool, path, have);
        } else if (want != have || strncmp(pattern, path, want) != 0) {
            return false;
        }
        pattern += want;
        path += have;
    }
    return !*pattern && !*path;
}

static const char *add_method(const char *allow, int method, apr_pool_t *pool)
{
    const char *name = method == M_GET ? "GET, HEAD" : ap_method_name_of(pool, method);
    return allow ? apr_pstrcat(pool, allow, ", ", name, NULL) : name;
}

static match_t find_route(request_rec *r, const char *path, const char *args[2])
{
    match_t match = {NULL, NULL};
    for (const ac_route_t *route = ac_routes; route->pattern; route++) {
        const char *here[2] = {NULL, NULL};
        if (!pattern_matches(route->pattern, path, here, r->pool)) {
            continue;
        }
        match.allow = add_method(match.allow, route->method, r->pool);
        if (route->method == r->method_number) {
            match.route = route;
            memcpy(args, here, sizeof(here));
        }
    }
    if (match.allow) {
        match.allow = apr_pstrcat(r->pool, match.allow, ", OPTIONS", NULL);
    }
    return match;
}

/* <Location "/health"> SetHandler agentchat: the mount point itself is a route. */
static const char *mount_as_path(const char *prefix)
{
    const char *last = strrchr(prefix, '/');
    for (const ac_route_t *route = ac_routes; last && route->pattern; route++) {
        if ((route->needs & AC_MAY_BE_MOUNT) && strcmp(route->pattern, last) == 0) {
            return route->pattern;
        }
    }
    return "";
}

static const char *path_below_mount(const request_rec *r)
{
    const char *prefix = ac_config_mount_prefix(r), *uri = r->uri ? r->uri : "";
    size_t len = prefix ? strlen(prefix) : 0;
    if (len && strncmp(uri, prefix, len) == 0 && (!uri[len] || uri[len] == '/')) {
        uri = uri[len] ? uri + len : mount_as_path(prefix);
    }
    return ac_protocol_path(r, uri);
}

/* The methods of the route at r's path, as in Allow; NULL: there is no route. */
static const char *route_methods(request_rec *r)
{
    const char *args[2];
    return find_route(r, path_below_mount(r), args).allow;
}

int ac_route_header_parser(request_rec *r)
{
    return ac_cors_answer(r, route_methods);
}

/* ---- the way to the handler ---- */

static int no_route(ac_request_t *rq)
{
    if (!*rq->path || strcmp(rq->path, "/") == 0) {
        ac_err_set(&rq->err, AC_NOT_FOUND, "the API is mounted here; its routes are below, as threads and chat");
    } else {
        ac_err_set(&rq->err, AC_NOT_FOUND, "there is no such route");
    }
    return ac_reply_problem(rq, NULL);
}

static int wrong_method(ac_request_t *rq, const char *allow)
{
    apr_table_setn(rq->r->headers_out, "Allow", allow);
    if (rq->r->method_number == M_OPTIONS) {
        return ac_reply_empty(rq, HTTP_NO_CONTENT);
    }
    ac_err_set(&rq->err, AC_METHOD_NOT_ALLOWED, "this path takes %s", allow);
    return ac_reply_problem(rq, NULL);
}

static apr_status_t check_child(ac_request_t *rq)
{
    if (!(rq->route->needs & AC_NEEDS_CHILD) || ac_child()) {
        return APR_SUCCESS;
    }
    rq->doing = NULL;
    return ac_err_set(&rq->err, AC_OVERLOADED,
                      "this server process could not start its agents; the error log says why");
}

static apr_status_t check_protocol(ac_request_t *rq)
{
    const ac_protocol_t *protocol = ac_protocol_of(rq->r);
    return protocol->is_on(rq->mount)
        ? APR_SUCCESS
        : ac_err_set(&rq->err, AC_NOT_FOUND, "%s is not switched on here", protocol->title);
}

static apr_status_t check_role(ac_request_t *rq)
{
    if (!(rq->route->needs & AC_NEEDS_ADMIN) || ac_principal_has(rq->principal, AC_ROLE_ADMIN)) {
        return APR_SUCCESS;
    }
    return ac_err_set(&rq->err, AC_FORBIDDEN, "this needs the role %s", AC_ROLE_ADMIN);
}

/* Neither limits nor the store: the metrics shall be there when those are not. */
static apr_status_t check_metrics(ac_request_t *rq)
{
    apr_status_t status = ac_cors_check(rq->r, rq->mount, rq->route, &rq->err);
    if (status == APR_SUCCESS && !rq->mount->metrics) {
        status = ac_request_owner(rq);
    }
    if (status == APR_SUCCESS && !rq->mount->metrics) {
        status = check_role(rq);
    }
    return status == APR_SUCCESS ? ac_request_body_drop(rq) : status;
}

/* Checks that every handler relies on, in the order in which a client should see their errors. */
static apr_status_t check_request(ac_request_t *rq)
{
    const ac_route_t *route = rq->route;
    if (route->needs & AC_IS_METRICS) {
        return check_metrics(rq);
    }
    apr_status_t status = ac_cors_check(rq->r, rq->mount, rq->route, &rq->err);
    if (status == APR_SUCCESS && (route->needs & AC_NEEDS_OWNER)) {
        status = ac_request_owner(rq);
    }
    if (status == APR_SUCCESS) {
        status = check_protocol(rq);
    }
    /* This comes first, so that requests refused further on are counted too. */
    if (status == APR_SUCCESS && (route->needs & AC_NEEDS_OWNER)) {
        status = ac_limits_request(rq);
    }
    if (status == APR_SUCCESS) {
        status = check_role(rq);
    }
    if (status == APR_SUCCESS && (route->needs & AC_NEEDS_OWNER) && !(route->needs & AC_IS_FILE)) {
        status = ac_request_accept(rq);
    }
    if (status == APR_SUCCESS) {
        status = ac_query_read(rq, route->query ? route->query : q_none);
    }
    if (status == APR_SUCCESS) {
        status = check_child(rq);
    }
    if (status == APR_SUCCESS && (route->method == M_GET || route->method == M_DELETE) &&
        !(route->needs & AC_TAKES_BODY)) {
        status = ac_request_body_drop(rq);
    }
    return status;
}

static int head_of_stream(ac_request_t *rq)
{
    ap_set_content_type(rq->r, ac_request_dialect(rq, true)->media_type);
    return ac_reply_empty(rq, HTTP_OK);
}

/* The settings of <Location>s are known when names are translated, and reset before files are looked for. */
int ac_route_translate_name(request_rec *r)
{
    if (ac_config_mount_is_here(r)) {
        apr_table_setn(r->notes, NOTE_ROUTE, "");
    }
    return DECLINED;
}

/* The request gets a name that is not a file. The core would map it to a file, and refuse and log a path that is too
 * long for one. mod_proxy does the same. */
int ac_route_name_no_file(request_rec *r)
{
    if (!apr_table_get(r->notes, NOTE_ROUTE) || r->filename) {
        return DECLINED;
    }
    r->filename = apr_pstrcat(r->pool, "agentchat:", r->uri, NULL);
    return OK;
}

/* A path below a mount is a route, not a file: httpd must not look into the DocumentRoot, nor read .htaccess files. */
int ac_route_map_to_storage(request_rec *r)
{
    return apr_table_get(r->notes, NOTE_ROUTE) ? OK : DECLINED;
}

/* A range of a document that is generated for each request is useless. Without this httpd would cut one out. A range of
 * a file is cut out by the handler. */
static void no_ranges(ac_request_t *rq)
{
    request_rec *r = rq->r;
    rq->range = apr_table_get(r->headers_in, "Range");
    apr_table_unset(r->headers_in, "Range");
    apr_table_unset(r->headers_in, "Request-Range");
}

/* Whether the module is out of service for this route, because the last reload's configuration cannot be served;
 * sets rq->err. */
static bool is_out_of_service(ac_request_t *rq)
{
    if (!ac_conf()->out_of_service || rq->route->fn == ac_api_health_live || (rq->route->needs & AC_IS_METRICS)) {
        return false;
    }
    rq->doing = NULL;
    ac_err_set(&rq->err, AC_OVERLOADED, "the agents of this server are out of service; its error log says why");
    rq->err.retry_after = ASK_AGAIN;
    return true;
}

/* SetHandler agentchat-metrics: the place is this one route, whatever its path. */
static match_t find_metrics(const request_rec *r)
{
    const ac_route_t *route = ac_routes;
    while (!(route->needs & AC_IS_METRICS)) {
        route++;
    }
    return (match_t){r->method_number == M_GET ? route : NULL, "GET, HEAD, OPTIONS"};
}

bool ac_route_is_ours(const request_rec *r)
{
    return apr_table_get(r->notes, NOTE_ROUTE) != NULL;
}

const ac_route_t *ac_route_of(request_rec *r)
{
    const ac_request_t *rq = ac_request_get(r);
    const char *args[2];
    return rq && rq->route ? rq->route : find_route(r, path_below_mount(r), args).route;
}

int ac_route_handle(request_rec *r)
{
    bool metrics = r->handler && strcmp(r->handler, "agentchat-metrics") == 0;
    if (!metrics && (!r->handler || strcmp(r->handler, "agentchat") != 0)) {
        return DECLINED;
    }
    ac_request_t *rq = ac_request_create(r);
    no_ranges(rq);
    rq->path = path_below_mount(r);
    match_t match = metrics ? find_metrics(r) : find_route(r, rq->path, rq->args);
    rq->route = match.route;
    ac_request_trace_begin(rq);
    if (!match.allow) {
        return no_route(rq);
    }
    if (!match.route) {
        return wrong_method(rq, match.allow);
    }
    if (is_out_of_service(rq) || check_request(rq) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    if (r->header_only && (rq->route->needs & AC_ALWAYS_STREAMS)) {
        return head_of_stream(rq);
    }
    return rq->route->fn(rq);
}
