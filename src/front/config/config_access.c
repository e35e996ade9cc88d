/* SPDX-License-Identifier: Apache-2.0 */
/* Permissions of the children. httpd reads its configuration as root, who may do everything; so `apachectl
 * configtest` checks files and directories as the user of the children. */
#include "config_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <unistd.h>

#include "unixd.h"

#define MAX_GROUPS 65536 /* Linux's own */

typedef void as_child_fn(void *baton);

const char *ac_config_access_user(void)
{
    return geteuid() ? "the user that httpd is started by" : ap_unixd_config.user_name;
}

/* Calls fn as the user of the children. Returns 0, or the errno of the change of user. One thread reads a
 * configuration. */
static int as_child(as_child_fn *fn, void *baton, apr_pool_t *ptemp)
{
    uid_t user = ap_unixd_config.user_id;
    gid_t group = ap_unixd_config.group_id, mine = getegid(), *groups = apr_palloc(ptemp, MAX_GROUPS * sizeof(gid_t));
    if (geteuid() || !user || user == (uid_t)-1) {
        fn(baton);
        return 0;
    }
    int n = getgroups(MAX_GROUPS, groups), problem = 0;
    if (n >= 0 && !initgroups(ap_unixd_config.user_name, group) && !setegid(group) && !seteuid(user)) {
        fn(baton);
    } else {
        problem = errno ? errno : EPERM;
    }
    if (seteuid(0) || setegid(mine) || (n >= 0 && setgroups((size_t)n, groups))) {
        abort(); /* never continue with a mixture of two users */
    }
    return problem;
}

typedef struct question_t {
    const char *path;
    int mode, answer;
} question_t;

static void config_access_ask(void *baton)
{
    question_t *question = baton;
    question->answer = faccessat(AT_FDCWD, question->path, question->mode, AT_EACCESS) ? errno : 0;
}

int ac_config_access_as_child(const char *path, int mode, apr_pool_t *ptemp)
{
    question_t question = {path, mode, 0};
    int problem = as_child(config_access_ask, &question, ptemp);
    return problem ? problem : question.answer;
}

void ac_config_access_check_file(ac_config_check_t *check, const ap_directive_t *at, const char *name, const char *path)
{
    char reason[120];
    int problem = path ? ac_config_access_as_child(path, R_OK, check->ptemp) : 0;
    if (problem) {
        ac_config_check_problem(check, at, "%s: '%s' cannot be read by %s: %s", name, path, ac_config_access_user(),
                                apr_strerror(problem, reason, sizeof(reason)));
    }
}

typedef struct store_question_t {
    const ac_store_t *store;
    apr_pool_t *pool;
    const char *problem;
} store_question_t;

static void config_access_ask_store(void *baton)
{
    store_question_t *question = baton;
    question->problem = question->store->vt->check(question->store->self, question->pool);
}

const char *ac_config_access_store_problem(const ac_store_t *store, apr_pool_t *ptemp)
{
    store_question_t question = {store, ptemp, NULL};
    char reason[120];
    int problem = store->vt->check ? as_child(config_access_ask_store, &question, ptemp) : 0;
    return problem ? apr_pstrdup(ptemp, apr_strerror(problem, reason, sizeof(reason))) : question.problem;
}
