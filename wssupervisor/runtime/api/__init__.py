"""What a control client may request, as events of the fleet, and what it is answered.

A method of the table of verbs has a module of its name here, whose `answer` takes a `Call`.
"""
