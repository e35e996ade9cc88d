/* Every log message at info and above: number, level, what it means, what to do.
 * docs/log-messages.md is checked against this list. Numbers are never reused.
 * Ranges: 01xx base and io, 02xx stores, 03xx models, 04xx tools, 05xx runs, 06xx front.
 * Write numbers without leading zeros: AC_MESSAGE(201, …) is printed as AC0201. */
AC_MESSAGE(101, AC_ERROR, "The loop thread could not be started or lost its epoll descriptor.",
           "See the cause in the line; usually file descriptors ran out. Raise the limit (ulimit -n) and restart.")
AC_MESSAGE(501, AC_ERROR, "A run took a step that its table of states does not allow.",
           "This is a mistake of ours. Please report the line; the child ends and httpd starts another.")
AC_MESSAGE(502, AC_ERROR, "A run failed for a reason that the operator has to mend, as a refused key or a missing deployment.",
           "Read the detail: it says what was being done and which part of the configuration to look at.")
AC_MESSAGE(503, AC_WARNING, "A run failed because of an upstream or this server; the client was told.",
           "Nothing for a single line. Many of them: look at the upstream's state and at /ready.")
