/* SPDX-License-Identifier: Apache-2.0 */
/* Compares what operations of the Cosmos DB store send with tables. */
#include "cosmos_requests.h"

contract_ids_t requests_ids;
char requests_run[AC_ID_SIZE], requests_next_run[AC_ID_SIZE];
static const cosmos_server_t *requests_server;

void requests_call(ac_store_verb_e verb, const char *id, json_t *in)
{
    contract_done(contract_call(verb, requests_ids.owner, id, in));
}

void requests_refuse(ac_store_verb_e verb, const char *id, json_t *in, ac_kind_e kind)
{
    contract_kind(contract_call(verb, requests_ids.owner, id, in), kind);
}

void requests_new_ids(void)
{
    requests_ids = contract_ids();
    ac_id_make(requests_run, "run_");
    ac_id_make(requests_next_run, "run_");
}

/* A fault at the next request that matches; of a batch, at its first operation. */
void requests_fault_at(const char *match, bool batch, int status)
{
    char order[256];
    snprintf(order, sizeof(order), "{\"faults\":[{\"match\":\"%s\",%s\"status\":%d}]}", match, batch ? "\"op\":0," : "",
             status);
    cosmos_server_order(requests_server, order);
}

void requests_no_thread(void)
{
    requests_new_ids();
}

void requests_empty_thread(void)
{
    requests_new_ids();
    requests_call(AC_STORE_THREAD_CREATE, NULL, contract_thread(requests_ids.thread, "T", 1));
}

void requests_open_turn(void)
{
    requests_new_ids();
    contract_open(&requests_ids, requests_run, "question", true);
}

void requests_closed_turn(void)
{
    requests_open_turn();
    contract_close(&requests_ids, requests_run, "answer");
}

/* ---- the comparison ---- */

static json_t *journal(const char *order)
{
    json_t *answer = cosmos_server_tell(requests_server, order),
           *lines = json_incref(json_object_get(answer, "journal"));
    json_decref(answer);
    return lines;
}

static size_t count(const char *const *requests)
{
    size_t n = 0;
    while (n < COSMOS_REQUESTS_MOST && requests[n]) {
        n++;
    }
    return n;
}

/* Removes the requests that count the usage of ended runs: they come at any time after the run's end. */
static json_t *without_counting(json_t *lines)
{
    size_t i = json_array_size(lines);
    int n_entries = 0;
    while (i-- > 0) {
        const char *line = json_string_value(json_array_get(lines, i));
        bool counts = strstr(line, " usage") != NULL, entry = n_entries > 0 && strcmp(line, "READ threads: run") == 0;
        n_entries += (counts && strncmp(line, "BATCH", 5) == 0) - entry;
        if (counts || entry) {
            json_array_remove(lines, i);
        }
    }
    return lines;
}

/* Some requests of a row are sent after its operation is answered: waits for as many as there should be. */
static json_t *requests_of(size_t n)
{
    json_t *lines = json_array();
    COSMOS_UNTIL(
        cosmos_uncounted(requests_server) == 0 &&
        (json_decref(lines), lines = without_counting(journal("{\"journal\":\"read\"}")), json_array_size(lines) >= n));
    return lines;
}

static bool row_fits(const cosmos_requests_t *row, const json_t *lines)
{
    size_t n = count(row->requests);
    bool fits = json_array_size(lines) == n;
    for (size_t i = 0; fits && i < n; i++) {
        fits = strcmp(json_string_value(json_array_get(lines, i)), row->requests[i]) == 0;
    }
    return fits;
}

void cosmos_requests_check(cosmos_child_t *child, const cosmos_server_t *server, const cosmos_requests_t *rows,
                           size_t n)
{
    int n_wrong = 0;
    requests_server = server;
    json_decref(journal("{\"journal\":\"begin\"}")); /* the store looks at its containers as soon as its child starts */
    cosmos_child_open(child, server, "lease=1d");    /* nothing is renewed during that time */
    for (const cosmos_requests_t *row = rows; row < rows + n; row++) {
        if (row->prepare) {
            row->prepare();
            COSMOS_UNTIL(cosmos_uncounted(server) == 0);
        }
        if (row->prepare || row > rows) {
            json_decref(journal("{\"journal\":\"begin\"}"));
        }
        row->act();
        json_t *lines = requests_of(count(row->requests)), *line;
        size_t i;
        if (!row_fits(row, lines)) {
            n_wrong++;
            print_error("%s:\n", row->name);
            json_array_foreach(lines, i, line)
            {
                print_error("\"%s\",\n", json_string_value(line));
            }
        }
        json_decref(lines);
    }
    assert_int_equal(n_wrong, 0);
}
