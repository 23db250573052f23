"""What OpenTelemetry's own messages make of requests to a collector. Reads {"bodies": [hex, ...]} as JSON; writes the requests as
JSON, as protobuf's JSON mapping has them: ids in base64."""

import json
import sys

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def unknown(message):
    """Whether any field is one that the messages do not have: what cannot be named would be lost without a word."""
    again = type(message)()
    again.CopyFrom(message)
    again.DiscardUnknownFields()
    return again.ByteSize() != message.ByteSize()


requests = []
for body in json.load(sys.stdin)["bodies"]:
    request = ExportTraceServiceRequest()
    request.ParseFromString(bytes.fromhex(body))
    if unknown(request):
        sys.exit("a field that no message has")
    requests.append(MessageToDict(request))
json.dump(requests, sys.stdout)
