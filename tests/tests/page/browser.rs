//! A headless Chromium that is driven through chromedriver, by the WebDriver protocol (W3C WebDriver 2) over HTTP.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rookery_tests::{http, peers};
use serde_json::{Value, json};

/// A browser with one window; it and its driver end when this is dropped.
pub(super) struct Browser {
    driver: Child,
    address: String,
    session: String,
    profile: tempfile::TempDir,
}

impl Browser {
    /// Starts one.
    pub(super) fn start() -> Self {
        let chromium = peers::find("chromium");
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new(peers::find("chromedriver"))
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.ok()?;
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        // What it says later is read, so that it never waits for that.
        std::thread::spawn(move || lines.count());
        let mut browser = Self {
            driver,
            address: format!("127.0.0.1:{}", port.expect("chromedriver says its port")),
            session: String::new(),
            profile,
        };
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            format!("--user-data-dir={}", browser.profile.path().display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "binary": chromium, "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let made = browser.call("POST", "/session", &wanted);
        browser.session = made["sessionId"].as_str().unwrap().to_owned();
        browser
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "POST" {
            body.to_string()
        } else {
            String::new()
        };
        let headers = [("Content-Type", "application/json; charset=utf-8")];
        let answer = http::request(&self.address, method, path, &headers, &body).unwrap();
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
        let mut answer: Value = serde_json::from_str(&answer.body).unwrap();
        answer["value"].take()
    }

    fn tell(&self, what: &str, body: &Value) -> Value {
        self.call("POST", &format!("/session/{}/{what}", self.session), body)
    }

    /// Opens a page.
    pub(super) fn open(&self, url: &str) {
        self.tell("url", &json!({ "url": url }));
    }

    /// Runs a function's body in the page, and gives what it returns.
    pub(super) fn run(&self, script: &str) -> Value {
        self.tell("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Types into the element that a selector names.
    pub(super) fn type_into(&self, selector: &str, text: &str) {
        let found = self.tell("element", &json!({ "using": "css selector", "value": selector }));
        let id = found
            .as_object()
            .unwrap()
            .values()
            .next()
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned();
        self.tell(&format!("element/{id}/value"), &json!({ "text": text }));
    }

    /// Clicks what a selector names.
    pub(super) fn click(&self, selector: &str) {
        let found = self.tell("element", &json!({ "using": "css selector", "value": selector }));
        let id = found
            .as_object()
            .unwrap()
            .values()
            .next()
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned();
        self.tell(&format!("element/{id}/click"), &json!({}));
    }

    /// Shows the page so wide and high, in pixels, by light or in the dark.
    pub(super) fn shape(&self, width: u32, height: u32, scheme: &str) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.developer("Emulation.setDeviceMetricsOverride", metrics);
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.developer("Emulation.setEmulatedMedia", features);
    }

    fn developer(&self, command: &str, parameters: Value) {
        self.tell(
            "goog/cdp/execute",
            &json!({ "cmd": command, "params": parameters }),
        );
    }

    /// A picture of the window: PNG in base64.
    pub(super) fn screenshot(&self) -> String {
        let picture = self.call(
            "GET",
            &format!("/session/{}/screenshot", self.session),
            &Value::Null,
        );
        picture.as_str().unwrap().to_owned()
    }

    /// What the browser has complained of since the last time.
    pub(super) fn complaints(&self) -> Vec<Value> {
        let entries = self.tell("se/log", &json!({ "type": "browser" }));
        let entries = entries.as_array().unwrap().iter();
        entries
            .filter(|entry| entry["level"] == "SEVERE")
            .cloned()
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // The browser ends with its session; when that fails, with its driver.
            let _ = http::request(
                &self.address,
                "DELETE",
                &format!("/session/{}", self.session),
                &[],
                "",
            );
        }
        // They may have ended already.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
