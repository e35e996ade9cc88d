// SPDX-License-Identifier: Apache-2.0
// What clients of MCP read of a server that refuses them: node mcp_metadata.mjs sdk|client URL. Prints {challenge, metadata}.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
const require = createRequire(process.env.PEERS + '/');
const [kind, url] = process.argv.slice(2);
const name = kind === 'sdk' ? '@modelcontextprotocol/sdk/client/auth.js' : '@modelcontextprotocol/client';
const { extractWWWAuthenticateParams, discoverOAuthProtectedResourceMetadata } = await import(pathToFileURL(require.resolve(name)));
const refused = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' });
const challenge = extractWWWAuthenticateParams(refused);
const metadata = await discoverOAuthProtectedResourceMetadata(url, { resourceMetadataUrl: challenge.resourceMetadataUrl });
const alone = await discoverOAuthProtectedResourceMetadata(url); // without a challenge it asks for the well-known path
if (JSON.stringify(alone) !== JSON.stringify(metadata)) throw new Error('there are two documents');
console.log(JSON.stringify({ challenge, metadata }));
