/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a run as the response to tools/call. It is one JSON document where the run ends soon; a stream begins
 * with the first notification about progress, question or heartbeat, and ends with the response. A response about calls
 * that need approval is made of several events, piece by piece; the run continues after it. */
#include "mcp_internal.h"

#include <stdlib.h>
#include <string.h>

#define LITERAL(out, text) ac_buf_add(out, text, sizeof(text) - 1)
#define SHOWN 1000       /* bytes of a call's arguments in a question */
#define SHOWN_ALL 16000  /* of those of all calls of a response, approximately */
#define PROGRESS_NAME 80 /* bytes of a tool's name */

/* ---- where the stream is: render->place. n_events: the last progress, in milliseconds; n_items: the questions of a
 * response; open: their bytes; seq: the event before the first one ---- */

enum {
    IS_LIVE = 1,   /* the stored events were sent */
    WAITS = 2,     /* calls of a stored event await approval */
    IN_PIECES = 4, /* a response with questions has begun */
    ASKS = 8       /* the client can answer them */
};

static const ac_mcp_view_t *mcp_view_of(const ac_render_t *render)
{
    return render->view;
}

static bool mcp_dialect_has(const ac_render_t *render, unsigned flag)
{
    return (render->place.flags & flag) != 0;
}

/* Whether an event happens now, so that a client may be informed or asked about it. */
static bool is_now(const ac_render_t *render)
{
    return !render->follows || mcp_dialect_has(render, IS_LIVE);
}

static void mcp_dialect_add_text(ac_buf_t *out, const char *text)
{
    ac_buf_json(out, text, strlen(text));
}

/* An event is appended whole or not at all. */
static apr_status_t mcp_dialect_whole(ac_render_t *render, const ac_render_place_t *place, ac_buf_t *out, size_t before)
{
    apr_status_t status = ac_dialect_finish(out, before < out->len ? before : out->len);
    if (status != APR_SUCCESS) {
        render->place = *place;
    }
    return status;
}

/* ---- messages ---- */

static void message_begin(ac_render_t *render, ac_buf_t *out)
{
    if (render->begun) {
        LITERAL(out, "event: message\ndata: ");
    }
    LITERAL(out, "{\"jsonrpc\":\"2.0\",");
}

static void message_end(ac_render_t *render, ac_buf_t *out)
{
    ac_buf_str(out, render->begun ? "}\n\n" : "}");
}

static void result_begin(ac_render_t *render, ac_buf_t *out)
{
    message_begin(render, out);
    ac_buf_printf(out, "\"id\":%s,\"result\":{", mcp_view_of(render)->id);
}

static void add_meta(const ac_render_t *render, const char *code, ac_buf_t *out)
{
    if (!mcp_view_of(render)->modern && !code) {
        return;
    }
    LITERAL(out, ",\"_meta\":{");
    if (code) {
        ac_buf_printf(out, "\"agentchat/code\":\"%s\"%s", code, mcp_view_of(render)->modern ? "," : "");
    }
    if (mcp_view_of(render)->modern) {
        LITERAL(out,
                "\"io.modelcontextprotocol/serverInfo\":{\"name\":\"mod_agentchat\",\"version\":\"" AC_VERSION "\"}");
    }
    LITERAL(out, "}");
}

static void result_end(ac_render_t *render, const char *type, ac_buf_t *out)
{
    if (mcp_view_of(render)->modern) {
        ac_buf_printf(out, ",\"resultType\":\"%s\"", type);
    }
    LITERAL(out, "}");
    message_end(render, out);
    render->status = HTTP_OK;
    render->ended = true;
}

/* ---- the answer ---- */

static void mcp_dialect_add_ids(const ac_render_t *render, ac_buf_t *out)
{
    ac_buf_printf(out, "\"thread_id\":\"%s\",\"run_id\":\"%s\"", render->thread_id, render->run_id);
}

/* "[1] title: address" for each, one below the other. */
static void add_sources_text(const json_t *sources, ac_buf_t *out)
{
    const json_t *source;
    ac_buf_t text;
    size_t i;
    ac_buf_init(&text, AC_MAX_SOURCES * (AC_MAX_SOURCE_TITLE + AC_MAX_SOURCE_PLACE + 32));
    ac_buf_str(&text, "Sources:");
    json_array_foreach((json_t *)sources, i, source)
    {
        const char *place = ac_json_peek_string(source, "url", ac_json_peek_string(source, "place", ""));
        ac_buf_printf(&text, "\n[%s] %s", ac_json_peek_string(source, "id", ""),
                      ac_json_peek_string(source, "title", ""));
        ac_buf_printf(&text, "%s%s", *place ? ": " : "", place);
    }
    LITERAL(out, "},{\"type\":\"text\",\"text\":");
    ac_buf_json(out, text.data, text.len);
    ac_buf_free(&text);
}

/* Hosts give their model either the text or the structure. */
static void mcp_dialect_add_answer(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const json_t *sources = json_object_get(event->data, "sources");
    ac_buf_t ids;
    ac_buf_init(&ids, 4 * AC_ID_SIZE);
    LITERAL(&ids, "{");
    mcp_dialect_add_ids(render, &ids);
    LITERAL(&ids, "}");
    result_begin(render, out);
    LITERAL(out, "\"content\":[{\"type\":\"text\",\"text\":");
    ac_buf_json(out, event->text, event->len);
    if (sources) {
        add_sources_text(sources, out);
    }
    LITERAL(out, "},{\"type\":\"text\",\"text\":");
    ac_buf_json(out, ids.data, ids.len);
    LITERAL(out, "}],\"structuredContent\":{\"answer\":");
    ac_buf_json(out, event->text, event->len);
    LITERAL(out, ",");
    mcp_dialect_add_ids(render, out);
    if (sources) {
        ac_dialect_add_member(out, "sources", sources);
    }
    LITERAL(out, "}");
    add_meta(render, NULL, out);
    result_end(render, "complete", out);
    ac_buf_free(&ids);
}

/* event: may have a partial answer. */
static void add_failure(ac_render_t *render, const char *code, const char *message, const ac_event_t *event,
                        ac_buf_t *out)
{
    ac_buf_t line;
    ac_buf_init(&line, AC_MAX_JSON_TEXT);
    ac_buf_printf(&line, "%s (%s, thread_id %s)", message, code, render->thread_id);
    result_begin(render, out);
    LITERAL(out, "\"content\":[");
    if (event->type == AC_EVENT_DONE && event->len) {
        LITERAL(out, "{\"type\":\"text\",\"text\":");
        ac_buf_json(out, event->text, event->len);
        LITERAL(out, "},");
    }
    LITERAL(out, "{\"type\":\"text\",\"text\":");
    ac_buf_json(out, line.data ? line.data : "", line.len);
    LITERAL(out, "}],\"isError\":true");
    add_meta(render, code, out);
    result_end(render, "complete", out);
    ac_buf_free(&line);
}

static void mcp_dialect_add_end(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const ac_err_row_t *row = ac_err_row(event->type == AC_EVENT_ERROR ? event->kind : AC_CANCELLED);
    if (event->type == AC_EVENT_ERROR) {
        add_failure(render, row->code, ac_json_peek_string(event->data, "message", row->title), event, out);
    } else if (strcmp(ac_json_peek_string(event->data, "status", ""), "cancelled") == 0) {
        add_failure(render, row->code, row->title, event, out);
    } else {
        mcp_dialect_add_answer(render, event, out);
    }
}

/* ---- progress ---- */

/* Milliseconds since the request, and more than the last time, as the protocol wants it. */
static unsigned next_progress(ac_render_t *render, apr_time_t at)
{
    apr_time_t passed = at > mcp_view_of(render)->began ? apr_time_as_msec(at - mcp_view_of(render)->began) : 0;
    unsigned last = render->place.n_events;
    render->place.n_events = passed > last ? (unsigned)passed : last + 1;
    return render->place.n_events;
}

static void add_progress(ac_render_t *render, apr_time_t at, const char *what, ac_buf_t *out)
{
    render->begun = true;
    unsigned ms = next_progress(render, at);
    message_begin(render, out);
    ac_buf_printf(out, "\"method\":\"notifications/progress\",\"params\":{\"progressToken\":%s,\"progress\":%u.%03u",
                  mcp_view_of(render)->progress, ms / 1000, ms % 1000);
    LITERAL(out, ",\"message\":");
    mcp_dialect_add_text(out, what);
    LITERAL(out, "}");
    message_end(render, out);
}

static bool shows_progress(const ac_render_t *render)
{
    return *mcp_view_of(render)->progress && render->dialect->stream && !mcp_dialect_has(render, IN_PIECES);
}

static void mcp_dialect_add_start(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const char *tool = ac_json_peek_string(event->data, "tool", "");
    ac_buf_t line;
    if (!shows_progress(render) || !is_now(render)) {
        return;
    }
    ac_buf_init(&line, PROGRESS_NAME + 16);
    ac_buf_printf(&line, "Calling %.*s",
                  (int)ac_utf8_whole(tool, strlen(tool) < PROGRESS_NAME ? strlen(tool) : PROGRESS_NAME), tool);
    add_progress(render, event->at, line.data, out);
    ac_buf_free(&line);
}

static apr_status_t mcp_heartbeat(ac_render_t *render, ac_buf_t *out)
{
    ac_render_place_t place = render->place;
    size_t before = out->len;
    if (mcp_dialect_has(render, IN_PIECES)) {
        return APR_SUCCESS;
    }
    if (!shows_progress(render)) {
        return ac_dialect_comment_heartbeat(render, out);
    }
    add_progress(render, apr_time_now(), "The agent is working", out);
    return mcp_dialect_whole(render, &place, out, before);
}

/* ---- approvals ---- */

/* A question within the stream, which a legacy client answers in a message of its own. */
static bool ask_legacy(ac_render_t *render, const ac_mcp_approval_t *approval, ac_buf_t *out)
{
    char id[AC_MCP_ID_SIZE];
    if (mcp_view_of(render)->modern || !mcp_view_of(render)->elicits || !render->dialect->stream || !is_now(render) ||
        !ac_mcp_approval_question(id, render->run_id, approval->call_id)) {
        return false;
    }
    render->begun = true;
    message_begin(render, out);
    ac_buf_printf(out, "\"id\":%s,\"method\":\"elicitation/create\",\"params\":", id);
    ac_mcp_approval_ask(approval, SHOWN, out);
    message_end(render, out);
    return true;
}

static bool asks_modern(const ac_render_t *render)
{
    return mcp_view_of(render)->modern && mcp_view_of(render)->elicits;
}

static void pieces_begin(ac_render_t *render, bool asks, ac_buf_t *out)
{
    if (!mcp_dialect_has(render, IN_PIECES)) {
        render->place.flags |= IN_PIECES | (asks ? ASKS : 0);
        render->place.n_items = render->place.open = 0;
        result_begin(render, out);
        ac_buf_str(out, asks ? "\"inputRequests\":{" : "\"content\":[");
    }
}

static void pieces_end(ac_render_t *render, ac_buf_t *out)
{
    char state[AC_MCP_ID_SIZE];
    if (mcp_dialect_has(render, ASKS)) {
        ac_mcp_approval_state(state, render->run_id, render->place.seq, render->place.n_items);
        ac_buf_printf(out, "},\"requestState\":\"%s\"", state);
        add_meta(render, NULL, out);
        result_end(render, "input_required", out);
        return;
    }
    ac_buf_str(out, render->place.n_items ? "," : "");
    ac_mcp_approval_explain(render->run_id, render->thread_id, out);
    LITERAL(out, "],\"isError\":true");
    add_meta(render, "approval_required", out);
    result_end(render, "complete", out);
}

static void add_piece(ac_render_t *render, const ac_mcp_approval_t *approval, uint64_t seq, ac_buf_t *out)
{
    size_t before = out->len;
    if (!mcp_dialect_has(render, IN_PIECES)) {
        render->place.seq = seq - 1;
    }
    pieces_begin(render, asks_modern(render), out);
    ac_buf_str(out, render->place.n_items++ ? "," : "");
    size_t most = render->place.open < SHOWN_ALL ? SHOWN : 0;
    if (mcp_dialect_has(render, ASKS)) {
        mcp_dialect_add_text(out, approval->call_id);
        LITERAL(out, ":{\"method\":\"elicitation/create\",\"params\":");
        ac_mcp_approval_ask(approval, most, out);
        LITERAL(out, "}");
    } else {
        ac_mcp_approval_tell(approval, most, out);
    }
    render->place.open += (unsigned)(out->len - before);
}

/* A stored question may have been answered since then, as a later event says. Until then it is kept in `out`, which
 * nothing leaves before the answer is a stream or has ended. */
static void mcp_dialect_add_request(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    ac_mcp_approval_t approval = {ac_json_peek_string(event->data, "call_id", ""),
                                  ac_json_peek_string(event->data, "tool", ""),
                                  json_object_get(event->data, "arguments")};
    if (ask_legacy(render, &approval, out)) {
        return;
    }
    if (!is_now(render)) {
        render->place.flags |= WAITS;
    }
    if (is_now(render) || !render->begun) {
        add_piece(render, &approval, event->seq, out);
    }
    if (is_now(render) && !json_is_true(json_object_get(event->data, "more"))) {
        pieces_end(render, out);
    }
}

static void drop_pieces(ac_render_t *render, ac_buf_t *out)
{
    if (mcp_dialect_has(render, WAITS) && mcp_dialect_has(render, IN_PIECES)) {
        ac_buf_clear(out);
    }
    render->place.flags &= ~(unsigned)(WAITS | IN_PIECES | ASKS);
}

/* ---- events ---- */

/* A stream that begins in the middle of a run does not get its first event. */
static void keep_known(ac_render_t *render)
{
    if (!*render->run_id) {
        memcpy(render->run_id, mcp_view_of(render)->run_id, sizeof(render->run_id));
        memcpy(render->thread_id, mcp_view_of(render)->thread_id, sizeof(render->thread_id));
    }
}

static void mcp_dialect_add(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    switch (event->type) {
    case AC_EVENT_TRACE_START: mcp_dialect_add_start(render, event, out); break;
    case AC_EVENT_TRACE_UPDATE:
        if (json_is_true(json_object_get(event->data, "approval_required"))) {
            mcp_dialect_add_request(render, event, out);
        } else if (json_object_get(event->data, "approved")) {
            drop_pieces(render, out);
        }
        break;
    case AC_EVENT_ERROR:
    case AC_EVENT_DONE:
        drop_pieces(render, out);
        mcp_dialect_add_end(render, event, out);
        break;
    default: break;
    }
}

static apr_status_t mcp_event(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    ac_render_place_t place = render->place;
    size_t before = out->len;
    ac_dialect_keep_facts(render, event);
    keep_known(render);
    mcp_dialect_add(render, event, out);
    return mcp_dialect_whole(render, &place, out, before);
}

static apr_status_t mcp_live(ac_render_t *render, ac_buf_t *out)
{
    ac_render_place_t place = render->place;
    size_t before = out->len;
    render->place.flags |= IS_LIVE;
    if (mcp_dialect_has(render, WAITS)) {
        render->place.flags &= ~(unsigned)WAITS;
        pieces_begin(render, false, out);
        pieces_end(render, out);
    }
    return mcp_dialect_whole(render, &place, out, before);
}

static const ac_dialect_t mcp_document = {.name = "mcp-response",
                                          .media_type = "application/json",
                                          .event = mcp_event,
                                          .heartbeat = ac_dialect_no_heartbeat,
                                          .live = mcp_live};
const ac_dialect_t ac_mcp_dialect = {.name = "mcp",
                                     .media_type = "text/event-stream",
                                     .document_type = "application/json",
                                     .stream = true,
                                     .next = &mcp_document,
                                     .event = mcp_event,
                                     .heartbeat = mcp_heartbeat,
                                     .live = mcp_live};
