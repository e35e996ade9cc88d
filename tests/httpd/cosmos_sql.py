# SPDX-License-Identifier: Apache-2.0
"""The part of Cosmos DB's SQL that the tests need: SELECT *, members or VALUE COUNT(1); WHERE with comparisons, IN,
AND, OR, NOT, IS_DEFINED, ARRAY_CONTAINS and FullTextContainsAll; ORDER BY members; TOP. Anything else is an error, as in the service."""
import functools
import re


class SqlError(Exception):
    pass


class Undefined:
    """The value of a member that is not there: it equals nothing, and is smaller than nothing."""


TOKENS = re.compile(r"\s*(?:(?P<string>'[^']*'|\"[^\"]*\")|(?P<number>-?\d+(?:\.\d+)?)|(?P<parameter>@\w+)"
                    r"|(?P<word>\w+(?:\.\w+)*)|(?P<sign><=|>=|!=|<>|[=<>(),*]))")
RANKS = {bool: 1, int: 2, float: 2, str: 3}


def tokens_of(text):
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = TOKENS.match(text, at)
        if not match:
            raise SqlError(f"syntax error at {text[at:at + 20]!r}")
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


def compare(left, sign, right):
    if Undefined in (left, right):
        return Undefined
    if sign in ("=", "!=", "<>"):
        same = type(left) is type(right) and left == right or \
            not isinstance(left, bool) and not isinstance(right, bool) and isinstance(left, (int, float)) and left == right
        return same if sign == "=" else not same
    if RANKS.get(type(left)) != RANKS.get(type(right)) or RANKS.get(type(left)) is None:
        return Undefined
    return {"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}[sign]


def nested(document, path):
    """The member "a.b" of a document."""
    for name in path.split("."):
        document = document.get(name, Undefined) if isinstance(document, dict) else Undefined
    return document


LEFT_OUT = {"a", "and", "is", "it", "the", "to"}       # some of the words that the index has not


def words_of(text):
    return re.findall(r"\w+", text.lower())


def has_phrase(text, phrase):
    """Whether the words follow each other in the text. A word that the index has not is found nowhere."""
    words, wanted = words_of(text), words_of(phrase)
    return bool(wanted) and not set(wanted) <= LEFT_OUT and any(
        words[i:i + len(wanted)] == wanted for i in range(len(words)))


def within(value, part):
    """What the third argument of ARRAY_CONTAINS asks for: the object has all members of the other one."""
    return isinstance(value, dict) and isinstance(part, dict) and all(
        compare(value.get(name, Undefined), "=", wanted) is True for name, wanted in part.items())


def both(a, b):
    return False if False in (a, b) else Undefined if Undefined in (a, b) else True


def either(a, b):
    return True if True in (a, b) else Undefined if Undefined in (a, b) else False


class Query:
    def __init__(self, text):
        self.tokens, self.at = tokens_of(text), 0
        self.members, self.top, self.where, self.order, self.counts = set(), None, None, None, False
        self.full_text = None       # the member whose words are looked for
        self.expect("select")
        if self.accept("top"):
            self.top = int(self.take()[1])
        self.select = self.read_select()
        self.expect("from")
        self.take()
        if self.accept("where"):
            self.where = self.read_or()
        if self.accept("order"):
            self.expect("by")
            self.order = [self.read_order()]
            while self.accept(","):
                self.order.append(self.read_order())
        if self.at < len(self.tokens):
            raise SqlError(f"not known: {self.tokens[self.at][1]}")

    # ---- reading ----
    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def take(self):
        token = self.peek()
        self.at += 1
        return token

    def accept(self, word):
        if self.peek()[1].lower() == word and self.peek()[0] in ("word", "sign"):
            self.at += 1
            return True
        return False

    def expect(self, word):
        if not self.accept(word):
            raise SqlError(f"{word} expected, not {self.peek()[1]!r}")

    @staticmethod
    def member(text):
        return text.split(".", 1)[1]

    def read_select(self):
        if self.accept("*"):
            return None
        if self.accept("value"):
            for word in ("count", "(", "1", ")"):
                if self.take()[1].lower() != word:
                    raise SqlError("only VALUE COUNT(1)")
            self.counts = True
            return None
        names = [self.member(self.take()[1])]
        while self.accept(","):
            names.append(self.member(self.take()[1]))
        return names

    def read_order(self):
        return self.member(self.take()[1]), bool(self.accept("desc")) or (self.accept("asc") and False)

    def read_or(self):
        left = self.read_and()
        while self.accept("or"):
            left = functools.partial(lambda a, b, d, p: either(a(d, p), b(d, p)), left, self.read_and())
        return left

    def read_and(self):
        left = self.read_not()
        while self.accept("and"):
            left = functools.partial(lambda a, b, d, p: both(a(d, p), b(d, p)), left, self.read_not())
        return left

    def read_not(self):
        if self.accept("not"):
            inside = self.read_not()
            return lambda d, p: {True: False, False: True}.get(inside(d, p), Undefined)
        if self.accept("("):
            inside = self.read_or()
            self.expect(")")
            return inside
        if self.accept("array_contains"):
            self.expect("(")
            array = self.read_value()
            self.expect(",")
            value = self.read_value()
            same = within if self.accept(",") and self.take()[1].lower() == "true" else lambda v, w: compare(v, "=", w) is True
            self.expect(")")
            return lambda d, p: isinstance(array(d, p), list) and any(same(v, value(d, p)) for v in array(d, p))
        if self.accept("fulltextcontainsall"):
            self.expect("(")
            self.full_text = name = self.member(self.take()[1])
            phrases = []
            while self.accept(","):
                phrases.append(self.read_value())
            self.expect(")")
            return lambda d, p: isinstance(nested(d, name), str) and all(has_phrase(d[name], phrase(d, p)) for phrase in phrases)
        if self.accept("is_defined"):
            self.expect("(")
            name = self.member(self.take()[1])
            self.expect(")")
            return lambda d, p: nested(d, name) is not Undefined
        return self.read_comparison()

    def read_comparison(self):
        left = self.read_value()
        if self.accept("in"):
            self.expect("(")
            values = [self.read_value()]
            while self.accept(","):
                values.append(self.read_value())
            self.expect(")")
            return lambda d, p: any(compare(left(d, p), "=", v(d, p)) is True for v in values)
        kind, sign = self.take()
        if kind != "sign" or sign in "(),*":
            raise SqlError(f"a comparison expected, not {sign!r}")
        right = self.read_value()
        return lambda d, p: compare(left(d, p), sign, right(d, p))

    def read_value(self):
        kind, text = self.take()
        if kind == "string":
            return lambda d, p: text[1:-1]
        if kind == "number":
            number = float(text) if "." in text else int(text)
            return lambda d, p: number
        if kind == "parameter":
            return lambda d, p: p.get(text, Undefined)
        if text.lower() in ("true", "false", "null"):
            value = {"true": True, "false": False, "null": None}[text.lower()]
            return lambda d, p: value
        if kind == "word" and "." in text:
            name = self.member(text)
            self.members.add(name)
            return lambda d, p: nested(d, name)
        raise SqlError(f"a value expected, not {text!r}")

    # ---- running ----
    def run(self, documents, parameters):
        rows = [d for d in documents if self.where is None or self.where(d, parameters) is True]
        if self.counts:
            return [len(rows)]
        if self.order:
            rows = [d for d in rows if all(nested(d, name) is not Undefined for name, _ in self.order)]
            for name, descending in reversed(self.order):
                rows = sorted(rows, key=lambda d, name=name: nested(d, name), reverse=descending)
        if self.top is not None:
            rows = rows[:self.top]
        return rows if self.select is None else [{n: d[n] for n in self.select if n in d} for d in rows]

    @property
    def needs_gateway_plan(self):
        """What the hosted service's gateway refuses over several partitions."""
        return bool(self.order or self.counts or self.top is not None)


@functools.lru_cache(200)
def parse(text):
    return Query(text)
