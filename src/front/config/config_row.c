/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the table of directives. */
#include "config_internal.h"

const ac_setting_t *ac_config_row(const command_rec *command)
{
    return command->name && command->name[0] != '<' ? command->cmd_data : NULL;
}

int ac_config_row_index(const ac_setting_t *setting)
{
    const command_rec *command = ac_directives;
    while (command->cmd_data != setting) {
        command++;
    }
    return (int)(command - ac_directives);
}

int ac_config_row_find(const char *name)
{
    for (const command_rec *command = ac_directives; command->name; command++) {
        if (strcmp(command->name, name) == 0) {
            return (int)(command - ac_directives);
        }
    }
    return -1;
}
