/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of HTTP targets: private ones, and hosts that a configuration allows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/io_internal.h"

static const char *const private_addresses[] = {
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "161.26.0.1",
    "166.8.0.1",
    "166.11.255.255",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "::ffff:168.63.129.16",
    "64:ff9b::a83f:8110",
    "2002:a83f:8110::",
    "2001:0:a83f:8110::1",
    "2001:1ff::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "fd00:ec2::254",
    "fd20:ce::254",
    "5f00::1",
    "3fff::1",
    "fc00::1",
    "fdff::1",
    "fe80::1",
    "fe80::1%lo",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "",
    "host",
    "127.0.0",
    "1.2.3.4.5",
    "1.2.3.256",
    "[::1]",
    ":::",
};

static const char *const public_addresses[] = {
    "1.1.1.1",        "8.8.8.8",         "9.255.255.255",   "11.0.0.0",        "100.63.255.255",
    "100.128.0.0",    "126.255.255.255", "128.0.0.1",       "161.25.255.255",  "161.27.0.0",
    "166.7.255.255",  "166.12.0.0",      "168.63.129.15",   "168.63.129.17",   "169.253.255.255",
    "172.15.255.255", "172.32.0.0",      "192.0.1.0",       "192.167.255.255", "192.169.0.0",
    "198.17.255.255", "198.20.0.0",      "223.255.255.255", "2001:200::1",     "2001:4860:4860::8888",
    "2003::1",        "2606:4700::1111", "2a00::1",         "3ffe::1",
};

static void test_private_addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(private_addresses) / sizeof(*private_addresses); i++) {
        if (!ac_http_address_private(private_addresses[i])) {
            fail_msg("%s counts as public", private_addresses[i]);
        }
    }
    for (size_t i = 0; i < sizeof(public_addresses) / sizeof(*public_addresses); i++) {
        if (ac_http_address_private(public_addresses[i])) {
            fail_msg("%s counts as private", public_addresses[i]);
        }
    }
    assert_true(ac_http_address_private(NULL));
}

static void test_allowed_hosts(void **state)
{
    (void)state;
    static const char *const hosts[] = {"example.com",   "*.wild.org",    "port.net:8443",
                                        "[2001:db8::1]", "*.both.net:81", NULL};
    static const struct {
        const char *url;
        bool allowed;
    } rows[] = {
        {"https://example.com/", true},
        {"http://EXAMPLE.com./x", true},
        {"https://example.com:443/", true},
        {"https://example.com:8443/", false},
        {"http://example.com:443/", false},
        {"https://sub.example.com/", false},
        {"https://example.com.evil.org/", false},
        {"https://evilexample.com/", false},
        {"https://a.wild.org/", true},
        {"https://a.b.wild.org/", true},
        {"https://wild.org/", false},
        {"https://awild.org/", false},
        {"https://.wild.org/", false},
        {"https://port.net:8443/", true},
        {"http://port.net:8443/", true},
        {"https://port.net/", false},
        {"http://[2001:db8::1]/", true},
        {"http://[2001:db8::2]/", false},
        {"http://x.both.net:81/", true},
        {"http://x.both.net/", false},
        {"https://own.host:9/other", true},
        {"http://own.host:9/", false},
        {"ftp://example.com/", false},
        {"https://user@example.com/", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (ac_http_address_allowed(rows[i].url, hosts, "https://own.host:9/first") != rows[i].allowed) {
            fail_msg("%s should %sbe allowed", rows[i].url, rows[i].allowed ? "" : "not ");
        }
    }
    assert_true(ac_http_address_allowed("http://any.where/", NULL, NULL));
    assert_false(ac_http_address_allowed("file:///etc/passwd", NULL, NULL));
    assert_true(ac_http_address_same_origin("http://a/", "http://A:80/b"));
    assert_false(ac_http_address_same_origin("http://a/", "https://a/"));
    assert_false(ac_http_address_same_origin("http://a/", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_private_addresses),
        cmocka_unit_test(test_allowed_hosts),
    };
    return cmocka_run_group_tests_name("http_address", tests, NULL, NULL);
}
