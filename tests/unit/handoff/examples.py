"""States of connections, for tests."""

from wssupervisor.worker.handoff.states import AsgiState, Deflate, WebsocketsState

WEBSOCKETS = WebsocketsState(
    id="6f3e0f3e-8f2a-4a55-9a38-1f1d3f9d2f11",
    path="/chat?room=7",
    request=(("Host", "example.org"), ("Cookie", "a=\udce4; b=ö")),
    status=101,
    phrase="Switching Protocols",
    response=(("Upgrade", "websocket"),),
    carried={"name": "ann", "cursor": 7, "seen": [1, 2.5, None, True]},
    subprotocol="chat",
    origin="https://example.org",
    username=None,
    latency=0.0125,
    deflate=Deflate(
        remote_no_context_takeover=False,
        local_no_context_takeover=True,
        remote_max_window_bits=12,
        local_max_window_bits=15,
        window=bytes(range(256)),
    ),
    unread=b"\x81\x85\x00",
)
ASGI = AsgiState(
    path="/feed",
    query="after=3",
    headers=(("host", "example.org"),),
    subprotocols=("chat",),
    answer=b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n",
    carried={},
    windows=(b"once upon a time", b""),
    unread=b"",
)
