/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds every file of a directory to a fuzz target, built with the ordinary compiler: a regression test of past
 * findings. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LARGEST (1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes in memory of exactly their size, so that a read past the end is seen. */
static int replay_file(const char *path)
{
    static uint8_t bytes[LARGEST];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return -1;
    }
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    int failed = ferror(file);
    fclose(file);
    uint8_t *copy = failed ? NULL : malloc(size ? size : 1);
    if (!copy) {
        fprintf(stderr, "%s: cannot be read\n", path);
        return -1;
    }
    memcpy(copy, bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return 2;
    }
    DIR *directory = opendir(argv[1]);
    if (!directory) {
        perror(argv[1]);
        return 1;
    }
    int passed = 0, failed = 0;
    const struct dirent *entry;
    while ((entry = readdir(directory))) {
        char path[4096];
        struct stat info;
        int len = snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
        if (len < 0 || (size_t)len >= sizeof(path) || stat(path, &info) || !S_ISREG(info.st_mode)) {
            continue;
        }
        if (replay_file(path) == 0) {
            passed++;
        } else {
            failed++;
        }
    }
    closedir(directory);
    if (!passed && !failed) {
        fprintf(stderr, "%s: there is nothing to replay\n", argv[1]);
        failed = 1;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed ? 1 : 0;
}
