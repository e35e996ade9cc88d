// SPDX-License-Identifier: Apache-2.0
// What OpenTelemetry's own package makes of the spans of a request in JSON: node otlp.mjs FILE. Prints {json, protobuf (base64)}.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { spansOf } from './spans.mjs';
const require = createRequire(process.env.PEERS + '/');
const { JsonTraceSerializer, ProtobufTraceSerializer } = require('@opentelemetry/otlp-transformer');

const spans = spansOf(JSON.parse(readFileSync(process.argv[2], 'utf8')).resourceSpans[0]);

console.log(JSON.stringify({
  json: JSON.parse(Buffer.from(JsonTraceSerializer.serializeRequest(spans)).toString()),
  protobuf: Buffer.from(ProtobufTraceSerializer.serializeRequest(spans)).toString('base64'),
}));
