/* SPDX-License-Identifier: Apache-2.0 */
/* ssebench's options. Only loopback addresses are accepted as targets. */
#include "ssebench.h"

#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage_text[] =
    "usage: ssebench [options] http://127.0.0.1:PORT/path\n"
    "load\n"
    "  -c, --connections N  concurrent connections (1)\n"
    "  -n, --requests N     requests in all (as many as connections, unless -d)\n"
    "  -d, --duration S     start no request after S seconds (60)\n"
    "  -k, --keepalive      use a connection again for the next request\n"
    "      --ramp-ms N      spread the first requests over N ms (0)\n"
    "      --grace S        wait so long for what still runs at the end (10)\n"
    "      --timeout S      give up a request with no byte for S seconds (30)\n"
    "      --poll-us N      look at the sockets only so often, to spare CPU; times are the\n"
    "                       kernel's, so they stay exact (0 = at once)\n"
    "      --abort-after N  hang up after N tokens, as a client that leaves\n"
    "request\n"
    "  -X, --method M       (POST)\n"
    "  -H, --header 'A: b'  may be repeated\n"
    "  -b, --body TEXT      -f, --body-file FILE\n"
    "      --plain          measure whole responses, not events\n"
    "      --setup          first create a thread for each connection\n"
    "      --setup-path P   with POST P (/api/threads)\n"
    "      --setup-body B   and this body ({})\n"
    "      In path and body, {thread_id} is the \"id\" that gave, {n} counts requests.\n"
    "events\n"
    "      --done TEXT      an event line with TEXT ends a stream well; may be repeated\n"
    "                       ([DONE], \"type\":\"done\" and event: done)\n"
    "      --token TEXT     an event line with TEXT and no stamp is a token (\"content\":\")\n"
    "      --delta TEXT     only an event line with TEXT has tokens; for streams that repeat the text\n"
    "      --expect-tokens N  a response has so many tokens: count those lost and in surplus\n"
    "accounting\n"
    "      --pid P, --pidfile F      the server; may be repeated; children are included\n"
    "      --upstream-pid P          llmsim, to tell its CPU time apart\n"
    "      --rss-base-kb N           idle memory, if not that at the start\n"
    "      --label TEXT     --quiet (no summary line)\n";

load_options_t load_options = {
    .n_connections = 1,
    .duration_ns = 60 * NS_PER_S,
    .grace_ns = 10 * NS_PER_S,
    .timeout_ns = 30 * NS_PER_S,
    .method = "POST",
    .body = "",
    .setup_path = "/api/threads",
    .setup_body = "{}",
    .label = "",
    .token = "\"content\":\"",
    .delta = "",
};

enum {
    OPTION_RAMP = 256,
    OPTION_GRACE,
    OPTION_TIMEOUT,
    OPTION_ABORT,
    OPTION_PLAIN,
    OPTION_SETUP,
    OPTION_SETUP_PATH,
    OPTION_SETUP_BODY,
    OPTION_DONE,
    OPTION_TOKEN,
    OPTION_DELTA,
    OPTION_EXPECT,
    OPTION_PID,
    OPTION_PIDFILE,
    OPTION_UPSTREAM,
    OPTION_RSS_BASE,
    OPTION_LABEL,
    OPTION_QUIET,
    OPTION_POLL,
    OPTION_HELP
};
static const struct option long_options[] = {
    {"connections", 1, 0, 'c'},
    {"requests", 1, 0, 'n'},
    {"duration", 1, 0, 'd'},
    {"keepalive", 0, 0, 'k'},
    {"method", 1, 0, 'X'},
    {"header", 1, 0, 'H'},
    {"body", 1, 0, 'b'},
    {"body-file", 1, 0, 'f'},
    {"ramp-ms", 1, 0, OPTION_RAMP},
    {"grace", 1, 0, OPTION_GRACE},
    {"timeout", 1, 0, OPTION_TIMEOUT},
    {"abort-after", 1, 0, OPTION_ABORT},
    {"plain", 0, 0, OPTION_PLAIN},
    {"setup", 0, 0, OPTION_SETUP},
    {"setup-path", 1, 0, OPTION_SETUP_PATH},
    {"setup-body", 1, 0, OPTION_SETUP_BODY},
    {"done", 1, 0, OPTION_DONE},
    {"token", 1, 0, OPTION_TOKEN},
    {"delta", 1, 0, OPTION_DELTA},
    {"expect-tokens", 1, 0, OPTION_EXPECT},
    {"pid", 1, 0, OPTION_PID},
    {"pidfile", 1, 0, OPTION_PIDFILE},
    {"upstream-pid", 1, 0, OPTION_UPSTREAM},
    {"rss-base-kb", 1, 0, OPTION_RSS_BASE},
    {"label", 1, 0, OPTION_LABEL},
    {"poll-us", 1, 0, OPTION_POLL},
    {"quiet", 0, 0, OPTION_QUIET},
    {"help", 0, 0, OPTION_HELP},
    {0},
};

static void parse_url(const char *url)
{
    char host[100] = "", port[8] = "80";
    load_options.url = url;
    if (sscanf(url, "http://%99[^:/]:%7[0-9]", host, port) < 1) {
        rig_die("ssebench: not a http:// URL: %s", url);
    }
    const char *path = strchr(url + 7, '/');
    load_options.path = path ? path : "/";
    snprintf(load_options.host, sizeof load_options.host, "%s:%s", host, port);
    struct addrinfo *found, hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    if (getaddrinfo(host, port, &hints, &found)) {
        rig_die("ssebench: unknown host %s", host);
    }
    memcpy(&load_options.address, found->ai_addr, sizeof load_options.address);
    freeaddrinfo(found);
    if (ntohl(load_options.address.sin_addr.s_addr) >> 24 != 127) {
        rig_die("ssebench: %s is not a loopback address", host);
    }
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file) {
        rig_die("ssebench: %s: %s", path, strerror(errno));
    }
    rig_buf_t text = {0};
    size_t n;
    while ((n = fread(rig_buf_reserve(&text, 4096), 1, 4096, file)) > 0) {
        text.len += n;
    }
    fclose(file);
    rig_buf_add(&text, "", 1);
    return text.data;
}

static void add_root(tree_roots_t *roots, const char *pid)
{
    if (roots->n == TREE_MAX_ROOTS) {
        rig_die("ssebench: too many processes");
    }
    roots->pid[roots->n++] = (pid_t)rig_number(pid, "ssebench: process id");
}

static void add_header(const char *header)
{
    if (load_options.n_headers == LOAD_MAX_HEADERS) {
        rig_die("ssebench: too many headers");
    }
    load_options.header[load_options.n_headers++] = header;
}

static void add_done(const char *pattern)
{
    if (load_options.n_done == LOAD_MAX_PATTERNS) {
        rig_die("ssebench: too many --done");
    }
    load_options.done[load_options.n_done++] = pattern;
}

static uint64_t seconds(const char *text)
{
    return (uint64_t)(strtod(text, NULL) * 1e9);
}

static uint64_t count(const char *text)
{
    return rig_number(text, "ssebench");
}

/* The load. false: another option. */
static bool take_load(int option, const char *value)
{
    load_options_t *o = &load_options;
    switch (option) {
    case 'c': o->n_connections = (unsigned)count(value); break;
    case 'n': o->n_requests = count(value); break;
    case 'd': o->duration_ns = seconds(value); break;
    case 'k': o->keepalive = true; break;
    case OPTION_RAMP: o->ramp_ns = count(value) * NS_PER_MS; break;
    case OPTION_GRACE: o->grace_ns = seconds(value); break;
    case OPTION_TIMEOUT: o->timeout_ns = seconds(value); break;
    case OPTION_POLL: o->poll_ns = count(value) % 1000000 * NS_PER_US; break;
    case OPTION_ABORT: o->abort_after = (unsigned)count(value); break;
    default: return false;
    }
    return true;
}

/* The request and what its response looks like. */
static bool take_request(int option, const char *value)
{
    load_options_t *o = &load_options;
    switch (option) {
    case 'X': o->method = value; break;
    case 'H': add_header(value); break;
    case 'b': o->body = value; break;
    case 'f': o->body = read_file(value); break;
    case OPTION_PLAIN: o->plain = true; break;
    case OPTION_SETUP: o->setup = true; break;
    case OPTION_SETUP_PATH: o->setup_path = value; break;
    case OPTION_SETUP_BODY: o->setup_body = value; break;
    case OPTION_DONE: add_done(value); break;
    case OPTION_TOKEN: o->token = value; break;
    case OPTION_DELTA: o->delta = value; break;
    case OPTION_EXPECT: o->expect_tokens = (unsigned)count(value); break;
    default: return false;
    }
    return true;
}

static bool take_accounting(int option, const char *value)
{
    load_options_t *o = &load_options;
    switch (option) {
    case OPTION_PID: add_root(&o->server, value); break;
    case OPTION_PIDFILE: add_root(&o->server, read_file(value)); break;
    case OPTION_UPSTREAM: add_root(&o->upstream, value); break;
    case OPTION_RSS_BASE: o->rss_base_kb = count(value); break;
    case OPTION_LABEL: o->label = value; break;
    case OPTION_QUIET: o->quiet = true; break;
    case OPTION_HELP: fputs(usage_text, stdout); exit(0);
    default: return false;
    }
    return true;
}

void load_options_read(int argc, char **argv)
{
    static const char *const usual_done[] = {"[DONE]", "\"type\":\"done\"", "\"type\": \"done\"", "event: done"};
    bool timed = false;
    for (int option; (option = getopt_long(argc, argv, "c:n:d:kX:H:b:f:", long_options, NULL)) != -1;) {
        timed |= option == 'd';
        if (!take_load(option, optarg) && !take_request(option, optarg) && !take_accounting(option, optarg)) {
            rig_die("%s", usage_text);
        }
    }
    load_options_t *o = &load_options;
    if (optind != argc - 1 || o->n_connections == 0 || !*o->token) {
        rig_die("%s", usage_text);
    }
    if (!o->n_requests) {
        o->n_requests = timed ? UINT64_MAX : o->n_connections;
    }
    for (size_t i = 0, own = o->n_done; !own && i < sizeof usual_done / sizeof *usual_done; i++) {
        add_done(usual_done[i]);
    }
    parse_url(argv[optind]);
}
