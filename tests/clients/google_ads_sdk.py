"""What Google's own client libraries for the Data Manager API make of requests and values. Reads {"requests": [...],
"values": [[field, value], ...]} as JSON; writes for each request what is wrong with it, or null, and the hash of each value, or
null where the library refuses it."""

import json
import sys

from google.ads.datamanager_util import Formatter
from google.ads.datamanager_util.format import Encoding
from google.ads.datamanager_v1 import IngestEventsRequest

FORMATTER = Formatter()


def wrong(request):
    try:
        IngestEventsRequest.from_json(json.dumps(request), ignore_unknown_fields=False)
        return None
    except Exception as error:
        return str(error)


def hashed(field, value):
    process = {
        "email": FORMATTER.process_email_address,
        "phone": FORMATTER.process_phone_number,
        "first_name": FORMATTER.process_given_name,
        "last_name": FORMATTER.process_family_name,
    }
    try:
        return process[field](value, Encoding.HEX)
    except ValueError:
        return None


given = json.load(sys.stdin)
answer = {
    "requests": [wrong(request) for request in given["requests"]],
    "values": [hashed(field, value) for field, value in given["values"]],
}
json.dump(answer, sys.stdout)
