/* SPDX-License-Identifier: Apache-2.0 */
#include "http_play.h"

rig_t rig;
http_server_t *server;
exchange_t exchange;

int play_set_up(void **state)
{
    (void)state;
    rig_open(&rig);
    return 0;
}

void play_end(void)
{
    if (server) {
        http_server_stop(server);
        server = NULL;
    }
    exchange_free(&exchange);
}

int play_tear_down(void **state)
{
    (void)state;
    rig_close(&rig);
    play_end();
    return 0;
}

void play_scripts(const server_step_t *const *scripts, const char *path)
{
    server = http_server_start(scripts);
    exchange_init(&exchange, &rig, server, path);
}

void play(const server_step_t *script)
{
    static const server_step_t *scripts[2];
    scripts[0] = script;
    play_scripts(scripts, "/path?q=1");
}
