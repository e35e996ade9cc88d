# SPDX-License-Identifier: Apache-2.0
"""A thousand files that mean no good, the same ones each time: names, types, polyglots, bombs, broken forms."""
import random
import struct
import zlib

PAGES = [b"<script>alert(1)</script>", b"<!DOCTYPE html><html><body>x</body></html>", b"<HTML>", b"<svg onload=alert(1)>",
         b"<?php system($_GET[0]); ?>", b"<iframe src=x>", b"<ScRiPt src=//x>"]
NAMES = ["../../etc/passwd", "..\\..\\boot.ini", "/etc/shadow", "C:\\x\\y.txt", "...", ".", "..", " ", "", ".htaccess",
         "a" * 900,
         "\u00e4" * 400, "x\u202egnp.exe", "x\u2066y\u2069.txt", "con", "nul.txt", "a;b=c", "a\tb", "%2e%2e%2fx", "a%00.txt",
         "x.php", "x.html", "x.svg", "x.exe", "-rf", "|rm", "$(id)", "`id`", "{{7*7}}", "\u200bhidden", "name.", "name ", "\ufeffx",
         "\U0001f600.txt", "e\u0301.txt", "a/b/c/", "\\", "'quoted'", "a, b", "x\x7fy", "\u00ad", "\u2028line"]
REFUSED = [b"\x7fELF\x02\x01\x01\0", b"MZ\x90\0\x03\0", b"PK\x03\x04\x14\0\0\0", b"\x1f\x8b\x08\0\0\0", b"BZh91AY&SY\xff",
           b"7z\xbc\xaf\x27\x1c",
           b"Rar!\x1a\x07\0", b"\xca\xfe\xba\xbe\0\0", b"\0asm\x01\0\0\0", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 
           b"\0\0\0\x20ftypmp42",
           b"ID3\x04\0", b"OggS\0", b"\xff\xfe<\0s\0", b"\xfe\xff\0<\0s", b"BM\x3a\0\0\0", b"II*\0\x08\0", b"MM\0*\0\0",
           b"\x89PNG\r\n\x1a\n",
           b"\xff\xd8\xff", b"GIF89a", b"GIF87a\0\0\0\0", b"RIFF\xff\xff\xff\x7fWEBPVP8 ", b"%PDF-9.9\n",
           b"%PDF-", b"\xc0\x80", b"\xed\xa0\x80",
           b"\xf4\x90\x80\x80", b"a\0b", b"\x01\x02\x03", b"text\xff"]


class Case:
    """content: the bytes of the file inside the body; type: of a file that is accepted."""

    def __init__(self, name, body, status, type=None, headers=None, content=None):
        self.name, self.body, self.status, self.type = name, body, status, type
        self.headers, self.content = headers or {}, body if content is None else content


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width=1, height=1, more=b""):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + more + \
        chunk(b"IDAT", zlib.compress(b"\0" * 4)) + chunk(b"IEND", b"")


def gif(width=1, height=1, comment=b"x"):
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b"!\xfe" + bytes([len(comment)]) + comment + \
        b"\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"


def jpeg(width=1, height=1, comment=b"x"):
    return b"\xff\xd8\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + b"\xff\xc0" + \
        struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\1\x11\0\xff\xda\0\x08\1\1\0\0\x3f\0\x7f\xff\xd9"


def webp(width=1, height=1, more=b""):
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + more
    return b"RIFF" + struct.pack("<I", len(body)) + body


IMAGES = {"png": (png, "image/png"), "gif": (gif, "image/gif"), "jpeg": (jpeg, "image/jpeg"), "webp": (webp, "image/webp")}


def names():
    for i, name in enumerate(NAMES):
        quoted = "".join("\\" + c if c in '"\\' else c for c in name)
        value = f'attachment; filename="{quoted}"'.encode("utf-8", "replace").decode("utf-8", "surrogateescape")
        if "\x7f" not in name:     # which httpd refuses in a header
            yield Case(f"name {i}", b"words", 201, kind_of(name), {"Content_Disposition": value})
        star = "".join(f"%{byte:02X}" for byte in name.encode()) or "x"
        yield Case(f"name* {i}", png(), 201, "image/png", {"Content_Disposition": f"attachment; filename*=UTF-8''{star}"})
        form = name.replace('"', "%22").replace("\\", "\\\\").encode()
        body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="' + form + b'"\r\n\r\nwords\r\n--x--'
        yield Case(f"name of a form {i}", body, 201, kind_of(name), {"Content_Type": "multipart/form-data; boundary=x"}, b"words")
    for n in (3_000, 10_000):           # as much as the headers of a part may have, and more
        for name in ("a" * n, "../" * (n // 3) + "a", "\U0001f600" * (n // 4)):
            body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="' + name.encode() + b'"\r\n\r\nwords\r\n--x--'
            yield Case(f"name of {n} bytes {name[:3]}", body, 201 if n < 4_000 else 400, "text/plain",
                       {"Content_Type": "multipart/form-data; boundary=x"}, b"words")
    for value in ("attachment; filename=", "attachment; filename", ";;;;", "attachment; filename=\"open", "filename*=UTF-8''%00", "=",
                  "attachment; filename*=UTF-8''%zz; filename=x", "attachment; filename*=latin1''%e4", "attachment; name=x"):
        yield Case(f"header {value}", b"words", 201, "text/plain", {"Content_Disposition": value})


def kind_of(name):
    return "text/markdown" if name.endswith(".md") else "text/csv" if name.endswith(".csv") else "text/plain"


def types():
    for i, head in enumerate(REFUSED):
        for claimed in ("image/png", "text/plain", "application/pdf", "text/html"):
            for tail in (b"", b"x" * 5000):
                yield Case(f"type {i} {claimed} {len(tail)}", head + tail, 415, headers={"Content_Type": claimed})
    for i, page in enumerate(PAGES):
        for claimed in ("text/html", "image/svg+xml", "application/xhtml+xml", "application/javascript", "image/png"):
            yield Case(f"page {i} as {claimed}", page, 201, "text/plain", {"Content_Type": claimed})


def polyglots():
    for i, page in enumerate(PAGES):
        yield Case(f"png {i}", png(more=chunk(b"tEXt", b"c\0" + page)), 415)
        yield Case(f"gif {i}", gif(comment=page), 415)
        yield Case(f"jpeg {i}", jpeg(comment=page), 415)
        yield Case(f"webp {i}", webp(more=page), 415)
        yield Case(f"pdf {i}", b"%PDF-1.7\n" + page, 415)
        yield Case(f"page before an image {i}", page + png(), 415)
        yield Case(f"page before a pdf {i}", page + b"\n%PDF-1.7\n", 201, "text/plain")
        yield Case(f"gif as a script {i}", b"GIF89a/*" + page + b"*/=1;", 415)
    for name, (make, type) in IMAGES.items():
        yield Case(f"{name} before an archive", make() + b"PK\x03\x04" + b"\0" * 100, 201, type)
        yield Case(f"archive before {name}", b"PK\x03\x04" + make(), 415)


def bombs():
    for name, (make, type) in IMAGES.items():
        for width, height in ((60000, 60000), (65535, 65535), (16000, 6251)):
            if name != "webp" or width < 1 << 24:
                yield Case(f"{name} of {width} x {height}", make(width, height), 413)
        yield Case(f"{name} of the largest size", make(10000, 10000), 201, type)
    yield Case("png of no width", png(0, 5), 415)
    for side in (2 ** 31 - 1, 2 ** 32 - 1):
        yield Case(f"png of {side} pixels each way", png(side, side), 413)
    yield Case("gif of no height", gif(5, 0), 415)
    yield Case("empty", b"", 400)
    flat = zlib.compress(b"\0" * 30_000_000, 9)        # 30 MB in 30 kB
    yield Case("png of zeros", png(10000, 1000, more=chunk(b"IDAT", flat)), 201, "image/png")
    yield Case("png of zeros in a text", png(more=chunk(b"zTXt", b"c\0\0" + flat)), 201, "image/png")
    yield Case("pdf of zeros", b"%PDF-1.7\n1 0 obj\n<< /Length 30000 /Filter /FlateDecode >>\nstream\n" + flat + b"\nendstream\n", 201,
               "application/pdf")
    yield Case("archive of zeros", zlib.compress(b"\0" * 1_000_000), 415)
    yield Case("too large", b"x" * 65537, 413)
    yield Case("as large as may be", b"x" * 65536, 201, "text/plain")
    yield Case("coded", b"words", 415, headers={"Content_Encoding": "gzip"})


def forms():
    def form(body, boundary="x"):
        return {"Content_Type": f"multipart/form-data; boundary={boundary}"} if boundary is not None else {"Content_Type": body}
    head = b'Content-Disposition: form-data; name="file"\r\n\r\n'
    for i, body in enumerate((b"--x", b"--x\r\n", b"--x\r\n" + head, b"--x\r\n" + head + b"words", b"--y\r\n" + head + b"w\r\n--y--",
                              b"--x\r\n\r\nwords\r\n--x--", b"--x\r\n" + head + b"w\r\n--x\r\n" + head + b"w\r\n--x--", b"--xwords",
                              b"--x--",
                              b"--x\r" + head, b"--x\r\n" + b"A: b\r\n" * 3000 + head + b"w\r\n--x--", b"--x\r\n\0" + head + b"w\r\n--x--",
                              b"--x\r\nContent-Disposition: form-data; name=file2\r\n\r\nw\r\n--x--", b"\r\n--x-\r\n")):
        yield Case(f"form {i}", body, 400, headers=form(body))
    whole = b"--x\r\n" + head + b"words\r\n--x--"
    for boundary in ("", '""', "x" * 71, "a\"b", "\u00e4", "x "):
        yield Case(f"boundary {boundary!r}", whole, 201 if boundary == "x " else 400, "text/plain", form(whole, boundary), b"words")
    for kind in ("multipart/mixed; boundary=x", "multipart/", "multipart/form-data", "multipart/form-data; boundary"):
        yield Case(kind, whole, 400, headers={"Content_Type": kind})
    for ending in (b"\r\n", b"\r\n\r\nepilogue", b" \r\n", b"-" * 80):
        yield Case(f"epilogue {ending}", whole + ending, 201, "text/plain", form(whole), b"words")
    for content in (b"\r", b"\r\n", b"\r\n--", b"\r\n-", b"\r\n\r\n--y", b"--x", b"a\r\r\n", b"\r\n--\r\n-", b"x" * 20000):
        body = b"--x\r\n" + head + content + b"\r\n--x--"
        yield Case(f"content {content[:20]}", body, 201, "text/plain", form(body), content)


def random_files(number):
    """Images and forms with some bytes changed: no right answer but one of these."""
    dice = random.Random(15)
    for i in range(number):
        size = dice.randrange(1, 3000)
        yield Case(f"noise {i}", b"\0" + dice.randbytes(size), 415)
        text = "".join(dice.choice("abc <>&\n\u00e4\u20ac\U0001f600") for _ in range(size)).encode()
        yield Case(f"text {i}", text, 201, "text/plain")
        yield Case(f"cut text {i}", text + "\u20ac".encode()[:dice.randrange(1, 3)], 415)


def cases():
    found = [*names(), *types(), *polyglots(), *bombs(), *forms()]
    found += list(random_files(200))
    assert len(found) >= 1000, len(found)
    return found
