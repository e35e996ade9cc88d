/* SPDX-License-Identifier: Apache-2.0 */
/* The child that this process is. */
#include "front_internal.h"

#include <signal.h>

static ac_child_life_t *current; /* once everything has started */

ac_child_t *ac_child(void)
{
    return current ? &current->child : NULL;
}

ac_child_life_t *ac_child_life(void)
{
    return current;
}

void ac_child_set(ac_child_life_t *life)
{
    current = life;
}

void ac_child_end_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
}
