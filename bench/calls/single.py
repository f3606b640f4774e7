"""The command of app.py without batching, alone in its app, so that it runs in the loop for plain functions."""

import time

from charmer import command


@command
def single(x: int) -> int:
    time.sleep(0.002)
    return x
