// The shop's own events, sent by @analytics-debugger/ga4mp, and the list of what arrived.
'use strict';

document.getElementById('gateway').textContent = window.tagfleet.gateway;

const tracker = ga4mp(['G-TEST1'], {
  endpoint: `${window.tagfleet.gateway}/g/collect`,
  client_id: clientId(),
});

const bowl = { item_id: 'BOWL-10', item_name: 'Blue bowl', item_category: 'Bowls', price: 19.5, quantity: 1 };

function buy(items) {
  tracker.trackEvent('purchase', {
    currency: 'EUR',
    value: 19.5,
    transaction_id: `T-${Date.now()}`,
    event_id: crypto.randomUUID ? crypto.randomUUID() : `page-${Date.now()}-${Math.random()}`,
    items,
  });
}

const actions = {
  view_item: () => tracker.trackEvent('view_item', { currency: 'EUR', value: 19.5, items: [bowl] }),
  add_to_cart: () =>
    tracker.trackEvent('add_to_cart', { currency: 'EUR', value: 19.5, sku: 'BOWL-10', stock: 3, items: [bowl] }),
  purchase: () => buy([bowl]),
  purchase_promotion: () =>
    buy([{ ...bowl, promotion_id: 'AUTUMN', promotion_name: 'Autumn sale', glaze: 'matt' }]),
};

for (const [id, action] of Object.entries(actions)) {
  document.getElementById(id).addEventListener('click', action);
}

async function refresh() {
  const deliveries = await (await fetch('/deliveries')).json();
  const rows = deliveries.reverse().map((delivery) => {
    const row = document.createElement('tr');
    for (const text of [delivery.destination, delivery.event_name, delivery.detail, delivery.event_id]) {
      row.insertCell().textContent = text;
    }
    return row;
  });
  document.getElementById('deliveries').replaceChildren(...rows);
  document.getElementById('empty').hidden = rows.length > 0;
}

setInterval(() => refresh().catch(() => {}), 1000);
refresh().catch(() => {});
