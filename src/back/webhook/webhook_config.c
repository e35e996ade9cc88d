/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of the directives of an <AgentChatWebhook> section: errors are found when httpd starts. */
#include "webhook_internal.h"

#include "back/tools/tools.h"

#include <apr_strings.h>
#include <string.h>
#include <strings.h>

static const char *const usual_retries[] = {"5s", "5min", "30min", "2h", "5h", "10h", "14h", "20h", "24h"};

static const char *webhook_check_url(const ac_webhook_conf_t *conf, apr_pool_t *p)
{
    if (!conf->url) {
        return "AgentChatWebhookURL is missing; give one like https://host/path";
    }
    if (!ac_http_address_url_valid(conf->url)) {
        return apr_psprintf(p, "AgentChatWebhookURL: '%s' is not an http or https URL; give one like https://host/path",
                            conf->url);
    }
    if (strchr(conf->url, '#')) {
        return "AgentChatWebhookURL: the URL has a fragment, which is never sent";
    }
    const char *host = ac_tool_header_host(conf->url, p);
    if (!conf->allow_private && ac_tool_header_is_private(conf->url, p)) {
        return apr_psprintf(p,
                            "AgentChatWebhookURL: '%s' is a private address; write AgentChatWebhookAllowPrivate on, if "
                            "the receiver is one of your own",
                            host);
    }
    if (strncasecmp(conf->url, "http:", 5) == 0 && !conf->insecure && !ac_http_address_near(host)) {
        return apr_psprintf(p,
                            "AgentChatWebhookURL: over plain http others could read the events on their way to %s; use "
                            "https, or add insecure=on if the way is safe",
                            host);
    }
    return NULL;
}

static const char *webhook_add_key(ac_webhook_t *webhook, const ac_secret_t *secret, apr_pool_t *p)
{
    if (!secret->value) {
        return NULL;
    }
    return ac_webhook_signature_key(&webhook->keys[webhook->n_keys++], secret->value)
        ? NULL
        : apr_psprintf(
              p,
              "AgentChatWebhookSecret: %s is not whsec_ and the base64 of 24 to 64 bytes; this makes one: echo "
              "whsec_$(openssl rand -base64 32)",
              secret->spec);
}

static const char *webhook_check_secret(ac_webhook_t *webhook, apr_pool_t *p)
{
    const ac_webhook_conf_t *conf = webhook->conf;
    if (!conf->secret.value) {
        return "AgentChatWebhookSecret is missing; give env:NAME or file:PATH";
    }
    const char *problem = webhook_add_key(webhook, &conf->secret, p);
    return problem ? problem : webhook_add_key(webhook, &conf->previous, p);
}

static const char *webhook_check_events(const ac_webhook_conf_t *conf, apr_pool_t *p)
{
    static const char *const known[] = {"run.completed", "run.failed", "run.cancelled", "run.approval_required"};
    for (int i = 0; conf->events && i < conf->events->nelts; i++) {
        const char *event = APR_ARRAY_IDX(conf->events, i, const char *);
        size_t j = 0;
        while (j < sizeof known / sizeof *known && strcmp(known[j], event) != 0) {
            j++;
        }
        if (j == sizeof known / sizeof *known) {
            return apr_psprintf(p,
                                "AgentChatWebhookEvents: there is no event '%s'; known are run.completed, run.failed, "
                                "run.cancelled, run.approval_required",
                                event);
        }
    }
    return NULL;
}

static const char *webhook_set_retries(ac_webhook_t *webhook, apr_pool_t *p)
{
    const apr_array_header_t *given = webhook->conf->retries;
    int n = given ? given->nelts : (int)(sizeof usual_retries / sizeof *usual_retries);
    if (n == 1 && given && strcmp(APR_ARRAY_IDX(given, 0, const char *), "none") == 0) {
        return NULL;
    }
    if (n > AC_WEBHOOK_MAX_RETRIES) {
        return apr_psprintf(p, "AgentChatWebhookRetries: give at most %d times", AC_WEBHOOK_MAX_RETRIES);
    }
    for (int i = 0; i < n; i++) {
        const char *word = given ? APR_ARRAY_IDX(given, i, const char *) : usual_retries[i];
        apr_interval_time_t *wait = &webhook->retries[webhook->n_retries++];
        if (!ac_time_parse_duration(wait, word) || *wait < apr_time_from_msec(100) ||
            *wait > apr_time_from_sec(7 * 24 * 3600)) {
            return apr_psprintf(p,
                                "AgentChatWebhookRetries: '%s' is not a time from 100ms to 7d, such as 5min, or none",
                                word);
        }
    }
    return NULL;
}

const char *ac_webhook_config_create(ac_webhook_t **pwebhook, const ac_webhook_conf_t *conf, apr_pool_t *p)
{
    ac_webhook_t *webhook = *pwebhook = apr_pcalloc(p, sizeof *webhook);
    webhook->conf = conf;
    const char *problem = webhook_check_url(conf, p);
    problem = problem ? problem : webhook_check_secret(webhook, p);
    problem = problem ? problem : webhook_check_events(conf, p);
    return problem ? problem : webhook_set_retries(webhook, p);
}

const char *ac_webhook_config_id(const ac_webhook_t *webhook)
{
    return webhook->conf->id;
}

void ac_webhook_config_set_metric(ac_webhook_t *webhook, unsigned metric)
{
    webhook->metric = metric;
}

json_t *ac_webhook_config_json(const ac_webhook_t *webhook)
{
    const apr_array_header_t *events = webhook->conf->events;
    json_t *json = json_pack("{s:s}", "name", webhook->conf->id), *list = events ? json_array() : NULL;
    for (int i = 0; events && i < events->nelts; i++) {
        json_array_append_new(list, json_string(APR_ARRAY_IDX(events, i, const char *)));
    }
    if (list) {
        ac_json_put(json, "events", list);
    }
    return json;
}

const ac_webhook_t *ac_webhook_config_find(const apr_array_header_t *webhooks, const char *name)
{
    for (int i = 0; i < webhooks->nelts; i++) {
        const ac_webhook_t *webhook = APR_ARRAY_IDX(webhooks, i, const ac_webhook_t *);
        if (strcmp(webhook->conf->id, name) == 0) {
            return webhook;
        }
    }
    return NULL;
}
