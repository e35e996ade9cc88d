/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of llmsim as streams of the Responses API: a message of text. Fields as OpenAI sends them, but for those of a
 * response that no program reads on the way. */
#include "llmsim.h"

#include <stdio.h>

#define ITEM "\"id\":\"msg_%s\",\"type\":\"message\",\"role\":\"assistant\""

static void put_response(const sim_stream_t *stream, const char *type, unsigned sequence, const char *status)
{
    char text[1024];
    int n =
        snprintf(text, sizeof text,
                 "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%u,\"response\":{\"id\":\"resp_%s\","
                 "\"object\":\"response\",\"created_at\":%ld,\"model\":\"%s\",\"status\":\"%s\",\"error\":null,"
                 "\"incomplete_details\":null,\"output\":[],\"usage\":{\"input_tokens\":%u,\"input_tokens_details\":"
                 "{\"cached_tokens\":0},\"output_tokens\":%u,\"output_tokens_details\":{\"reasoning_tokens\":0},"
                 "\"total_tokens\":%u}}}\n\n",
                 type, type, sequence, stream->id, stream->created, stream->model, status, stream->n_prompt_tokens,
                 stream->n_tokens, stream->n_prompt_tokens + stream->n_tokens);
    sim_put_text(stream, text, (size_t)n);
    sim.stats.n_chunks++;
}

static void put_item(const sim_stream_t *stream, const char *type, unsigned sequence, const char *status)
{
    char text[512];
    int n = snprintf(text, sizeof text,
                     "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%u,\"output_index\":0,\"item\":{" ITEM
                     ",\"status\":\"%s\",\"content\":[]}}\n\n",
                     type, type, sequence, stream->id, status);
    sim_put_text(stream, text, (size_t)n);
    sim.stats.n_chunks++;
}

void sim_responses_put_opening(const sim_stream_t *stream)
{
    put_response(stream, "response.created", 0, "in_progress");
    put_response(stream, "response.in_progress", 1, "in_progress");
    put_item(stream, "response.output_item.added", 2, "in_progress");
}

void sim_responses_put_token(const sim_stream_t *stream, unsigned i)
{
    char text[512], token[24];
    size_t len = sim_token_text(stream, i, token);
    int n = snprintf(text, sizeof text,
                     "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\","
                     "\"sequence_number\":%u,\"item_id\":\"msg_%s\",\"output_index\":0,\"content_index\":0,\"delta\":"
                     "\"%.*s\",\"logprobs\":[]}\n\n",
                     i + 3, stream->id, (int)len, token);
    sim_put_text(stream, text, (size_t)n);
    sim.stats.n_chunks++;
}

void sim_responses_put_closing(const sim_stream_t *stream)
{
    put_item(stream, "response.output_item.done", stream->n_tokens + 3, "completed");
    put_response(stream, "response.completed", stream->n_tokens + 4, "completed");
    if (stream->chunked) {
        rig_buf_str(&sim.scratch, "0\r\n\r\n");
    }
}
