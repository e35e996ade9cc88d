# SPDX-License-Identifier: Apache-2.0
"""The parts of a stream of the Responses API, for scripts of ModelServer."""
import json

USAGE = {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 5,
         "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 15}


def event(kind, **members):
    body = {"type": kind, "sequence_number": 0, **members}
    return f"event: {kind}\ndata: {json.dumps(body, ensure_ascii=False)}\n\n".encode()


def response(number, status, output=(), **members):
    return {"id": f"resp_{number}", "object": "response", "created_at": 1, "model": "scripted-1", "status": status,
            "error": None, "incomplete_details": None, "output": list(output), "usage": None, **members}


class Responses:
    """Makes scripts whose answers have ids in their order: resp_1, resp_2, …"""

    def __init__(self):
        self.n = 0

    def play(self, *items, status="completed", before=None, **members):
        """A script: these output items, then the terminal event; the stream of an item is that of the documentation.
        `before` is yielded in front of the terminal event."""
        def script(_request):
            self.n += 1
            number = self.n
            yield event("response.created", response=response(number, "in_progress"))
            yield event("response.in_progress", response=response(number, "in_progress"))
            for index, item in enumerate(items):
                yield from stream(index, item)
            if before is not None:
                yield before
            yield event(f"response.{status}", response=response(number, status, items, usage=USAGE, **members))
        return script


def message(*tokens, annotations=()):
    return {"type": "message", "id": "msg_up", "role": "assistant", "status": "completed", "tokens": tokens,
            "content": [{"type": "output_text", "text": "".join(tokens), "annotations": list(annotations), "logprobs": []}]}


def reasoning(summary, encrypted=None):
    return {"type": "reasoning", "id": "rs_up", "summary": [{"type": "summary_text", "text": summary}],
            "encrypted_content": encrypted}


def function_call(call_id, name, arguments):
    return {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": name, "status": "completed",
            "arguments": json.dumps(arguments)}


def stream(index, item):
    """The events of one output item."""
    at = {"item_id": item["id"], "output_index": index}
    begun = {**item, "status": "in_progress"}
    tokens = begun.pop("tokens", ())
    if item["type"] == "message":
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        yield event("response.output_item.added", output_index=index, item={**begun, "content": []})
        yield event("response.content_part.added", content_index=0, part=part, **at)
        for token in tokens:
            yield event("response.output_text.delta", content_index=0, delta=token, logprobs=[], **at)
        for number, annotation in enumerate(item["content"][0]["annotations"]):
            yield event("response.output_text.annotation.added", content_index=0, annotation_index=number,
                        annotation=annotation, **at)
        yield event("response.output_text.done", content_index=0, text="".join(tokens), logprobs=[], **at)
        yield event("response.content_part.done", content_index=0, part=item["content"][0], **at)
    elif item["type"] == "reasoning":
        text = item["summary"][0]["text"]
        yield event("response.output_item.added", output_index=index, item={**begun, "summary": []})
        yield event("response.reasoning_summary_part.added", summary_index=0, part={"type": "summary_text", "text": ""}, **at)
        for word in text.split(" "):
            yield event("response.reasoning_summary_text.delta", summary_index=0, delta=word + " ", **at)
        yield event("response.reasoning_summary_text.done", summary_index=0, text=text, **at)
        yield event("response.reasoning_summary_part.done", summary_index=0, part=item["summary"][0], **at)
    elif item["type"] == "function_call":
        yield event("response.output_item.added", output_index=index, item={**begun, "arguments": ""})
        half = len(item["arguments"]) // 2
        yield event("response.function_call_arguments.delta", delta=item["arguments"][:half], **at)
        yield event("response.function_call_arguments.delta", delta=item["arguments"][half:], **at)
        yield event("response.function_call_arguments.done", name=item["name"], arguments=item["arguments"], **at)
    else:
        yield event("response.output_item.added", output_index=index, item=begun)
        if item["type"] == "mcp_call":
            yield event("response.mcp_call.in_progress", **at)
            yield event("response.mcp_call_arguments.delta", delta=item["arguments"], **at)
            yield event("response.mcp_call_arguments.done", arguments=item["arguments"], **at)
        yield event(f"response.{item['type']}.completed", **at)
    ended = {name: value for name, value in item.items() if name != "tokens"}
    yield event("response.output_item.done", output_index=index, item=ended)
