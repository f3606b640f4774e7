"""An app whose import takes some hundred milliseconds of the standard library; see bench/README.md."""

import asyncio  # noqa: F401
import ctypes.util  # noqa: F401
import decimal  # noqa: F401
import email.mime.multipart  # noqa: F401
import http.server  # noqa: F401
import importlib
import logging.config  # noqa: F401
import multiprocessing.pool  # noqa: F401
import os
import sqlite3  # noqa: F401
import ssl  # noqa: F401
import unittest.mock  # noqa: F401
import urllib.request  # noqa: F401
import xml.dom.minidom  # noqa: F401
import xmlrpc.client  # noqa: F401

from charmer import command

for name in filter(None, os.environ.get("BENCH_IMPORTS", "").split(",")):
    importlib.import_module(name)


@command
def echo(n: int) -> int:
    return n


@command
def collect() -> int:
    import gc

    return gc.collect()
