"""Numbers about English text: plain functions of their arguments, all work and no state.

Without a text of their own the commands take the one that came with the app, which is read once, when the app is
imported.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any, Optional

from charmer import CommandError, command

TEXT = (Path(__file__).parent / "data" / "opticks-queries.txt").read_text(encoding="utf-8")

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
SENTENCE_END = re.compile(r"[^\W\d_]['’]?[.!?]+[\"'”’)]*(?=\s+[\"'“‘(]?[A-ZÀ-ÖØ-Þ]|\s*$)")
VOWELS = re.compile(r"[aeiouyæœ]+")


@command
def stats(text: Optional[str] = None) -> dict[str, Any]:
    """Size, variety, readability (Flesch) and entropy of a text."""
    text = TEXT if text is None else text
    found = words(text)
    sentences = max(1, len(SENTENCE_END.findall(text)))
    counts = Counter(found)
    readability = None
    if found:
        per_sentence = len(found) / sentences
        per_word = sum(syllables(word) * times for word, times in counts.items()) / len(found)
        readability = {
            "words_per_sentence": round(per_sentence, 3),
            "syllables_per_word": round(per_word, 3),
            "reading_ease": round(206.835 - 1.015 * per_sentence - 84.6 * per_word, 2),
            "grade": round(0.39 * per_sentence + 11.8 * per_word - 15.59, 2),
        }
    return {
        "characters": len(text),
        "words": len(found),
        "sentences": sentences if found else 0,
        "different_words": len(counts),
        "words_used_once": sum(times == 1 for times in counts.values()),
        "longest_word": min(counts, key=lambda word: (-len(word), word), default=None),
        "readability": readability,
        "entropy_bits": {
            "per_character": entropy(Counter(text)),
            "per_character_after_another": conditional_entropy(text),
            "per_word": entropy(counts),
        },
    }


@command
def top(text: Optional[str] = None, n: int = 10, length: int = 1) -> list[dict[str, Any]]:
    """The most frequent words, or runs of that many words; alphabetical among equals."""
    if n < 0 or length < 1:
        raise CommandError("out_of_range", "n is at least 0 and length at least 1", status=400)
    found = words(TEXT if text is None else text)
    runs = Counter(zip(*(found[i:] for i in range(length))))
    ranked = sorted(runs.items(), key=lambda item: (-item[1], item[0]))
    return [{"words": " ".join(run), "times": times} for run, times in ranked[:n]]


@command
def compare(a: str, b: Optional[str] = None) -> dict[str, Any]:
    """How alike the words of two texts are: 0 is nothing in common, 1 the same words equally often."""
    counts = [Counter(words(text)) for text in (a, TEXT if b is None else b)]
    if not all(counts):
        raise CommandError("no_words", "both texts need at least one word", status=400)
    shared = counts[0].keys() & counts[1].keys()
    product = sum(counts[0][word] * counts[1][word] for word in shared)
    squares = [sum(times * times for times in count.values()) for count in counts]
    return {
        "cosine": round(product / math.sqrt(squares[0] * squares[1]), 6),
        "jaccard": round(len(shared) / len(counts[0].keys() | counts[1].keys()), 6),
        "shared_words": len(shared),
        "only_in_a": sorted(counts[0].keys() - shared),
    }


def words(text: str) -> list[str]:
    """The words in lower case: letters, with apostrophes between them (don't)."""
    return [word.replace("’", "'") for word in WORD.findall(text.lower())]


def syllables(word: str) -> int:
    """Syllables of an English word by rule of thumb: runs of vowels, less a silent e at the end."""
    runs = len(VOWELS.findall(word))
    silent = word.endswith("e") and not word.endswith(("le", "ee", "ae"))
    return max(1, runs - silent)


def entropy(counts: Counter[Any]) -> float:
    """Shannon entropy of a distribution in bits, rounded to 6 decimals."""
    total = sum(counts.values())
    return round(-math.fsum(n / total * math.log2(n / total) for n in counts.values()) + 0.0, 6)


def conditional_entropy(text: str) -> float:
    """Bits that a character adds when the one before it is known."""
    pairs = Counter(zip(text, text[1:]))
    firsts = Counter(text[:-1])
    total = max(1, len(text) - 1)
    return round(-math.fsum(n / total * math.log2(n / firsts[pair[0]]) for pair, n in pairs.items()) + 0.0, 6)
