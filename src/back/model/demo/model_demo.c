/* SPDX-License-Identifier: Apache-2.0 */
/* The demonstration model: says what it has planned word by word, as a real model would, so that every part behind
 * it is the real one. */
#include "model_demo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_strings.h>

#define MEAN_PACE 30 /* ms from token to token */
#define MAX_PACE 1000
#define FIRST_WAIT 6 /* tokens' time before the first one */
#define MAX_TOKEN 16 /* bytes of a word that is said at once */

typedef struct demo_model_t {
    apr_interval_time_t pace;
    ac_loop_t *loop;
} demo_model_t;

typedef struct say_t { /* one answer on its way */
    demo_model_t *model;
    const ac_model_cb_t *cb;
    void *baton;
    demo_plan_t plan;
    size_t said;   /* bytes of the text */
    int call;      /* which of the calls */
    size_t argued; /* bytes of its arguments */
    bool announced;
    char ids[DEMO_MAX_CALLS][AC_ID_SIZE];
    int64_t n_tokens, max_tokens, n_prompt;
    ac_timer_t timer;
    bool busy, cancelled;
} say_t;

static void say_free(say_t *say)
{
    ac_timer_cancel(say->model->loop, &say->timer);
    demo_plan_free(&say->plan);
    free(say);
}

/* ---- tokens ---- */

/* Bytes of the next piece of text: blanks and the word behind them, or part of a long one, whole characters. */
static size_t next_token(const char *text, size_t len)
{
    size_t n = 0, start;
    while (n < len && (text[n] == ' ' || text[n] == '\n')) {
        n++;
    }
    start = n;
    while (n < len && text[n] != ' ' && text[n] != '\n' && n - start < MAX_TOKEN) {
        bool valid;
        n += ac_utf8_next(text + n, len - n, &valid);
    }
    return n;
}

static int64_t count_tokens(const char *text)
{
    int64_t n = 0;
    size_t len = strlen(text);
    for (size_t i = 0; i < len; n++) {
        i += next_token(text + i, len - i);
    }
    return n;
}

static int64_t count_prompt(const json_t *messages)
{
    int64_t n = 0;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        n += count_tokens(demo_text_of(json_array_get(messages, i)));
    }
    return n;
}

/* ---- saying ---- */

static void end_say(say_t *say, ac_finish_e finish)
{
    ac_model_end_t end = {.status = APR_SUCCESS, .finish = finish, .model = "demo"};
    ac_tool_call_t calls[DEMO_MAX_CALLS];
    for (int i = 0; i < say->plan.n_calls; i++) {
        calls[i] = (ac_tool_call_t){say->ids[i], say->plan.calls[i].name, say->plan.calls[i].arguments};
    }
    end.calls = say->plan.n_calls ? calls : NULL;
    end.n_calls = say->plan.n_calls;
    end.usage = (ac_usage_t){.prompt = say->n_prompt,
                             .completion = say->n_tokens,
                             .total = say->n_prompt + say->n_tokens,
                             .known = true};
    say->cb->on_end(say->baton, &end);
    say_free(say);
}

/* Says the next token. false: there is none. */
static bool say_text(say_t *say)
{
    const ac_buf_t *text = &say->plan.text;
    if (say->said == text->len) {
        return false;
    }
    size_t len = next_token(text->data + say->said, text->len - say->said);
    const char *token = text->data + say->said;
    say->said += len;
    say->cb->on_text(say->baton, token, len);
    return true;
}

static bool say_call(say_t *say)
{
    if (say->call == say->plan.n_calls) {
        return false;
    }
    const demo_call_t *call = &say->plan.calls[say->call];
    if (!say->announced) {
        say->announced = true;
        ac_id_make(say->ids[say->call], "call_");
        say->cb->on_tool_start(say->baton, say->call, say->ids[say->call], call->name);
        return true;
    }
    int index = say->call;
    const char *fragment = call->arguments + say->argued;
    size_t len = next_token(fragment, strlen(fragment));
    say->argued += len;
    if (!call->arguments[say->argued]) {
        say->call++;
        say->argued = 0;
        say->announced = false;
    }
    say->cb->on_tool_args(say->baton, index, fragment, len);
    return true;
}

static void model_demo_on_timer(void *baton);

/* A natural pace is not an even one: half to one and a half of the mean. */
static void wait_for_next(say_t *say, int n_tokens)
{
    apr_interval_time_t pace = say->model->pace * n_tokens;
    apr_interval_time_t wait = pace ? pace / 2 + (apr_interval_time_t)(ac_random() % (uint64_t)pace) : 0;
    ac_timer_set(say->model->loop, &say->timer, ac_loop_now(say->model->loop) + wait, model_demo_on_timer, say);
}

static void model_demo_on_timer(void *baton)
{
    say_t *say = baton;
    say->busy = true;
    bool cut = say->max_tokens && say->n_tokens >= say->max_tokens && !say->plan.n_calls;
    bool more = !cut && (say_call(say) || say_text(say));
    say->busy = false;
    if (say->cancelled) {
        say_free(say);
    } else if (more) {
        say->n_tokens++;
        wait_for_next(say, 1);
    } else {
        say->busy = true;
        bool whole = say->said == say->plan.text.len;
        end_say(say, say->plan.n_calls ? AC_FINISH_TOOL_CALLS : whole ? AC_FINISH_STOP : AC_FINISH_LENGTH);
    }
}

/* ---- the provider ---- */

static const char *model_demo_create(void **pself, const ac_model_conf_t *conf, apr_pool_t *p)
{
    const apr_array_header_t *options = conf->options ? apr_table_elts(conf->options) : NULL;
    demo_model_t *model = apr_pcalloc(p, sizeof(*model));
    model->pace = MEAN_PACE * 1000;
    for (int i = 0; options && i < options->nelts; i++) {
        const apr_table_entry_t *option = &APR_ARRAY_IDX(options, i, apr_table_entry_t);
        if (strcasecmp(option->key, "pace")) {
            return apr_psprintf(p,
                                "AgentChatEndpoint: there is no option '%s'; provider 'demo' knows pace=", option->key);
        }
        char *end;
        long pace = strtol(option->val, &end, 10);
        if (end == option->val || *end || pace < 0 || pace > MAX_PACE) {
            return apr_psprintf(p, "AgentChatEndpoint: pace='%s'; give the milliseconds from word to word, 0 to %d",
                                option->val, MAX_PACE);
        }
        model->pace = pace * 1000;
    }
    *pself = model;
    return NULL;
}

static apr_status_t model_demo_child_init(void *self, const ac_host_t *host, ac_err_t *err)
{
    demo_model_t *model = self;
    (void)err;
    model->loop = host->loop;
    return APR_SUCCESS;
}

static apr_status_t model_demo_ask(void **pcall, void *self, const ac_model_ask_t *what, const ac_model_cb_t *cb,
                                   void *baton, ac_err_t *err)
{
    (void)err;
    say_t *say = ac_alloc(sizeof(*say));
    say->model = self;
    say->cb = cb;
    say->baton = baton;
    say->max_tokens = what->max_tokens > 0 ? what->max_tokens : 0;
    say->n_prompt = count_prompt(what->messages);
    demo_plan_make(&say->plan, what);
    wait_for_next(say, FIRST_WAIT);
    *pcall = say;
    return APR_SUCCESS;
}

static void model_demo_cancel(void *self)
{
    say_t *say = self;
    if (say->busy) {
        say->cancelled = true;
    } else {
        say_free(say);
    }
}

typedef struct probe_t {
    void (*done)(void *baton, apr_status_t status, apr_interval_time_t took, const ac_err_t *err);
    void *baton;
    ac_ready_t ready;
} probe_t;

static void model_demo_end_probe(void *baton)
{
    probe_t *probe = baton;
    ac_err_t err;
    ac_err_init(&err);
    probe->done(probe->baton, APR_SUCCESS, 0, &err);
    free(probe);
}

/* What is built in is always reachable. */
static void probe(void *self,
                  void (*done)(void *baton, apr_status_t status, apr_interval_time_t took, const ac_err_t *err),
                  void *baton)
{
    demo_model_t *model = self;
    probe_t *probe = ac_alloc(sizeof(*probe));
    probe->done = done;
    probe->baton = baton;
    ac_ready_set(model->loop, &probe->ready, model_demo_end_probe, probe);
}

const ac_model_vt ac_model_demo = {"demo",         model_demo_create, model_demo_child_init,
                                   model_demo_ask, model_demo_cancel, probe};
