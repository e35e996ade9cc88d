/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses that may be connected to: URLs, the ranges of private addresses, and the hosts that redirects may lead
 * to. */
#include "io_internal.h"

#include <apr_strings.h>
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

typedef struct range4_t {
    uint32_t first;
    int bits;
} range4_t;

/* IANA's registry of special-purpose IPv4 addresses, and multicast (source: RFC 6890 and its registry); and
 * public-looking addresses under which a cloud's machines reach internal services. */
static const range4_t private4[] = {
    {0x00000000, 8},  /* this network */
    {0x0a000000, 8},  /* private */
    {0x64400000, 10}, /* shared, CGNAT */
    {0x7f000000, 8},  /* loopback */
    {0xa11a0000, 16}, /* IBM Cloud's infrastructure services */
    {0xa6080000, 14}, /* IBM Cloud's private service endpoints */
    {0xa83f8110, 32}, /* 168.63.129.16, Azure's wire server */
    {0xa9fe0000, 16}, /* link-local, cloud metadata */
    {0xac100000, 12}, /* private */
    {0xc0000000, 24}, /* protocol assignments */
    {0xc0000200, 24}, /* documentation */
    {0xc0586300, 24}, /* 6to4 relays */
    {0xc0a80000, 16}, /* private */
    {0xc6120000, 15}, /* benchmarks */
    {0xc6336400, 24}, /* documentation */
    {0xcb007100, 24}, /* documentation */
    {0xe0000000, 4},  /* multicast */
    {0xf0000000, 4},  /* reserved, broadcast */
};

typedef struct range6_t {
    uint8_t first[16];
    int bits;
} range6_t;

/* Exceptions inside of 2000::/3, the only range of global unicast. All addresses outside of it (loopback, mapped,
 * NAT64, unique local, link-local, multicast) are refused. */
static const range6_t private6[] = {
    {{0x20, 0x01, 0x00, 0x00}, 23}, /* protocol assignments, Teredo: hides an IPv4 address */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
    {{0x20, 0x02}, 16},             /* 6to4: hides an IPv4 address */
    {{0x3f, 0xff}, 20},             /* documentation */
};

static bool is_private4(uint32_t address)
{
    for (size_t i = 0; i < sizeof(private4) / sizeof(private4[0]); i++) {
        uint32_t mask = UINT32_MAX << (32 - private4[i].bits);
        if ((address & mask) == private4[i].first) {
            return true;
        }
    }
    return false;
}

static bool in_range6(const uint8_t *address, const range6_t *range)
{
    int whole = range->bits / 8, rest = range->bits % 8;
    if (memcmp(address, range->first, (size_t)whole) != 0) {
        return false;
    }
    return !rest || (address[whole] >> (8 - rest)) == (range->first[whole] >> (8 - rest));
}

static bool is_private6(const uint8_t *address)
{
    if (address[0] >> 5 != 1) { /* 2000::/3 */
        return true;
    }
    for (size_t i = 0; i < sizeof(private6) / sizeof(private6[0]); i++) {
        if (in_range6(address, &private6[i])) {
            return true;
        }
    }
    return false;
}

bool ac_http_address_sockaddr_private(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof(v4));
        return is_private4(ntohl(v4.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof(v6));
        return is_private6(v6.sin6_addr.s6_addr);
    }
    return true;
}

bool ac_http_address_private(const char *address)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (!address) {
        return true;
    }
    if (inet_pton(AF_INET, address, &v4) == 1) {
        return is_private4(ntohl(v4.s_addr));
    }
    /* An address with a scope ("fe80::1%eth0") is never public, and inet_pton() does not accept it either. */
    return inet_pton(AF_INET6, address, &v6) != 1 || is_private6(v6.s6_addr);
}

static bool http_address_ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && strcasecmp(text + len - end_len, end) == 0;
}

bool ac_http_address_near(const char *host)
{
    unsigned char address[16];
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1) {
        return ac_http_address_private(host);
    }
    return !strchr(host, '.') || http_address_ends_with(host, ".localhost") || http_address_ends_with(host, ".local") ||
        http_address_ends_with(host, ".internal");
}

/* ---- URLs ---- */

typedef struct place_t { /* where a URL leads; curl allocates the texts */
    char *scheme, *host, *port;
} place_t;

static char *part(CURLU *parts, CURLUPart what, unsigned flags)
{
    char *text = NULL;
    return curl_url_get(parts, what, &text, flags) == CURLUE_OK ? text : NULL;
}

static bool has_part(CURLU *parts, CURLUPart what)
{
    char *text = part(parts, what, 0);
    curl_free(text);
    return text != NULL;
}

static void place_free(place_t *place)
{
    curl_free(place->scheme);
    curl_free(place->host);
    curl_free(place->port);
}

static bool plain_text(const char *url)
{
    for (const unsigned char *c = (const unsigned char *)url; *c; c++) {
        if (*c <= ' ' || *c == 0x7f) {
            return false;
        }
    }
    return true;
}

/* curl would also accept "http:/host" and guess schemes. */
static bool place_read(place_t *place, const char *url)
{
    memset(place, 0, sizeof(*place));
    if (!url || (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0) || !plain_text(url)) {
        return false;
    }
    CURLU *parts = curl_url();
    bool good = parts && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK && !has_part(parts, CURLUPART_USER) &&
        !has_part(parts, CURLUPART_PASSWORD);
    if (good) {
        place->scheme = part(parts, CURLUPART_SCHEME, 0);
        place->host = part(parts, CURLUPART_HOST, 0);
        place->port = part(parts, CURLUPART_PORT, CURLU_DEFAULT_PORT);
        good = place->scheme && place->host && *place->host && place->port;
    }
    curl_url_cleanup(parts);
    if (!good) {
        place_free(place);
        memset(place, 0, sizeof(*place));
    }
    return good;
}

bool ac_http_address_url_valid(const char *url)
{
    place_t place;
    bool good = place_read(&place, url);
    place_free(&place);
    return good;
}

bool ac_http_address_server(char host[AC_HOST_SIZE], int *pport, const char *url)
{
    place_t place;
    bool good = place_read(&place, url);
    if (good) {
        const char *name = place.host + (*place.host == '[');
        apr_cpystrn(host, name, AC_HOST_SIZE);
        host[strcspn(host, "]")] = '\0';
        *pport = (int)strtol(place.port, NULL, 10);
    }
    place_free(&place);
    return good;
}

static size_t host_len(const char *host)
{
    size_t len = strlen(host);
    return len > 1 && host[len - 1] == '.' ? len - 1 : len; /* "example.com." is the same host */
}

static bool same_host(const char *a, const char *b)
{
    size_t len = host_len(a);
    return len == host_len(b) && strncasecmp(a, b, len) == 0;
}

static bool same_place(const place_t *a, const place_t *b)
{
    return strcasecmp(a->scheme, b->scheme) == 0 && same_host(a->host, b->host) && strcmp(a->port, b->port) == 0;
}

bool ac_http_address_same_origin(const char *url, const char *other)
{
    place_t a, b;
    bool first = place_read(&a, url), second = place_read(&b, other);
    bool same = first && second && same_place(&a, &b);
    place_free(&a);
    place_free(&b);
    return same;
}

/* Whether the first len bytes of pattern are this host, or match it with "*.". */
static bool covers(const char *pattern, size_t len, const char *host)
{
    size_t host_size = host_len(host);
    bool any = len > 2 && pattern[0] == '*' && pattern[1] == '.';
    if (any) {
        pattern++; /* ".host" has to be the end of a longer name */
        len--;
        return host_size > len && strncasecmp(host + host_size - len, pattern, len) == 0;
    }
    return len == host_size && strncasecmp(host, pattern, len) == 0;
}

static bool allows(const char *pattern, const place_t *place)
{
    const char *colon = strrchr(pattern, ':');
    bool with_port = colon && colon[1] && colon[strspn(colon + 1, "0123456789") + 1] == '\0';
    if (with_port && pattern[0] == '[' && colon[-1] != ']') {
        with_port = false; /* the colon is part of the address in "[::1]" */
    }
    const char *own = strcasecmp(place->scheme, "https") != 0 ? "80" : "443";
    size_t len = with_port ? (size_t)(colon - pattern) : strlen(pattern);
    return covers(pattern, len, place->host) && strcmp(place->port, with_port ? colon + 1 : own) == 0;
}

bool ac_http_address_allowed(const char *url, const char *const *allow_hosts, const char *same_as)
{
    place_t place, other;
    if (!place_read(&place, url)) {
        return false;
    }
    bool allowed = !allow_hosts;
    if (!allowed && same_as && place_read(&other, same_as)) {
        allowed = same_place(&place, &other);
        place_free(&other);
    }
    for (int i = 0; !allowed && allow_hosts[i]; i++) {
        allowed = allows(allow_hosts[i], &place);
    }
    place_free(&place);
    return allowed;
}
