"""The words and phrases that rules 1 to 3 replace, each with what is written instead."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    pattern: re.Pattern[str]
    instead: str


GAP = r"(?:\s+(?:[#*>]+\s+)?)"
"""Between two words of a phrase: a line may end there, and the next one may begin with a marker."""

NO_NOUN_BEFORE = (
    "after|and|as|because|before|but|by|for|from|if|in|like|nor|of|on|or|over|than|that|then|those"
    "|to|towards|until|when|while|with|without"
)
"""Behind these, or where a sentence begins, `who` has no noun and stands for an actor by itself."""


def rule(pattern: str, instead: str, flags: int = re.IGNORECASE) -> Rule:
    """`~` stands for any gap between two words. What a backtick begins is code."""
    return Rule(re.compile(rf"(?<![\w`-])(?:{pattern.replace('~', GAP)})(?![\w-])", flags), instead)


RULES = (
    rule(r"(?:no|some|every|any)body(?:'s)?", "name the actor: client, worker, operator, …"),
    rule(r"who(?:m|se)?ever", "name the actor: client, worker, operator, …"),
    rule(
        # The first word of a sentence, and not of a question.
        r"Whom?(?=\s[a-z])(?![^.!:;|]{0,200}\?)",
        "name the actor: client, worker, operator, …",
        flags=0,
    ),
    rule(
        rf"(?:{NO_NOUN_BEFORE})~whom?",
        "name the actor before 'who': a client that, an operator who",
    ),
    rule(r"he|him(?:self)?|his", "a client, a worker and a process are 'it', an operator 'they'"),
    rule(r"tell(?:s|ing)?|told", "programs report, show, print, log, return; a person learns"),
    rule(r"shall", "must, will"),
    rule(r"anew", "again"),
    rule(r"so~long", "as long as, this long, until"),
    rule(r"so~many(?!\s\w+\sthat)", "this many, at most 8, as many as"),
    rule(r"at~the~most", "at most"),
    rule(
        r"any~more(?!\s+[a-z])"
        r"|any~more(?=\s(?:as|at|by|for|if|in|on|once|since|than|to|when|while)\s)",
        "no longer",
    ),
    rule(r"dear(?:er|est|ly)?", "expensive"),
    rule(
        r"(?:wait(?:s|ing|ed)?|go|goes|going|went|gone)~on",
        "keeps …ing, continues",
    ),
    rule(
        r"(?:drain(?:s|ing|ed)?|serve[sd]?|serving|lives?|lived|runs?|ran|works?|counts?)~on(?=[.,;:)]|$"
        r"|\s(?:and|as|but|if|in|or|till|until|when|while|with|without)\s)",
        "keeps …ing, continues",
    ),
)

IN_DOCUMENTS = (
    rule(r"says|said", "programs report, show, print, log, return, state"),
    rule(r"wants", "needs, requires, expects"),
)
"""Held in what only people read: pages, manuals, catalogue, rules, units."""
DOCUMENTS = frozenset({".md", ".scd", ".catalog", ".yml", ".service", ".socket"})
