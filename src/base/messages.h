/* Every log message at info and above: number, level, what it means, what to do.
 * docs/log-messages.md is checked against this list. Numbers are never reused.
 * Ranges: 01xx base and io, 02xx stores, credentials and the counts of limits, 04xx tools, 05xx runs and the way to
 * their models, 06xx front. Write numbers without leading zeros: AC_MESSAGE(201, …) is printed as AC0201. */
/* clang-format off */
AC_MESSAGE(101, AC_ERROR, "The loop thread could not be started or lost its epoll descriptor.",
           "See the cause in the line; usually file descriptors ran out. Raise the limit (ulimit -n) and restart.")
AC_MESSAGE(110, AC_ERROR, "Memory ran out where the loop cannot go on without it; the child ends and httpd starts another.",
           "Give the machine or the container more memory, or lower the number of streams a child may hold.")
AC_MESSAGE(111, AC_WARNING, "A connection to an upstream could not be watched. Its exchange goes on: it is looked at every 20 ms.",
           "See the cause in the line. Too many descriptors: raise the limit (ulimit -n), or fs.epoll.max_user_watches.")
AC_MESSAGE(201, AC_ERROR, "The embedded store's file is a database of another program.",
           "Name another file in AgentChatStore; this one was left as it is.")
AC_MESSAGE(202, AC_ERROR, "The embedded store's file is damaged, or no database at all.",
           "Restore the file from a backup, or move it away to begin with an empty one; the store then goes on without a restart.")
AC_MESSAGE(203, AC_ERROR, "The embedded store's file was written by a newer version of this module.",
           "Install the newer module again, or restore a file from before the upgrade.")
AC_MESSAGE(204, AC_ERROR, "There is no room to write to the embedded store; reading goes on.",
           "Free space on the file system of the file that the line names; the store then goes on without a restart.")
AC_MESSAGE(205, AC_ERROR, "SQLite failed for another reason; logged once until a minute has passed without it.",
           "See SQLite's reason in the line; usually the file, its directory (must be writable too) or the disk.")
AC_MESSAGE(206, AC_WARNING, "Another process kept the embedded store locked so long that operations were given up.",
           "Look for a process that has the file open, as a backup or an sqlite3 shell with an open transaction.")
AC_MESSAGE(207, AC_INFO, "The embedded store works again after trouble.", "Nothing to do.")
AC_MESSAGE(208, AC_INFO, "Runs of processes that died were closed as interrupted when a child started.",
           "Nothing for the runs. If it comes often, find out why children die.")
AC_MESSAGE(209, AC_INFO, "The embedded store's file stayed locked; the child closes its connections and opens them anew.",
           "If it comes often, move the file to a local disk: file systems over a network may fail to release locks.")
AC_MESSAGE(220, AC_ERROR, "Cosmos DB refuses who we are, or there is no credential; logged once until a minute has passed without it.",
           "Read the line: it says what to change. A key is the account's primary or secondary one; an identity needs a data role.")
AC_MESSAGE(221, AC_ERROR, "Cosmos DB refuses requests because this machine's clock is off by more than it allows.",
           "Set the clock, best by NTP; the store then goes on without a restart.")
AC_MESSAGE(222, AC_ERROR, "The Cosmos DB database or a container is missing, or is not as the store needs it.",
           "Make it as docs/cosmos.md says, or give create=on with a key; the store then goes on without a restart.")
AC_MESSAGE(223, AC_ERROR, "Cosmos DB cannot be reached; logged once until a minute has passed without it.",
           "Look at the account's name in AgentChatStore, at the account's firewall and private endpoints, at DNS and proxies.")
AC_MESSAGE(224, AC_INFO, "The Cosmos DB database or a container was missing and has been made.", "Nothing to do.")
AC_MESSAGE(225, AC_WARNING, "Cosmos DB's request units were used up for so long that operations were given up.",
           "Raise the throughput, or turn autoscale on; docs/cosmos.md says what each call costs.")
AC_MESSAGE(226, AC_INFO, "The Cosmos DB store works again after trouble.", "Nothing to do.")
AC_MESSAGE(227, AC_WARNING, "The messages container keeps its documents for another time than retention= says, or the threads "
           "container lets entries go before the messages they lead to.",
           "Set the container's defaultTtl, or change retention=. Nothing is changed by the module.")
AC_MESSAGE(228, AC_ERROR, "Cosmos DB failed in another way; logged once until a minute has passed without it.",
           "Read the line; if Azure's status page says nothing, report it with the line.")
AC_MESSAGE(229, AC_ERROR, "Documents of a thread in Cosmos DB are not as the module has written them.",
           "Find out which program changed them. The other threads go on.")
AC_MESSAGE(230, AC_WARNING, "The messages container has no index on lease_until: a run of a machine that is gone is closed only when its "
           "thread is used again.", "Add the path /lease_until/? to the container's indexing policy; docs/cosmos.md shows it whole.")
AC_MESSAGE(231, AC_WARNING, "The threads container has a partition key of version 1: owners whose names begin with the same 101 bytes "
           "share a partition.",
           "Nothing where no such names are. Else copy all to a new container of version 2 with agentchat-store; docs/cosmos.md says more.")
AC_MESSAGE(232, AC_WARNING, "The threads container has no index by which threads could be listed by their last change "
           "(order=updated); they are listed by their creation instead.",
           "Change the container's indexing policy to the one that docs/cosmos.md shows; the service builds the index while it is used.")
AC_MESSAGE(240, AC_ERROR, "There is no key or token to sign in with; whatever needs it fails until there is.",
           "The line names each way that was tried and why it failed. See docs/azure-credentials.md; no restart is needed.")
AC_MESSAGE(241, AC_WARNING, "A key or token could not be renewed; the one there is stays in use as long as it lasts.",
           "Nothing for a single line. If it goes on, see the cause in the line before the token expires.")
AC_MESSAGE(242, AC_INFO, "A credential works again after trouble.", "Nothing to do.")
AC_MESSAGE(243, AC_INFO, "A key has changed where it is kept, and the new one is used from now on.", "Nothing to do.")
AC_MESSAGE(244, AC_INFO, "Says which of the ways to sign in of AgentChatCredential identity was the first to give a token.",
           "Nothing to do. Name it (identity:managed …) to spare the others being tried at each start.")
AC_MESSAGE(245, AC_INFO, "A key's file can be read by httpd's first process only, so a changed key is not seen while it runs.",
           "Nothing, if a restart after each change will do. Else let the user that httpd's children run as read the file.")
AC_MESSAGE(261, AC_ERROR, "The table of the limits' counts is full: who would need a new count is refused; logged once a minute.",
           "Find out who makes so many: counts by address of an attack, mostly. Counts of short windows become free with them.")
AC_MESSAGE(262, AC_ERROR, "Redis (AgentChatShared) cannot be used: this machine counts limits alone, or requests get 503 (on-error=).",
           "See the cause in the line: the server, its address, the password, or its certificate. It is tried again all the time.")
AC_MESSAGE(263, AC_INFO, "Redis (AgentChatShared) can be used again, and counts for all machines.", "Nothing to do.")
AC_MESSAGE(264, AC_ERROR, "Redis (AgentChatShared) refuses to count; on-error= says what becomes of requests. Logged once a minute.",
           "Read Redis' own words in the line: mostly a user that may not run scripts (+@scripting), or a cluster.")
AC_MESSAGE(401, AC_WARNING, "The index of a knowledge base was damaged or written by another version. It is made anew from its folder.",
           "Nothing, if it happens once after an update. If it comes back, look at the disk of the state directory.")
AC_MESSAGE(402, AC_ERROR, "The index of a knowledge base cannot be opened; its searches fail.",
           "Look at AgentChatStateDir: the user that httpd's children run as must be able to write there.")
AC_MESSAGE(403, AC_ERROR, "SQLite failed while a knowledge base was searched or brought up to date.",
           "See the reason in the line: a full disk, a failing one, or a file that something else keeps locked.")
AC_MESSAGE(404, AC_WARNING, "A document of a knowledge base is left out: too large, not UTF-8, or not readable.",
           "Split it, convert it to UTF-8, or let the user that httpd's children run as read it.")
AC_MESSAGE(405, AC_WARNING, "The folder of a knowledge base cannot be read. Searches use what was indexed before.",
           "See the cause in the line: the folder was moved or unmounted, or may not be read by httpd's children.")
AC_MESSAGE(406, AC_WARNING, "The folder of a knowledge base holds more documents than are indexed.",
           "Join small documents, or spread them over several knowledge bases.")
AC_MESSAGE(501, AC_ERROR, "A run took a step that its table of states does not allow.",
           "This is a mistake of ours. Please report the line; the child ends and httpd starts another.")
AC_MESSAGE(502, AC_ERROR, "A run failed for a reason that the operator has to mend, as a refused key or a missing deployment.",
           "Read the detail: it says what was being done and which part of the configuration to look at.")
AC_MESSAGE(503, AC_WARNING, "A run failed because of an upstream or this server; the client was told.",
           "Nothing for a single line. Many of them: look at the upstream's state and at /ready.")
AC_MESSAGE(510, AC_WARNING, "Runs have no event log, so they cannot be resumed or cancelled from another child; once a minute at most.",
           "The line says what to do: mostly a full file system below AgentChatEventLog, or its directory was removed.")
AC_MESSAGE(511, AC_WARNING, "Event logs could take no more; who lags behind gets the rest when the run has ended. Once a minute at most.",
           "Give the file system below AgentChatEventLog more room, or raise AgentChatEventLogMax.")
AC_MESSAGE(512, AC_ERROR, "The directory of the event logs cannot be used; runs cannot be resumed or cancelled from another child.",
           "The line says what to do. Or name a directory that only httpd's user may write in AgentChatEventLog.")
AC_MESSAGE(513, AC_INFO, "Event logs can be written again: a minute has passed without trouble.", "Nothing to do.")
AC_MESSAGE(514, AC_WARNING, "A child's directory among the event logs was missing, and it has made it.",
           "Find out what removes it: a clean-up of old files, mostly. Runs that were under way can be resumed only when they have ended.")
AC_MESSAGE(515, AC_WARNING, "The directory in /dev/shm is somebody else's or cannot be made; the state directory is used instead.",
           "Look at it with ls -ld: where it is not httpd's user's, find out who made it and remove it; then apachectl graceful.")
AC_MESSAGE(516, AC_WARNING, "All event logs together have the room that they may have; runs go on without one. Once a minute at most.",
           "Raise AgentChatEventLogTotal, or shorten AgentChatEventLogKeep. AC0513 says when it is over.")
AC_MESSAGE(520, AC_WARNING, "A run whose process had ended, or that could not be stored, is not closed yet; it is tried again.",
           "Look at the store's own messages (02xx). Nothing is lost while the event log is there.")
AC_MESSAGE(521, AC_ERROR, "A run whose process had ended cannot be closed, because the store refuses it for good.",
           "Read the line; the conversation is as it was before that answer.")
AC_MESSAGE(522, AC_INFO, "A run whose process had ended, or which the store could not take at its end, was closed from its event log.",
           "Nothing for the run. If it comes often, find out why children die, or the store is away.")
AC_MESSAGE(540, AC_WARNING, "A model failed so often that it is left alone for a while; its runs use its fallback, or fail at once.",
           "Look at the model's service, and at the lines AC0503 and AC0542 before this one. It is asked again by itself.")
AC_MESSAGE(541, AC_INFO, "A model that was left alone answers again.", "Nothing to do.")
AC_MESSAGE(542, AC_WARNING, "A model failed, and its fallback is asked instead (AgentChatFallback).",
           "Nothing for a single line. Many of them: look at the model's service. For model_refused: at its key and address.")
AC_MESSAGE(545, AC_WARNING, "A run was refused: it has a limit on cost, and nobody says what its model costs.",
           "Give the model an AgentChatPrice, with zeros where it costs nothing, or take cost= out of the key's limits.")
AC_MESSAGE(601, AC_INFO, "A child process is ready to serve; says what with.",
           "Nothing to do.")
AC_MESSAGE(602, AC_ERROR, "A child process could not start a part of the module; its requests are answered 503 until it can.",
           "The line names the part and the cause. Mend that and restart httpd; the other modules of this child go on.")
AC_MESSAGE(603, AC_WARNING, "A child process had to end before all of its runs were stored.",
           "Those runs are shown as interrupted. If it happens often, look at the store's latency and raise AgentChatDrain.")
AC_MESSAGE(604, AC_WARNING, "Threads that were deleted long ago could not be purged; it is tried again in an hour.",
           "See the cause in the line. Nothing is lost: deleted threads stay hidden until they are purged.")
AC_MESSAGE(605, AC_INFO, "Threads that were deleted longer ago than AgentChatPurgeAfter were removed for good.",
           "Nothing to do.")
AC_MESSAGE(606, AC_ERROR, "The store could not be reached when a child started. Requests that need it fail until it can.",
           "See the cause in the line. Once it is mended no restart is needed: each request tries again.")
AC_MESSAGE(607, AC_ERROR,
           "The configuration of a reload cannot be served: the module is out of service and answers 503. All else of httpd goes on.",
           "Mend what the line says, until `apachectl configtest` accepts it, and reload httpd once more.")
AC_MESSAGE(608, AC_WARNING, "This MPM cannot let a connection wait without a thread: each event stream holds one.",
           "Use the MPM event. Else see the manual's page on tuning for how many streams there can be.")
AC_MESSAGE(610, AC_INFO, "A client read its stream too slowly and was dropped; the run goes on and is stored.",
           "Nothing for a single line. If it comes often for healthy clients, raise httpd's Timeout; for runs without an event log, "
           "AgentChatStreamBuffer.")
AC_MESSAGE(612, AC_INFO, "Live streams were ended because their process had to end at once.",
           "Use a graceful restart or stop, which lets streams end by themselves.")
AC_MESSAGE(651, AC_ERROR, "A request failed for a reason that the operator has to mend, mostly the store.",
           "Read the detail: it says what was being done. Look at the store's own messages (02xx) and at /ready.")
AC_MESSAGE(652, AC_WARNING, "A request failed because of an upstream or this server; the client was told.",
           "Nothing for a single line. Many of them: look at the load and at /ready.")
AC_MESSAGE(660, AC_ERROR, "A file of API keys (AgentChatKeys) has changed and cannot be used; the keys of before stay in force.",
           "The line says what is wrong and where. A key that was just revoked still works until the file is mended.")
AC_MESSAGE(661, AC_INFO, "A request showed an API key that is unknown, revoked or expired; it was answered 401.",
           "Nothing for a single line. A known id again and again: ask its owner, or make another key and revoke this one.")
AC_MESSAGE(662, AC_ERROR, "A place is signed in to with AuthType AgentChat, and no AgentChatKeys holds there; requests are answered 500.",
           "Name the file of keys there, or above it.")
AC_MESSAGE(663, AC_WARNING, "A mount without a sign-in was asked for under a name that its server does not have; the request was "
           "answered 403. Logged once a minute by each child.",
           "If the name is yours, add it as ServerName or ServerAlias; behind a proxy that is the name that it passes on as Host. If not, "
           "a page of another site tried to get in through somebody's browser.")
AC_MESSAGE(664, AC_WARNING, "HTTP/2 is offered where the API is mounted: each stream there holds a thread, and no more of them are "
           "admitted than AgentChatMaxHTTP2Streams and AgentChatMaxBlockingStreams say.",
           "Give the API's host Protocols http/1.1, or put a proxy before it that speaks HTTP/2 with clients; docs/http2.md shows both.")
AC_MESSAGE(670, AC_WARNING, "What limits count has no file in memory; each restart of httpd, also a graceful one, begins with nothing.",
           "See the cause in the line: mostly a /dev/shm without room. Make AgentChatStateDir, or give /dev/shm 16 MB more.")
AC_MESSAGE(671, AC_ERROR, "The counts of long windows, as a day's budget, cannot be kept in the state directory.",
           "See the cause in the line. The user that httpd's children run as must be able to write to AgentChatStateDir.")
