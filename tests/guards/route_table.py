# SPDX-License-Identifier: Apache-2.0
"""The table of routes in src/front/route.c as Python reads it."""
import re


class Route:
    """method "GET", pattern "/threads/{id}", and what it needs: names as AC_NEEDS_OWNER."""

    def __init__(self, method, pattern, needs):
        self.method, self.pattern, self.needs = method, pattern, needs

    @property
    def name(self):
        return f"{self.method} {self.pattern}"


def text(top):
    """The source of all routes: those for older clients are in api.h."""
    return "".join((top / "src/front" / name).read_text() for name in ("route.c", "api/api.h"))


def rows(route_c):
    """All rows of the table, in its order."""
    short = dict(re.findall(r"^#define (\w+) \(?((?:AC_\w+(?: \| )?)+)\)?$", route_c, re.M))
    found = []
    for method, pattern, needs in re.findall(r'\{\s*M_([A-Z]+)\s*,\s*"([^"]+)"\s*,\s*([\w| ]+?)\s*,', route_c):
        for name, text in short.items():
            needs = re.sub(rf"\b{name}\b", text, needs)
        found.append(Route(method, pattern, set(re.findall(r"AC_\w+", needs))))
    return found
