// SPDX-License-Identifier: Apache-2.0
// The spans of an OTLP request in JSON, as OpenTelemetry's packages for JavaScript have them.
import { createRequire } from 'node:module';
const require = createRequire(process.env.PEERS + '/');
const { resourceFromAttributes } = require('@opentelemetry/resources');
const { TraceState } = require('@opentelemetry/core');

function valueOf(value) {
  if ('stringValue' in value) return value.stringValue;
  if ('boolValue' in value) return value.boolValue;
  if ('intValue' in value) return Number(value.intValue);
  if ('doubleValue' in value) return value.doubleValue;
  return value.arrayValue.values.map(valueOf);
}
const attributesOf = list => Object.fromEntries(list.map(({ key, value }) => [key, valueOf(value)]));
const timeOf = number => [Number(number / 1000000000n), Number(number % 1000000000n)];

export function spansOf({ resource: { attributes }, scopeSpans: [{ scope, spans }] }) {
  const resource = resourceFromAttributes(attributesOf(attributes));
  return spans.map(span => {
    const began = BigInt(span.startTimeUnixNano), ended = BigInt(span.endTimeUnixNano);
    return {
      name: span.name,
      kind: span.kind - 1,
      spanContext: () => ({
        traceId: span.traceId, spanId: span.spanId, traceFlags: span.flags & 0xff,
        traceState: span.traceState ? new TraceState(span.traceState) : undefined,
      }),
      parentSpanContext: span.parentSpanId && {
        traceId: span.traceId, spanId: span.parentSpanId, traceFlags: 1, isRemote: (span.flags & 0x200) !== 0,
      },
      startTime: timeOf(began),
      endTime: timeOf(ended),
      duration: timeOf(ended - began),
      status: { code: span.status.code ?? 0 },
      attributes: attributesOf(span.attributes),
      links: (span.links ?? []).map(link => ({
        context: { traceId: link.traceId, spanId: link.spanId, traceFlags: link.flags & 0xff, isRemote: (link.flags & 0x200) !== 0 },
        attributes: {},
      })),
      events: [], ended: true, resource, instrumentationScope: scope,
      droppedAttributesCount: span.droppedAttributesCount ?? 0, droppedEventsCount: 0, droppedLinksCount: 0,
    };
  });
}
