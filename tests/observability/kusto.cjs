// SPDX-License-Identifier: Apache-2.0
// Checks Kusto queries as the editor of Azure Monitor does: reads {classic: [query], workspace: [query]}, prints what is wrong.
const { readFileSync } = require('node:fs');
const { createRequire } = require('node:module');
const load = createRequire(`${process.env.PEERS}/`);
load('@kusto/language-service-next/bridge.js');
load('@kusto/language-service-next/Kusto.Language.Bridge.js');
const { GlobalState, KustoCode, Symbols } = globalThis.Kusto.Language;

const COLUMNS = 'timestamp:datetime, id:string, name:string, duration:real, success:bool, resultCode:string, message:string, '
  + 'itemCount:int, itemType:string, operation_Id:string, operation_ParentId:string, customDimensions:dynamic';
const NAMES = {
  timestamp: 'TimeGenerated', id: 'Id', name: 'Name', duration: 'DurationMs', success: 'Success', resultCode: 'ResultCode', message: 'Message',
  itemCount: 'ItemCount', itemType: 'Type', operation_Id: 'OperationId', operation_ParentId: 'ParentId', customDimensions: 'Properties',
};
const TABLES = { requests: 'AppRequests', dependencies: 'AppDependencies', traces: 'AppTraces', exceptions: 'AppExceptions',
  availabilityResults: 'AppAvailabilityResults' };
// Of the columns above, those that a table lacks.
const WITHOUT = { requests: ['message'], dependencies: ['message'], traces: ['id', 'name', 'duration', 'success', 'resultCode'],
  exceptions: ['name', 'duration', 'success', 'resultCode', 'message'], availabilityResults: ['resultCode', 'operation_ParentId'] };

function database(renamed) {
  const tables = Object.entries(TABLES).map(([name, other]) => {
    const columns = COLUMNS.split(', ').filter(column => !WITHOUT[name].includes(column.split(':')[0]))
      .map(column => (renamed ? column.replace(/^\w+/, word => NAMES[word]) : column));
    return Symbols.TableSymbol.From(`(${columns.join(', ')})`).WithName(renamed ? other : name);
  });
  return GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.ctor('telemetry', tables));
}

const given = JSON.parse(readFileSync(0, 'utf8'));
for (const form of ['classic', 'workspace']) {
  const globals = database(form === 'workspace');
  for (const query of given[form] ?? []) {
    const found = KustoCode.ParseAndAnalyze(query, globals).GetDiagnostics();
    for (let i = 0; i < System.Array.getCount(found); i++) {
      const one = System.Array.getItem(found, i);
      console.log(`${form}: ${one.Message} at: ${query.slice(one.Start, one.Start + 40)}`);
    }
  }
}
