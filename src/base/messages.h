/* Every log message at info and above: number, level, meaning, remedy.
 * docs/log-messages.md is generated from this list. Numbers are never reused.
 * Ranges: 01xx base and io, 02xx stores, credentials and the counts of limits, 04xx tools, 05xx runs and the gates of
 * their models, 06xx front. Write numbers without leading zeros: AC_MESSAGE(201, …) is printed as AC0201. */
/* clang-format off */
AC_MESSAGE(101, AC_ERROR,
           "The loop thread could not be started or lost its epoll descriptor.",
           "The line contains the cause; usually file descriptors ran out. Raise the limit (ulimit -n) and restart.")
AC_MESSAGE(110, AC_ERROR,
           "Memory ran out where the loop cannot continue without it; the child ends and httpd starts another.",
           "Give the machine or the container more memory, or reduce the number of streams per child.")
AC_MESSAGE(111, AC_WARNING,
           "A connection to an upstream could not be watched. Its exchange continues: the loop checks it every 20 ms.",
           "The line contains the cause. If there are too many descriptors: raise the limit (ulimit -n), or "
           "fs.epoll.max_user_watches.")
AC_MESSAGE(201, AC_ERROR,
           "The file of the embedded store is a database of another program.",
           "Name another file in AgentChatStore; the module has not changed this one.")
AC_MESSAGE(202, AC_ERROR,
           "The file of the embedded store is damaged, or is not a database.",
           "Restore the file from a backup, or move it away to begin with an empty one; the store then continues "
           "without a restart.")
AC_MESSAGE(203, AC_ERROR,
           "A newer version of this module has written the file of the embedded store.",
           "Install the newer module again, or restore a file from before the upgrade.")
AC_MESSAGE(204, AC_ERROR,
           "The embedded store has no room to write; it can still be read.",
           "Free space on the file system of the file that the line names; the store then continues without a "
           "restart.")
AC_MESSAGE(205, AC_ERROR,
           "SQLite failed for another reason; logged once until a minute has passed without a failure.",
           "The line contains SQLite's reason; usually the cause is the file, its directory (which must be writable "
           "too) or the disk.")
AC_MESSAGE(206, AC_WARNING,
           "Another process locked the embedded store so long that operations were aborted.",
           "Look for a process that has the file open, such as a backup or an sqlite3 shell with an open transaction.")
AC_MESSAGE(207, AC_INFO,
           "The embedded store works again after an outage.",
           "Nothing to do.")
AC_MESSAGE(208, AC_INFO,
           "Runs of processes that died were closed as interrupted when a child started.",
           "Nothing for the runs. If it happens often, find out why children die.")
AC_MESSAGE(209, AC_INFO,
           "The file of the embedded store stayed locked; the child closes and reopens its connections.",
           "If it happens often, move the file to a local disk: network file systems may fail to release locks.")
AC_MESSAGE(210, AC_WARNING,
           "This SQLite was built without FTS5, so searches find titles only.",
           "Use a SQLite with FTS5, as distributions have it; the index is then made in the background.")
AC_MESSAGE(211, AC_ERROR,
           "The full-text index of the embedded store is damaged. It is made again from the messages, in the "
           "background.",
           "Nothing for the conversations: they are in other tables. Searches find them as the index grows. Check the "
           "disk if it happens again.")
AC_MESSAGE(220, AC_ERROR,
           "Cosmos DB refuses the identity or key of the server, or there is no credential; logged once until a "
           "minute has passed without a failure.",
           "The line says what to change. A key is the account's primary or secondary one; an identity needs a data "
           "role.")
AC_MESSAGE(221, AC_ERROR,
           "Cosmos DB refuses requests because this machine's clock is off by more than it allows.",
           "Set the clock, preferably by NTP; the store then continues without a restart.")
AC_MESSAGE(222, AC_ERROR,
           "The Cosmos DB database or a container is missing, or does not have the form that the store needs.",
           "Create it as docs/cosmos.md describes, or set create=on with a key; the store then continues without a "
           "restart.")
AC_MESSAGE(223, AC_ERROR,
           "Cosmos DB cannot be reached; logged once until a minute has passed without a failure.",
           "Check the account's name in AgentChatStore, the account's firewall and private endpoints, DNS and "
           "proxies.")
AC_MESSAGE(224, AC_INFO,
           "The Cosmos DB database or a container was missing and has been created.",
           "Nothing to do.")
AC_MESSAGE(225, AC_WARNING,
           "Cosmos DB's request units were used up for so long that operations were aborted.",
           "Raise the throughput, or turn autoscale on; docs/cosmos.md lists the cost of each call.")
AC_MESSAGE(226, AC_INFO,
           "The Cosmos DB store works again after an outage.",
           "Nothing to do.")
AC_MESSAGE(227, AC_WARNING,
           "The time to live of the messages container differs from retention=, or the threads container expires "
           "entries before the messages they lead to.",
           "Set the container's defaultTtl, or change retention=. The module changes nothing.")
AC_MESSAGE(228, AC_ERROR,
           "Cosmos DB failed in another way; logged once until a minute has passed without a failure.",
           "If Azure's status page reports nothing, report the fault with this line.")
AC_MESSAGE(229, AC_ERROR,
           "Documents of a thread in Cosmos DB were changed by another program.",
           "Find out which program changed them. Other threads are not affected.")
AC_MESSAGE(230, AC_WARNING,
           "The messages container has no index on lease_until: a run of a lost machine is closed only when its "
           "thread is used again, and its webhook deliveries are not sent.",
           "Add the path /lease_until/? to the container's indexing policy; docs/cosmos.md shows the whole policy.")
AC_MESSAGE(231, AC_WARNING,
           "The threads container has a partition key of version 1: owners whose names begin with the same 101 bytes "
           "share a partition.",
           "Nothing, if no owner has such a name. Otherwise copy everything to a new container of version 2 with "
           "agentchat-store; docs/cosmos.md has the details.")
AC_MESSAGE(232, AC_WARNING,
           "The threads container has no index for lists by last change (order=updated); such lists are ordered by "
           "creation instead.",
           "Change the container's indexing policy to the one in docs/cosmos.md; the service builds the index while "
           "it is used.")
AC_MESSAGE(233, AC_WARNING,
           "Cosmos DB refuses full-text queries although the messages container has a full-text policy; searches find "
           "titles only.",
           "Enable full-text search for the account (capability EnableNoSQLFullTextSearch), then reload httpd.")
AC_MESSAGE(240, AC_ERROR,
           "There is no key or token to authenticate with; everything that needs it fails until there is one.",
           "The line lists each source that was tried and why it failed. See docs/azure-credentials.md; no restart is "
           "needed.")
AC_MESSAGE(241, AC_WARNING,
           "A key or token could not be renewed; the current one stays in use as long as it is valid.",
           "Nothing for a single line. If it continues, remove the cause that the line contains before the token "
           "expires.")
AC_MESSAGE(242, AC_INFO,
           "A credential works again after an outage.",
           "Nothing to do.")
AC_MESSAGE(243, AC_INFO,
           "A key has changed at its source, and the new one is used from now on.",
           "Nothing to do.")
AC_MESSAGE(244, AC_INFO,
           "The provider of AgentChatCredential identity that was the first to supply a token.",
           "Nothing to do. Name it (identity:managed …) to avoid trying the others at each start.")
AC_MESSAGE(245, AC_INFO,
           "Only httpd's first process can read the file of a key, so a changed key takes effect at a restart only.",
           "Nothing, if a restart after each change is acceptable. Otherwise let the user of httpd's children read "
           "the file.")
AC_MESSAGE(261, AC_ERROR,
           "The table of counts for limits is full: requests that need a new counter are refused; logged once a "
           "minute.",
           "Find the source of the counters: usually counts by address during an attack. Counters of short "
           "windows become free when their window ends.")
AC_MESSAGE(262, AC_ERROR,
           "Redis (AgentChatShared) cannot be used: this machine counts limits alone, or requests get 503 "
           "(on-error=).",
           "The line contains the cause: the server, its address, the password, or its certificate. The module keeps "
           "trying.")
AC_MESSAGE(263, AC_INFO,
           "Redis (AgentChatShared) can be used again, and counts for all machines.",
           "Nothing to do.")
AC_MESSAGE(264, AC_ERROR,
           "Redis (AgentChatShared) refuses to count; on-error= decides about the requests. Logged once a minute.",
           "The line contains Redis' own message: usually a user that may not run scripts (+@scripting), or a "
           "cluster.")
AC_MESSAGE(265, AC_WARNING,
           "Event logs are not copied to Redis (AgentChatShared) at present: followers on other machines get the "
           "answer when it is complete.",
           "The line contains the cause. Runs are not affected. Redis has to be reachable and to have room.")
AC_MESSAGE(266, AC_INFO, "Event logs are copied to Redis (AgentChatShared) again.", "Nothing to do.")
AC_MESSAGE(267, AC_WARNING,
           "Redis (AgentChatShared) refuses a command of the copies of event logs. Logged once a minute by each child.",
           "The line contains Redis' own message: usually a user that may not use streams, see docs/limits.md, or a "
           "Redis that is full. Or set events=off.")
AC_MESSAGE(268, AC_WARNING,
           "A destination of AgentChatTelemetry cannot be reached, refuses telemetry or is too slow; logged once a "
           "minute by each child. Requests and runs do not wait for it. Telemetry that does not get through is lost "
           "after some minutes, or when the queue is full.",
           "The line contains the destination and the cause. With LogLevel agentchat:debug the next lines contain what "
           "the destination said. docs/telemetry.md lists what is tried again.")
AC_MESSAGE(269, AC_INFO,
           "A destination of AgentChatTelemetry accepts telemetry again.",
           "Nothing to do.")
AC_MESSAGE(401, AC_WARNING,
           "The index of a knowledge base was damaged or written by another version. It is rebuilt from its folder.",
           "Nothing, if it happens once after an update. If it happens again, check the disk of the state directory.")
AC_MESSAGE(402, AC_ERROR,
           "The index of a knowledge base cannot be opened; its searches fail.",
           "Check AgentChatStateDir: the user of httpd's children must be able to write there.")
AC_MESSAGE(403, AC_ERROR,
           "SQLite failed while a knowledge base was searched or updated.",
           "The line contains the reason: a full disk, a failing disk, or a file that another process keeps locked.")
AC_MESSAGE(404, AC_WARNING,
           "A document of a knowledge base is skipped: it is too large, not UTF-8, or not readable.",
           "Split it, convert it to UTF-8, or let the user of httpd's children read it.")
AC_MESSAGE(405, AC_WARNING,
           "The folder of a knowledge base cannot be read. Searches use the previous index.",
           "The line contains the cause: the folder was moved or unmounted, or httpd's children may not read it.")
AC_MESSAGE(406, AC_WARNING,
           "The folder of a knowledge base contains more documents than the index accepts.",
           "Join small documents, or distribute them over several knowledge bases.")
AC_MESSAGE(410, AC_WARNING,
           "The tools of an MCP server cannot be listed. Runs go without them, or use the list from before; logged "
           "once until it works again.",
           "The line contains the cause. Check AgentChatMCPURL, the credential, and whether the server speaks "
           "Streamable HTTP. Runs try again, at most once a minute.")
AC_MESSAGE(411, AC_INFO,
           "The tools of an MCP server can be listed again.",
           "Nothing to do.")
AC_MESSAGE(412, AC_WARNING,
           "Tools of an MCP server are left out: models would refuse them, or there are too many.",
           "LogLevel agentchat:debug names each with the reason. AgentChatMCPTools chooses among too many tools.")
AC_MESSAGE(421, AC_INFO,
           "An operation of an OpenAPI document is a tool.",
           "Nothing to do. apachectl configtest says the same of documents that are files.")
AC_MESSAGE(422, AC_WARNING,
           "An operation of an OpenAPI document is named, but there is no tool of it.",
           "The line contains the reason. Change the configuration, or take the operation out of "
           "AgentChatOpenAPIOperations.")
AC_MESSAGE(423, AC_INFO,
           "An OpenAPI document was read.",
           "Nothing to do.")
AC_MESSAGE(424, AC_WARNING,
           "An OpenAPI document cannot be fetched or read. Runs go without its tools, or use those from before; logged "
           "once until it works again.",
           "The line contains the cause. Check the URL in AgentChatToolsFrom. Runs try again, at most every four "
           "minutes.")
AC_MESSAGE(425, AC_WARNING,
           "A fetched OpenAPI document has no operation of a name in AgentChatOpenAPIOperations.",
           "Correct the name, or take it out.")
AC_MESSAGE(426, AC_WARNING,
           "The copy of an OpenAPI document could not be written to the state directory.",
           "The line contains the cause. Without a copy, a child that begins while the document cannot be fetched has "
           "none of its tools.")
AC_MESSAGE(427, AC_INFO,
           "An OpenAPI document is fetched when a run wants its tools. Only apachectl configtest says this.",
           "Nothing to do.")
AC_MESSAGE(501, AC_ERROR,
           "A run took a step that its table of states does not allow.",
           "This is a fault of the module. Please report the line; the child ends and httpd starts another.")
AC_MESSAGE(502, AC_ERROR,
           "A run failed for a reason that the operator has to correct, such as a refused key or a missing "
           "deployment.",
           "The detail contains the failed operation and the part of the configuration to check.")
AC_MESSAGE(503, AC_WARNING,
           "A run failed because of an upstream or this server; the client received an error.",
           "Nothing for a single line. If there are many: check the upstream's state and /ready.")
AC_MESSAGE(504, AC_INFO,
           "A run has ended; the line says how, how long it took, and what it used.",
           "Nothing to do. The time to the first token is -1 if there was none.")
AC_MESSAGE(510, AC_WARNING,
           "Runs have no event log, so they cannot be resumed or cancelled from another child; logged once a minute "
           "at most.",
           "The line contains the remedy: usually the file system of AgentChatEventLog is full, or its directory was "
           "removed.")
AC_MESSAGE(511, AC_WARNING,
           "Event logs were full; clients that lag behind get the rest when the run has ended. Logged once a minute "
           "at most.",
           "Give the file system below AgentChatEventLog more room, or raise AgentChatEventLogMax.")
AC_MESSAGE(512, AC_ERROR,
           "The directory of the event logs cannot be used; runs cannot be resumed or cancelled from another child.",
           "The line contains the remedy. Alternatively name a directory in AgentChatEventLog that only httpd's user "
           "may write.")
AC_MESSAGE(513, AC_INFO,
           "Event logs can be written again: a minute has passed without a failure.",
           "Nothing to do.")
AC_MESSAGE(514, AC_WARNING,
           "A child's directory of event logs was missing, and the child has created it again.",
           "Find out what removes it: usually a clean-up of old files. Runs that were under way can be resumed only "
           "when they have ended.")
AC_MESSAGE(515, AC_WARNING,
           "The directory in /dev/shm belongs to another user or cannot be created; the state directory is used "
           "instead.",
           "Check it with ls -ld: if it does not belong to httpd's user, find out who created it and remove it; then "
           "run apachectl graceful.")
AC_MESSAGE(516, AC_WARNING,
           "All event logs together have reached their maximum size; runs continue without a log. Logged once a "
           "minute at most.",
           "Raise AgentChatEventLogTotal, or shorten AgentChatEventLogKeep. AC0513 reports the end of the shortage.")
AC_MESSAGE(520, AC_WARNING,
           "A run whose process had ended, or that could not be stored, is not closed yet; the module tries again.",
           "Check the store's own messages (02xx). Nothing is lost while the event log exists.")
AC_MESSAGE(521, AC_ERROR,
           "A run whose process had ended cannot be closed, because the store refuses it permanently.",
           "The line contains the reason; the conversation is as it was before that answer.")
AC_MESSAGE(522, AC_INFO,
           "A run whose process had ended, or which the store could not accept at its end, was closed from its event "
           "log.",
           "Nothing for the run. If it happens often, find out why children die, or why the store is unavailable.")
AC_MESSAGE(540, AC_WARNING,
           "A model failed so often that its circuit breaker is open; its runs use its fallback, or fail at once.",
           "Check the model's service, and the lines AC0503 and AC0542 before this one. The breaker closes again by "
           "itself.")
AC_MESSAGE(541, AC_INFO,
           "A model whose circuit breaker was open answers again.",
           "Nothing to do.")
AC_MESSAGE(542, AC_WARNING,
           "A model failed, and its fallback is called instead (AgentChatFallback).",
           "Nothing for a single line. If there are many: check the model's service. For model_refused: check its key "
           "and address.")
AC_MESSAGE(545, AC_WARNING,
           "A run was refused: it has a limit on cost, and its model has no price.",
           "Give the model an AgentChatPrice, with zeros if it costs nothing, or remove cost= from the key's limits.")
AC_MESSAGE(546, AC_INFO,
           "A model did not make a title (AgentChatTitles), and the thread keeps its automatic one. Logged once a "
           "minute by each child.",
           "The line contains the cause. Nothing for a single line; agentchat_titles_total counts them.")
AC_MESSAGE(547, AC_INFO,
           "A model did not make a summary of old messages (AgentChatHistorySummary). The next run tries again; the "
           "model is not shown what does not fit meanwhile. Logged once a minute by each child.",
           "The line contains the cause. Nothing for a single line; agentchat_summaries_total counts them.")
AC_MESSAGE(550, AC_WARNING,
           "An attempt to deliver an event to a webhook failed; the line says why and when the next one is.",
           "Nothing for a single line. If there are many: check the receiver. It has to answer with a status of 2xx "
           "within AgentChatWebhookTimeout.")
AC_MESSAGE(551, AC_ERROR,
           "An event is not delivered to a webhook: the last attempt of AgentChatWebhookRetries failed, or the "
           "receiver answered 410.",
           "Check the receiver. The run shows its deliveries (GET /runs/{id}); the receiver can read there what it has "
           "missed.")
AC_MESSAGE(601, AC_INFO,
           "A child process is ready to serve; the line lists its store, models, tools, agents and limits.",
           "Nothing to do.")
AC_MESSAGE(602, AC_ERROR,
           "A child process could not start a part of the module; its requests get 503 until it can.",
           "The line names the part and the cause. Correct the cause and restart httpd; the other modules of this "
           "child continue.")
AC_MESSAGE(603, AC_WARNING,
           "A child process had to end before all of its runs were stored.",
           "Those runs are shown as interrupted. If it happens often, check the store's latency and raise "
           "AgentChatDrain.")
AC_MESSAGE(604, AC_WARNING,
           "Threads that were deleted long ago could not be purged; the module tries again in an hour.",
           "The line contains the cause. Nothing is lost: deleted threads stay hidden until they are purged.")
AC_MESSAGE(605, AC_INFO,
           "Threads that were deleted longer ago than AgentChatPurgeAfter were removed permanently.",
           "Nothing to do.")
AC_MESSAGE(606, AC_ERROR,
           "The store could not be reached when a child started. Requests that need it fail until it can be reached.",
           "The line contains the cause. After its correction no restart is needed: each request tries again.")
AC_MESSAGE(607, AC_ERROR,
           "The configuration of a reload cannot be served: the module is out of service and answers 503. All else of "
           "httpd continues.",
           "Correct what the line names, until `apachectl configtest` accepts the configuration, and reload httpd "
           "once more.")
AC_MESSAGE(608, AC_WARNING,
           "This MPM cannot let a connection wait without a thread: each event stream holds one.",
           "Use the MPM event. Otherwise docs/tuning.md says how many streams are possible.")
AC_MESSAGE(609, AC_NOTICE,
           "Event streams wait without a thread; the line contains their maximum and the connection state in which "
           "this version of httpd lets them wait.",
           "Nothing to do.")
AC_MESSAGE(610, AC_INFO,
           "A client read its stream too slowly and was dropped; the run continues and is stored.",
           "Nothing for a single line. If it happens often to healthy clients, raise httpd's Timeout; for runs "
           "without an event log, AgentChatStreamBuffer.")
AC_MESSAGE(612, AC_INFO,
           "Live streams were ended because their process had to end at once.",
           "Use a graceful restart or stop, which lets streams end by themselves.")
AC_MESSAGE(613, AC_WARNING,
           "Files could not be removed, or leftovers of files not be looked for; the next sweep tries again.",
           "The line contains the cause. The user of httpd's children must be able to write in the folder files of "
           "AgentChatStateDir; with Azure Blob Storage the credential must be allowed to list and remove blobs.")
AC_MESSAGE(614, AC_INFO,
           "Files that belong to no conversation, and bytes that belong to no file, were removed.", "Nothing to do.")
AC_MESSAGE(615, AC_ERROR,
           "The store has a file whose bytes are not there; it was answered 404.",
           "Restore the folder files of AgentChatStateDir, or the container of Azure Blob Storage, from the same time "
           "as the store.")
AC_MESSAGE(616, AC_WARNING,
           "The data of owners who were erased (DELETE /me) could not be removed completely. They see nothing of it; "
           "the server tries again by itself.",
           "The line contains the cause. Check the store's own messages (02xx) and /ready.")
AC_MESSAGE(617, AC_WARNING,
           "An owner was erased while Redis was not available: copies in it stay until they expire.",
           "The line says when. Check the Redis of AgentChatShared. Its keys have no names of owners.")
AC_MESSAGE(618, AC_INFO,
           "All data of an owner was removed; the line contains the id of the receipt and the numbers in it.",
           "Nothing to do.")
AC_MESSAGE(619, AC_WARNING,
           "Azure Blob Storage did not do what it was asked for with a file.",
           "The line contains the service's code and what to do about it, and the id of the request, which the "
           "account's logs have too.")
AC_MESSAGE(651, AC_ERROR,
           "A request failed for a reason that the operator has to correct, usually the store.",
           "The detail contains the failed operation. Check the store's own messages (02xx) and /ready.")
AC_MESSAGE(652, AC_WARNING,
           "A request failed because of an upstream or this server; the client received an error.",
           "Nothing for a single line. If there are many: check the load and /ready.")
AC_MESSAGE(660, AC_ERROR,
           "A file of API keys (AgentChatKeys) has changed and cannot be used; the previous keys stay in force.",
           "The line contains the mistake and its position. A key that was just revoked still works until the file is "
           "corrected.")
AC_MESSAGE(661, AC_INFO,
           "A request contained an API key that is unknown, revoked or expired; it was answered 401.",
           "Nothing for a single line. If a known id appears again and again: ask its owner, or make another key and "
           "revoke this one.")
AC_MESSAGE(662, AC_ERROR,
           "A location uses AuthType AgentChat, and no AgentChatKeys applies there; requests are answered 500.",
           "Name the file of keys there, or in an enclosing section.")
AC_MESSAGE(663, AC_WARNING,
           "A mount without authentication was requested under a name that its server does not have; the request was "
           "answered 403. Logged once a minute by each child.",
           "If the name is yours, add it as ServerName or ServerAlias; behind a proxy it is the name that the proxy "
           "passes on as Host. If not, a page of another site tried to get access through a visitor's browser.")
AC_MESSAGE(664, AC_WARNING,
           "HTTP/2 is offered where the API is mounted: each stream there holds a thread, and no more of them are "
           "admitted than AgentChatMaxHTTP2Streams and AgentChatMaxBlockingStreams allow.",
           "Give the API's host Protocols http/1.1, or put a proxy in front of it that speaks HTTP/2 with clients; "
           "docs/http2.md shows both.")
AC_MESSAGE(680, AC_ERROR,
           "A log of AgentChatLog or AgentChatAuditLog cannot be written, and lines of it are lost; logged once a "
           "minute by each child. This line is always in httpd's error log.",
           "The line contains the cause: a full disk, or a program that has ended or does not read (EAGAIN).")
AC_MESSAGE(670, AC_WARNING,
           "The counts of limits have no file in memory; each restart of httpd, also a graceful one, resets them.",
           "The line contains the cause: usually a /dev/shm without room. Create AgentChatStateDir, or give /dev/shm "
           "16 MB more.")
AC_MESSAGE(671, AC_ERROR,
           "The counts of long windows, such as a day's budget, cannot be saved in the state directory.",
           "The line contains the cause. The user of httpd's children must be able to write to AgentChatStateDir.")
AC_MESSAGE(672, AC_WARNING,
           "There is no memory for the metrics that the children share; nothing is counted.",
           "The line contains the cause. Requests are served as before; restart httpd when there is memory.")
