//! `tollgate top`: one frame as text, and live on a real terminal.

use crate::{
    chat::{CHAT, chat, until_usable},
    operate::Desk,
};
use serde_json::Value;
use std::process::{Command, Stdio};
use tests::{
    binary,
    suite::{MODEL, Suite},
    until,
};

const TERMINAL: &str = include_str!("top/terminal.py");

/// A suite that was asked something, and has told monitoring of it.
async fn suite() -> Suite {
    let suite = Suite::start(&[]).await;
    let owner = suite.owner();
    until_usable(&owner).await;
    for _ in 0..3 {
        drop(owner.post(CHAT, &chat(2, 4)).await.ok());
    }
    let told = async || {
        let list = owner.get("/api/v1/metrics?prefix=gen_ai_server_request_duration").await.ok().data();
        (!list["metrics"].as_array()?.is_empty()).then_some(())
    };
    until("a first report", told).await;
    suite
}

#[tokio::test]
async fn one_frame_is_text_for_pipes() {
    let suite = suite().await;
    let desk = Desk::signed_in(&suite);
    let frame = desk.table("top --once");
    let line = |begin: &str| {
        let line = frame.lines().find(|line| line.starts_with(begin));
        line.unwrap_or_else(|| panic!("{begin} is not in:\n{frame}"))
    };
    let model: Vec<&str> = line(MODEL).split_ascii_whitespace().collect();
    assert!(model[1].parse::<f64>().unwrap() > 0.0, "{frame}");
    assert!(!model[5..].contains(&"-"), "every time was measured:\n{frame}");
    let engine: Vec<&str> = line("http://127.0.0.1").split_ascii_whitespace().collect();
    assert_eq!(engine[1], "yes", "{frame}");
    assert!(
        line("ALERTS").ends_with("firing")
            && frame.contains("Watchdog")
            && line("QUEUE").contains("default 0"),
        "{frame}"
    );
    assert!(!frame.contains('\u{1b}'), "nothing in it steers a terminal");
    // The standard output of this test is no terminal, so it ends by itself.
    assert!(desk.table("top").starts_with("tollgate top"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_is_drawn_follows_its_size_and_is_given_back() {
    let suite = suite().await;
    let desk = Desk::signed_in(&suite);
    let login = desk.login();
    let runs = ["q", "\u{3}", "TERM"].map(|key| {
        let login = login.clone();
        tokio::task::spawn_blocking(move || on_a_terminal(key, &login))
    });
    for run in runs {
        let run = run.await.unwrap();
        let drawn = |part: &str| run[part].as_str().unwrap().to_owned();
        let (before, after) = (drawn("before"), drawn("after"));
        assert!(before.contains("\u{1b}[?1049h") && before.contains("\u{1b}[?25l"), "{before:?}");
        assert!(before.contains(MODEL) && before.contains("GOODPUT/S"), "{before:?}");
        assert!(after.ends_with("\u{1b}[?1049l") && after.contains("\u{1b}[?25h"), "{after:?}");
        assert!(!after.contains("GOODPUT/S"), "there is no room for it in 50 columns: {after:?}");
        assert!(lines(&after).iter().all(|line| line.chars().count() <= 50), "{after:?}");
        assert_eq!((&run["code"], &run["restored"]), (&Value::from(0), &Value::from(true)));
    }
}

fn on_a_terminal(key: &str, login: &std::path::Path) -> Value {
    let mut command = Command::new("python3");
    command.args(["-c", TERMINAL, key]).arg(binary::path());
    command.args(["top", "--interval", "1s", "--login-file"]).arg(login);
    let done = command.env("TERM", "xterm-256color").stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

/// What is written between two movements of the cursor.
fn lines(drawn: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut rest = drawn;
    while let Some(letter) = rest.chars().next() {
        let Some(sequence) = rest.strip_prefix("\u{1b}[") else {
            lines.last_mut().unwrap().push(letter);
            rest = &rest[letter.len_utf8()..];
            continue;
        };
        let end = sequence.find(|letter: char| letter.is_ascii_alphabetic()).unwrap();
        if sequence[end..].starts_with('H') {
            lines.push(String::new());
        }
        rest = &sequence[end + 1..];
    }
    lines
}
