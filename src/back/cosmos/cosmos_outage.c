/* SPDX-License-Identifier: Apache-2.0 */
/* Outages of the Cosmos DB store: one log line when an outage begins, and one when it is over. */
#include "cosmos_internal.h"

#define QUIET_TIME apr_time_from_sec(60)

static void log_beginning(const ac_cosmos_t *store, int number, const char *what)
{
    const char *host = store->conf.host, *database = store->conf.database;
    switch (number) {
    case AC_M220:
        ac_log(AC_M220, 0, "store cosmos[%s/%s]: %s (credential=%s)", host, database, what,
               ac_credential_spec(store->conf.credential));
        break;
    case AC_M221: ac_log(AC_M221, 0, "store cosmos[%s/%s]: %s", host, database, what); break;
    case AC_M222:
        ac_log(AC_M222, 0, "store cosmos[%s/%s]: %s; make it as docs/cosmos.md says, or give create=on", host, database,
               what);
        break;
    case AC_M223:
        ac_log(AC_M223, 0,
               "store cosmos[%s/%s]: %s; look at the account's name in AgentChatStore, its firewall, and the "
               "way there",
               host, database, what);
        break;
    case AC_M225: ac_log(AC_M225, 0, "store cosmos[%s/%s]: operations were given up: %s", host, database, what); break;
    case AC_M229:
        ac_log(AC_M229, 0, "store cosmos[%s/%s]: %s; another program has changed the thread's documents", host,
               database, what);
        break;
    default: ac_log(AC_M228, 0, "store cosmos[%s/%s]: %s; operations fail until this is over", host, database, what);
    }
}

void ac_cosmos_outage_begin(ac_cosmos_t *store, int number, const char *what)
{
    bool begins = store->outage.number != number;
    store->outage.number = number;
    store->outage.at = ac_clock();
    if (begins) {
        log_beginning(store, number, what);
    }
}

void ac_cosmos_outage_end(ac_cosmos_t *store)
{
    if (store->outage.number && ac_clock() - store->outage.at > QUIET_TIME) {
        store->outage.number = 0;
        ac_log(AC_M226, 0, "store cosmos[%s/%s]: works again", store->conf.host, store->conf.database);
    }
}
