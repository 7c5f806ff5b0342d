#!/usr/bin/env python3
"""Counts the words of input/*.txt, independently of Reprise, and writes expected/counts.txt.

A word is a maximal run of the letters A-Z and a-z, in lower case. One line a word, in the order of the words: WORD<TAB>COUNT.
Needs nothing but the standard library. `reference.py --check` compares instead of writing.
"""

import collections
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
EXPECTED = HERE / "expected" / "counts.txt"


def count() -> bytes:
    counts: collections.Counter[bytes] = collections.Counter()
    for book in sorted((HERE / "input").glob("*.txt")):
        counts.update(re.findall(rb"[a-z]+", book.read_bytes().lower()))
    return b"".join(b"%s\t%d\n" % (word, counts[word]) for word in sorted(counts))


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        same = EXPECTED.read_bytes() == count()
        print("expected/counts.txt is up to date" if same else "expected/counts.txt differs from the input")
        return 0 if same else 1
    EXPECTED.parent.mkdir(exist_ok=True)
    EXPECTED.write_bytes(count())
    return 0


if __name__ == "__main__":
    sys.exit(main())
