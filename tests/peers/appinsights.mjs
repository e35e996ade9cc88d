// SPDX-License-Identifier: Apache-2.0
// What the exporter of Azure Monitor sends to Application Insights for the spans of an OTLP request in JSON:
// node appinsights.mjs FILE CONNECTION-STRING. Prints the body; nothing goes to a network.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { spansOf } from './spans.mjs';
process.env.APPLICATION_INSIGHTS_NO_STATSBEAT = 'true';
const require = createRequire(process.env.PEERS + '/');
// The package asks its vendor for settings, some seconds after it is loaded.
require('node:https').request = () => { throw new Error('this script uses no network'); };
const { AzureMonitorTraceExporter } = require('@azure/monitor-opentelemetry-exporter');

const [, , file, connectionString] = process.argv;
let body;
const httpClient = {
  sendRequest: async request => {
    body = request.body;
    const { length } = JSON.parse(body);
    return { request, status: 200, headers: request.headers,
             bodyAsText: JSON.stringify({ itemsReceived: length, itemsAccepted: length, errors: [] }) };
  },
};
const exporter = new AzureMonitorTraceExporter({ connectionString, httpClient, disableOfflineStorage: true });
await exporter.export(spansOf(JSON.parse(readFileSync(file, 'utf8')).resourceSpans[0]), () => {});
console.log(body);
process.exit(0);
