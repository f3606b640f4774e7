"""Flask on gunicorn: the functions as routes."""

from __future__ import annotations

import json
from typing import Iterator

import work
from flask import Flask, Response, jsonify, request

app = Flask(__name__)


@app.post("/echo")
@app.post("/same")
def echo() -> Response:
    return jsonify(work.echo(request.get_json()["value"]))


@app.post("/spin")
def spin() -> Response:
    return jsonify(work.spin(request.get_json()["n"]))


@app.post("/doze")
@app.post("/nap")
def doze() -> Response:
    return jsonify(work.doze(request.get_json()["seconds"]))


def lines(n: int) -> Iterator[str]:
    for item in work.numbers(n):
        yield json.dumps(item) + "\n"


@app.post("/numbers")
def numbers() -> Response:
    return Response(lines(request.get_json()["n"]), mimetype="application/x-ndjson")
