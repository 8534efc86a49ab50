//! The page as an operator uses it, in a browser: log in, look, watch a rebalance.

use rookery_tests::Cluster;

use super::browser::Browser;
use super::{small, token, until};

/// Fewer bytes than this has no picture with anything on it.
const PICTURE_BYTES_MIN: usize = 8_000;

fn text(browser: &Browser, selector: &str) -> String {
    let script = format!("return document.querySelector({selector:?}).innerText");
    browser.run(&script).as_str().unwrap_or_default().to_owned()
}

fn log_in(browser: &Browser, cluster: &Cluster) {
    browser.open(&format!("http://{}/", cluster.node("directory-1").http));
    browser.type_into("#token", &token(cluster));
    browser.click("#login button");
    until("the page", || text(browser, "#nodes").contains("mailstore-1"));
}

/// Looks at the page in both widths and colours; pictures go to the folder that `PAGE_PICTURES` names, if any.
fn look(browser: &Browser, name: &str) {
    let mut pictures = Vec::new();
    for (width, height) in [(1280, 900), (360, 800)] {
        for scheme in ["light", "dark"] {
            browser.shape(width, height, scheme);
            let overflow =
                "const root = document.documentElement; return root.scrollWidth - root.clientWidth";
            assert_eq!(
                browser.run(overflow),
                0,
                "{name} overflows at {width} in {scheme}"
            );
            let picture = browser.screenshot();
            assert!(
                picture.len() > PICTURE_BYTES_MIN,
                "{name} at {width} in {scheme} is blank"
            );
            if let Some(folder) = std::env::var_os("PAGE_PICTURES") {
                let path = std::path::Path::new(&folder).join(format!("{name}-{width}-{scheme}.base64"));
                std::fs::write(path, &picture).unwrap();
            }
            assert!(
                !pictures.contains(&picture),
                "{name} is alike in light and in the dark"
            );
            pictures.push(picture);
        }
    }
    browser.shape(1280, 900, "light");
}

#[test]
fn an_operator_logs_in_and_watches_a_rebalance() {
    let mut cluster = small(1);
    let browser = Browser::start();
    browser.shape(1280, 900, "light");
    browser.open(&format!("http://{}/", cluster.node("directory-1").http));
    browser.type_into("#token", "not-the-token-at-all");
    browser.click("#login button");
    until("the refusal", || text(&browser, "#login-error").contains("wrong"));
    let refused = browser.complaints();
    assert!(
        refused
            .iter()
            .all(|one| one["message"].to_string().contains("401")),
        "{refused:?}"
    );

    log_in(&browser, &cluster);
    assert_eq!(
        browser.run("return document.cookie + location.search + localStorage.length"),
        "0"
    );
    cluster.grow(1).unwrap();
    until("the third mailstore", || {
        text(&browser, "#placement").contains("mailstore-3")
    });
    let leads = "return document.querySelectorAll('#placement .leads').length";
    until("leaders", || browser.run(leads) == 12);
    cluster
        .operate(&["rebalance", "apply", "--yes", "--max-transfers", "1"], "")
        .unwrap();
    until("the rebalance", || {
        text(&browser, "#rebalance-title")
            .to_lowercase()
            .contains("rebalance 1")
    });
    until("its event", || {
        text(&browser, "#events").contains("rebalance 1 has begun")
    });
    look(&browser, "running");
    cluster.operate(&["rebalance", "watch"], "").unwrap();
    until("its end", || {
        text(&browser, "#events").contains("rebalance 1 is done")
    });
    until("a full bar", || {
        browser.run("return document.querySelector('progress').value") == 100
    });
    cluster.kill("mailstore-3");
    until("the silence", || text(&browser, "#nodes").contains("silent"));
    until("its event", || {
        text(&browser, "#events").contains("mailstore-3 is silent")
    });
    look(&browser, "silent");

    // What the cluster is called is text, whatever it is.
    let hostile = "showTrouble('<img src=x onerror=document.title=1>', 'javascript:alert(1)'); \
                   return [document.querySelectorAll('#trouble img, #trouble a').length, document.title]";
    assert_eq!(browser.run(hostile), serde_json::json!([0, "Rookery"]));
    assert_eq!(browser.complaints(), Vec::<serde_json::Value>::new());
    browser.click("#logout");
    assert_eq!(browser.run("return sessionStorage.length"), 0);
    assert_eq!(
        browser.run("return document.querySelector('#cluster').hidden"),
        true
    );
    look(&browser, "login");
}
