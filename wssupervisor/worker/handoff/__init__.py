"""A live connection moves to another worker: same socket, same session, no close frame.

`docs/internals/handoff.md` describes the protocol. From the ground up:

- `frames`: whether a client's bytes end with a complete message
- `back_references`, `deflate`: the window of a decompressor, read and restored
- `fields`, `messages`, `states`: what the two workers send each other
- `claim`, `exchange`: the same on descriptors. Everything else here is pure
- `connection`: the steps of one connection, and its owner at each
- `giving`, `taking`, with `giver_events` and `taker_events`: what each worker decides

Random handoffs with deaths at every action check these promises (`tests/property/test_handoff.py`):

- `check_one_owner`: each connection that lives has exactly one owner, which lives and holds its
  socket. The claim decides, so there is no instant between two owners.
- `check_one_process_reads_or_writes`: two processes never use a socket at once. The giver stops
  when it freezes a connection, and the taker begins after its claim.
- `check_frozen_is_still`: nothing is read or written between the two.
- `check_a_handler_is_called_again_once`: a handler that was ended is called again in exactly one
  process, because a connection leaves FROZEN only by a claim.
- `check_nothing_is_given_without_room`: the taker is never sent more than it can hold.
- `check_the_end`: each connection serves in one process at the end, and a death costs only what the
  dead process owned.
"""
