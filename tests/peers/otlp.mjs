// SPDX-License-Identifier: Apache-2.0
// What OpenTelemetry's own package makes of the spans of a request in JSON: node otlp.mjs FILE. Prints {json, protobuf (base64)}.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
const require = createRequire(process.env.PEERS + '/');
const { JsonTraceSerializer, ProtobufTraceSerializer } = require('@opentelemetry/otlp-transformer');
const { resourceFromAttributes } = require('@opentelemetry/resources');
const { TraceState } = require('@opentelemetry/core');

const group = JSON.parse(readFileSync(process.argv[2], 'utf8')).resourceSpans[0];

function valueOf(value) {
  if ('stringValue' in value) return value.stringValue;
  if ('boolValue' in value) return value.boolValue;
  if ('intValue' in value) return Number(value.intValue);
  if ('doubleValue' in value) return value.doubleValue;
  return value.arrayValue.values.map(valueOf);
}
const attributesOf = list => Object.fromEntries(list.map(({ key, value }) => [key, valueOf(value)]));
const timeOf = text => [Number(BigInt(text) / 1000000000n), Number(BigInt(text) % 1000000000n)];

const resource = resourceFromAttributes(attributesOf(group.resource.attributes));
const { scope, spans } = group.scopeSpans[0];
const readable = spans.map(span => ({
  name: span.name,
  kind: span.kind - 1,
  spanContext: () => ({
    traceId: span.traceId, spanId: span.spanId, traceFlags: span.flags & 0xff,
    traceState: span.traceState ? new TraceState(span.traceState) : undefined,
  }),
  parentSpanContext: span.parentSpanId && {
    traceId: span.traceId, spanId: span.parentSpanId, traceFlags: 1, isRemote: (span.flags & 0x200) !== 0,
  },
  startTime: timeOf(span.startTimeUnixNano),
  endTime: timeOf(span.endTimeUnixNano),
  status: { code: span.status.code ?? 0 },
  attributes: attributesOf(span.attributes),
  links: (span.links ?? []).map(link => ({
    context: { traceId: link.traceId, spanId: link.spanId, traceFlags: link.flags & 0xff, isRemote: (link.flags & 0x200) !== 0 },
    attributes: {},
  })),
  events: [], ended: true, duration: [0, 0], resource, instrumentationScope: scope,
  droppedAttributesCount: span.droppedAttributesCount ?? 0, droppedEventsCount: 0, droppedLinksCount: 0,
}));

console.log(JSON.stringify({
  json: JSON.parse(Buffer.from(JsonTraceSerializer.serializeRequest(readable)).toString()),
  protobuf: Buffer.from(ProtobufTraceSerializer.serializeRequest(readable)).toString('base64'),
}));
