// SPDX-License-Identifier: Apache-2.0
// Verifies a webhook's request with the library of Standard Webhooks: webhook.mjs SECRET, with {headers, body} on standard input.
import {readFileSync} from "node:fs";
import {createRequire} from "node:module";

const require = createRequire(process.env.PEERS + "/");
const {Webhook} = require("standardwebhooks");
const {headers, body} = JSON.parse(readFileSync(0, "utf8"));
try {
    console.log(JSON.stringify(new Webhook(process.argv[2]).verify(body, headers)));
} catch (error) {
    console.log(JSON.stringify({refused: error.message}));
}
