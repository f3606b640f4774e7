"""A partner in conversation that answers word by word, as language models do: a Markov chain over the text of wordstats."""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import AsyncIterator, Dict, Final, List

import charmer
from charmer import CommandError, command

TEXT: Final = Path(__file__).resolve().parent.parent / "wordstats" / "data" / "opticks-queries.txt"
LOG: Final = logging.getLogger("chat")


@dataclass
class Turn:
    """What was said, and what was answered."""

    prompt: str
    answer: str


def learn(text: str) -> Dict[str, List[str]]:
    """Return for each word those that follow it in a text, as often as they do."""
    words = text.split()
    after: Dict[str, List[str]] = defaultdict(list)
    for word, following in zip(words, words[1:]):
        after[word].append(following)
    return dict(after)


def opening(prompt: str) -> str:
    """Return the longest word of a prompt that the model knows, or the one that it begins with when it knows none."""
    known = [word for word in re.findall(r"\w+", prompt) if word in AFTER]
    return max(known, key=len, default="Light")


AFTER: Final = learn(TEXT.read_text(encoding="utf-8"))
turns: List[Turn] = []
"""The conversation: prompts and answers. Each session has its own, since a session is a process."""


@command
async def reply(prompt: str, words: int = 12, seed: int = 1, pause: float = 0.05) -> AsyncIterator[str]:
    """Answer a prompt, a word at a time.

    Args:
        prompt: What was said.
        words: Length of the answer.
        seed: The same prompt and seed give the same answer.
        pause: Seconds of thought before each word.
    """
    if words < 1:
        raise CommandError("out_of_range", "words must be at least 1", status=400)
    chance, word = random.Random(seed), opening(prompt)
    said: List[str] = []
    charmer.log(f"begins with {word!r}")
    try:
        for n in range(words):
            await asyncio.sleep(pause)
            said.append(word)
            charmer.progress((n + 1) / words)
            yield word
            word = chance.choice(AFTER.get(word, ["Light"]))
    except (asyncio.CancelledError, GeneratorExit):
        LOG.info("cut off after %d words", len(said))
        said.append("...")
        raise
    finally:
        turns.append(Turn(prompt, " ".join(said)))


@command
def history() -> List[Turn]:
    """Return the conversation of this session."""
    return turns
