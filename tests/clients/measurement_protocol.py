"""Sends events by ga4mp, a Measurement Protocol client from PyPI, to the gateway.

    measurement_protocol.py GATEWAY API_SECRET

The library has no option for its endpoint; a subclass names another one. Nothing else of it is changed.
"""

import sys

from ga4mp import GtagMP


class ServerSide(GtagMP):
    """The client, with our gateway in the place of www.google-analytics.com."""

    def __init__(self, gateway: str, **arguments):
        super().__init__(**arguments)
        self._base_domain = f"{gateway}/mp/collect"
        self._validation_domain = f"{gateway}/debug/mp/collect"


def main() -> None:
    gateway, api_secret = sys.argv[1:]
    client = ServerSide(
        gateway, api_secret=api_secret, measurement_id="G-TEST1", client_id="1506821430.1730448757"
    )
    client.store.set_user_property(name="plan", value="gold")

    purchase = client.create_new_event(name="purchase")
    purchase.set_event_param(name="currency", value="EUR")
    purchase.set_event_param(name="value", value=42.5)
    purchase.set_event_param(name="transaction_id", value="T-2002")
    purchase.set_event_param(name="event_id", value="mp-purchase")
    purchase.add_item_to_event(purchase_item(purchase))
    client.send(events=[purchase])

    # More than one request carries: the library sends batches of 25.
    client.send(events=[event(client, number) for number in range(30)])


def purchase_item(purchase):
    item = purchase.create_new_item(item_id="BOWL-10", item_name="Blue bowl")
    item.set_parameter(name="price", value=42.5)
    item.set_parameter(name="quantity", value=1)
    item.set_parameter(name="promotion_id", value="AUTUMN")
    return item


def event(client, number: int):
    made = client.create_new_event(name="stock_count")
    made.set_event_param(name="event_id", value=f"mp-{number}")
    made.set_event_param(name="sku", value="CUP-1")
    made.set_event_param(name="stock", value=number)
    return made


if __name__ == "__main__":
    main()
