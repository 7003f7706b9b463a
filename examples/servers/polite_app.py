"""The same application with the library: it is notified of drains and closes politely."""

from app import app as plain

from wssupervisor.worker import Supervised


def notify_users():
    print("a new version has taken over", flush=True)


app = Supervised(plain, on_drain=notify_users)
