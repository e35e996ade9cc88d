/* SPDX-License-Identifier: Apache-2.0 */
/* The start of httpd and each reload: everything that is made once for all children, while httpd may still be root. */
#include "front_internal.h"

#include "front/stream/stream.h"

int ac_startup_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    ac_config_check_t check = ac_config_check_begin(s, pconf, ptemp);
    ac_conf_t *conf = check.conf;
    (void)plog;
    ac_log_front_install(s);
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK;
    }
    if (conf->active) {
        ac_log_front_open(&check);
        ac_audit_open(&check);
    }
    if (conf->active) {
        ac_blocking_streams_configure(&check);
    }
    if (conf->active && conf->needs_state_dir) {
        ac_config_store_make_dir(&check);
    }
    if (conf->active && !check.n_problems) {
        ac_event_logs_prepare(&check);
    }
    if (conf->active && !check.n_problems) {
        ac_limits_prepare(&check);
    }
    if (conf->active && !check.n_problems && !conf->store.self) {
        ac_config_store_create(&check, true);
    }
    ac_metrics_front_prepare(&check); /* before the cache, which takes the store's index over */
    if (conf->active && !check.n_problems) {
        ac_caching_prepare(&check);
    }
    int result = ac_reload_result(&check);
    if (result == OK && conf->out_of_service) {
        ac_reload_log_refusal(conf);
    }
    if (conf->active) {
        ac_park_wait_report(conf);
        ac_openapi_front_report(conf);
    }
    return result;
}
