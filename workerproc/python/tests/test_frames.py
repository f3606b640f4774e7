"""The codec against the golden frames, and against input that is out of step."""

from __future__ import annotations

import json
import os
import threading
import unittest
from typing import List, NoReturn, Tuple

from charmer._encode import encode_fields, result_encoder
from charmer._frames import Frame, FrameError, FrameWriter, read_frames
from tests.harness import KINDS, frame, golden

TO_WORKER = ("CALL", "PING", "STOP")


def never(exc: BaseException) -> NoReturn:
    raise exc


def die(message: str) -> NoReturn:
    raise SystemExit(message)


def read_all(data: bytes, max_frame: int = 1 << 20, cuts: Tuple[int, ...] = ()) -> List[Frame]:
    """Read frames from data, written in pieces that are cut as given."""
    reading, writing = os.pipe()

    def write() -> None:
        at = 0
        for cut in (*cuts, len(data)):
            rest = data[at:cut]
            while rest:
                rest = rest[os.write(writing, rest) :]
            at = cut
        os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        return list(read_frames(reading, max_frame, never))
    finally:
        while os.read(reading, 1 << 20):
            pass
        thread.join()
        os.close(reading)


def written(kind: int, body: bytes, call_id: int) -> bytes:
    reading, writing = os.pipe()
    try:
        writer = FrameWriter(writing, die)
        writer.open.add(call_id)
        writer.send(kind, body, call_id)
        return os.read(reading, 1 << 16)
    finally:
        os.close(reading)
        os.close(writing)


class GoldenFrames(unittest.TestCase):
    def test_each_frame_to_a_worker_is_read_as_the_index_says(self) -> None:
        for name, (data, entry) in golden().items():
            if entry["kind"] in TO_WORKER:
                with self.subTest(name):
                    ((kind, call_id, body, _),) = read_all(data)
                    self.assertEqual((kind, call_id, body), (KINDS[entry["kind"]], entry["id"], entry["body"]))

    def test_each_frame_to_the_pool_is_written_byte_for_byte(self) -> None:
        encode = result_encoder()
        for name, (data, entry) in golden().items():
            if entry["kind"] not in TO_WORKER:
                with self.subTest(name):
                    body = b""
                    if entry["body"]:
                        value = json.loads(entry["body"])
                        body = encode_fields(value)
                        self.assertEqual(encode(value).encode(), body)
                    self.assertEqual(written(KINDS[entry["kind"]], body, entry["id"]), data)

    def test_all_frames_in_one_stream_are_read_wherever_it_is_cut(self) -> None:
        wanted = [(data, entry) for data, entry in golden().values() if entry["kind"] in TO_WORKER]
        stream = b"".join(data for data, _ in wanted)
        for cut in range(1, len(stream)):
            got = [(kind, call_id, body) for kind, call_id, body, _ in read_all(stream, cuts=(cut,))]
            self.assertEqual(got, [(KINDS[e["kind"]], e["id"], e["body"]) for _, e in wanted])


class Reading(unittest.TestCase):
    def test_large_frames_between_small_ones_are_read_whole(self) -> None:
        bodies = [b"a", b"b" * 70_000, b"c", b"d" * 300_000, b"e" * (1 << 20), b""]
        stream = b"".join(frame("CALL", n, body) for n, body in enumerate(bodies))
        got = read_all(stream, max_frame=2 << 20)
        self.assertEqual([body.encode() for _, _, body, _ in got], bodies)
        self.assertEqual([call_id for _, call_id, _, _ in got], list(range(len(bodies))))

    def test_end_of_input_between_frames_is_the_end(self) -> None:
        self.assertEqual(read_all(b""), [])

    def test_input_out_of_step_is_an_error(self) -> None:
        small = frame("CALL", 1, b"{}")
        cases = {
            "shorter than its kind and id": b"\0\0\0\4\1\0\0\0",
            "length 0": b"\0\0\0\0",
            "longer than allowed": frame("CALL", 1, b"x" * 100),
            "longer than allowed, only the length": b"\xff\xff\xff\xff",
            "ends in the length": small[:3],
            "ends in the header": small[:8],
            "ends in the body": small[:-1],
            "ends in a large body": frame("CALL", 1, b"x" * 200_000)[:-1],
            "unknown kind": b"\0\0\0\5\x55\0\0\0\0",
            "kind of the other direction": frame("READY", 0),
            "reserved kind": frame("CANCEL", 1),
            "body is not UTF-8": frame("CALL", 1, b"\xff"),
            "surrogate as UTF-8": frame("CALL", 1, b"\xed\xa0\x80"),
        }
        for name, data in cases.items():
            with self.subTest(name), self.assertRaises(FrameError):
                read_all(small + data, max_frame=300_000 if "large" in name else 64)

    def test_a_descriptor_that_cannot_be_read_is_an_error(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        os.close(writing)
        with self.assertRaises(FrameError):
            list(read_frames(reading, 64, never))


class Writing(unittest.TestCase):
    def test_large_frames_are_written_whole(self) -> None:
        for size in (0, 1, 65_535, 65_536, 65_537, 3_000_000):
            body = bytes(range(256)) * (size // 256) + bytes(size % 256)
            reading, writing = os.pipe()

            def write(fd: int = writing, body: bytes = body) -> None:
                FrameWriter(fd, die).send(0x84, body, 9)
                os.close(fd)

            thread = threading.Thread(target=write)
            thread.start()
            got = b""
            while data := os.read(reading, 1 << 20):
                got += data
            thread.join()
            os.close(reading)
            self.assertEqual(got, frame("RESULT", 9, body))

    def test_threads_take_turns_by_frame(self) -> None:
        reading, writing = os.pipe()
        writer = FrameWriter(writing, die)

        def write(letter: bytes) -> None:
            for number in range(50):
                writer.send(0x87, letter * (1 + number * 3000), number)

        threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
        for thread in threads:
            thread.start()
        got = b""
        wanted = 3 * sum(9 + 1 + number * 3000 for number in range(50))
        while len(got) < wanted:
            got += os.read(reading, 1 << 20)
        for thread in threads:
            thread.join()
        os.close(reading)
        os.close(writing)
        at = 0
        while at < len(got):
            size = int.from_bytes(got[at : at + 4], "big") + 4
            self.assertEqual(len(set(got[at + 9 : at + size])), 1, "a frame has bytes of another")
            at += size

    def test_no_log_of_a_call_follows_its_reply(self) -> None:
        reading, writing = os.pipe()
        writer = FrameWriter(writing, die)
        writer.running = 7
        writer.log(b"1")
        writer.send(0x84, b"2", 7)
        writer.log(b"3")
        got = os.read(reading, 4096)
        os.close(reading)
        os.close(writing)
        self.assertEqual(got, frame("LOG", 7, b"1") + frame("RESULT", 7, b"2") + frame("LOG", 0, b"3"))

    def test_a_write_that_fails_ends_the_process(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        with self.assertRaises(SystemExit):
            FrameWriter(writing, die).send(0x84, b"2", 7)
        os.close(writing)

    def test_a_writer_that_is_not_attached_writes_nothing(self) -> None:
        reading, writing = os.pipe()
        writer = FrameWriter(writing, die)
        writer.attached = False
        writer.send(0x84, b"2", 7)
        os.close(writing)
        self.assertEqual(os.read(reading, 10), b"")
        os.close(reading)


if __name__ == "__main__":
    unittest.main()
