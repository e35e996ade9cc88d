/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of a test's own, and its end. Included by the tests that need it. */
#ifndef AC_SCRATCH_H
#define AC_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static int scratch_drop(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

/* 0: everything was removed. */
static int scratch_remove(const char *path)
{
    return nftw(path, scratch_drop, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
