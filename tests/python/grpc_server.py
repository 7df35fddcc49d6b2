"""A gRPC server whose messages are bytes. It prints its port, and `cancelled` where a call is given up.

    grpc_server.py [CERTIFICATE KEY]
"""

import sys
import time
from concurrent import futures

import grpc


def greet(context):
    """Sends the client's metadata back, before the messages and behind them."""
    sent = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]
    context.send_initial_metadata(sent)
    context.set_trailing_metadata([(key.replace("x-", "x-end-", 1), value) for key, value in sent])


def unary(request, context):
    greet(context)
    return request


def upload(requests, context):
    greet(context)
    return b",".join(requests)


def download(request, context):
    greet(context)
    for index in range(int(request)):
        yield b"%d" % index


def chat(requests, context):
    greet(context)
    for request in requests:
        yield request


def large(request, context):
    return b"x" * int(request)


def fail(request, context):
    context.set_trailing_metadata([("x-end", "1"), ("x-end-bin", b"\x00\xff")])
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no: 100 % sure, ünd out")


def fail_late(request, context):
    yield b"first"
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "that was all")


def remaining(request, context):
    left = context.time_remaining()
    # Without a deadline the library speaks of the end of time.
    return b"none" if left is None or left > 1e9 else b"%d" % round(left)


def hang(request, context):
    # Not reached before the call is over, whoever ends it.
    context.add_callback(lambda: print("cancelled", flush=True))
    yield b"waiting"
    while context.is_active():
        time.sleep(0.01)


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Upload": grpc.stream_unary_rpc_method_handler(upload),
    "Download": grpc.unary_stream_rpc_method_handler(download),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Large": grpc.unary_unary_rpc_method_handler(large),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "FailLate": grpc.unary_stream_rpc_method_handler(fail_late),
    "Remaining": grpc.unary_unary_rpc_method_handler(remaining),
    "Hang": grpc.unary_stream_rpc_method_handler(hang),
}


def main():
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=32),
        options=[("grpc.max_receive_message_length", -1)],
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", METHODS),))
    if len(sys.argv) == 3:
        certificate, key = (open(name, "rb").read() for name in sys.argv[1:])
        credentials = grpc.ssl_server_credentials([(key, certificate)])
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    # Whoever started it closes its input.
    sys.stdin.read()
    server.stop(None)


main()
