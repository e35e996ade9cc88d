# SPDX-License-Identifier: Apache-2.0
"""Writes src/base/words_table.h: the letters without case and diacritics, from Python's Unicode data."""
import sys
import unicodedata

RANGES = (0xC0, 0x250), (0x370, 0x530), (0x1E00, 0x2000)
SPECIAL = {0xD8: "o", 0xF8: "o", 0x110: "d", 0x111: "d", 0x126: "h", 0x127: "h", 0x141: "l", 0x142: "l", 0x131: "i"}


def folded(code):
    if code in SPECIAL:
        return ord(SPECIAL[code])
    letters = [c for c in unicodedata.normalize("NFKD", chr(code)) if not unicodedata.combining(c)]
    letters = "".join(letters).casefold()
    return ord(letters) if len(letters) == 1 else ord(chr(code).lower()) if len(chr(code).lower()) == 1 else code


def lines():
    yield "/* SPDX-License-Identifier: Apache-2.0 */"
    yield "/* Letters without case and diacritics. Made by tests/guards/words_table.py; do not change it by hand. */"
    yield "/* clang-format off */"
    for first, end in RANGES:
        yield f"static const uint16_t letters_{first:x}[{end - first}] = {{"
        row = "   "
        for code in range(first, end):
            item = f" {folded(code)},"
            if len(row) + len(item) > 118:
                yield row
                row = "   "
            row += item
        yield row
        yield "};"
    yield "/* clang-format on */"


def text():
    return "\n".join(lines()) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
