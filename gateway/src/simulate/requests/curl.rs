//! A command line of curl, as browsers' developer tools copy a request.

use bytes::Bytes;
use http::{HeaderMap, Method, header::HOST};

use super::{GivenRequest, RequestError, add_header, split_target};

/// Options that change nothing of the request itself.
const OF_NO_MATTER: &[&str] = &[
    "--compressed",
    "--fail",
    "--globoff",
    "--http1.1",
    "--http2",
    "--include",
    "--insecure",
    "--location",
    "--show-error",
    "--silent",
    "--verbose",
    "-f",
    "-g",
    "-i",
    "-k",
    "-L",
    "-S",
    "-s",
    "-v",
];

/// What a command line says so far.
#[derive(Default)]
struct Parts {
    method: Option<Method>,
    url: Option<String>,
    headers: HeaderMap,
    data: Vec<String>,
    is_json: bool,
    data_in_query: bool,
}

pub(super) fn read(text: &str) -> Result<GivenRequest, RequestError> {
    let mut parts = Parts::default();
    let mut words = (1..).zip(words(text)?).skip(1);
    while let Some((number, word)) = words.next() {
        let (option, mut joined) = match word.split_once('=') {
            Some((option, value)) if word.starts_with("--") => (option.to_owned(), Some(value.to_owned())),
            _ => (word, None),
        };
        let mut value = || {
            joined
                .take()
                .or_else(|| words.next().map(|(_, word)| word))
                .ok_or_else(|| RequestError::new(format!("word {number}"), format!("{option} needs a value")))
        };
        parts
            .take(&option, &mut value)?
            .map_err(|message| RequestError::new(format!("word {number}"), message))?;
    }
    parts.finish()
}

impl Parts {
    fn take(
        &mut self,
        option: &str,
        value: &mut dyn FnMut() -> Result<String, RequestError>,
    ) -> Result<Result<(), String>, RequestError> {
        let mut header = |name: &str, value: &str| add_header(&mut self.headers, name, value);
        Ok(match option {
            "-X" | "--request" => {
                let method = value()?;
                Method::from_bytes(method.as_bytes())
                    .map(|method| self.method = Some(method))
                    .map_err(|_| format!("`{method}` is no method"))
            }
            "-H" | "--header" => {
                let given = value()?;
                match given.split_once(':') {
                    Some((name, value)) => header(name, value),
                    None => Err(format!("`{given}` is no header: write `Name: value`")),
                }
            }
            "-b" | "--cookie" => header("cookie", &value()?),
            "-A" | "--user-agent" => header("user-agent", &value()?),
            "-e" | "--referer" => header("referer", &value()?),
            "-d" | "--data" | "--data-raw" | "--data-ascii" | "--data-binary" | "--json" => {
                let data = value()?;
                self.is_json |= option == "--json";
                if data.starts_with('@') && option != "--data-raw" {
                    return Ok(Err(
                        "data from another file is not read: write the data itself".to_owned()
                    ));
                }
                self.data.push(data);
                Ok(())
            }
            "-G" | "--get" => {
                self.data_in_query = true;
                Ok(())
            }
            "--url" => {
                self.url = Some(value()?);
                Ok(())
            }
            option if OF_NO_MATTER.contains(&option) => Ok(()),
            option if option.starts_with('-') => Err(format!(
                "{option} is not understood here; a request is made of --request, --header, --cookie, --user-agent, \
                 --referer, --data and its like, --json, --get and --url"
            )),
            url => {
                self.url = Some(url.to_owned());
                Ok(())
            }
        })
    }

    fn finish(mut self) -> Result<GivenRequest, RequestError> {
        let url = self
            .url
            .ok_or_else(|| RequestError::new("the command", "there is no URL in it"))?;
        // curl takes http where there is no scheme.
        let whole = if url.contains("://") {
            url
        } else {
            format!("http://{url}")
        };
        let (host, path, mut query) =
            split_target(&whole).ok_or_else(|| RequestError::new("the command", format!("{whole} is no http URL")))?;
        let mut body = self.data.join(if self.is_json { "" } else { "&" });
        if self.data_in_query {
            let joint = if query.is_empty() || body.is_empty() { "" } else { "&" };
            query = format!("{query}{joint}{body}");
            body.clear();
        }
        let has_body = !self.data.is_empty() && !self.data_in_query;
        if has_body && !self.headers.contains_key("content-type") {
            let form = "application/x-www-form-urlencoded";
            let content_type = if self.is_json { "application/json" } else { form };
            add_header(&mut self.headers, "content-type", content_type)
                .map_err(|message| RequestError::new("the command", message))?;
        }
        if let Some(host) = host.filter(|_| !self.headers.contains_key(HOST)) {
            add_header(&mut self.headers, "host", &host)
                .map_err(|message| RequestError::new("the command", message))?;
        }
        Ok(GivenRequest {
            method: self.method.unwrap_or(if has_body { Method::POST } else { Method::GET }),
            path,
            query,
            headers: self.headers,
            body: Bytes::from(body),
        })
    }
}

/// The words of a command line as a POSIX shell splits it: quotes of both kinds, `$'...'`, backslashes, and a backslash
/// before a line's end.
fn words(text: &str) -> Result<Vec<String>, RequestError> {
    let open = || RequestError::new("the end", "a quotation mark is not closed");
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => word
                .get_or_insert_default()
                .push_str(&single_quoted(&mut letters).ok_or_else(open)?),
            '$' if letters.peek() == Some(&'\'') => {
                letters.next();
                word.get_or_insert_default()
                    .push_str(&escaped(&mut letters).ok_or_else(open)?);
            }
            '"' => word
                .get_or_insert_default()
                .push_str(&double_quoted(&mut letters).ok_or_else(open)?),
            '\\' => match letters.next() {
                Some('\n') | None => {}
                Some('\r') if letters.peek() == Some(&'\n') => drop(letters.next()),
                Some(other) => word.get_or_insert_default().push(other),
            },
            space if space.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

type Letters<'t> = std::iter::Peekable<std::str::Chars<'t>>;

fn single_quoted(letters: &mut Letters<'_>) -> Option<String> {
    let mut text = String::new();
    loop {
        match letters.next()? {
            '\'' => return Some(text),
            other => text.push(other),
        }
    }
}

fn double_quoted(letters: &mut Letters<'_>) -> Option<String> {
    let mut text = String::new();
    loop {
        match letters.next()? {
            '"' => return Some(text),
            '\\' => match letters.next()? {
                '\n' => {}
                special @ ('"' | '\\' | '$' | '`') => text.push(special),
                other => text.extend(['\\', other]),
            },
            other => text.push(other),
        }
    }
}

/// `$'...'`, which Chromium writes where a body has line breaks or letters beyond ASCII.
fn escaped(letters: &mut Letters<'_>) -> Option<String> {
    let mut text = String::new();
    loop {
        match letters.next()? {
            '\'' => return Some(text),
            '\\' => match letters.next()? {
                'n' => text.push('\n'),
                'r' => text.push('\r'),
                't' => text.push('\t'),
                kind @ ('u' | 'x') => {
                    let digits = if kind == 'u' { 4 } else { 2 };
                    let mut number = 0;
                    for _ in 0..digits {
                        number = number * 16 + letters.next()?.to_digit(16)?;
                    }
                    text.push(char::from_u32(number)?);
                }
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_eq!(
            words("curl 'a b' \"c \\\"d\\\"\" e\\ f $'g\\u0021\\n' \\\n --x='y z'").unwrap(),
            ["curl", "a b", "c \"d\"", "e f", "g!\n", "--x=y z"]
        );
    }

    #[test]
    fn data_may_stand_in_the_query() {
        let request = read("curl -G https://m.example/px.gif -d en=page_view -d v=1 -b '_ga=GA1.1.1.2' -A x").unwrap();
        assert_eq!(
            (request.method, request.query.as_str()),
            (Method::GET, "en=page_view&v=1")
        );
        assert_eq!(request.headers.get("cookie").unwrap(), "_ga=GA1.1.1.2");
    }

    #[test]
    fn json_is_told_as_such() {
        let request = read(r#"curl m.example/v1/events --json '{"event_name":"x"}'"#).unwrap();
        assert_eq!(request.method, Method::POST);
        assert_eq!(request.headers.get("content-type").unwrap(), "application/json");
        assert_eq!(request.headers.get("host").unwrap(), "m.example");
    }
}
