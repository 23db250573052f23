"""What Meta's own SDK makes of values: reads [[field, value], ...] as JSON, writes the hash of each, or null where the SDK
refuses the value."""

import json
import sys

from facebook_business.adobjects.serverside.normalize import Normalize


def hashed(field, value):
    try:
        return Normalize.normalize_field(field, value)
    except (TypeError, ValueError):
        return None


rows = json.load(sys.stdin)
json.dump([hashed(field, value) for field, value in rows], sys.stdout)
