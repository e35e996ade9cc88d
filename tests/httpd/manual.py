# SPDX-License-Identifier: Apache-2.0
"""What the pages of the manual show."""
import re


def blocks(path, language):
    """(line, text) of each fenced block of this language."""
    text = path.read_text()
    return [(text[:m.start()].count("\n") + 1, m[1]) for m in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)]
