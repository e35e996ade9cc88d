/* SPDX-License-Identifier: Apache-2.0 */
/* The course of an answer: options of the request, tokens on a timer, faults, the end. */
#include "llmsim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sim_stream_release(sim_conn_t *conn)
{
    if (!conn->stream.head) {
        return;
    }
    sim.stats.active--;
    free(conn->stream.head);
    conn->stream.head = NULL;
}

/* The answer is complete: continues with the next request, or closes. */
static void answer_done(sim_conn_t *conn)
{
    sim_timer_clear(conn);
    sim_stream_release(conn);
    conn->state = SIM_READING;
    if (conn->out.len) {
        return; /* sim_stream_on_writable() comes back here */
    }
    if (conn->close_after) {
        sim_conn_close(conn);
    } else if (conn->in.len) {
        sim_requests_read(conn);
    }
}

static void schedule_next(sim_stream_t *stream)
{
    double spread = (double)stream->set.interval_ns * stream->set.jitter_pct / 100;
    stream->due_ns += stream->set.interval_ns;
    stream->due_ns += (uint64_t)(int64_t)((sim_random_unit() * 2 - 1) * spread);
}

static void strike_cut(sim_conn_t *conn)
{
    sim_put_token(&conn->stream, conn->stream.next);
    sim.scratch.len -= sim.scratch.len > 40 ? 40 : 0;
    sim_conn_send_scratch(conn);
    conn->state = SIM_READING; /* our doing, so not counted as aborted */
    sim_conn_close(conn);
}

static void strike_stall(sim_conn_t *conn, uint64_t now)
{
    if (!sim_conn_send_scratch(conn)) {
        sim_conn_close(conn);
    } else if (conn->stream.set.stall_ns) {
        conn->stream.due_ns = now + conn->stream.set.stall_ns;
        sim_timer_set(conn, conn->stream.due_ns);
    }
}

/* A fault strikes in mid-stream. true: nothing more is to be sent now, and conn may be gone. */
static bool strike(sim_conn_t *conn, uint64_t now)
{
    static const char garbage[] = "data: {\"id\":\"chatcmpl-x\",\"choices\":[{\"delta\":{\"con\n\n";
    conn->stream.struck = true;
    switch (conn->stream.set.fault) {
    case SIM_FAULT_GARBAGE: sim_put_text(&conn->stream, garbage, sizeof garbage - 1); return false;
    case SIM_FAULT_CUT: strike_cut(conn); return true;
    case SIM_FAULT_STALL: strike_stall(conn, now); return true;
    default: return false;
    }
}

/* Sends half of what is written now and the rest a millisecond later. */
static void send_split(sim_conn_t *conn, uint64_t now)
{
    size_t half = sim.scratch.len / 2;
    bool ok = sim_conn_send(conn, sim.scratch.data, half);
    rig_buf_add(&conn->out, sim.scratch.data + half, sim.scratch.len - half);
    sim.scratch.len = 0;
    conn->hold = true;
    if (!ok) {
        sim_conn_close(conn);
    } else {
        sim_timer_set(conn, now + NS_PER_MS);
    }
}

static void stream_step(sim_conn_t *conn, uint64_t now)
{
    sim_stream_t *stream = &conn->stream;
    unsigned most = stream->set.fault == SIM_FAULT_SPLIT ? 1 : stream->set.burst;
    if (stream->set.interval_ns && stream->due_ns <= now) {
        rig_hist_add(&sim.stats.lag, now - stream->due_ns);
    }
    if (!stream->opened) {
        sim_put_opening(stream);
    }
    stream->opened = true;
    for (; most && stream->next < stream->n_tokens && stream->due_ns <= now; most--) {
        if (stream->next == stream->n_tokens / 2 && !stream->struck && strike(conn, now)) {
            return;
        }
        sim_put_token(stream, stream->next++);
        schedule_next(stream);
    }
    bool finished = most && stream->next == stream->n_tokens && stream->due_ns <= now;
    if (finished) {
        sim_put_closing(stream);
    }
    if (stream->set.fault == SIM_FAULT_SPLIT && sim.scratch.len > 1 && !finished) {
        send_split(conn, now);
    } else if (!sim_conn_send_scratch(conn)) {
        sim_conn_close(conn);
    } else if (finished) {
        answer_done(conn);
    } else if (!conn->out.len) { /* else sim_stream_on_writable() takes it up again */
        sim_timer_set(conn, stream->due_ns);
    }
}

static void release_hold(sim_conn_t *conn)
{
    conn->hold = false;
    if (!sim_conn_flush(conn)) {
        sim_conn_close(conn);
    } else if (!conn->out.len) {
        sim_timer_set(conn, conn->stream.due_ns);
    }
}

void sim_stream_on_timer(sim_conn_t *conn, uint64_t now)
{
    if (conn->hold) {
        release_hold(conn);
    } else if (conn->state == SIM_STREAMING) {
        stream_step(conn, now);
    } else if (conn->state == SIM_DELAYED) {
        sim_put_completion(&conn->stream);
        if (sim_conn_send_scratch(conn)) {
            answer_done(conn);
        } else {
            sim_conn_close(conn);
        }
    }
}

void sim_stream_on_writable(sim_conn_t *conn)
{
    if (conn->hold) {
        sim_conn_want_write(conn, false);
    } else if (!sim_conn_flush(conn)) {
        sim_conn_close(conn);
    } else if (conn->out.len == 0 && conn->state == SIM_STREAMING) {
        sim_timer_set(conn, conn->stream.due_ns);
    } else if (conn->out.len == 0) {
        answer_done(conn);
    }
}

/* ---- the start ---- */
static const char *text_of(json_t *content)
{
    if (json_is_array(content)) { /* [{"type":"text","text":"..."}] */
        content = json_object_get(json_array_get(content, 0), "text");
    }
    return json_string_value(content);
}

/* Takes the directive in the last user message; returns how many tool results have come since. */
static unsigned read_messages(json_t *messages, sim_settings_t *set)
{
    unsigned n_results = 0;
    for (size_t i = json_array_size(messages); i-- > 0;) {
        json_t *message = json_array_get(messages, i);
        const char *role = json_string_value(json_object_get(message, "role"));
        if (role && strcmp(role, "tool") == 0) {
            n_results++;
        }
        if (!role || strcmp(role, "user") != 0) {
            continue;
        }
        sim_settings_apply(set, text_of(json_object_get(message, "content")));
        break;
    }
    return n_results;
}

static void make_id(char id[20])
{
    uint64_t random = sim_random();
    for (int i = 0; i < 16; i++, random >>= 4) {
        id[i] = (char)('a' + (random & 15)); /* letters only: never read as a stamp */
    }
    id[16] = 0;
}

static void read_request(sim_stream_t *stream, const sim_request_t *request, json_t *root)
{
    *stream = (sim_stream_t){.set = sim.defaults, .chunked = !request->http10, .created = (long)time(NULL)};
    json_t *input = json_object_get(root, "input"), *messages = json_object_get(root, "messages");
    stream->responses = input != NULL;
    unsigned n_results = read_messages(input ? input : messages, &stream->set);
    json_t *limit = json_object_get(root, "max_completion_tokens");
    if (!limit) {
        limit = json_object_get(root, "max_tokens");
    }
    if (json_is_integer(limit) && json_integer_value(limit) < stream->set.n_tokens) {
        stream->set.n_tokens = (unsigned)json_integer_value(limit);
    }
    stream->usage = json_is_true(json_object_get(json_object_get(root, "stream_options"), "include_usage"));
    stream->tool = !input && json_array_size(json_object_get(root, "tools")) && n_results < stream->set.n_tool_rounds;
    stream->n_tokens = stream->tool ? SIM_N_ARGUMENTS : stream->set.n_tokens;
    stream->n_prompt_tokens = (unsigned)(request->body_len / 4 + 1);
    const char *model = json_string_value(json_object_get(root, "model"));
    bool quotable = model && strlen(model) < sizeof stream->model && !strpbrk(model, "\"\\\b\f\n\r\t");
    snprintf(stream->model, sizeof stream->model, "%s", quotable ? model : "gpt-4o");
    make_id(stream->id);
}

/* Whether this request is one that the fault strikes. */
static bool draw_fault(sim_stream_t *stream)
{
    bool faulty = stream->set.fault != SIM_FAULT_NONE && sim_random_unit() < stream->set.fault_share &&
        (!stream->set.fault_limit || sim.stats.n_faults < stream->set.fault_limit);
    if (faulty) {
        sim.stats.n_faults++;
    } else {
        stream->set.fault = SIM_FAULT_NONE;
    }
    return stream->set.fault == SIM_FAULT_STATUS;
}

static void put_fault_status(const sim_settings_t *set)
{
    char header[64] = "";
    bool limited = set->status == 429;
    if (limited) {
        snprintf(header, sizeof header, "Retry-After: %u\r\n", set->retry_after_s);
    }
    sim_put_error(set->status, header, limited ? "requests" : "server_error",
                  limited ? "rate_limit_exceeded" : "llmsim_fault");
}

static void put_head(sim_stream_t *stream, const sim_request_t *request)
{
    static const char azure[] = "/openai/deployments/";
    static const char opening[] = "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\","
                                  "\"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results\":{}}]}\n\n";
    rig_buf_t head = {0};
    rig_buf_printf(&head,
                   "data: {\"id\":\"chatcmpl-%s\",\"object\":\"chat.completion.chunk\",\"created\":%ld,"
                   "\"model\":\"%s\",\"system_fingerprint\":\"fp_llmsim\",\"choices\":[",
                   stream->id, stream->created, stream->model);
    stream->head = head.data;
    stream->head_len = head.len;
    rig_buf_printf(&sim.scratch,
                   "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                   "Cache-Control: no-cache\r\nX-Request-Id: req_%s\r\n%s\r\n",
                   stream->id, stream->chunked ? "Transfer-Encoding: chunked\r\n" : "Connection: close\r\n");
    if (request->path_len >= sizeof azure && memcmp(request->path, azure, sizeof azure - 1) == 0) {
        sim_put_text(stream, opening, sizeof opening - 1); /* Azure opens with an event that has no choices */
    }
}

void sim_stream_start(sim_conn_t *conn, const sim_request_t *request, json_t *root)
{
    sim_stream_t *stream = &conn->stream;
    read_request(stream, request, root);
    if (draw_fault(stream)) {
        put_fault_status(&stream->set);
        return;
    }
    stream->due_ns = rig_now_ns() + stream->set.ttft_ns;
    if (!json_is_true(json_object_get(root, "stream"))) {
        conn->state = SIM_DELAYED;
        sim_timer_set(conn, stream->due_ns + stream->n_tokens * stream->set.interval_ns);
        return;
    }
    conn->state = SIM_STREAMING;
    sim.stats.n_streams++;
    if (++sim.stats.active > sim.stats.active_max) {
        sim.stats.active_max = sim.stats.active;
    }
    put_head(stream, request);
    if (stream->set.ttft_ns == 0) {
        stream_step(conn, stream->due_ns);
    } else if (sim_conn_send_scratch(conn)) {
        sim_timer_set(conn, stream->due_ns);
    } else {
        sim_conn_close(conn);
    }
}
