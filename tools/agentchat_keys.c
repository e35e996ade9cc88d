/* SPDX-License-Identifier: Apache-2.0 */
/* agentchat-keys: makes, lists, rotates and revokes the API keys of a file that AgentChatKeys names. A running
 * server reads changes within two seconds. */
#include "back/apikey/apikey.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>

#define SECRET_CHARS 40 /* of 32 letters: 200 bits, so that a plain hash of it is safe to keep */

static const char usage[] =
    "usage: agentchat-keys [-g GROUP] make FILE ID owner=NAME [roles=A,B] [limits=\"...\"] [expires=WHEN]\n"
    "       agentchat-keys list FILE\n"
    "       agentchat-keys rotate FILE ID [overlap=DURATION] [expires=WHEN]\n"
    "       agentchat-keys revoke FILE ID\n"
    "make and rotate print the key. It is shown this once: the file has only its SHA-256. WHEN is a date, as "
    "2027-01-31 or\n"
    "2027-01-31T12:00:00Z, a DURATION from now, as 90d, or never. rotate leaves the old key valid for the overlap, "
    "by default not at all.\n"
    "A new file has the mode 600, with -g the mode 640 and this group, so that httpd can read it.\n";

typedef struct edit_t {
    apr_pool_t *pool;
    const char *path, *group;
    int lock;         /* the file, locked */
    struct stat info; /* of it */
    char *text;       /* as it was */
    size_t len;
    ac_keyring_t *ring;
} edit_t;

static int complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int complain(const char *fmt, ...)
{
    va_list args;
    fputs("agentchat-keys: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    return 1;
}

/* ---- the file: one program at a time edits it; a reader sees the old one or the new one ---- */

/* Locks the file at the path: if another program has replaced it meanwhile, the new file. */
static int lock_file(edit_t *edit, bool create)
{
    char *real = realpath(edit->path, NULL); /* replaces the target of a symlink, not the link */
    edit->path = real ? apr_pstrdup(edit->pool, real) : edit->path;
    free(real);
    for (;;) {
        struct stat there;
        edit->lock = open(edit->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
        if (edit->lock < 0 || flock(edit->lock, LOCK_EX) || fstat(edit->lock, &edit->info)) {
            return complain("%s: %s", edit->path, strerror(errno));
        }
        if (!stat(edit->path, &there) && there.st_ino == edit->info.st_ino && there.st_dev == edit->info.st_dev) {
            return 0;
        }
        close(edit->lock);
    }
}

static int read_text(edit_t *edit)
{
    ssize_t n = 1;
    if (!S_ISREG(edit->info.st_mode) || edit->info.st_size > AC_MAX_KEYRING) {
        return complain("%s: it is not a regular file, or too long", edit->path);
    }
    edit->text = apr_palloc(edit->pool, (size_t)edit->info.st_size + 1);
    while (edit->len < (size_t)edit->info.st_size &&
           (n = read(edit->lock, edit->text + edit->len, (size_t)edit->info.st_size - edit->len)) > 0) {
        edit->len += (size_t)n;
    }
    edit->text[edit->len] = '\0';
    return n < 0 ? complain("%s: %s", edit->path, strerror(errno)) : 0;
}

static int parse(edit_t *edit)
{
    ac_err_t err;
    ac_err_init(&err);
    if (ac_keyring_parse(&edit->ring, edit->text, edit->len, &err) != APR_SUCCESS) {
        return complain("%s: %s; nothing was changed", edit->path, err.detail);
    }
    return 0;
}

static int open_edit(edit_t *edit, bool create)
{
    return lock_file(edit, create) || read_text(edit) || parse(edit);
}

static bool write_all(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        text += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* A new file belongs to the caller; a replaced one keeps owner and permissions. */
static bool set_mode(const edit_t *edit, int fd)
{
    mode_t mode = edit->info.st_mode & 07777;
    gid_t gid = edit->info.st_gid;
    if (edit->group) {
        const struct group *group = getgrnam(edit->group);
        if (!group) {
            errno = ENOENT;
            return false;
        }
        gid = group->gr_gid;
        mode = 0640;
    }
    return !fchown(fd, (uid_t)-1, gid) &&
        (edit->info.st_uid == geteuid() || !fchown(fd, edit->info.st_uid, (gid_t)-1)) && !fchmod(fd, mode);
}

static bool sync_directory(edit_t *edit)
{
    char *path = apr_pstrdup(edit->pool, edit->path), *slash = strrchr(path, '/');
    int fd;
    if (slash) {
        slash[slash == path] = '\0';
    }
    fd = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool fine = fd >= 0 && !fsync(fd);
    if (fd >= 0) {
        close(fd);
    }
    return fine;
}

static int replace_file(edit_t *edit, const char *text)
{
    char *name = apr_pstrcat(edit->pool, edit->path, ".XXXXXX", NULL);
    ac_keyring_t *ring = NULL;
    ac_err_t err;
    int fd;
    ac_err_init(&err);
    /* A text that the server would refuse is not written. */
    if (ac_keyring_parse(&ring, text, strlen(text), &err) != APR_SUCCESS) {
        return complain("%s", err.detail);
    }
    ac_keyring_unref(ring);
    fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0) {
        return complain("%s: %s", name, strerror(errno));
    }
    bool fine = write_all(fd, text, strlen(text)) && set_mode(edit, fd) && !fsync(fd) && !rename(name, edit->path);
    int reason = errno;
    close(fd);
    if (!fine) {
        unlink(name);
        return complain("%s: %s", edit->path, strerror(reason));
    }
    return sync_directory(edit) ? 0 : complain("%s: its directory cannot be synced: %s", edit->path, strerror(errno));
}

/* ---- lines ---- */

static const char *in_quotes(const char *value, apr_pool_t *pool)
{
    char *out = apr_palloc(pool, 2 * strlen(value) + 3), *to = out;
    if (*value && !strpbrk(value, " \t\"\\#")) {
        return value;
    }
    *to++ = '"';
    for (; *value; value++) {
        if (*value == '"' || *value == '\\') {
            *to++ = '\\';
        }
        *to++ = *value;
    }
    *to++ = '"';
    *to = '\0';
    return out;
}

static const char *time_text(apr_time_t when, apr_pool_t *pool)
{
    char text[AC_TIME_SIZE];
    ac_time_format(text, when);
    apr_cpystrn(text + 19, "Z", sizeof(text) - 19); /* without milliseconds */
    return when ? apr_pstrdup(pool, text) : "never";
}

static const char *hash_text(const unsigned char hash[AC_API_KEY_HASH], apr_pool_t *pool)
{
    char text[2 * AC_API_KEY_HASH + 1];
    ac_text_hex(text, hash, AC_API_KEY_HASH);
    return apr_pstrcat(pool, "sha256:", text, NULL);
}

static const char *line_of(const ac_api_key_t *key, apr_pool_t *pool)
{
    const char *line =
        apr_psprintf(pool, "id=%s key=%s owner=%s", key->id, hash_text(key->hash, pool), in_quotes(key->owner, pool));
    if (*key->roles) {
        line = apr_pstrcat(pool, line, " roles=", in_quotes(key->roles, pool), NULL);
    }
    if (key->limits) {
        line = apr_pstrcat(pool, line, " limits=", in_quotes(key->limits, pool), NULL);
    }
    line = apr_pstrcat(pool, line, " expires=", time_text(key->expires, pool), " enabled=", key->enabled ? "on" : "off",
                       NULL);
    if (key->has_previous) {
        line = apr_pstrcat(pool, line, " previous=", hash_text(key->previous, pool),
                           " previous-expires=", time_text(key->previous_expires, pool), NULL);
    }
    return line;
}

/* The text with line `number` replaced, or with the line appended if number is 0. Comments and other lines stay. */
static const char *with_line(const edit_t *edit, int number, const char *line)
{
    const char *start = edit->text, *end;
    if (!number) {
        bool ends = !edit->len || edit->text[edit->len - 1] == '\n';
        return apr_pstrcat(edit->pool, edit->text, ends ? "" : "\n", line, "\n", NULL);
    }
    for (int i = 1; i < number; i++) {
        start = strchr(start, '\n') + 1;
    }
    end = strchr(start, '\n');
    return apr_pstrcat(edit->pool, apr_pstrmemdup(edit->pool, edit->text, (size_t)(start - edit->text)), line,
                       end ? end : "\n", NULL);
}

/* ---- options ---- */

static const char *draw_key(ac_api_key_t *key, apr_pool_t *pool)
{
    static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";
    unsigned char bytes[SECRET_CHARS];
    char secret[SECRET_CHARS + 1];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
        abort();
    }
    for (int i = 0; i < SECRET_CHARS; i++) {
        secret[i] = letters[bytes[i] & 31];
    }
    secret[SECRET_CHARS] = '\0';
    const char *text = apr_pstrcat(pool, AC_API_KEY_PREFIX, key->id, "_", secret, NULL);
    ac_keyring_hash(key->hash, text);
    return text;
}

static bool parse_when(apr_time_t *pwhen, const char *text)
{
    apr_interval_time_t span = 0;
    if (strcmp(text, "never") == 0) {
        *pwhen = 0;
        return true;
    }
    if (ac_time_parse_duration(&span, text) && span > 0) {
        *pwhen = (apr_time_now() + span) / APR_USEC_PER_SEC * APR_USEC_PER_SEC;
        return true;
    }
    return ac_time_parse(pwhen, text) && *pwhen > 0; /* 0 would mean never */
}

typedef struct wish_t {
    ac_api_key_t *key;
    apr_interval_time_t overlap;
    bool rotates;
} wish_t;

/* Reads name=value of the command. Returns NULL or an error message. The rules of the file are checked when the line is
 * read back. */
static const char *take_wish(wish_t *wish, const char *word)
{
    const char *value = strchr(word, '=');
    size_t len = value ? (size_t)(value++ - word) : 0;
    bool makes = !wish->rotates;
    if (makes && len == 5 && strncmp(word, "owner", len) == 0) {
        wish->key->owner = value;
    } else if (makes && len == 5 && strncmp(word, "roles", len) == 0) {
        wish->key->roles = value;
    } else if (makes && len == 6 && strncmp(word, "limits", len) == 0) {
        wish->key->limits = *value ? value : NULL;
    } else if (len == 7 && strncmp(word, "expires", len) == 0) {
        return parse_when(&wish->key->expires, value)
            ? NULL
            : "expires= takes a date like 2027-01-31, a duration like 90d, or never";
    } else if (wish->rotates && len == 7 && strncmp(word, "overlap", len) == 0) {
        return ac_time_parse_duration(&wish->overlap, value) && wish->overlap >= 0
            ? NULL
            : "overlap= takes a duration like 24h";
    } else {
        return makes ? "behind the id stand owner=, roles=, limits= and expires="
                     : "behind the id stand overlap= and expires=";
    }
    return NULL;
}

static const char *take_wishes(wish_t *wish, char **words)
{
    const char *problem = NULL;
    for (; *words && !problem; words++) {
        problem = take_wish(wish, *words);
    }
    return problem;
}

static int show_key(int failed, const char *text)
{
    if (!failed) {
        puts(text);
    }
    return failed;
}

static int make_key(edit_t *edit, const char *id, char **words)
{
    ac_api_key_t key = {.id = id, .roles = "", .enabled = true};
    wish_t wish = {.key = &key};
    const char *problem = ac_keyring_id_valid(id) ? take_wishes(&wish, words)
                                                  : "an id is 1 to 64 letters, digits, '-' and '.'";
    if (!problem && !key.owner) {
        problem = "whose key is it? Give owner=NAME";
    }
    if (problem) {
        return complain("%s", problem);
    }
    if (edit->group && !getgrnam(edit->group)) {
        return complain("there is no group '%s'", edit->group);
    }
    if (open_edit(edit, true)) {
        return 1;
    }
    if (ac_keyring_find(edit->ring, id)) {
        return complain("%s: there is a key '%s' already; rotate it, or choose another id", edit->path, id);
    }
    const char *text = draw_key(&key, edit->pool);
    return show_key(replace_file(edit, with_line(edit, 0, line_of(&key, edit->pool))), text);
}

static int find_key(ac_api_key_t *key, edit_t *edit, const char *id)
{
    if (open_edit(edit, false)) {
        return 1;
    }
    const ac_api_key_t *found = ac_keyring_find(edit->ring, id);
    if (!found) {
        return complain("%s: there is no key '%s'", edit->path, id);
    }
    *key = *found;
    return 0;
}

static int rotate_key(edit_t *edit, const char *id, char **words)
{
    ac_api_key_t key;
    wish_t wish = {.key = &key, .rotates = true};
    if (find_key(&key, edit, id)) {
        return 1;
    }
    if (!key.enabled) {
        return complain("the key '%s' was revoked; make another one", id);
    }
    const char *problem = take_wishes(&wish, words);
    if (problem) {
        return complain("%s", problem);
    }
    key.has_previous = wish.overlap > 0;
    memcpy(key.previous, key.hash, sizeof(key.previous));
    key.previous_expires = apr_time_now() + wish.overlap;
    const char *text = draw_key(&key, edit->pool);
    return show_key(replace_file(edit, with_line(edit, key.line, line_of(&key, edit->pool))), text);
}

static int revoke_key(edit_t *edit, const char *id)
{
    ac_api_key_t key;
    if (find_key(&key, edit, id)) {
        return 1;
    }
    key.enabled = key.has_previous = false;
    return replace_file(edit, with_line(edit, key.line, line_of(&key, edit->pool)));
}

static int list_keys(edit_t *edit)
{
    ac_err_t err;
    int n = 0;
    apr_time_t now = apr_time_now();
    ac_err_init(&err);
    if (ac_keyring_read(&edit->ring, edit->path, &err) != APR_SUCCESS) {
        return complain("%s: %s", edit->path, err.detail);
    }
    const ac_api_key_t *keys = ac_keyring_keys(&n, edit->ring);
    printf("%-24s %-20s %-16s %-20s %-8s %s\n", "ID", "OWNER", "ROLES", "EXPIRES", "STATE", "LIMITS");
    for (int i = 0; i < n; i++) {
        const char *state = !keys[i].enabled                                                        ? "revoked"
            : keys[i].expires && keys[i].expires <= now                                             ? "expired"
            : keys[i].has_previous && (!keys[i].previous_expires || keys[i].previous_expires > now) ? "rotated"
                                                                                                    : "valid";
        printf("%-24s %-20s %-16s %-20s %-8s %s\n", keys[i].id, keys[i].owner, *keys[i].roles ? keys[i].roles : "-",
               time_text(keys[i].expires, edit->pool), state, keys[i].limits ? keys[i].limits : "-");
    }
    return 0;
}

static int run(edit_t *edit, int argc, char **argv)
{
    const char *verb = argc > 0 ? argv[0] : "";
    edit->path = argc > 1 ? argv[1] : "";
    for (int i = 0; i < argc; i++) {
        for (const char *at = argv[i]; *at; at++) {
            if ((unsigned char)*at < 0x20 || *at == 0x7f) {
                return complain("there is a control character"); /* which would make two lines of one */
            }
        }
    }
    if (strcmp(verb, "make") == 0 && argc > 2) {
        return make_key(edit, argv[2], argv + 3);
    }
    if (strcmp(verb, "rotate") == 0 && argc > 2) {
        return rotate_key(edit, argv[2], argv + 3);
    }
    if (strcmp(verb, "revoke") == 0 && argc == 3) {
        return revoke_key(edit, argv[2]);
    }
    if (strcmp(verb, "list") == 0 && argc == 2) {
        return list_keys(edit);
    }
    fputs(usage, stderr);
    return 2;
}

int main(int argc, char **argv)
{
    edit_t edit = {.lock = -1};
    int at = 1;
    apr_initialize();
    apr_pool_create(&edit.pool, NULL);
    if (argc > 2 && strcmp(argv[1], "-g") == 0) {
        edit.group = argv[2];
        at = 3;
    }
    int status = run(&edit, argc - at, argv + at);
    ac_keyring_unref(edit.ring);
    if (edit.lock >= 0) {
        close(edit.lock);
    }
    apr_pool_destroy(edit.pool);
    apr_terminate();
    return status;
}
