"""Ends after half a second, with a status and a last word."""

import sys
import time

print("connecting to the database", flush=True)
time.sleep(0.5)
sys.exit("cannot reach the database")
