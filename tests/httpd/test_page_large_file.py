# SPDX-License-Identifier: Apache-2.0
"""A large file on the chat page, over a slow network."""
from page import PageServer
from test_page_files import UPLOADS, choose, made, open_page, slow, stored, until_done      # noqa: F401: made is a fixture


def test_twenty_megabytes_on_a_slow_network(browser, model, made):          # noqa: F811
    """The largest file that a server takes by default: it shows how far it is, is cancelled, is lost with the server, and arrives."""
    browser.expected = ["ERR_CONNECTION", "ERR_EMPTY_RESPONSE"]
    server = PageServer(model, more="AgentChatFiles on reserve=0\n").start()
    data = b"1,2\n" * ((20 << 20) // 4)
    (path,) = made(large__csv=data)
    far = f"({UPLOADS}[0]?.querySelector('progress')?.value ?? 0)"
    try:
        page = open_page(browser, server)
        network = slow(page, 2_000_000)
        for end in ("cancel", "kill"):
            choose(page, path)
            page.until(f"{far} > 0")
            seen = page.evaluate(far)
            page.until(f"{far} > {seen}")
            assert page.evaluate(far) < page.evaluate(f"{UPLOADS}[0].querySelector('progress').max")
            assert page.find("#send").isDisabled()
            if end == "cancel":
                page.button("Cancel the upload of large.csv").click()
                page.until(f"!{UPLOADS}.length")
            else:
                server.expect_log("AH00098")        # the pid file is still there
                server.kill()
                page.until(f"{UPLOADS}[0].dataset.state === 'failed'")
        assert page.texts(".uploads .file-info") == ["The server cannot be reached. Check your connection and try again."]
        server.start()
        assert not stored(server)
        network.send("Network.emulateNetworkConditions",
                     {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})
        page.button("Upload large.csv again").click()
        until_done(page, 1)
        (file,) = stored(server)
        assert file["size"] == len(data) and server.client.get(f"/files/{file['id']}/content").body == data
        page.send("What is in it?")
        page.ended()
        page.wait_text(".attachments .file", "large.csv")
        assert not (bad := server.check_log()), "unexpected lines in httpd's log:\n" + "\n".join(bad)
    finally:
        server.remove()
