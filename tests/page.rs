//! The page of `report html`, in a real browser: what a dragged limit shows is what a sweep counts.
//!
//! Chromium is Debian's package; `.ci/run` installs it.

use std::process::Command;

use crate::backtest::sessions_of_which_some_are_stuck;
use crate::program::{Dir, tollbook};

/// Drives the page as a person would, and leaves what it shows in its title.
const PERSON: &str = r##"<script>
addEventListener("load", () => setTimeout(() => {
  const seen = [];
  const figures = () => [...document.querySelectorAll("#figures dd")].map((dd) => dd.firstChild.textContent.trim());
  const look = () => seen.push([Number(at("max").value), ...figures(), at("clause").textContent]);
  const pick = (id, value) => { at(id).value = value; at(id).dispatchEvent(new Event("change")); };
  pick("window", "day");
  look();
  for (const max of [5, 13, 20]) {
    at("slider").value = max;
    at("slider").dispatchEvent(new Event("input"));
    look();
  }
  const full = at("peaks")._fullLayout;
  const y = (max) => at("peaks").getBoundingClientRect().top + full._size.t + full.yaxis.l2p(max);
  const point = (type, max) => at("handle").dispatchEvent(new PointerEvent(type, { bubbles: true, clientY: y(max) }));
  point("pointerdown", 20);
  point("pointermove", 30);
  look();
  point("pointerup", 30);
  point("pointermove", 50);
  look();
  pick("subject", "list_notes");
  look();
  document.body.replaceChildren(JSON.stringify({ seen, rates: at("rates") === null }));
}, 500));
</script>"##;

fn browser() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()))
}

#[test]
fn a_dragged_limit_shows_what_a_sweep_counts() {
    let Some(browser) = browser() else {
        assert!(std::env::var_os("CI").is_none(), "CI has to have a Chromium");
        eprintln!("skipped: no Chromium");
        return;
    };
    let dir = Dir::new();
    let log = sessions_of_which_some_are_stuck(&dir);
    let page = dir.path("page.html");
    tollbook(&["report", "html", "--log", &log, "-o", &page]).ok();
    let text = std::fs::read_to_string(&page).unwrap();
    let driven = dir.file("driven.html", &text.replace("</body>", &format!("{PERSON}</body>")));
    let output = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1100,1600"])
        .args(["--virtual-time-budget=20000", "--dump-dom", &format!("file://{driven}")])
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    let begin = shown.find("<body>").expect("the page was drawn") + "<body>".len();
    let json = &shown[begin..shown.find("</body>").unwrap()];
    let seen: serde_json::Value = serde_json::from_str(json.trim())
        .unwrap_or_else(|error| panic!("{error}: {shown}\n{}", String::from_utf8_lossy(&output.stderr)));

    let sweep = tollbook(&["sweep", "--log", &log, "--per", "day", "--max", "5,13,20,30", "--all", "--json"]).ok();
    let sweep: serde_json::Value = serde_json::from_str(&sweep).unwrap();
    let counted = |max: u64| {
        let points = sweep["points"].as_array().unwrap();
        let point = points.iter().find(|point| point["max"] == max).unwrap();
        ["refused_bad", "sessions_stopped", "refused_clean", "sessions_touched"].map(|name| point[name].to_string())
    };
    let seen = seen["seen"].as_array().unwrap();
    let maxima: Vec<u64> = seen.iter().map(|look| look[0].as_u64().unwrap()).collect();
    // It begins where no clean call is refused; the line stays where it was let go.
    assert_eq!(maxima, [13, 5, 13, 20, 30, 30, 13]);
    for (look, max) in seen.iter().zip(maxima) {
        let figures = [1, 2, 3, 4].map(|place| look[place].as_str().unwrap().to_owned());
        assert_eq!(figures, counted(max), "{look}");
    }
    assert_eq!(seen[4][5], "all tools { limit 30 per day per session }");
    assert_eq!(seen[6][5], "tool list_notes { limit 13 per day per session }");
}
