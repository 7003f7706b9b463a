"""Every decision, as plain data: `Fleet.handle(event, now)` returns the actions that follow.

Nothing here does I/O, reads a clock or logs: events are facts, actions are orders whose results
come back as events, and core.py states what holds after each step, and why.
"""
