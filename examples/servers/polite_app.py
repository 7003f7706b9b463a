"""The same application as a worker that uses the library: told of drains, closed politely."""

from app import app as plain

from wssupervisor.worker import Supervised


def tell_users():
    print("a new version has taken over", flush=True)


app = Supervised(plain, on_drain=tell_users)
