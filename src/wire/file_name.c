/* SPDX-License-Identifier: Apache-2.0 */
/* Names of files: as clients give them, as they are kept, and in Content-Disposition. */
#include "upload.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <apr_lib.h>

#define MAX_PARAMETER 4096

/* ---- a harmless name ---- */

/* Control characters, and marks by which a name is shown with another ending than it has. */
static bool is_hidden(const char *c, size_t n)
{
    const unsigned char *u = (const unsigned char *)c;
    if (n == 1) {
        return u[0] < 0x20 || u[0] == 0x7f;
    }
    if (n == 2) {
        return (u[0] == 0xc2 && u[1] < 0xa0) || (u[0] == 0xd8 && u[1] == 0x9c);
    }
    return n == 3 &&
        ((u[0] == 0xe2 && u[1] == 0x80 && ((u[2] >= 0x8b && u[2] <= 0x8f) || (u[2] >= 0xa8 && u[2] <= 0xae))) ||
         (u[0] == 0xe2 && u[1] == 0x81 && u[2] >= 0xa0 && u[2] <= 0xaf) ||
         (u[0] == 0xef && u[1] == 0xbb && u[2] == 0xbf));
}

void ac_file_name_clean(char name[AC_FILE_NAME_SIZE], const char *text, size_t len)
{
    size_t n = 0;
    bool valid;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '/' || text[i] == '\\') {
            text += i + 1;
            len -= i + 1;
            i = (size_t)-1;
        }
    }
    for (size_t i = 0, step; i < len; i += step) {
        step = ac_utf8_next(text + i, len - i, &valid);
        const char *c = valid ? text + i : "_";
        size_t size = valid ? step : 1;
        if ((valid && is_hidden(text + i, step)) || (n == 0 && (*c == '.' || *c == ' '))) {
            continue;
        }
        if (n + size >= AC_FILE_NAME_SIZE) {
            break;
        }
        memcpy(name + n, c, size);
        n += size;
    }
    while (n && (name[n - 1] == '.' || name[n - 1] == ' ')) {
        n--;
    }
    name[n] = '\0';
    if (!n) {
        memcpy(name, "file", 5);
    }
}

/* ---- parameters ---- */

/* Copies a token or a quoted string, with \ before a character; returns the end. */
static const char *copy_value(char *value, size_t size, const char *at)
{
    size_t n = 0;
    bool quoted = *at == '"';
    at += quoted;
    while (*at && (quoted ? *at != '"' : !strchr("; \t", *at))) {
        at += quoted && *at == '\\' && (at[1] == '"' || at[1] == '\\');
        if (n + 1 < size) {
            value[n++] = *at;
        }
        at++;
    }
    value[n] = '\0';
    return at + (quoted && *at == '"');
}

/* UTF-8''caf%C3%A9.txt, in place. Returns false for another character set, or wrong escapes. */
static bool decode_extended(char *value)
{
    char *to = value;
    const char *from = value;
    if (strncasecmp(from, "UTF-8'", 6) != 0 || !(from = strchr(from + 6, '\''))) {
        return false;
    }
    for (from++; *from; from++) {
        int high = *from == '%' ? ac_hex_value(from[1]) : -1, low = high >= 0 ? ac_hex_value(from[2]) : -1;
        if (*from == '%' && (low < 0 || (high == 0 && low == 0))) {
            return false;
        }
        *to++ = *from == '%' ? (char)(high * 16 + low) : *from;
        from += *from == '%' ? 2 : 0;
    }
    *to = '\0';
    return ac_utf8_valid(value, strlen(value));
}

/* Browsers write a quote, CR and LF of a name in forms as %22, %0D and %0A. */
static void decode_form(char *value)
{
    char *to = value;
    for (const char *from = value; *from; from++) {
        bool escaped = strncmp(from, "%22", 3) == 0 || strncasecmp(from, "%0D", 3) == 0 ||
            strncasecmp(from, "%0A", 3) == 0;
        *to++ = escaped ? (char)(ac_hex_value(from[1]) * 16 + ac_hex_value(from[2])) : *from;
        from += escaped ? 2 : 0;
    }
    *to = '\0';
}

/* Finds `name` exactly; first one wins. */
static bool find_parameter(char *value, size_t size, const char *header, const char *name)
{
    char other[8];
    size_t len = strlen(name);
    const char *at = header + strcspn(header, ";");
    while (*at == ';') {
        at += 1 + strspn(at + 1, " \t");
        size_t n = strcspn(at, "=; \t");
        const char *end = at + n + strspn(at + n, " \t");
        bool found = n == len && strncasecmp(at, name, n) == 0 && *end == '=';
        if (*end != '=') {
            at = end + strcspn(end, ";");
            continue;
        }
        end += 1 + strspn(end + 1, " \t");
        at = found ? copy_value(value, size, end) : copy_value(other, sizeof(other), end);
        if (found) {
            return true;
        }
        at += strcspn(at, ";");
    }
    return false;
}

bool ac_file_name_parameter(char *value, size_t size, const char *header, const char *name)
{
    char extended[MAX_PARAMETER];
    char star[32];
    bool is_name = strcmp(name, "filename") == 0;
    snprintf(star, sizeof(star), "%s*", name);
    if (is_name && find_parameter(extended, sizeof(extended), header, star) && decode_extended(extended)) {
        snprintf(value, size, "%s", extended);
        return true;
    }
    if (!find_parameter(value, size, header, name)) {
        return false;
    }
    if (is_name) {
        decode_form(value);
    }
    return true;
}

/* ---- the header of an answer ---- */

void ac_file_name_header(char header[AC_FILE_NAME_HEADER_SIZE], const char *kind, const char *name)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`|~";
    size_t n = (size_t)snprintf(header, AC_FILE_NAME_HEADER_SIZE, "%s; filename=\"", kind);
    bool exact = true;
    for (const char *c = name; *c; c++) {
        bool fine = *c >= 0x20 && *c < 0x7f && *c != '"' && *c != '\\' && *c != '%';
        exact = exact && fine;
        if (fine || (*c & 0xc0) != 0x80) { /* one sign for each character */
            header[n++] = fine ? *c : '_';
        }
    }
    header[n++] = '"';
    header[n] = '\0';
    if (exact) {
        return;
    }
    n += (size_t)snprintf(header + n, AC_FILE_NAME_HEADER_SIZE - n, "; filename*=UTF-8''");
    for (const char *c = name; *c; c++) {
        n += (size_t)snprintf(header + n, AC_FILE_NAME_HEADER_SIZE - n, strchr(plain, *c) ? "%c" : "%%%02X",
                              strchr(plain, *c) ? *c : (unsigned char)*c);
    }
}
_Static_assert(AC_FILE_NAME_HEADER_SIZE >= 4 * AC_FILE_NAME_SIZE + 64, "kind, the name once plain and once escaped");
