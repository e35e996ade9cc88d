/* SPDX-License-Identifier: Apache-2.0 */
/* The Model Context Protocol, for hosts that use the agents as tools: Streamable HTTP without state, of the versions
 * 2025-03-26 to 2025-11-25 (with initialize; "legacy" here) and 2026-07-28 ("modern"). Source of its facts: the
 * specification of these versions, RFC 9728, and what clients were measured to send and to accept. */
#ifndef AC_FRONT_MCP_H
#define AC_FRONT_MCP_H

#include "front/request/request.h"

/* ---- mcp_server.c: the handler of the route ---- */
ac_route_fn ac_mcp_server_post;

/* ---- mcp_problem.c ---- */
extern const ac_protocol_t ac_mcp_protocol;

/* ---- mcp_dialect.c: the events of a run as one JSON-RPC response, with notifications before it ---- */
extern const ac_dialect_t ac_mcp_dialect;

/* ---- mcp_resource.c: the metadata of a mount as a resource of OAuth (RFC 9728) ---- */
/* Hooks for /.well-known/oauth-protected-resource, at the root of a server; called from register_hooks. */
void ac_mcp_resource_register(apr_pool_t *p);

#endif
