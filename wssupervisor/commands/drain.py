"""drain: give a draining generation a limit"""

import argparse

from wssupervisor.control.client import Client

EXAMPLES = """\
examples:
  wssctl drain 5 --within 10min
  wssctl drain 5 --within 0s      end its workers now, with the connections they have
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("generation", type=int, help="its number, as in wssctl status")
    parser.add_argument("--within", required=True, metavar="SPAN", help="its workers end by then")


def run(given: argparse.Namespace, client: Client) -> int:
    params = {"generation": given.generation, "within": given.within}
    answer = client.call("drain", params)
    count = answer["workers"]
    workers = f"{count} worker{'' if count == 1 else 's'}"
    print(f"generation {given.generation}: {workers} will end within {given.within}")
    return 0
