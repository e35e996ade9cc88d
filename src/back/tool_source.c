/* SPDX-License-Identifier: Apache-2.0 */
/* Callers that wait for the list of a source of tools, in the order in which they came. */
#include "back.h"

void ac_tool_source_wait(ac_tool_waiter_t **plist, ac_tool_waiter_t *waiter)
{
    while (*plist) {
        plist = &(*plist)->next;
    }
    waiter->next = NULL;
    waiter->plink = plist;
    *plist = waiter;
}

void ac_tool_source_forget(ac_tool_waiter_t *waiter)
{
    if (!waiter->plink) {
        return;
    }
    *waiter->plink = waiter->next;
    if (waiter->next) {
        waiter->next->plink = waiter->plink;
    }
    waiter->next = NULL;
    waiter->plink = NULL;
}

void ac_tool_source_report(ac_tool_waiter_t **plist)
{
    ac_tool_waiter_t *list = *plist;
    *plist = NULL;
    if (list) {
        list->plink = &list;
    }
    while (list) {
        ac_tool_waiter_t *waiter = list;
        ac_tool_source_forget(waiter);
        waiter->fn(waiter->baton);
    }
}
