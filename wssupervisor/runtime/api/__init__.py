"""The requests of control clients: each becomes events of the fleet, and gets an answer.

Each method in the table of verbs has a module with its name here; its `answer` takes a `Call`.
"""
