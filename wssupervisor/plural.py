"""Counts in words."""


def count(number: int, noun: str) -> str:
    """ "1 connection", "3 connections": the noun takes an s unless the number is 1."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
