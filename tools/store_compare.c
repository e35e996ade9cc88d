/* SPDX-License-Identifier: Apache-2.0 */
/* agentchat-store: the comparison of the two stores after a copy, and its report. */
#include "store_copy.h"

#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

#define SHOWN_DIFFERENCES 10

static bool count_thread(copy_t *copy, end_t *end, const char *id, counts_t *counts)
{
    char after[AC_ID_SIZE] = "";
    int64_t seq = 0;
    bool more = true;
    json_t *out, *item;
    size_t i;

    while (more) {
        out = store_copy_messages(copy, end, id, seq);
        size_t n = json_array_size(json_object_get(out, "data"));
        if (!out) {
            return false;
        }
        counts->messages += (int64_t)n;
        more = n > 0 && json_is_integer(json_object_get(out, "next"));
        seq = ac_json_peek_int(out, "next", seq);
        json_decref(out);
    }
    for (more = true; more;) {
        out = store_copy_runs(copy, end, id, after);
        if (!out) {
            return false;
        }
        more = json_is_string(json_object_get(out, "next"));
        apr_cpystrn(after, ac_json_peek_string(out, "next", ""), sizeof(after));
        json_array_foreach(json_object_get(out, "data"), i, item)
        {
            counts->runs++;
            counts->steps += (int64_t)json_array_size(json_object_get(item, "steps"));
        }
        json_decref(out);
    }
    return true;
}

static void add(counts_t *sum, const counts_t *counts)
{
    sum->threads += counts->threads;
    sum->messages += counts->messages;
    sum->runs += counts->runs;
    sum->steps += counts->steps;
}

bool store_compare_thread(copy_t *copy, json_t *record)
{
    const char *id = ac_json_peek_string(record, "id", "");
    counts_t from = {.threads = 1}, to = {.threads = apr_hash_get(copy->to.known, id, APR_HASH_KEY_STRING) != NULL};
    bool same = store_copy_is_done(copy, record);

    if (copy->quick) {
        from.messages = ac_json_peek_int(record, "message_count", 0);
        to.messages = same ? from.messages : 0;
    } else if (!count_thread(copy, &copy->from, id, &from) || (to.threads && !count_thread(copy, &copy->to, id, &to))) {
        return false;
    }
    same = same && from.messages == to.messages && from.runs == to.runs && from.steps == to.steps;
    if (!same && copy->n_different++ < SHOWN_DIFFERENCES) {
        fprintf(stderr, "different: %s\n", id);
    }
    add(&copy->seen_from, &from);
    add(&copy->seen_to, &to);
    return true;
}

bool store_compare_agents(copy_t *copy)
{
    json_t *from = store_copy_agents(copy, &copy->from), *to = store_copy_agents(copy, &copy->to), *agent;
    bool fine = from && to;
    size_t i;

    json_array_foreach(json_object_get(from, "data"), i, agent)
    {
        bool same = json_equal(store_copy_find_agent(to, agent), agent);
        copy->seen_from.agents++;
        copy->seen_to.agents += same;
        if (!same && copy->n_different++ < SHOWN_DIFFERENCES) {
            fprintf(stderr, "different: %s\n", ac_json_peek_string(agent, "id", ""));
        }
    }
    json_decref(from);
    json_decref(to);
    return fine;
}

static void print_row(const char *name, int64_t from, int64_t to)
{
    printf("%-10s %12" APR_INT64_T_FMT " %12" APR_INT64_T_FMT "%s\n", name, (apr_int64_t)from, (apr_int64_t)to,
           from == to ? "" : "   different");
}

bool store_compare_report(const copy_t *copy)
{
    printf("%-10s %12s %12s\n", "", "from", "to");
    print_row("threads", copy->seen_from.threads, copy->seen_to.threads);
    print_row("messages", copy->seen_from.messages, copy->seen_to.messages);
    if (!copy->quick) {
        print_row("runs", copy->seen_from.runs, copy->seen_to.runs);
        print_row("steps", copy->seen_from.steps, copy->seen_to.steps);
    }
    print_row("agents", copy->seen_from.agents, copy->seen_to.agents);
    print_row("usage", copy->seen_from.usage, copy->seen_to.usage);
    print_row("files", copy->seen_from.files, copy->seen_to.files);
    if (copy->to.files.vt) {
        print_row("contents", copy->seen_from.contents, copy->seen_to.contents);
    }
    printf("%s\n",
           copy->n_different ? "The stores differ. Was the server writing meanwhile? Give the command again."
                             : "All is there.");
    return copy->n_different == 0;
}
