"""Tells the benchmark when a worker of gunicorn serves."""

import work


def post_worker_init(worker):
    work.ready()
