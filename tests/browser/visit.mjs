// A visit to the shop in headless Chromium: opens the page, presses every button, and tells what the browser saw.
//
//   node visit.mjs --page http://www.shop.example:PORT/ --map "MAP *.shop.example 127.0.0.1" [--screenshot FILE.png]
//
// Prints one line of JSON: the hits that the page sent with the answers' status, the cookies, console errors, and what a
// script of the page may read of an answer (CORS with credentials).
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { flags } from './chromium.mjs';

const { values: options } = parseArgs({
  options: {
    page: { type: 'string' },
    map: { type: 'string' },
    screenshot: { type: 'string' },
    chromium: { type: 'string', default: process.env.CHROMIUM ?? '/usr/bin/chromium' },
  },
});

const profile = mkdtempSync(join(tmpdir(), 'tagfleet-chromium-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: options.chromium,
  headless: true,
  viewport: { width: 1200, height: 900 },
  args: flags(options.map, [new URL(options.page).origin]),
});

const hits = [];
const errors = [];
try {
  const page = await context.newPage();
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('requestfailed', (request) => errors.push(`${request.url()}: ${request.failure()?.errorText}`));
  page.on('response', (response) => {
    const url = new URL(response.url());
    if (url.pathname !== '/g/collect') return;
    hits.push({ event: url.searchParams.get('en'), method: response.request().method(), status: response.status() });
  });

  await page.goto(options.page);
  // A cookie that no tagging server has any business with: it must never show up behind the gateway.
  await page.evaluate(() => {
    const domain = location.hostname.endsWith('.shop.example') ? '; domain=shop.example' : '';
    document.cookie = `session=secret-of-the-shop; path=/${domain}`;
  });
  for (const button of ['view_item', 'add_to_cart', 'purchase', 'purchase_promotion']) {
    await page.click(`#${button}`);
    await page.waitForTimeout(200);
  }
  const readable = await page.evaluate(async () => {
    const url = `${window.tagfleet.gateway}/g/collect?v=2&tid=G-TEST1&cid=1.2&en=fetched&ep.event_id=fetched-1`;
    try {
      const answer = await fetch(url, { method: 'POST', credentials: 'include', keepalive: true, body: '' });
      return { type: answer.type, status: answer.status };
    } catch (error) {
      return { type: 'error', message: String(error) }; // a page of another site: the hit is taken, the answer is not for it
    }
  });
  if (options.screenshot) {
    // At least the purchase on promotion at three destinations.
    await page.waitForFunction(() => /promotions[\s\S]*AUTUMN/.test(document.body.innerText), null, { timeout: 20000 });
    await page.waitForTimeout(1500);
    await page.screenshot({ path: options.screenshot });
  }
  const cookies = await context.cookies();
  // Leaving the page sends the last hit: user_engagement, by a beacon of a page that is going away.
  await page.goto('about:blank');
  await page.waitForTimeout(500);
  console.log(
    JSON.stringify({ hits, readable, errors, cookies: Object.fromEntries(cookies.map((c) => [c.name, c.value])) }),
  );
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
