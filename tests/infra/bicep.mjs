// SPDX-License-Identifier: Apache-2.0
// What .bicep files say, as JSON: node bicep.mjs FILE.... Parsed by tree-sitter's grammar of Bicep: there is no compiler in
// any package. {FILE: {errors: [line], params: {name: hasDefault}, secure: [name], outputs: [name], modules: {name: {path,
// params}}, references: [[module, output]], resources: [{type, existing, properties: [name], values: {name: text}}]}}
import fs from 'node:fs';
import { pathToFileURL } from 'node:url';
const home = process.env.PEERS;
const { Parser, Language } = await import(pathToFileURL(`${home}/web-tree-sitter/web-tree-sitter.js`));
await Parser.init();
const parser = new Parser();
parser.setLanguage(await Language.load(`${home}/tree-sitter-bicep/tree-sitter-bicep.wasm`));

const text = node => node.text.replace(/^'|'$/g, '');
const all = (node, type) => node.descendantsOfType(type);
const keys = object => object.namedChildren.filter(c => c.type === 'object_property').map(c => text(c.namedChildren[0]));
const value = (object, name) => object.namedChildren.find(c => c.type === 'object_property' && text(c.namedChildren[0]) === name)?.namedChildren[1];

function read(file) {
  const root = parser.parse(fs.readFileSync(file, 'utf8')).rootNode;
  const facts = { errors: [], params: {}, secure: [], outputs: [], modules: {}, references: [], resources: [] };
  const look = node => {
    if (node.isError || node.isMissing) facts.errors.push(node.startPosition.row + 1);
    node.children.forEach(look);
  };
  look(root);
  for (const node of all(root, 'parameter_declaration')) {
    const name = node.namedChildren.find(c => c.type === 'identifier').text;
    facts.params[name] = /=/.test(node.text.replace(/^@[^\n]*$/gm, ''));
    if (root.text.slice(0, node.endIndex).match(new RegExp(`@secure\\(\\)\\s*param ${name}\\b[^\\n]*$`))) facts.secure.push(name);
  }
  for (const node of all(root, 'output_declaration')) facts.outputs.push(node.namedChildren.find(c => c.type === 'identifier').text);
  for (const node of all(root, 'module_declaration')) {
    const [name, path] = node.namedChildren, body = all(node, 'object')[0];
    facts.modules[name.text] = { path: text(path), params: keys(value(body, 'params')) };
  }
  for (const [, module, output] of root.text.matchAll(/\b(\w+)\.\??outputs\.\??(\w+)/g)) facts.references.push([module, output]);
  for (const node of all(root, 'resource_declaration')) {
    const type = node.namedChildren.find(c => c.type === 'string');
    const existing = /^resource \w+ '[^']+' existing/.test(node.text.replace(/^(@.*\n)+/, ''));
    const properties = all(node, 'object_property');
    facts.resources.push({
      type: text(type), existing,
      properties: [...new Set(properties.map(p => text(p.namedChildren[0])))],
      values: Object.fromEntries(properties.filter(p => p.namedChildren[1]).map(p => [text(p.namedChildren[0]), p.namedChildren[1].text])),
    });
  }
  return facts;
}
console.log(JSON.stringify(Object.fromEntries(process.argv.slice(2).map(file => [file, read(file)]))));
