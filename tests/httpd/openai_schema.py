# SPDX-License-Identifier: Apache-2.0
"""OpenAI's published schema of the Responses API, and what its clients need of a stream of events beyond it."""
import json

from jsonschema import Draft202012Validator

from server import TOP

SCHEMA = json.loads((TOP / "tests/httpd/openai_schema.json").read_text())
# Members that the Open Responses specification requires of each response.
REQUIRED = """id object created_at completed_at status incomplete_details model previous_response_id instructions output error tools
              tool_choice truncation parallel_tool_calls text top_p presence_penalty frequency_penalty top_logprobs temperature reasoning
              usage max_output_tokens max_tool_calls store background service_tier metadata safety_identifier prompt_cache_key""".split()
ENDS = ("response.completed", "response.failed", "response.incomplete")


def _known(value):
    """OpenAI's own responses have `usage: null` until their end; its schema does not."""
    if isinstance(value, dict):
        return {k: _known(v) for k, v in value.items() if not (k == "usage" and v is None)}
    return value


def check(value, name):
    """Holds a value against a schema of components/schemas."""
    validator = Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": SCHEMA["components"]})
    problems = [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:400]}" for e in validator.iter_errors(_known(value))]
    assert not problems, f"{name}: {problems[:5]} in {json.dumps(value)[:2000]}"
    return value


def _events():
    """The name of each event's schema. The union would name no cause."""
    found = {}
    for choice in SCHEMA["components"]["schemas"]["ResponseStreamEvent"]["anyOf"]:
        name = choice["$ref"].rsplit("/", 1)[1]
        kind = SCHEMA["components"]["schemas"][name]["properties"]["type"]
        found[kind.get("const") or kind["enum"][0]] = name
    return found


EVENTS = _events()


def check_response(response):
    check(response, "Response")
    missing = [name for name in REQUIRED if name not in response]
    assert not missing, f"the response lacks {missing}"
    for item in response["output"]:
        check(item, "ConversationItem")
        assert item["id"] and item["type"], item
    assert len({item["id"] for item in response["output"]}) == len(response["output"]), response["output"]
    return response


class Items:
    """The output as the events build it; what contradicts the order of events is an error."""

    def __init__(self):
        self.list, self.parts, self.ended = [], {}, set()

    def _item(self, event):
        at = event["output_index"]
        assert at < len(self.list) and at not in self.ended and self.list[at]["id"] == event["item_id"], event
        return self.list[at]

    def add(self, event):
        kind = event["type"]
        if kind == "response.output_item.added":
            assert event["output_index"] == len(self.list), event
            assert event["item"].get("status", "in_progress") == "in_progress" and not event["item"].get("content"), event
            self.list.append(event["item"])
        elif kind == "response.output_item.done":
            at, before = event["output_index"], self.list[event["output_index"]]
            assert at not in self.ended and (before["id"], before["type"]) == (event["item"]["id"], event["item"]["type"]), event
            if before["type"] == "message":
                assert event["item"]["content"] == [self.parts[at]], event
            self.ended.add(at)
            self.list[at] = event["item"]
        elif kind == "response.content_part.added":
            assert self._item(event)["type"] == "message" and event["output_index"] not in self.parts, event
            self.parts[event["output_index"]] = event["part"]
        elif kind == "response.output_text.delta":
            self._item(event)
            self.parts[event["output_index"]]["text"] += event["delta"]
        elif kind == "response.output_text.done":
            assert self.parts[event["output_index"]]["text"] == event["text"], event
        elif kind == "response.content_part.done":
            assert self.parts[event["output_index"]] == event["part"], event
        elif kind.startswith("response.reasoning_summary_"):
            assert self._item(event)["type"] == "reasoning" and event["summary_index"] == 0, event
            at, step = event["output_index"], kind.removeprefix("response.reasoning_summary_")
            if step == "part.added":
                self.parts[at] = event["part"]
            elif step == "text.delta":
                self.parts[at]["text"] += event["delta"]
            else:
                assert self.parts[at]["text"] == (event.get("part") or event)["text"], event
        elif kind.endswith("arguments.delta"):
            self._item(event)["arguments"] += event["delta"]
        elif kind.endswith("arguments.done"):
            assert self._item(event)["arguments"] in ("", event["arguments"]), event
        elif kind.startswith("response.mcp_call."):
            assert self._item(event)["type"] == "mcp_call", event
        else:
            raise AssertionError(f"an event of a kind that clients do not know: {event}")


def check_events(events):
    """Holds a stream against the schema and against itself; returns its response."""
    items = Items()
    assert [e["sequence_number"] for e in events] == list(range(len(events))), events
    assert [e["type"] for e in events[:2]] == ["response.created", "response.in_progress"], events[:2]
    assert events[-1]["type"] in ENDS, events[-1]
    for event in events:
        check(event, EVENTS[event["type"]])
    between = events[2:-1]
    if events[-1]["type"] == "response.failed":
        error = between.pop()
        assert error["type"] == "error" and error["error"] == events[-1]["response"]["error"], error
        assert {name: error[name] for name in ("code", "message", "param")}.items() <= error["error"].items(), error
    for event in between:
        items.add(event)
    first, last = events[0]["response"], check_response(events[-1]["response"])
    assert first["id"] == events[1]["response"]["id"] == last["id"] and first["output"] == [] and first["status"] == "in_progress"
    changing = {"status", "completed_at", "output", "usage", "error", "incomplete_details"}
    assert {k: v for k, v in first.items() if k not in changing} == {k: v for k, v in last.items() if k not in changing}
    assert items.list == last["output"] and len(items.ended) == len(items.list), (items.list, last["output"])
    return last


def events_of(stream):
    """The events of a stream, whose names are their types, without [DONE], which is its last line."""
    events = stream.rest()
    assert stream.status == 200 and events[-1].fields["data"] == "[DONE]", stream.raw
    found = [event.json for event in events[:-1]]
    assert [event.fields["event"] for event in events[:-1]] == [event["type"] for event in found]
    assert all("id" not in event.fields for event in events)
    return found
