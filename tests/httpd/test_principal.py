# SPDX-License-Identifier: Apache-2.0
"""The principal of a request: owner and roles by the authentication modules of httpd."""
import base64
import subprocess

import pytest

MODULES = ("auth_basic", "authn_core", "authn_file", "authz_user", "setenvif", "env", "rewrite", "authn_anon")
MOUNTS = """
<Location "/mine">
    SetHandler agentchat
    AuthType Basic
    AuthName chat
    AuthUserFile "{users}"
    Require valid-user
    AgentChatRole admin ann
    AgentChatRole support bob carl
</Location>
<Location "/admins">
    SetHandler agentchat
    AuthType Basic
    AuthName chat
    AuthUserFile "{users}"
    AgentChatRole admin ann
    Require agentchat-role admin
    AuthzSendForbiddenOnFailure On
</Location>
<Location "/claims">
    SetHandler agentchat
    AuthType Basic
    AuthName chat
    AuthUserFile "{users}"
    AgentChatOwnerFrom env:CLAIM_ID
    AgentChatRolesFrom env:CLAIM_GROUPS admin=4711 support=0815
    AuthzSendForbiddenOnFailure On
    <RequireAny>
        Require agentchat-role support other
        Require user carl dora
    </RequireAny>
</Location>
<Location "/open">
    SetHandler agentchat
    AgentChatAnonymous on
    AgentChatOwnerFrom env:CLAIM_ID
    AgentChatRolesFrom env:CLAIM_GROUPS
    SetEnv CLAIM_ID ann
    SetEnv CLAIM_GROUPS admin
</Location>
# In the place of a module that leaves what a provider has said about the user.
SetEnvIf X-Test-Id "^(.+)$" CLAIM_ID=$1
SetEnvIf X-Test-Groups "^(.+)$" CLAIM_GROUPS=$1
"""


def sign(name):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:pw-{name}".encode()).decode()}


@pytest.fixture
def mounts(make_server, model):
    server = make_server(start=False, modules=MODULES)
    users = server.root / "users"
    lines = []
    for name in ("ann", "bob", "carl", "dora", "anonymous"):
        done = subprocess.run(["openssl", "passwd", "-apr1", "pw-" + name], capture_output=True, text=True, check=True)
        lines.append(f"{name}:{done.stdout}")
    users.write_text("".join(lines))
    users.chmod(0o644)
    server.conf.write_text(server.conf.read_text() + MOUNTS.format(users=users))
    return server.start()


def ask(server, mount, name=None, path="/threads", **headers):
    server.client.prefix = mount
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return server.client.get(path, headers={**(sign(name) if name else {}), **named})


def test_a_required_role(mounts):
    mounts.expect_log("user bob: authorization failure", "user anonymous: authorization failure")
    assert ask(mounts, "/admins", "ann").status == 200
    refused = ask(mounts, "/admins", "bob")
    assert refused.status == 403 and refused.json["code"] == "forbidden"
    assert ask(mounts, "/admins", "anonymous").status == 403
    refused = ask(mounts, "/admins")
    assert refused.status == 401 and refused.json["code"] == "unauthenticated"
    assert refused.headers["www-authenticate"].startswith("Basic")


def test_the_owner_and_roles_come_from_a_variable(mounts):
    mounts.expect_log("user (ann|bob|dora): authorization failure")
    headers = {"X_Test_Id": "id-1", "X_Test_Groups": "1, 0815 ,2"}
    mounts.client.prefix = "/claims"
    thread = mounts.client.post("/threads", {}, headers={**sign("bob"), "X-Test-Id": "id-1", "X-Test-Groups": "0815"}).json["id"]
    assert ask(mounts, "/claims", "ann", f"/threads/{thread}", **headers).status == 200    # one owner, with any name
    assert ask(mounts, "/claims", "bob", f"/threads/{thread}", X_Test_Id="id-2", X_Test_Groups="0815").status == 404
    assert ask(mounts, "/claims", "ann", X_Test_Id="id-1", X_Test_Groups="4711").status == 403          # admin, which is not enough
    assert ask(mounts, "/claims", "ann", X_Test_Id="id-1", X_Test_Groups="support").status == 403       # a name is no value
    assert ask(mounts, "/claims", "ann", X_Test_Id="id-1").status == 403
    assert ask(mounts, "/claims", "ann", X_Test_Groups="0815").status == 403                            # an unknown claim
    assert ask(mounts, "/claims", "carl", X_Test_Id="id-3").status == 200
    refused = ask(mounts, "/claims", "dora")
    assert refused.status == 403 and refused.json["detail"] == "the sign-in has no user name"


def test_variables_are_ignored_without_a_sign_in(mounts):
    mounts.client.prefix = "/mine"
    thread = mounts.client.post("/threads", {}, headers=sign("ann")).json["id"]
    assert ask(mounts, "/open").json["data"] == []
    assert ask(mounts, "/open", path=f"/threads/{thread}").status == 404
    assert ask(mounts, "/open", path=f"/threads/{thread}", X_Test_Id="ann", X_Test_Groups="admin").status == 404


def test_no_anonymous_access_by_default(mounts):
    refused = ask(mounts, "/mine")
    assert refused.status == 401


@pytest.mark.parametrize("delimiter,groups,found", [
    ("", "Sales admin", ["Sales admin"]), ("", " admin ,\tops,, ", ["admin", "ops"]), ("", "a;b", ["a;b"]),
    ("delimiter=comma", "Sales admin,ops", ["Sales admin", "ops"]),
    ("delimiter=blank", "chat.read  chat.write", ["chat.read", "chat.write"]),
    ("delimiter=blank", "a,b", ["a,b"]), ("delimiter=semicolon", "CN=Ann, OU=Sales; admin", ["CN=Ann, OU=Sales", "admin"])])
def test_separators_of_roles(make_server, delimiter, groups, found):
    every = {"Sales admin", "Sales", "admin", "ops", "a", "b", "a;b", "a,b", "chat.read", "chat.write", "CN=Ann, OU=Sales", "CN=Ann"}
    mounts = "".join(f'''
<Location "/m{i}">
    SetHandler agentchat
    AuthType Basic
    AuthName chat
    AuthBasicProvider anon
    Anonymous *
    AgentChatRolesFrom env:CLAIM_GROUPS {delimiter} "r{i}={role}"
    Require agentchat-role r{i}
    AuthzSendForbiddenOnFailure On
</Location>
''' for i, role in enumerate(sorted(every)))
    server = make_server(mounts + 'SetEnvIf X-Test-Groups "^(.+)$" CLAIM_GROUPS=$1\n', modules=MODULES)
    server.expect_log("authorization failure")
    has = {role for i, role in enumerate(sorted(every)) if ask(server, f"/m{i}", "ann", X_Test_Groups=groups).status == 200}
    assert has == set(found)
