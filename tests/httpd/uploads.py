# SPDX-License-Identifier: Apache-2.0
"""What tests of messages with files have in common: files, parts, and uploads."""
import base64

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def upload(client, data, name="a.txt", headers=None):
    """The id of a new file."""
    line = f"attachment; filename*=UTF-8''{''.join(f'%{byte:02X}' for byte in name.encode())}"
    response = client.request("POST", "/files", data, headers={"Content-Disposition": line, **(headers or {})})
    assert response.status == 201, response
    return response.json["id"]


def text(words):
    return {"type": "text", "text": words}


def image(file_id):
    return {"type": "image", "file_id": file_id}


def file(file_id):
    return {"type": "file", "file_id": file_id}


def data_url(data=PNG, kind="image/png"):
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def kept_bytes(server):
    """The ids of all that is in the folder of files."""
    return sorted(path.name for path in (server.root / "state/files").glob("??/*"))
