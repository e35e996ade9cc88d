/* SPDX-License-Identifier: Apache-2.0 */
/* A reader of multipart/form-data. The delimiter's first byte, CR, is nowhere else in it: what matched up to a wrong
 * byte was content, and a new match begins with that byte at the earliest. */
#include "upload.h"

#include <string.h>
#include <strings.h>

enum { PREAMBLE, BEHIND, BEHIND_DASH, BEHIND_LF, HEAD, BODY, EPILOGUE };

static apr_status_t not_valid(ac_err_t *err, const char *why)
{
    return ac_err_set(err, AC_INVALID_REQUEST, "the body is not valid multipart/form-data: %s", why);
}

/* RFC 2046, section 5.1.1. */
static bool boundary_valid(const char *text)
{
    size_t len = strlen(text);
    return len >= 1 && len <= AC_MULTIPART_BOUNDARY &&
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'()+_,-./:=? ") == len &&
        text[len - 1] != ' ';
}

apr_status_t ac_multipart_begin(ac_multipart_t *multipart, const char *content_type, ac_err_t *err)
{
    static const char wanted[] = "multipart/form-data";
    char boundary[AC_MULTIPART_BOUNDARY + 2];
    size_t len = strcspn(content_type, "; \t");
    if (len != sizeof(wanted) - 1 || strncasecmp(content_type, wanted, len) != 0 ||
        !ac_file_name_parameter(boundary, sizeof(boundary), content_type, "boundary") || !boundary_valid(boundary)) {
        return not_valid(err, "its Content-Type has no boundary");
    }
    len = strlen(boundary);
    memcpy(multipart->delimiter, "\r\n--", 4);
    memcpy(multipart->delimiter + 4, boundary, len + 1);
    multipart->n_delimiter = len + 4;
    multipart->n_matched = 2; /* the first delimiter needs no line before it */
    multipart->n_head = 0;
    multipart->state = PREAMBLE;
    return APR_SUCCESS;
}

static apr_status_t multipart_content(ac_multipart_t *multipart, const char *bytes, size_t len, ac_err_t *err)
{
    return multipart->state == BODY && len ? multipart->on_bytes(multipart->baton, bytes, len, err) : APR_SUCCESS;
}

/* Reads content up to the end of a delimiter or of the bytes. Returns the number of bytes read. */
static size_t read_content(ac_multipart_t *multipart, const char *bytes, size_t len, apr_status_t *pstatus,
                           ac_err_t *err)
{
    size_t i = 0, from = 0;
    for (; i < len && *pstatus == APR_SUCCESS; i++) {
        if (bytes[i] == multipart->delimiter[multipart->n_matched]) {
            if (multipart->n_matched == 0) {
                *pstatus = multipart_content(multipart, bytes + from, i - from, err);
            }
            multipart->n_matched++;
            from = i + 1;
            if (multipart->n_matched == multipart->n_delimiter) {
                multipart->state = BEHIND;
                multipart->n_matched = 0;
                return i + 1;
            }
            continue;
        }
        if (multipart->n_matched) {
            *pstatus = multipart_content(multipart, multipart->delimiter, multipart->n_matched, err);
            multipart->n_matched = 0;
            from = i;
            i -= bytes[i] == '\r'; /* it may begin a delimiter */
            continue;
        }
        const char *cr = memchr(bytes + i, '\r', len - i);
        i = cr ? (size_t)(cr - bytes) - 1 : len - 1;
    }
    if (*pstatus == APR_SUCCESS && !multipart->n_matched) {
        *pstatus = multipart_content(multipart, bytes + from, len - from, err);
    }
    return len;
}

/* The value of Content-Disposition in the headers, "" if there is none; changes them. */
static const char *disposition_of(char *head)
{
    static const char name[] = "Content-Disposition:";
    for (char *line = head, *end; *line; line = end + (*end ? 2 : 0)) {
        end = strstr(line, "\r\n");
        end = end ? end : line + strlen(line);
        if (strncasecmp(line, name, sizeof(name) - 1) == 0) {
            *end = '\0';
            line += sizeof(name) - 1;
            return line + strspn(line, " \t");
        }
    }
    return "";
}

static apr_status_t read_head(ac_multipart_t *multipart, char c, ac_err_t *err)
{
    if (multipart->n_head == AC_MULTIPART_HEAD || !c) {
        return not_valid(err, c ? "the headers of a part are too long" : "a header has a NUL");
    }
    multipart->head[multipart->n_head++] = c;
    multipart->head[multipart->n_head] = '\0';
    bool ends = multipart->n_head >= 4 && memcmp(multipart->head + multipart->n_head - 4, "\r\n\r\n", 4) == 0;
    if (!ends && strcmp(multipart->head, "\r\n") != 0) {
        return APR_SUCCESS;
    }
    multipart->state = BODY;
    multipart->n_matched = 0;
    return multipart->on_part(multipart->baton, disposition_of(multipart->head), err);
}

/* Reads what is behind a delimiter: "--" after the last one, else blanks and the end of the line. */
static apr_status_t read_behind(ac_multipart_t *multipart, char c, ac_err_t *err)
{
    if (multipart->state == BEHIND_DASH) {
        multipart->state = EPILOGUE;
        return c == '-' ? APR_SUCCESS : not_valid(err, "a delimiter is not at the end of its line");
    }
    if (multipart->state == BEHIND_LF) {
        multipart->state = HEAD;
        multipart->n_head = 0;
        return c == '\n' ? APR_SUCCESS : not_valid(err, "a line ends with CR alone");
    }
    if (c == '-') {
        multipart->state = BEHIND_DASH;
    } else if (c == '\r') {
        multipart->state = BEHIND_LF;
    } else if (c != ' ' && c != '\t') {
        return not_valid(err, "a delimiter is not at the end of its line");
    }
    return APR_SUCCESS;
}

apr_status_t ac_multipart_add(ac_multipart_t *multipart, const char *bytes, size_t len, ac_err_t *err)
{
    apr_status_t status = APR_SUCCESS;
    while (len && status == APR_SUCCESS && multipart->state != EPILOGUE) {
        size_t n = 1;
        if (multipart->state == PREAMBLE || multipart->state == BODY) {
            n = read_content(multipart, bytes, len, &status, err);
        } else if (multipart->state == HEAD) {
            status = read_head(multipart, *bytes, err);
        } else {
            status = read_behind(multipart, *bytes, err);
        }
        bytes += n;
        len -= n;
    }
    return status;
}

apr_status_t ac_multipart_end(const ac_multipart_t *multipart, ac_err_t *err)
{
    return multipart->state == EPILOGUE ? APR_SUCCESS : not_valid(err, "it ends before its last delimiter");
}
