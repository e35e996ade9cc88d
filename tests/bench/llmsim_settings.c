/* SPDX-License-Identifier: Apache-2.0 */
/* How llmsim answers: options of the program, and directives in a user message. */
#include "llmsim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char sim_settings_usage[] =
    "usage: llmsim [--port 9100] [--verbose] [--SETTING VALUE]...\n"
    "  --ttft-ms N       wait before the first token (0)\n"
    "  --tokens N        tokens in an answer; max_tokens lowers it (100)\n"
    "  --interval-us N   from one token to the next; 0 = as fast as possible (20000)\n"
    "  --jitter N        vary each interval by +-N percent (0)\n"
    "  --burst N         most tokens in one write, when more than one is due (16)\n"
    "  --stamp           tokens are 19-digit CLOCK_MONOTONIC ns, not \"t0001 \"\n"
    "  --tool-round      call the tool `calculate` before answering\n"
    "  --tool-rounds N   ... N times in a row (0)\n"
    "  --fault KIND      none, status, cut (close in mid-stream), stall,\n"
    "                    garbage (broken JSON in an event), split (half an event a write)\n"
    "  --status N        fault with this HTTP status; 429 has a Retry-After\n"
    "  --error-rate P    share of the requests that get the fault, 0 to 1 (1)\n"
    "  --fault-limit N   only the first N requests get it (0 = no limit)\n"
    "  --retry-after N   seconds in the Retry-After of a 429 (1)\n"
    "  --stall-ms N      a stall ends after this time; 0 = never (0)\n"
    "A setting can also be given to one request: [[sim tokens=5 fault=cut]]\n";

static const char *const fault_names[] = {"none", "status", "cut", "stall", "garbage", "split"};
enum { N_FAULTS = sizeof fault_names / sizeof *fault_names };

bool sim_settings_is_flag(const char *key)
{
    static const char *const flags[] = {"stamp", "tool-round", "verbose", "help"};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (strcmp(key, flags[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool set_fault(sim_settings_t *set, const char *name)
{
    for (int i = 0; i < N_FAULTS; i++) {
        if (strcmp(name, fault_names[i]) != 0) {
            continue;
        }
        set->fault = (sim_fault_e)i;
        return true;
    }
    return false;
}

static bool set_pace(sim_settings_t *set, const char *key, unsigned long n)
{
    if (strcmp(key, "ttft-ms") == 0) {
        set->ttft_ns = n * NS_PER_MS;
    } else if (strcmp(key, "tokens") == 0) {
        set->n_tokens = (unsigned)n;
    } else if (strcmp(key, "interval-us") == 0) {
        set->interval_ns = n * NS_PER_US;
    } else if (strcmp(key, "jitter") == 0) {
        set->jitter_pct = n > 100 ? 100 : (unsigned)n;
    } else if (strcmp(key, "burst") == 0) {
        set->burst = n ? (unsigned)n : 1;
    } else if (strcmp(key, "stamp") == 0) {
        set->stamp = n != 0;
    } else if (strcmp(key, "tool-round") == 0 || strcmp(key, "tool-rounds") == 0) {
        set->n_tool_rounds = (unsigned)n;
    } else {
        return false;
    }
    return true;
}

bool sim_settings_set(sim_settings_t *set, const char *key, const char *value)
{
    unsigned long n = strtoul(value, NULL, 10);
    if (set_pace(set, key, n)) {
        return true;
    }
    if (strcmp(key, "fault") == 0) {
        return set_fault(set, value);
    }
    if (strcmp(key, "error-rate") == 0) {
        set->fault_share = strtod(value, NULL);
    } else if (strcmp(key, "fault-limit") == 0) {
        set->fault_limit = (unsigned)n;
    } else if (strcmp(key, "retry-after") == 0) {
        set->retry_after_s = (unsigned)n;
    } else if (strcmp(key, "stall-ms") == 0) {
        set->stall_ns = n * NS_PER_MS;
    } else if (strcmp(key, "status") == 0) {
        set->fault = SIM_FAULT_STATUS;
        set->status = (unsigned)n;
    } else {
        return false;
    }
    return true;
}

void sim_settings_apply(sim_settings_t *set, const char *text)
{
    const char *open = text ? strstr(text, "[[sim ") : NULL;
    const char *end = open ? strstr(open, "]]") : NULL;
    if (!end) {
        return;
    }
    char words[256], *save = NULL;
    snprintf(words, sizeof words, "%.*s", (int)(end - open - 6), open + 6);
    for (char *word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *equals = strchr(word, '=');
        if (equals) {
            *equals = 0;
        }
        sim_settings_set(set, word, equals ? equals + 1 : "1");
    }
}

uint64_t sim_random(void)
{
    static uint64_t state = 0x9E3779B97F4A7C15ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

double sim_random_unit(void)
{
    return (double)(sim_random() >> 11) / 9007199254740992.0;
}
