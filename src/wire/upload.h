/* SPDX-License-Identifier: Apache-2.0 */
/* What clients upload: bodies of multipart/form-data, names of files, and the types that contents have. Pure functions;
 * everything comes in pieces of any size and is never in memory as a whole. */
#ifndef AC_UPLOAD_H
#define AC_UPLOAD_H

#include "base/base.h"

/* ---- multipart.c: RFC 7578, RFC 2046 ---- */
#define AC_MULTIPART_HEAD 8192   /* bytes of the headers of a part, at most */
#define AC_MULTIPART_BOUNDARY 70 /* characters of a boundary, at most */

typedef struct ac_multipart_t {
    /* A part begins: the value of its Content-Disposition, or "". */
    apr_status_t (*on_part)(void *baton, const char *disposition, ac_err_t *err);
    /* Bytes of the current part. Both: an error ends the reading. */
    apr_status_t (*on_bytes)(void *baton, const char *bytes, size_t len, ac_err_t *err);
    void *baton;
    int state;                                 /* private, as are the following */
    char delimiter[AC_MULTIPART_BOUNDARY + 5]; /* CR LF "--" boundary */
    size_t n_delimiter, n_matched;             /* its bytes; those of them that were just read */
    size_t n_head;
    char head[AC_MULTIPART_HEAD + 1];
} ac_multipart_t;
/* Prepares for a body of this Content-Type; the caller has set the callbacks. errors: invalid_request: it is not
 * multipart/form-data, or has no valid boundary. */
apr_status_t ac_multipart_begin(ac_multipart_t *multipart, const char *content_type, ac_err_t *err);
/* Reads the next bytes of the body. errors: invalid_request, those of the callbacks. */
apr_status_t ac_multipart_add(ac_multipart_t *multipart, const char *bytes, size_t len, ac_err_t *err);
/* The body has ended. errors: invalid_request: it is cut off. */
apr_status_t ac_multipart_end(const ac_multipart_t *multipart, ac_err_t *err);

/* ---- file_name.c: RFC 6266, RFC 8187 ---- */
#define AC_FILE_NAME_SIZE 256
/* Makes a harmless name of any bytes: one component of a path, valid UTF-8 without control characters and without marks
 * that change the direction of writing; "file" if nothing is left. */
void ac_file_name_clean(char name[AC_FILE_NAME_SIZE], const char *text, size_t len);
/* A parameter of a header like Content-Disposition, decoded; `filename*` comes before `filename`. value is cut to its
 * size. Returns false if there is none. */
bool ac_file_name_parameter(char *value, size_t size, const char *header, const char *name);
#define AC_FILE_NAME_HEADER_SIZE (5 * AC_FILE_NAME_SIZE)
/* Writes a Content-Disposition: kind is "attachment" or "inline". */
void ac_file_name_header(char header[AC_FILE_NAME_HEADER_SIZE], const char *kind, const char *name);

/* ---- file_type.c: the type of contents ---- */
#define AC_FILE_TYPE_HEAD 4096          /* bytes from the beginning that decide */
#define AC_FILE_TYPE_PIXELS 100000000LL /* of an image, at most */

typedef struct ac_file_type_t { /* zero it before use */
    char head[AC_FILE_TYPE_HEAD + 1];
    size_t n_head;
    int64_t size;
    bool binary;  /* some bytes are not of a text */
    char rest[4]; /* of a character that the last piece has cut */
    size_t n_rest;
} ac_file_type_t;
void ac_file_type_add(ac_file_type_t *type, const char *bytes, size_t len);
/* The media type of all that was added. name: decides between kinds of text only. NULL: an error is set.
 * errors: unsupported_media_type, invalid_request (empty), body_too_large (too many pixels). */
const char *ac_file_type_end(const ac_file_type_t *type, const char *name, ac_err_t *err);
extern const char *const ac_file_type_names[]; /* all media types; ends with NULL */
/* Whether a browser may show it where it is, and not only store it. */
bool ac_file_type_is_image(const char *type);

#endif
