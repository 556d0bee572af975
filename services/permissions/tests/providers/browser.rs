//! A browser: follows redirects, keeps cookies, fills in the pages to sign in and to consent.

use std::{collections::BTreeMap, net::SocketAddr};
use tests::http::{Body, Client, Reply};

/// Where providers send browsers back to. Nobody listens there: a browser is done when it is told to go there.
pub(crate) const REDIRECT: &str = "http://127.0.0.1:9/callback";

/// One person's browser.
#[derive(Debug, Default)]
pub(crate) struct Browser {
    cookies: BTreeMap<String, String>,
}

/// The query of the address that a browser was sent back to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Back(BTreeMap<String, String>);

impl Back {
    /// A parameter; empty when it is not there.
    pub(crate) fn get(&self, name: &str) -> String {
        self.0.get(name).cloned().unwrap_or_default()
    }

    fn of(query: &str) -> Self {
        let pairs = openidconnect::url::form_urlencoded::parse(query.as_bytes());
        Self(pairs.into_owned().collect())
    }
}

impl Browser {
    /// Goes to `url` and does what the pages ask, as `login`, until the provider sends it back.
    pub(crate) async fn sign_in(&mut self, url: &str, login: &str) -> Back {
        let mut page = self.go("GET", url, "").await;
        for _ in 0..20 {
            let location = page.header("location").to_owned();
            if let Some(query) = location.strip_prefix(REDIRECT) {
                return Back::of(query.trim_start_matches('?'));
            }
            page = if location.is_empty() {
                let form = page.text();
                let action = between(&form, "action=\"", "\"");
                let prompt = between(&form, "name=\"prompt\" value=\"", "\"");
                self.go("POST", &action, &format!("prompt={prompt}&login={login}&password=x")).await
            } else {
                let here = openidconnect::url::Url::parse(url).unwrap();
                self.go("GET", here.join(&location).unwrap().as_str(), "").await
            };
        }
        panic!("was not sent back: {}", page.text());
    }

    async fn go(&mut self, method: &str, url: &str, form: &str) -> Reply {
        let url = openidconnect::url::Url::parse(url).unwrap();
        // Whatever the name, it is this machine.
        let client = Client::new(SocketAddr::from(([127, 0, 0, 1], url.port().unwrap())), None);
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let target = &url[openidconnect::url::Position::BeforePath..openidconnect::url::Position::AfterQuery];
        let request = client
            .builder(method, target)
            .header("cookie", cookies.join("; "))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned()));
        let reply = client.send(request.unwrap()).await;
        for cookie in reply.headers.get_all("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        assert!(reply.status < 400, "{method} {url}: {} {}", reply.status, reply.text());
        reply
    }
}

fn between(text: &str, before: &str, after: &str) -> String {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split_once(after).unwrap().0.to_owned()
}
