//! `make demo`: examples/quickstart on loopback, a few real hits, what was delivered, and a page to play with.
//! With `DEMO_ONCE=1` it ends after the first deliveries.
#![allow(clippy::print_stdout)]

use std::{env, io, net::SocketAddr, process::ExitCode, time::Duration};

use tagfleet_tests::{
    process,
    quickstart::Quickstart,
    shop::{self, Delivery, Shop, Watched},
    wait,
};
use tokio::signal::unix::{SignalKind, signal};

/// What a visit to the shop sends: event name, event id, further parameters.
const VISIT: [(&str, &str, &str); 4] = [
    ("page_view", "demo-1", ""),
    (
        "view_item",
        "demo-2",
        "cu=EUR&epn.value=19.5&pr1=idBOWL-10~nmBlue%20bowl~pr19.5~qt1",
    ),
    (
        "add_to_cart",
        "demo-3",
        "cu=EUR&epn.value=19.5&ep.sku=BOWL-10&epn.stock=3&pr1=idBOWL-10~nmBlue%20bowl~pr19.5~qt1",
    ),
    (
        "purchase",
        "demo-4",
        "cu=EUR&epn.value=19.5&ep.transaction_id=T-1001&pr1=idBOWL-10~nmBlue%20bowl~pr19.5~qt1~piAUTUMN",
    ),
];
/// How often each destination gets an event of that visit: analytics all, low-stock the cart, promotions and orders the
/// purchase.
const EXPECTED: usize = 4 + 1 + 1 + 1;

fn main() -> ExitCode {
    let once = env::var_os("DEMO_ONCE").is_some_and(|value| value != "0");
    let listen: SocketAddr = match env::var("DEMO_PAGE")
        .unwrap_or_else(|_| "127.0.0.1:0".to_owned())
        .parse()
    {
        Ok(address) => address,
        Err(error) => {
            eprintln!("demo: DEMO_PAGE must be address:port: {error}");
            return ExitCode::FAILURE;
        }
    };

    let demo = Quickstart::start();
    println!(
        "The gateway serves examples/quickstart at http://{}",
        demo.gateway.address()
    );
    println!(
        "  with two addresses replaced, since nothing here is on the internet (rendered to {}):",
        demo.manifests.path().display()
    );
    println!("    https://orders.shop.example -> {}", demo.orders.url());
    println!("    Google Analytics            -> {}", demo.analytics.url());
    println!(
        "  and PUBSUB_EMULATOR_HOST={} (Google's own Pub/Sub test server)",
        demo.pubsub.emulator_host()
    );
    println!("  log on disk: {}", demo.gateway.data().display());
    println!(
        "  metrics: http://{0}/metrics, status: http://{0}/status",
        demo.gateway.admin()
    );

    println!("\nA visit to the shop, sent as a browser sends it:");
    for (event, id, parameters) in VISIT {
        let status = demo.gateway.hit(event, id, parameters);
        println!("  GET /g/collect?...&en={event:<12} -> {status}");
    }

    let watched = demo.watched();
    let arrived = wait::until(
        "every event of the visit at its destinations",
        Duration::from_secs(30),
        || Some(shop::deliveries(&watched)).filter(|list| list.len() >= EXPECTED),
    );
    println!("\nDelivered:");
    print_table(&arrived);

    if once {
        return ExitCode::SUCCESS;
    }
    let gateway = format!("http://{}", demo.gateway.address());
    let shop = Shop::start(listen, &gateway, watched.clone());
    if !process::repository().join("tests/browser/node_modules").exists() {
        println!("\nThe page needs its client libraries: run npm ci in tests/browser.");
    }
    println!("\nA page to play with: http://{}/    (Ctrl-C ends)", shop.address());
    match count_until_stopped(&watched, arrived.len()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says when more was delivered, until Ctrl-C or SIGTERM; then everything that was started ends with this program.
fn count_until_stopped(watched: &[(String, Watched)], mut shown: usize) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stop = signal(SignalKind::terminate())?;
        loop {
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => return interrupted,
                _ = stop.recv() => return Ok(()),
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
            let now = shop::deliveries(watched).len();
            if now != shown {
                shown = now;
                println!("Delivered so far: {shown}");
            }
        }
    })
}

fn print_table(deliveries: &[Delivery]) {
    println!("  {:<12} {:<12} {:<8} what it says", "destination", "event", "id");
    for delivery in deliveries {
        println!(
            "  {:<12} {:<12} {:<8} {}",
            delivery.destination, delivery.event_name, delivery.event_id, delivery.detail
        );
    }
}
