// How Chromium is started for the tests: headless, by root, without a network of its own.

// Names are resolved by `map`; what asks for a secure page (cookies, client hints) gets it on these plain HTTP origins of loopback.
export const flags = (map, origins) => [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  ...(map ? [`--host-resolver-rules=${map}`] : []),
  `--unsafely-treat-insecure-origin-as-secure=${origins.join(',')}`,
];
