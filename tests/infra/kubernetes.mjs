// SPDX-License-Identifier: Apache-2.0
// Validates objects of Kubernetes by its published schemas: node kubernetes.mjs <JSON-LIST. Prints the list of errors.
import fs from 'node:fs';
import { pathToFileURL } from 'node:url';
const errors = [];
for (const object of JSON.parse(fs.readFileSync(0, 'utf8'))) {
  const name = `${object.kind} ${object.metadata?.name}`;
  try {
    const Kind = (await import(pathToFileURL(`${process.env.PEERS}/kubernetes-models/${object.apiVersion}/${object.kind}.js`)))[object.kind];
    new Kind(object).validate();
  } catch (error) { errors.push(`${name}: ${error.message}`); }
}
console.log(JSON.stringify(errors));
