# SPDX-License-Identifier: Apache-2.0
"""The exceptions of the guard that reads the statements of the embedded store."""

# Statements of the embedded store that are about no owner, or about every one's.
OF_EVERY_OWNER = {
    "sqlite_agents.c": "agents belong to the server",
    "sqlite_move.c": "agentchat-store moves what everybody has",
    "sqlite_schema.c": "tables",
    "sqlite_group.c": "transactions",
    "sqlite_conn.c": "settings of a connection",
    "sqlite_threads.c:sql_purge_next": "whichever was deleted long ago; its owner comes with it",
    "sqlite_threads.c:sql_purge_begin": "of a thread that sql_purge_next gave",
    "sqlite_threads.c:sql_purge_steps": "of a thread that sql_purge_next gave",
    "sqlite_threads.c:sql_purge_runs": "of a thread that sql_purge_next gave",
    "sqlite_threads.c:sql_purge_messages": "of a thread that sql_purge_next gave",
    "sqlite_suspended.c:sql_late": "whichever has waited too long; its owner comes with it",
    "sqlite_runs.c:sql_active": "closes what a dead process left; shown only behind ac_sqlite_thread_find()",
    "sqlite_runs.c:sql_active_next": "closes what a dead process left",
    "sqlite_runs.c:sql_interrupt": "closes what a dead process left",
    "sqlite_runs.c:sql_begin": "a transaction",
    "sqlite_files.c:sql_loose": "whichever is a part of no conversation; its owner comes with it",
    "sqlite_files.c:sql_known": "finds bytes without a document; nothing of the document is shown",
    "sqlite_files.c:sql_export": "agentchat-store moves what everybody has",
    "sqlite_feedback.c:sql_list": "FEEDBACK_LIST, which the API gives admins only",
    "sqlite_usage.c:sql_find": "the key of a row has the owner",
    "sqlite_usage.c:sql_put": "the key of a row has the owner",
    "sqlite_usage.c:sql_all": "USAGE_SUM_ALL, which the API gives admins only",
    "sqlite_usage.c:sql_export": "agentchat-store moves what everybody has",
    "sqlite_usage.c:sql_runs": "counts all runs of an older file, each for its owner",
    "sqlite_usage.c:sql_store_id": "the store's own id",
}
