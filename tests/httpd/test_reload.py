# SPDX-License-Identifier: Apache-2.0
"""A reload with a configuration that this module cannot serve: httpd and its other sites continue, the module
reports that it is out of service, and a reload with a right configuration restores it. `configtest` finds in
advance all errors that it can find."""
import os

import pytest

from model_server import Gate
from runs import begun, wait_until
from server import user

SITE = "<p>another site</p>\n"


@pytest.fixture
def site(make_server):
    """A server with another site's page, and its configuration as it was: site(mpm)."""
    def make(mpm="event"):
        server = make_server(mpm=mpm, start=False, modules=("dir",))
        (server.root / "htdocs/index.html").write_text(SITE)
        server.right = server.conf.read_text()
        return server.start()
    return make


def reload_with(server, directives):
    """The signal that `apachectl graceful` sends, without the configtest that it begins with."""
    server.conf.write_text(server.right + directives + "\n")
    old = set(server.children())
    server.graceful()
    wait_until(lambda: server.process.poll() is not None or set(server.children()) - old, "no new child")
    assert server.process.poll() is None, "httpd has ended:\n" + server.log()[-3000:]


def page(server):
    return server.client.connect().request("GET", "/index.html", None, {"Connection": "close"})


def answers(server, status):
    try:
        return server.client.get("/threads").status == status
    except OSError:
        return False


def make_directory(server, mode, owner=None):
    directory = server.root / "events"
    directory.mkdir()
    directory.chmod(mode)
    if os.geteuid() == 0:
        os.chown(directory, *(owner or (user().pw_uid, user().pw_gid)))
    return directory


def others_directory(server):
    return f'AgentChatEventLog "{make_directory(server, 0o755)}"'


def missing_parent(server):
    return f'AgentChatEventLog "{server.root}/no/events"'


def wrong_value(_server):
    return "AgentChatRunTimeout 5x"


def missing_secret(server):
    return (f'<AgentChatModel other>\nAgentChatProvider openai\nAgentChatEndpoint https://models.example model=m\n'
            f'AgentChatCredential file:"{server.root}/no-key"\n</AgentChatModel>')


def nameless_container(_server):
    return '<AgentChatAgent "a b">\nAgentChatModel scripted\n</AgentChatAgent>'


def unknown_model(_server):
    return "<AgentChatAgent other>\nAgentChatModel unknown\n</AgentChatAgent>"


def no_state_directory(server):
    return f'AgentChatStateDir "{server.root}/no/state"'


def missing_store_directory(server):
    return f'AgentChatStore "sqlite:{server.root}/no/a.db"'


def role_without_user(_server):
    return '<Location "/private">\nRequire agentchat-role\n</Location>'


WRONG = [others_directory, missing_parent, wrong_value, missing_secret, nameless_container, unknown_model, no_state_directory,
         missing_store_directory, role_without_user]


@pytest.mark.parametrize("wrong", WRONG, ids=[wrong.__name__ for wrong in WRONG])
def test_httpd_outlives_a_reload(site, wrong):
    server = site()
    assert answers(server, 200)
    server.expect_log("AC0607", "AC0652")
    reload_with(server, wrong(server))
    wait_until(lambda: answers(server, 503), "the module is not out of service")
    refused = server.client.get("/threads")
    assert refused.headers["content-type"] == "application/problem+json" and int(refused.headers["retry-after"]) > 0
    assert refused.json["code"] == "overloaded" and "error log" in refused.json["detail"]
    assert server.client.get("/ready").status == 503 and server.client.get("/health").status == 200
    assert page(server).body.decode() == SITE
    said, = [line for line in server.log().splitlines() if "AC0607: " in line]
    assert "out of service" in said and "configtest" in said
    reload_with(server, "")
    wait_until(lambda: answers(server, 200), "the module does not come back")
    assert page(server).body.decode() == SITE and server.log().count("AC0607: ") == 1


@pytest.mark.parametrize("mpm", ["worker", "prefork"])
def test_httpd_outlives_a_reload_of_another_mpm(site, mpm):
    server = site(mpm)
    server.expect_log("AC0607", "AC0652")
    reload_with(server, others_directory(server))
    wait_until(lambda: answers(server, 503), "the module is not out of service")
    assert page(server).body.decode() == SITE
    reload_with(server, "")
    wait_until(lambda: answers(server, 200), "the module does not come back")


def test_two_wrong_reloads_under_a_stream(site, model):
    """Runs of the previous generation end as they would have."""
    server = site()
    gate = Gate()
    stream, run = begun(server.client, model, gate)
    server.expect_log("AC0607", "AC0652")
    reload_with(server, wrong_value(server))
    wait_until(lambda: answers(server, 503), "the module is not out of service")
    reload_with(server, missing_parent(server))
    wait_until(lambda: server.log().count("AC0607: ") == 2, "no word of the second one")
    gate.open()
    assert stream.rest()[-1].json["status"] == "completed"
    reload_with(server, "")
    wait_until(lambda: answers(server, 200), "the module does not come back")
    assert server.client.get("/runs/" + run["run_id"]).json["status"] == "completed"


@pytest.mark.skipif(os.geteuid() != 0, reason="the user of the children is another one only where httpd is started as root")
@pytest.mark.parametrize("kind", ["unreachable", "read-only file", "file of another user", "WAL of another user"])
def test_a_store_that_children_cannot_use(make_server, kind):
    """The first process may read and write everywhere."""
    server = make_server(start=False)
    place = server.root / "place"
    place.mkdir()
    os.chown(place, user().pw_uid, user().pw_gid)
    file = place / "a.db"
    if kind == "unreachable":
        (server.root / "closed").mkdir(mode=0o700)
        place.rename(server.root / "closed/place")
        file = server.root / "closed/place/a.db"
    elif kind == "WAL of another user":
        file.touch()
        os.chown(file, user().pw_uid, user().pw_gid)
        (place / "a.db-wal").touch(mode=0o600)
    else:
        file.touch(mode=0o600)
        if kind == "read-only file":
            os.chown(file, user().pw_uid, user().pw_gid)
            file.chmod(0o400)
    server.conf.write_text(server.conf.read_text() + f'AgentChatStore "sqlite:{file}"\n')
    ok, said = server.configtest()
    assert not ok and "AgentChatStore: sqlite: " in said and user().pw_name in said and "Permission denied" in said, said
    assert "on line" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="the user of the children is another one only where httpd is started as root")
def test_an_unreachable_state_directory(make_server):
    server = make_server(start=False)
    closed = server.root / "closed"
    (closed / "state").mkdir(parents=True)
    os.chown(closed / "state", user().pw_uid, user().pw_gid)
    closed.chmod(0o700)
    for name in ("state", "fresh"):
        server.conf.write_text(server.conf.read_text() + f'AgentChatStateDir "{closed}/{name}"\n')
        ok, said = server.configtest()
        assert not ok and "AgentChatStateDir: " in said and user().pw_name in said and "Permission denied" in said, said


@pytest.mark.skipif(os.geteuid() != 0, reason="the user of the children is another one only where httpd is started as root")
def test_event_logs_that_cannot_be_had(make_server):
    """`configtest` has all messages of the start."""
    server = make_server(start=False)
    right = server.conf.read_text()
    root = (0, 0)
    mine = make_directory(server, 0o700)
    (server.root / "closed").mkdir(mode=0o700)
    cases = {"/var/log": "belongs to root", f"{server.root}/no/events": "No such file", f"{server.root}/httpd.conf": "is not a directory",
             f"{server.root}/closed/events": "Permission denied"}

    def said(path):
        server.conf.write_text(right + f'AgentChatEventLog "{path}"\n')
        return server.configtest()
    for path, reason in cases.items():
        ok, text = said(path)
        assert not ok and f"AgentChatEventLog: '{path}'" in text and reason in text and "on line" in text, text
    for mode, owner, reason in ((0o755, None, "mode 0755"), (0o700, root, "belongs to root"), (0o770, None, "mode 0770")):
        mine.rmdir()
        make_directory(server, mode, owner)
        ok, text = said(mine)
        assert not ok and reason in text, text
    mine.rmdir()
    make_directory(server, 0o700)
    assert said(mine)[0] and said(server.root / "fresh")[0]
    fresh = server.root / "fresh/"
    server.conf.write_text(right + f'AgentChatStateDir "{fresh}"\nAgentChatEventLog "{fresh}/events"\n')
    ok, text = server.configtest()
    assert ok, text                     # the start makes both
    (server.root / "link").symlink_to(mine)
    ok, text = said(server.root / "link")
    assert not ok and "symbolic link" in text, text


@pytest.mark.skipif(os.geteuid() != 0, reason="the user of the children is another one only where httpd is started as root")
def test_a_certificate_that_children_cannot_read(make_server):
    server = make_server(start=False)
    file = server.root / "ca.pem"
    file.touch(mode=0o600)
    server.conf.write_text(server.conf.read_text() + '<AgentChatModel other>\nAgentChatProvider openai\nAgentChatEndpoint '
                           f'https://models.example model=m\nAgentChatCAFile "{file}"\n</AgentChatModel>\n')
    ok, said = server.configtest()
    assert not ok and f"AgentChatCAFile: '{file}' cannot be read by {user().pw_name}: Permission denied" in said, said
