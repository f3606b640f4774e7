"""The limits that a worker sets for itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unittest
from typing import Dict, List

from tests.harness import RUNTIME

_PROGRAM = """
import json, os, resource, sys
sys.path.insert(0, sys.argv[1])
from charmer._limits import limit_worker, limit_zygote, read_limits
(limit_zygote if len(sys.argv) > 2 else limit_worker)(read_limits(os.environ))
names = ["RLIMIT_DATA", "RLIMIT_CPU", "RLIMIT_NOFILE", "RLIMIT_NPROC"]
print(json.dumps({name: resource.getrlimit(getattr(resource, name)) for name in names}))
"""


def _limited(limits: Dict[str, str], *zygote: str) -> "subprocess.CompletedProcess[str]":
    environment = {**{k: v for k, v in os.environ.items() if not k.startswith("CHARMER_")}, **limits}
    command = [sys.executable, "-c", _PROGRAM, str(RUNTIME), *zygote]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


class Limits(unittest.TestCase):
    def test_those_that_are_named_are_set_and_no_others(self) -> None:
        wanted: Dict[str, List[int]] = {"RLIMIT_DATA": [1 << 30, 1 << 31], "RLIMIT_CPU": [600, 601], "RLIMIT_NOFILE": [50, 60]}
        before: Dict[str, List[int]] = json.loads(_limited({}).stdout)
        self.assertEqual(json.loads(_limited({"CHARMER_WORKER_LIMITS": "{}"}).stdout), before)
        got = json.loads(_limited({"CHARMER_WORKER_LIMITS": json.dumps(wanted)}).stdout)
        self.assertEqual(got, {**before, **wanted})
        got = json.loads(_limited({"CHARMER_WORKER_LIMITS": json.dumps(wanted)}, "zygote").stdout)
        self.assertEqual(got, {**before, "RLIMIT_DATA": wanted["RLIMIT_DATA"]})

    def test_what_cannot_be_set_is_an_error(self) -> None:
        for text in ("[", '{"RLIMIT_NOFILE":[60,50]}', '{"RLIMIT_NONSENSE":[1,1]}', '{"RLIMIT_NOFILE":1}'):
            ended = _limited({"CHARMER_WORKER_LIMITS": text})
            self.assertNotEqual(ended.returncode, 0, text)
            self.assertIn("Error", ended.stderr)


if __name__ == "__main__":
    unittest.main()
