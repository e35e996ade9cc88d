/* Every log message at info and above: number, level, what it means, what to do.
 * docs/log-messages.md is checked against this list. Numbers are never reused.
 * Ranges: 01xx base and io, 02xx stores, 03xx models, 04xx tools, 05xx runs, 06xx front.
 * Write numbers without leading zeros: AC_MESSAGE(201, …) is printed as AC0201. */
AC_MESSAGE(101, AC_ERROR, "The loop thread could not be started or lost its epoll descriptor.",
           "See the cause in the line; usually file descriptors ran out. Raise the limit (ulimit -n) and restart.")
