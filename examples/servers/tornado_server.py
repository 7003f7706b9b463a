"""Tornado on an inherited socket: `add_sockets` takes it. Ends at SIGTERM."""

import asyncio
import os
import signal
import socket

from tornado.httpserver import HTTPServer
from tornado.web import Application
from tornado.websocket import WebSocketHandler

GREETING = f"generation {os.environ.get('WSSUPERVISOR_GENERATION', '0')} process {os.getpid()}"


class Echo(WebSocketHandler):
    def open(self):
        self.write_message(GREETING)

    def on_message(self, message):
        self.write_message(message)


async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = HTTPServer(Application([("/", Echo)]))
    server.add_sockets([socket.socket(fileno=3)])
    await ended.wait()
    server.stop()
    await server.close_all_connections()


asyncio.run(main())
