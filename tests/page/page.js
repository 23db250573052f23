// Before the client libraries: the visitor's `_ga` cookie, and the settings of @minimal-analytics/ga4, which then sends
// page_view (and later clicks, scrolls, engagement) by itself.
'use strict';

/** The client id in `_ga` (`GA1.<domain level>.<random>.<seconds>`), made now if there is none. */
function clientId() {
  const found = document.cookie.match(/(?:^|; )_ga=GA1\.\d+\.(\d+\.\d+)/);
  if (found) return found[1];
  const id = `${Math.floor(Math.random() * 2147483647)}.${Math.floor(Date.now() / 1000)}`;
  // On www.shop.example the cookie belongs to all of shop.example, as gtag.js sets it; an address has no such domain.
  const labels = location.hostname.split('.');
  const named = /[a-z]$/.test(location.hostname) && labels.length > 2;
  const domain = named ? `; domain=${labels.slice(-2).join('.')}` : '';
  document.cookie = `_ga=GA1.1.${id}; path=/; max-age=34560000; samesite=lax${domain}`;
  return id;
}

localStorage.setItem('clientId', clientId());
window.minimalAnalytics = {
  trackingId: 'G-TEST1',
  analyticsEndpoint: `${window.tagfleet.gateway}/g/collect`,
  defineGlobal: true,
  autoTrack: true,
};
