"""Calls the server of `grpc_server.py`, and says what it sees.

    grpc_client.py [--ca FILE] [--header NAME=VALUE] TARGET call METHOD [TIMEOUT]
    grpc_client.py [--ca FILE] TARGET check NAME
"""

import argparse
import queue

import grpc

SENT = [("x-user", "anna"), ("x-raw-bin", b"\x00\x01\xff")]
ANSWERED = [("x-end-user", "anna"), ("x-end-raw-bin", b"\x00\x01\xff")]


def says(actual, expected):
    assert actual == expected, f"{actual!r} is not {expected!r}"


def has(metadata, expected):
    metadata = [(key, value) for key, value in metadata]
    for entry in expected:
        assert entry in metadata, f"{entry} is not in {metadata}"


class Echo:
    """The methods of the server."""

    def __init__(self, channel):
        for name in ("Unary", "Large", "Fail", "Remaining"):
            setattr(self, name, channel.unary_unary(f"/test.Echo/{name}"))
        for name in ("Download", "FailLate", "Hang"):
            setattr(self, name, channel.unary_stream(f"/test.Echo/{name}"))
        self.Upload = channel.stream_unary("/test.Echo/Upload")
        self.Chat = channel.stream_stream("/test.Echo/Chat")


def greeted(call):
    has(call.initial_metadata(), SENT)
    has(call.trailing_metadata(), ANSWERED)
    says(call.code(), grpc.StatusCode.OK)


def unary(echo):
    for message in (b"hello", b""):
        answer, call = echo.Unary.with_call(message, metadata=SENT, timeout=20)
        says(answer, message)
        greeted(call)


def upload(echo):
    messages = [b"%d" % index for index in range(100)]
    answer, call = echo.Upload.with_call(iter(messages), metadata=SENT, timeout=20)
    says(answer, b",".join(messages))
    greeted(call)


def download(echo):
    for count in (0, 1, 100):
        call = echo.Download(b"%d" % count, metadata=SENT, timeout=20)
        says(list(call), [b"%d" % index for index in range(count)])
        greeted(call)


def chat(echo):
    """Each message is answered before the next is sent."""
    words = queue.SimpleQueue()
    call = echo.Chat(iter(words.get, None), metadata=SENT, timeout=20)
    has(call.initial_metadata(), SENT)
    for index in range(100):
        words.put(b"%d" % index)
        says(next(call), b"%d" % index)
    words.put(None)
    says(list(call), [])
    greeted(call)


def large(echo):
    size = 20 << 20
    says(len(echo.Large(b"%d" % size, timeout=20)), size)
    says(len(echo.Unary(b"y" * size, timeout=20)), size)


def error_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("no error")


def errors(echo):
    error = error_of(lambda: echo.Fail(b"", timeout=20))
    says(error.code(), grpc.StatusCode.FAILED_PRECONDITION)
    says(error.details(), "no: 100 % sure, ünd out")
    has(error.trailing_metadata(), [("x-end", "1"), ("x-end-bin", b"\x00\xff")])
    call = echo.FailLate(b"", timeout=20)
    says(next(call), b"first")
    error = error_of(lambda: next(call))
    says(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
    says(error.details(), "that was all")


def deadlines(echo):
    says(echo.Remaining(b""), b"none")
    left = int(echo.Remaining(b"", timeout=1000))
    # The header is rounded up, so that it is short.
    assert 990 <= left <= 1100, left
    # What is late is the client's to say: the server hears of it, and is cancelled.
    error = error_of(lambda: list(echo.Hang(b"", timeout=0.5)))
    says(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)


def cancelled(echo):
    call = echo.Hang(b"", timeout=20)
    says(next(call), b"waiting")
    call.cancel()
    error = error_of(lambda: next(call))
    says(error.code(), grpc.StatusCode.CANCELLED)


CHECKS = (unary, upload, download, chat, large, errors, deadlines, cancelled)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--ca")
    arguments.add_argument("--header", action="append", default=[])
    arguments.add_argument("target")
    arguments.add_argument("what", choices=("call", "check"))
    arguments.add_argument("name")
    arguments.add_argument("timeout", nargs="?", type=float, default=20)
    given = arguments.parse_args()
    # Every target is on this machine, and it is the gateway that is asked, not a proxy.
    options = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
    ]
    if given.ca:
        credentials = grpc.ssl_channel_credentials(open(given.ca, "rb").read())
        channel = grpc.secure_channel(given.target, credentials, options)
    else:
        channel = grpc.insecure_channel(given.target, options)
    with channel:
        if given.what == "check":
            for check in CHECKS:
                if given.name in (check.__name__, "all"):
                    check(Echo(channel))
                    print(check.__name__, flush=True)
            return
        metadata = [tuple(header.split("=", 1)) for header in given.header]
        call = channel.unary_stream(given.name)(b"1", metadata=metadata, timeout=given.timeout)
        try:
            for message in call:
                print("message", message.decode(), flush=True)
        except grpc.RpcError:
            pass
        print(call.code().name, call.details(), flush=True)


main()
