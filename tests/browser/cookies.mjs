// A visit to a shop with two subdomains in headless Chromium, and the cookies that the tagging server has set in it.
//
//   node cookies.mjs --shop http://www.shop.example:PORT --gateway http://metrics.shop.example:PORT --map "MAP ..."
//
// Prints one line of JSON: the browser's cookies, by the DevTools protocol, after the hit of a visitor who refused and
// after one of a visitor who agreed; what a script of the shop sees of them; and those that went to the other subdomain.
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { flags } from './chromium.mjs';

const { values: options } = parseArgs({
  options: {
    shop: { type: 'string' },
    gateway: { type: 'string' },
    map: { type: 'string' },
    chromium: { type: 'string', default: process.env.CHROMIUM ?? '/usr/bin/chromium' },
  },
});

const browser = await chromium.launch({
  executablePath: options.chromium,
  headless: true,
  args: flags(options.map, [options.gateway, options.shop]),
});

try {
  const context = await browser.newContext();
  const page = await context.newPage();
  const devtools = await context.newCDPSession(page);
  const cookies = async () => (await devtools.send('Network.getAllCookies')).cookies;
  // Any page of the shop's origin will do: what matters is whose script asks the tagging server.
  await page.goto(`${options.shop}/healthz`);
  const hit = (parameters) =>
    page.evaluate(
      async ([gateway, query]) => {
        const answer = await fetch(`${gateway}/g/collect?${query}`, { method: 'POST', credentials: 'include', body: '' });
        return answer.status;
      },
      [options.gateway, new URLSearchParams({ v: '2', tid: 'G-TEST1', ...parameters }).toString()],
    );
  const landing = `${options.shop}/?fbclid=IwAR1_x&gclid=Cj0_g&twclid=tw1`;
  const visitor = { en: 'page_view', cid: '1506821430.1730448757', dl: landing };

  const statuses = [await hit({ ...visitor, gcs: 'G100', 'ep.event_id': 'denied' })];
  const denied = await cookies();
  const before = Date.now() / 1000;
  statuses.push(await hit({ ...visitor, gcs: 'G111', 'ep.event_id': 'first' }));
  const granted = await cookies();
  // Again, with what the browser now sends, and without a client id of the page's own.
  statuses.push(await hit({ en: 'scroll', gcs: 'G111', 'ep.event_id': 'second' }));

  const next = page.waitForRequest(`${options.shop}/healthy`);
  await page.goto(`${options.shop}/healthy`);
  const sent = await (await next).headerValue('cookie');
  const readable = await page.evaluate(() => document.cookie);
  console.log(JSON.stringify({ statuses, before, denied, granted, sent, readable }));
} finally {
  await browser.close();
}
