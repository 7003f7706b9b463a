"""Django with Channels in one file, served by daphne. A real project has a settings module."""

import os

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.urls import path

GREETING = f"generation {os.environ.get('WSSUPERVISOR_GENERATION', '0')} process {os.getpid()}"

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY=os.urandom(32).hex())
django.setup()


async def healthz(request):
    return HttpResponse(GREETING)


class Echo(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        await self.send(GREETING)

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data, bytes_data)


urlpatterns = [path("healthz", healthz)]
application = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": URLRouter([path("", Echo.as_asgi())])}
)
