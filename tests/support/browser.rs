//! A real browser: a small WebDriver client that starts chromedriver and a headless chromium for one test, and takes
//! both away with it.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::capture::Capture;
use super::guardian::Guardian;

/// How long anything on a page may take, on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long one order to chromedriver may take; starting a browser is the longest.
const ORDER: Duration = Duration::from_secs(90);

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a WebDriver element is called in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

const FLAGS: [&str; 10] = [
    "--headless=new",
    "--window-size=1280,800",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

/// Two browsers at once would make each other slow on a small machine, and every deadline with them.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The keys that tests press, as WebDriver writes them.
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";

/// A browser with one window; it ends with this value, or with this process.
pub struct Browser {
    agent: ureq::Agent,
    base: String,
    driver: Child,
    guardian: Guardian,
    _turn: MutexGuard<'static, ()>,
}

/// A media feature that a page is told of, such as `("prefers-color-scheme", "dark")`.
pub type Medium<'a> = (&'a str, &'a str);

impl Browser {
    /// Starts a browser, when no other test of this process has one.
    pub fn start() -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let guardian = Guardian::of_folder();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            // Crash reports, caches and what it forgets to remove belong into the folder that goes away.
            .env("HOME", guardian.folder())
            .env("TMPDIR", guardian.folder())
            // A group of its own, which the browser and its helpers share: one signal reaches all of them.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts; is scripts/setup --browser done?");
        guardian.order(&format!("watch -{}", driver.id()));
        let said = Capture::of(driver.stdout.take().expect("stdout is piped"));
        let line = said.next(ORDER, |line| line.contains("started successfully on port"));
        let line = line.expect("chromedriver says its port");
        let port = line.trim_end_matches('.').rsplit(' ').next().expect("a word");
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(ORDER))
            .http_status_as_error(false)
            .build()
            .new_agent();
        let base = format!("http://127.0.0.1:{port}");
        let mut browser = Self { agent, base, driver, guardian, _turn: turn };
        let mut flags: Vec<String> = FLAGS.iter().map(ToString::to_string).collect();
        let profile = browser.guardian.folder().join("profile");
        flags.push(format!("--user-data-dir={}", profile.display()));
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": flags},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let session = browser.order("POST", "/session", Some(&wanted));
        let id = session["sessionId"].as_str().expect("a session has an id");
        browser.base = format!("{}/session/{id}", browser.base);
        browser
    }

    /// Loads an address and waits until it is loaded.
    pub fn goto(&self, url: &str) {
        self.order("POST", "/url", Some(&json!({ "url": url })));
    }

    /// The first element that fits, once it is there.
    #[track_caller]
    pub fn find(&self, css: &str) -> Element<'_> {
        let began = Instant::now();
        loop {
            if let Some(element) = self.all(css).into_iter().next() {
                return element;
            }
            assert!(began.elapsed() < PATIENCE, "no {css} on the page:\n{}", self.seen());
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// All the elements that fit now.
    pub fn all(&self, css: &str) -> Vec<Element<'_>> {
        let wanted = json!({"using": "css selector", "value": css});
        let found = self.order("POST", "/elements", Some(&wanted));
        let ids = found.as_array().expect("a list").iter();
        ids.map(|e| Element { browser: self, id: e[ELEMENT].as_str().expect("an id").to_owned() })
            .collect()
    }

    /// Runs a function's body in the page, with these `arguments`.
    #[track_caller]
    pub fn execute(&self, script: &str, arguments: &[Value]) -> Value {
        let body = json!({"script": script, "args": arguments});
        self.order("POST", "/execute/sync", Some(&body))
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub fn wait_for(&self, expression: &str) {
        let began = Instant::now();
        let script = format!("return Boolean({expression})");
        while self.execute(&script, &[]) != true {
            assert!(began.elapsed() < PATIENCE, "not true: {expression}\n{}", self.seen());
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until an element that fits is shown and holds this text.
    #[track_caller]
    pub fn wait_for_text(&self, css: &str, text: &str) {
        let [css, text] = [css, text].map(|t| Value::from(t).to_string());
        self.wait_for(&format!(
            "[...document.querySelectorAll({css})].some((e) => e.checkVisibility() && \
             e.textContent.includes({text}))"
        ));
    }

    /// What the reader sees, for the message of a test that fails.
    pub fn seen(&self) -> String {
        let text = self.execute("return document.body.innerText", &[]);
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Presses and releases a key where the focus is.
    pub fn press(&self, key: &str) {
        let strokes = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]});
        self.order("POST", "/actions", Some(&actions));
    }

    /// Gives the page this size, in CSS pixels; a narrow one is that of a phone.
    pub fn resize(&self, width: u32, height: u32) {
        // The window itself cannot be narrower than a desktop allows.
        let (ratio, mobile) = (1, width < 600);
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": mobile}),
        );
    }

    /// Tells the page what its reader prefers.
    pub fn prefer(&self, media: &[Medium<'_>]) {
        let features: Vec<Value> =
            media.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Opens a second window, goes to it, and returns the names of the first and of the second.
    pub fn open_window(&self) -> (String, String) {
        let text = |value: Value| value.as_str().expect("a name").to_owned();
        let first = text(self.order("GET", "/window", None));
        let mut opened = self.order("POST", "/window/new", Some(&json!({"type": "window"})));
        let second = text(opened["handle"].take());
        self.to_window(&second);
        (first, second)
    }

    /// Goes to a window.
    pub fn to_window(&self, name: &str) {
        self.order("POST", "/window", Some(&json!({ "handle": name })));
    }

    /// Writes what the reader sees to a PNG.
    pub fn screenshot(&self, file: &Path) {
        let shot = self.devtools("Page.captureScreenshot", &json!({"format": "png"}));
        let text = shot["data"].as_str().expect("a picture").as_bytes();
        std::fs::write(file, from_base64(text)).expect("the picture is written");
    }

    /// What the console has complained of since the last look: errors, and whatever the content security policy
    /// stopped. A request that failed is left out if its line holds one of the `expected` words.
    pub fn complaints(&self, expected: &[&str]) -> Vec<String> {
        let log = self.order("POST", "/se/log", Some(&json!({"type": "browser"})));
        let lines = log.as_array().expect("a list").iter().filter(|line| {
            let message = line["message"].as_str().unwrap_or_default();
            let is_expected =
                line["source"] == "network" && expected.iter().any(|word| message.contains(word));
            (line["level"] == "SEVERE" || line["source"] == "security") && !is_expected
        });
        lines.map(|line| format!("{}: {}", line["source"], line["message"])).collect()
    }

    fn devtools(&self, command: &str, params: &Value) -> Value {
        let body = json!({"cmd": command, "params": params});
        self.order("POST", "/goog/cdp/execute", Some(&body))
    }

    #[track_caller]
    fn order(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let url = format!("{}{path}", self.base);
        let answer = match (method, body) {
            ("POST", Some(body)) => self.agent.post(&url).send_json(body),
            ("DELETE", _) => self.agent.delete(&url).call(),
            _ => self.agent.get(&url).call(),
        };
        let mut answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let status = answer.status();
        let mut value: Value = answer.body_mut().read_json().expect("WebDriver speaks JSON");
        assert!(status.is_success(), "{method} {path} {body:?}: {}", value["value"]["message"]);
        value["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Whatever state it is in: the group is killed, then the guardian removes the folder.
        let group = format!("-{}", self.driver.id());
        let _ = Command::new("sh").args(["-c", "kill -KILL \"$1\"", "kill", &group]).status();
        let _ = self.driver.wait();
        self.guardian.order(&format!("forget {group}"));
    }
}

/// An element of the page that is loaded.
pub struct Element<'a> {
    browser: &'a Browser,
    id: String,
}

impl Element<'_> {
    /// Its text, as it is shown.
    pub fn text(&self) -> String {
        let text = self.browser.order("GET", &self.path("text"), None);
        text.as_str().unwrap_or_default().to_owned()
    }

    /// An attribute, if it has it.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let value = self.browser.order("GET", &self.path(&format!("attribute/{name}")), None);
        value.as_str().map(ToOwned::to_owned)
    }

    /// Clicks in its middle, which nothing may cover.
    #[track_caller]
    pub fn click(&self) {
        self.browser.order("POST", &self.path("click"), Some(&json!({})));
    }

    /// Types into it.
    #[track_caller]
    pub fn type_in(&self, text: &str) {
        self.browser.order("POST", &self.path("value"), Some(&json!({ "text": text })));
    }

    fn path(&self, rest: &str) -> String {
        format!("/element/{}/{rest}", self.id)
    }
}

/// Reads base64 as WebDriver writes it, without line breaks.
fn from_base64(text: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits: Vec<u32> = text.iter().filter_map(digit).map(u32::from).collect();
    let bytes = |chunk: &[u32]| {
        let all = chunk.iter().fold(0, |sum, digit| sum << 6 | digit) << (6 * (4 - chunk.len()));
        all.to_be_bytes()[1..chunk.len()].to_vec()
    };
    digits.chunks(4).flat_map(bytes).collect()
}
