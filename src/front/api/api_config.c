/* SPDX-License-Identifier: Apache-2.0 */
/* GET /debug/config: the settings in force. */
#include "api.h"

int ac_api_config_get(ac_request_t *rq)
{
    return ac_reply_json(rq, HTTP_OK, ac_config_show(rq->mount, rq->r->pool));
}
