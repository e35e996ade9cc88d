# SPDX-License-Identifier: Apache-2.0
"""A file of API keys, edited with the program that operators use."""
import os
import shutil
import subprocess

from server import BUILD, WAIT, sanitizer, user

MOUNT_WITH_KEYS = """
<Location "/keys">
    SetHandler agentchat
    AuthType AgentChat
    AuthName "the \\"chat\\""
    AgentChatKeys "{path}"
    Require valid-user
</Location>
"""
KEYED = """
<Location "/keys">
    SetHandler agentchat
    AuthType AgentChat
    AuthName keys
    AgentChatKeys keys
    Require valid-user
</Location>
"""
MODULES = ("authn_core", "authz_user")


class KeyFile:
    def __init__(self, path):
        self.path = path

    def run(self, *words):
        group = ["-g", user().pw_name] if os.geteuid() == 0 and words[0] == "make" else []
        return subprocess.run([BUILD / "agentchat-keys", *group, words[0], self.path, *words[1:]], capture_output=True, text=True,
                              timeout=WAIT, env={**os.environ, **sanitizer()})

    def __call__(self, *words):
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def replace(self, text):
        """Replaces the file by renaming, as the manual requires of editors: no reader sees half of it."""
        new = self.path.with_name(self.path.name + ".new")
        new.write_text(text)
        shutil.copymode(self.path, new)
        if os.geteuid() == 0:
            shutil.chown(new, group=user().pw_name)
        new.rename(self.path)

    def make(self, key_id, *fields):
        return self("make", key_id, *fields)


def bearer(key):
    return {"Authorization": f"Bearer {key}"}
