//! The page in a real browser: one tab for each test, and all its errors.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headless_chrome::protocol::cdp::types::Event;
use headless_chrome::protocol::cdp::{Emulation, Page};
use headless_chrome::{Browser, LaunchOptions, Tab};
use serde_json::Value;

/// What a test returns.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// Names under which distributions install it.
const PROGRAMS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// A page may take long on a machine that does other things; nothing is asserted about time.
const PATIENCE: Duration = Duration::from_secs(120);

/// The first browser on the path.
pub(crate) fn program() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).flat_map(|dir| PROGRAMS.map(|name| dir.join(name)));
    found
        .into_iter()
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| format!("none of {} is on the path", PROGRAMS.join(", ")))
}

/// Starts it with a profile of its own, which is removed when it ends.
pub(crate) fn start(program: PathBuf) -> Result<Browser, Box<dyn Error>> {
    let quiet = [
        "--disable-quic",
        "--disable-component-update",
        "--disable-domain-reliability",
        "--no-default-browser-check",
        "--hide-scrollbars",
    ];
    let options = LaunchOptions::default_builder()
        .path(Some(program))
        // Tests may be run by root in a container, where the sandbox cannot be made. The page is
        // the project's own and asks for nothing.
        .sandbox(false)
        .args(quiet.map(AsRef::as_ref).to_vec())
        .idle_browser_timeout(PATIENCE)
        .build()?;
    Ok(Browser::new(options)?)
}

/// A page that is shown.
pub(crate) struct Shown {
    tab: Arc<Tab>,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Shown {
    /// Shows a file at a width, as a telephone would or as a screen would.
    pub(crate) fn new(
        browser: &Browser,
        file: &Path,
        width: u32,
        height: u32,
        mobile: bool,
    ) -> Result<Self, Box<dyn Error>> {
        let tab = browser.new_tab()?;
        tab.set_default_timeout(PATIENCE);
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&complaints);
        tab.enable_log()?;
        tab.enable_runtime()?;
        tab.add_event_listener(Arc::new(move |event: &Event| {
            let complaint = match event {
                Event::RuntimeExceptionThrown(thrown) => {
                    format!("{:?}", thrown.params.exception_details)
                }
                Event::RuntimeConsoleAPICalled(called) => format!("{:?}", called.params),
                Event::LogEntryAdded(entry) => format!("{:?}", entry.params.entry),
                _ => return,
            };
            if let Ok(mut all) = heard.lock() {
                all.push(complaint);
            }
        }))?;
        tab.call_method(Emulation::SetDeviceMetricsOverride {
            width,
            height,
            device_scale_factor: 1.0,
            mobile,
            scale: None,
            screen_width: None,
            screen_height: None,
            position_x: None,
            position_y: None,
            dont_set_visible_size: None,
            screen_orientation: None,
            viewport: None,
            display_feature: None,
            device_posture: None,
        })?;
        tab.navigate_to(&format!("file://{}", file.display()))?;
        tab.wait_until_navigated()?;
        let shown = Self { tab, complaints };
        // The last statement of the script: if it ran, nothing before it threw.
        let ready = shown.text("document.getElementById('shown').textContent")?;
        if ready.is_empty() {
            return Err(format!(
                "the script did not come to its end: {:?}",
                shown.complaints()
            )
            .into());
        }
        Ok(shown)
    }

    /// The messages on the console; there should be none.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints
            .lock()
            .map(|all| all.clone())
            .unwrap_or_default()
    }

    /// The value of an expression.
    pub(crate) fn value(&self, expression: &str) -> Result<Value, Box<dyn Error>> {
        let asked = format!("JSON.stringify({expression})");
        let answer = self.tab.evaluate(&asked, false)?;
        let text = answer.value.as_ref().and_then(Value::as_str);
        let text = text.ok_or_else(|| format!("{expression} gave {answer:?}"))?;
        Ok(serde_json::from_str(text)?)
    }

    /// An expression that is a number.
    pub(crate) fn number(&self, expression: &str) -> Result<i64, Box<dyn Error>> {
        let value = self.value(expression)?;
        value
            .as_i64()
            .ok_or_else(|| format!("{expression} is {value}, no whole number").into())
    }

    /// An expression that is a text.
    pub(crate) fn text(&self, expression: &str) -> Result<String, Box<dyn Error>> {
        let value = self.value(expression)?;
        Ok(value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| format!("{expression} is {value}, no text"))?)
    }

    /// Statements.
    pub(crate) fn run(&self, statements: &str) -> Outcome {
        self.value(&format!("(() => {{ {statements}; return true; }})()"))
            .map(drop)
    }

    /// Writes into a field of the form, as a reader would.
    pub(crate) fn fill(&self, id: &str, value: &str) -> Outcome {
        self.run(&format!(
            "const field = document.getElementById('{id}'); field.value = '{value}'; \
                field.dispatchEvent(new Event('input'))"
        ))
    }

    /// Clicks on what a selector finds first.
    pub(crate) fn click(&self, selector: &str) -> Outcome {
        self.run(&format!("document.querySelector(`{selector}`).click()"))
    }

    /// Waits until there is such an element.
    pub(crate) fn wait(&self, selector: &str) -> Outcome {
        self.tab.wait_for_element(selector)?;
        Ok(())
    }

    /// As on a screen that is set to `light` or `dark`.
    pub(crate) fn scheme(&self, scheme: &str) -> Outcome {
        self.tab.call_method(Emulation::SetEmulatedMedia {
            media: None,
            features: Some(vec![Emulation::MediaFeature {
                name: "prefers-color-scheme".to_owned(),
                value: scheme.to_owned(),
            }]),
        })?;
        Ok(())
    }

    /// As on paper.
    pub(crate) fn print(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        self.tab.call_method(Emulation::SetEmulatedMedia {
            media: Some("print".to_owned()),
            features: None,
        })?;
        Ok(self.tab.print_to_pdf(None)?)
    }

    /// Saves a screenshot, for people, and returns it.
    pub(crate) fn screenshot(&self, name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
        let png = self.tab.capture_screenshot(
            Page::CaptureScreenshotFormatOption::Png,
            None,
            None,
            true,
        )?;
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
        std::fs::write(path, &png)?;
        Ok(png)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // A tab that cannot be closed ends with its browser.
        drop(self.tab.close(false));
    }
}
