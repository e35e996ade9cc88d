/* SPDX-License-Identifier: Apache-2.0 */
/* The contract: docs/openapi.yaml and its JSON, which the build puts into the module, and a page that shows it. */
#include "api.h"

#include <stdlib.h>

/* Paths are relative to the folder that make runs in. Each name is one literal, so that ccache notices changes. */
__asm__(".section .rodata\n"
        ".global ac_openapi_yaml\n.hidden ac_openapi_yaml\nac_openapi_yaml:\n.incbin \"docs/openapi.yaml\"\n.byte 0\n"
        ".global ac_openapi_json\n.hidden ac_openapi_json\nac_openapi_json:\n.incbin \"docs/openapi.json\"\n.byte 0\n"
        ".previous\n");
extern const char ac_openapi_yaml[], ac_openapi_json[];

#define POLICY \
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " \
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/* The page is /docs: "docs/…" is relative to it. */
static const char swagger_page[] =
    "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<title>mod_agentchat</title>\n<link rel=\"stylesheet\" href=\"docs/swagger-ui.css\">\n<div id=\"page\"></div>\n"
    "<script src=\"docs/" AC_DOCS_BUNDLE "\"></script>\n<script src=\"docs/page.js\"></script>\n</html>\n";
static const char swagger_script[] =
    "window.ui = SwaggerUIBundle({url: 'openapi.json', dom_id: '#page', deepLinking: true, validatorUrl: null});\n";
static const char plain_style[] =
    "body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 3rem auto; padding: 0 1rem; "
    "color-scheme: light dark }\n"
    "td { padding: .2rem 1rem .2rem 0; vertical-align: top } code { font: 14px ui-monospace, monospace }\n";

static int reply_text(ac_request_t *rq, const char *type, const char *text)
{
    apr_table_setn(rq->r->headers_out, "Content-Security-Policy", POLICY);
    apr_table_setn(rq->r->headers_out, "Referrer-Policy", "no-referrer");
    return ac_reply_text(rq, type, text, strlen(text));
}

int ac_api_docs_openapi_json(ac_request_t *rq)
{
    return reply_text(rq, "application/json", ac_openapi_json);
}

int ac_api_docs_openapi_yaml(ac_request_t *rq)
{
    return reply_text(rq, "application/yaml", ac_openapi_yaml);
}

/* Without Swagger UI: the table of routes. */
static const char *plain_page(apr_pool_t *p)
{
    apr_array_header_t *rows = apr_array_make(p, 64, sizeof(const char *));
    for (const ac_route_t *route = ac_routes; route->pattern; route++) {
        const char *method = ap_method_name_of(p, route->method), *pattern = ap_escape_html(p, route->pattern);
        APR_ARRAY_PUSH(rows, const char *) = apr_psprintf(p, "<tr><td><code>%s</code><td><code>%s</code><td>%s\n",
                                                          method, pattern, ap_escape_html(p, route->doc));
    }
    return apr_pstrcat(
        p,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
        "content=\"width=device-width\">\n<title>mod_agentchat</title>\n"
        "<link rel=\"stylesheet\" href=\"docs/page.css\">\n"
        "<h1>mod_agentchat</h1>\n<p>The contract: <a href=\"openapi.json\">openapi.json</a>, "
        "<a href=\"openapi.yaml\">openapi.yaml</a>. With <code>AgentChatDocs</code> this page lets you try it.\n"
        "<table>\n",
        apr_array_pstrcat(p, rows, 0), "</table>\n</html>\n", NULL);
}

int ac_api_docs_page(ac_request_t *rq)
{
    return reply_text(rq, "text/html; charset=utf-8", rq->mount->docs ? swagger_page : plain_page(rq->r->pool));
}

static const char *type_of(const char *name)
{
    return strcmp(name + strlen(name) - 2, "js") == 0 ? "text/javascript; charset=utf-8" : "text/css; charset=utf-8";
}

/* Only these names, so that no path leads out of the folder. */
int ac_api_docs_file(ac_request_t *rq)
{
    static const char *const names[] = {"swagger-ui.css", AC_DOCS_BUNDLE};
    const char *wanted = rq->args[0], *dir = rq->mount->docs;
    if (strcmp(wanted, "page.css") == 0) {
        return reply_text(rq, type_of(wanted), plain_style);
    }
    if (strcmp(wanted, "page.js") == 0 && dir) {
        return reply_text(rq, type_of(wanted), swagger_script);
    }
    for (size_t i = 0; dir && i < sizeof(names) / sizeof(*names); i++) {
        if (strcmp(wanted, names[i]) == 0) {
            return ac_reply_file(rq, type_of(wanted), apr_pstrcat(rq->r->pool, dir, "/", names[i], NULL));
        }
    }
    ac_err_set(&rq->err, AC_NOT_FOUND, "the page has no such file");
    return ac_reply_problem(rq, NULL);
}
