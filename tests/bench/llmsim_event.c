/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of llmsim: responses, events, the closing part. */
#include "llmsim.h"

#include <stdio.h>
#include <string.h>

static const char *reason_phrase(unsigned status)
{
    switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 404: return "Not Found";
    case 429: return "Too Many Requests";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    default: return "Status";
    }
}

void sim_put_response(unsigned status, const char *more_headers, const char *body, size_t len)
{
    rig_buf_printf(&sim.scratch, "HTTP/1.1 %u %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n",
                   status, reason_phrase(status), len, more_headers);
    rig_buf_add(&sim.scratch, body, len);
}

void sim_put_error(unsigned status, const char *more_headers, const char *type, const char *code)
{
    char body[256];
    int n = snprintf(body, sizeof body,
                     "{\"error\":{\"message\":\"llmsim: %s\",\"type\":\"%s\",\"param\":null,\"code\":\"%s\"}}",
                     reason_phrase(status), type, code);
    sim_put_response(status, more_headers, body, (size_t)n);
}

static void put_hex_size(size_t n)
{
    char digits[18], *at = digits + sizeof digits;
    *--at = '\n';
    *--at = '\r';
    do {
        *--at = "0123456789abcdef"[n & 15];
    } while (n >>= 4);
    rig_buf_add(&sim.scratch, at, (size_t)(digits + sizeof digits - at));
}

void sim_put_text(const sim_stream_t *stream, const char *text, size_t len)
{
    if (stream->chunked) {
        put_hex_size(len);
    }
    rig_buf_add(&sim.scratch, text, len);
    if (stream->chunked) {
        rig_buf_add(&sim.scratch, "\r\n", 2);
    }
}

/* A chat.completion.chunk with these choices. */
static void put_event(const sim_stream_t *stream, const char *choices, size_t len)
{
    const char *tail = stream->usage ? "],\"usage\":null}\n\n" : "]}\n\n";
    size_t tail_len = strlen(tail), total = stream->head_len + len + tail_len;
    if (stream->chunked) {
        put_hex_size(total);
    }
    char *at = rig_buf_reserve(&sim.scratch, total + 2);
    memcpy(at, stream->head, stream->head_len);
    memcpy(at + stream->head_len, choices, len);
    memcpy(at + stream->head_len + len, tail, tail_len);
    sim.scratch.len += total;
    if (stream->chunked) {
        rig_buf_add(&sim.scratch, "\r\n", 2);
    }
    sim.stats.n_chunks++;
}

static void put_delta(const sim_stream_t *stream, const char *delta, const char *finish_reason)
{
    char text[512];
    int n = snprintf(text, sizeof text, "{\"index\":0,\"delta\":{%s},\"logprobs\":null,\"finish_reason\":%s}", delta,
                     finish_reason);
    put_event(stream, text, (size_t)n);
}

static const char *const tool_arguments[SIM_N_ARGUMENTS] = {"{\\\"", "expression", "\\\":\\\"",
                                                            "85 * ", "0.15",       "\\\"}"};
#define TOOL_CALL_OPEN "\"id\":\"call_%s\",\"type\":\"function\",\"function\":{\"name\":\"calculate\",\"arguments\":\""

size_t sim_token_text(const sim_stream_t *stream, unsigned i, char text[24])
{
    if (!stream->set.stamp) {
        return (size_t)snprintf(text, 24, "t%04u ", i + 1);
    }
    uint64_t now = rig_now_ns();
    for (int k = 18; k >= 0; k--, now /= 10) {
        text[k] = (char)('0' + now % 10);
    }
    text[19] = ' ';
    return 20;
}

void sim_put_opening(const sim_stream_t *stream)
{
    if (stream->responses) {
        sim_responses_put_opening(stream);
        return;
    }
    if (!stream->tool) {
        put_delta(stream, "\"role\":\"assistant\",\"content\":\"\",\"refusal\":null", "null");
        return;
    }
    char delta[256];
    snprintf(delta, sizeof delta,
             "\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"index\":0," TOOL_CALL_OPEN "\"}}]",
             stream->id);
    put_delta(stream, delta, "null");
}

void sim_put_token(const sim_stream_t *stream, unsigned i)
{
    if (stream->responses) {
        sim_responses_put_token(stream, i);
        return;
    }
    if (stream->tool) {
        char delta[128];
        snprintf(delta, sizeof delta, "\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"%s\"}}]",
                 tool_arguments[i]);
        put_delta(stream, delta, "null");
        return;
    }
    static const char open[] = "{\"index\":0,\"delta\":{\"content\":\"";
    static const char close[] = "\"},\"logprobs\":null,\"finish_reason\":null}";
    char text[128];
    memcpy(text, open, sizeof open - 1);
    size_t n = sizeof open - 1;
    n += sim_token_text(stream, i, text + n);
    memcpy(text + n, close, sizeof close - 1);
    put_event(stream, text, n + sizeof close - 1);
}

static void put_usage(rig_buf_t *out, const sim_stream_t *stream)
{
    rig_buf_printf(out, "\"usage\":{\"prompt_tokens\":%u,\"completion_tokens\":%u,\"total_tokens\":%u}",
                   stream->n_prompt_tokens, stream->n_tokens, stream->n_prompt_tokens + stream->n_tokens);
}

void sim_put_closing(const sim_stream_t *stream)
{
    static const char done[] = "data: [DONE]\n\n";
    if (stream->responses) {
        sim_responses_put_closing(stream);
        return;
    }
    put_delta(stream, "", stream->tool ? "\"tool_calls\"" : "\"stop\"");
    if (stream->usage) {
        rig_buf_t text = {0};
        rig_buf_add(&text, stream->head, stream->head_len);
        rig_buf_str(&text, "],");
        put_usage(&text, stream);
        rig_buf_str(&text, "}\n\n");
        sim_put_text(stream, text.data, text.len);
        rig_buf_free(&text);
    }
    sim_put_text(stream, done, sizeof done - 1);
    if (stream->chunked) {
        rig_buf_str(&sim.scratch, "0\r\n\r\n");
    }
}

static void put_whole_tool_call(rig_buf_t *body, const sim_stream_t *stream)
{
    rig_buf_printf(body, "null,\"tool_calls\":[{" TOOL_CALL_OPEN, stream->id);
    for (unsigned i = 0; i < SIM_N_ARGUMENTS; i++) {
        rig_buf_str(body, tool_arguments[i]);
    }
    rig_buf_str(body, "\"}}]");
}

static void put_whole_text(rig_buf_t *body, const sim_stream_t *stream)
{
    rig_buf_str(body, "\"");
    for (unsigned i = 0; i < stream->n_tokens; i++) {
        char text[24];
        rig_buf_add(body, text, sim_token_text(stream, i, text));
    }
    rig_buf_str(body, "\"");
}

void sim_put_completion(const sim_stream_t *stream)
{
    rig_buf_t body = {0};
    rig_buf_printf(&body,
                   "{\"id\":\"chatcmpl-%s\",\"object\":\"chat.completion\",\"created\":%ld,\"model\":\"%s\","
                   "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":",
                   stream->id, stream->created, stream->model);
    if (stream->tool) {
        put_whole_tool_call(&body, stream);
    } else {
        put_whole_text(&body, stream);
    }
    rig_buf_printf(&body, "},\"logprobs\":null,\"finish_reason\":\"%s\"}],", stream->tool ? "tool_calls" : "stop");
    put_usage(&body, stream);
    rig_buf_str(&body, "}");
    sim_put_response(200, "", body.data, body.len);
    rig_buf_free(&body);
}
