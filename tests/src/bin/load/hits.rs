//! The requests that are sent: templates, with the hit's number written into them in place.

/// Digits of a number in a request.
const DIGITS: usize = 10;
/// Where the hit's number goes.
const HIT: &str = "##########";
/// Where the visitor's number goes: hits of one visit share it.
const VISITOR: &str = "@@@@@@@@@@";

/// The requests, in turn.
pub(crate) struct Hits {
    templates: Vec<Template>,
}

/// A request.
struct Template {
    bytes: Vec<u8>,
    hits: Vec<usize>,
    visitors: Vec<usize>,
}

impl Hits {
    /// One hit with parameters that a browser sends, and no cookies: each is another visitor's first.
    pub(crate) fn bare(host: &str, run: &str, event: &str, parameters: &str) -> Self {
        let separator = if parameters.is_empty() { "" } else { "&" };
        let request = format!(
            "GET /g/collect?v=2&tid=G-TEST1&gtm=45je61d1v9100000001za200&_p=1768476420055&cid={HIT}.1730448757&ul=en-us\
             &sr=2560x1440&_s=1&sid=1768475378&sct=5&seg=1&dl=https%3A%2F%2Fwww.shop.example%2Fbowls%3Fsize%3D10\
             &dt=Bowls&en={event}&ep.event_id={run}-{HIT}&_et=1200{separator}{parameters} HTTP/1.1\r\n\
             Host: {host}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/156.0.0.0 Safari/537.36\r\nAccept: */*\r\nReferer: https://www.shop.example/\r\n\r\n",
        );
        Self {
            templates: vec![Template::new(request)],
        }
    }

    /// Visits to a shop as Chrome sends them: every other visitor is new, and has cookies from the second hit on.
    pub(crate) fn shop(host: &str, run: &str) -> Self {
        let visit = |is_new: bool| {
            VISIT.iter().enumerate().map(move |(place, hit)| {
                let cookies = if is_new && place == 0 { "" } else { COOKIES };
                Template::new(request(host, run, place, hit, cookies))
            })
        };
        Self {
            templates: visit(true).chain(visit(false)).collect(),
        }
    }

    /// The request of hit `number`.
    pub(crate) fn hit(&mut self, number: u64) -> &[u8] {
        let count = self.templates.len() as u64;
        let visitor = number / (VISIT.len() as u64);
        let place = usize::try_from(number % count).unwrap_or(0);
        match self.templates.get_mut(place) {
            Some(template) => template.fill(number, visitor),
            None => &[],
        }
    }
}

impl Template {
    fn new(request: String) -> Self {
        let places = |mark| request.match_indices(mark).map(|(at, _)| at).collect();
        Self {
            hits: places(HIT),
            visitors: places(VISITOR),
            bytes: request.into_bytes(),
        }
    }

    fn fill(&mut self, hit: u64, visitor: u64) -> &[u8] {
        for (places, number) in [(&self.hits, hit), (&self.visitors, visitor)] {
            for at in places {
                let mut rest = number;
                for digit in self.bytes.iter_mut().skip(*at).take(DIGITS).rev() {
                    *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
                    rest /= 10;
                }
            }
        }
        &self.bytes
    }
}

/// Two items, as GA4 sends them.
macro_rules! items {
    () => {
        "&pr1=idBOWL-10~nmOak%20bowl~brHolz~caBowls~pr33.03~qt1&pr2=idBOWL-12~nmAsh%20bowl~brHolz~caBowls~pr33.03~qt1"
    };
}

/// A hit of a visit: the page, its title, the event's name and its parameters.
struct Step(&'static str, &'static str, &'static str, &'static str);

/// What a visitor does who buys: one of ten hits is a purchase.
const VISIT: [Step; 10] = [
    Step(
        "%2F%3Fgclid%3DCj0KCQiA_TEST-click_id_0123456789abcdefghijklmnopqrstuvwxyz",
        "Shop",
        "page_view",
        "",
    ),
    Step("%2Fbowls%3Fsize%3D10", "Bowls", "page_view", ""),
    Step(
        "%2Fbowls%3Fsize%3D10",
        "Bowls",
        "view_item_list",
        concat!("&ep.item_list_name=Bowls", items!()),
    ),
    Step(
        "%2Fbowls%3Fsize%3D10",
        "Bowls",
        "scroll",
        "&epn.percent_scrolled=90&_et=5210",
    ),
    Step("%2Fbowls%2Foak", "Oak%20bowl", "page_view", "&_et=8123"),
    Step(
        "%2Fbowls%2Foak",
        "Oak%20bowl",
        "view_item",
        concat!("&cu=EUR&epn.value=33.03", items!()),
    ),
    Step(
        "%2Fbowls%2Foak",
        "Oak%20bowl",
        "add_to_cart",
        concat!("&cu=EUR&epn.value=66.06", items!()),
    ),
    Step(
        "%2Fcheckout",
        "Checkout",
        "begin_checkout",
        concat!("&cu=EUR&epn.value=66.06", items!()),
    ),
    Step("%2Fcheckout", "Checkout", "user_engagement", "&_et=25012"),
    Step(
        "%2Fthanks%3Forder%3DT-1001",
        "Thank%20you",
        "purchase",
        concat!(
            "&cu=EUR&epn.value=72.05&ep.transaction_id=T-1001&epn.tax=11.50&epn.shipping=5.99",
            items!()
        ),
    ),
];

/// Those of a visitor who has been here: gtag's, the server's, and Meta's pixel's.
const COOKIES: &str = "Cookie: _ga=GA1.1.@@@@@@@@@@.1730448757; _gcl_au=1.1.1098115397.1730448757; \
    _ga_TEST1=GS2.1.s1768475378$o5$g1$t1768475400$j60$l0$h0; _fbp=fb.1.1730448757000.1098115397; \
    FPID=FPID2.2.Tptnv8AKG4hqlv%2FmNTLgwEYr1@@@@@@@@@@td8RU8g4%3D.1730448757; _ttp=3GRBmE9AhEQmXuP3O8mFL4vG3Pn; \
    _scid=0b0f4a5e-7e0c-4c39-a4b1-8a9be3a0a2f1; session=5d41402abc4b2a76b9719d911017c592; consent=1\r\n";

fn request(host: &str, run: &str, place: usize, Step(page, title, event, parameters): &Step, cookies: &str) -> String {
    format!(
        "POST /g/collect?v=2&tid=G-TEST1&gtm=45je61d1v9100000001za200&_p=1768476420055&gcs=G111&gcd=13t3t3t3t5l1&npa=0\
         &dma=1&cid={VISITOR}.1730448757&ul=de-de&sr=2560x1440&uaa=x86&uab=64\
         &uafvl=Chromium%3B142.0.7444.60%7CGoogle%2520Chrome%3B142.0.7444.60%7CNot_A%2520Brand%3B99.0.0.0&uamb=0&uam=\
         &uap=Windows&uapv=15.0.0&uaw=0&are=1&frm=0&pscdl=noapi&_s={number}&sid=1768475378&sct=5&seg=1\
         &dl=https%3A%2F%2Fwww.shop.example{page}&dr=https%3A%2F%2Fwww.shop.example%2F&dt={title}&en={event}\
         &ep.event_id={run}-{HIT}{parameters}&tfd=2143 HTTP/1.1\r\n\
         Host: {host}\r\nConnection: keep-alive\r\nContent-Length: 0\r\nsec-ch-ua-platform: \"Windows\"\r\n\
         User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/142.0.0.0 Safari/537.36\r\nsec-ch-ua: \"Chromium\";v=\"142\", \"Google Chrome\";v=\"142\", \
         \"Not_A Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\nAccept: */*\r\nOrigin: https://www.shop.example\r\n\
         Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: empty\r\n\
         Referer: https://www.shop.example/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
         Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7\r\n{cookies}\r\n",
        number = place + 1,
    )
}
