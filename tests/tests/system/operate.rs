//! The operators' commands, each a program of its own that talks to the suite and keeps its login in a file.

use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
};
use tempfile::TempDir;
use tests::{binary, suite::Suite};

/// An operator's machine: a folder in which the login is kept.
pub(crate) struct Desk<'a> {
    suite: &'a Suite,
    folder: TempDir,
}

/// How a command ended, and what it said.
pub(crate) struct Said {
    code: i32,
    out: String,
    pub(crate) err: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    /// How it ended, and what it printed.
    pub(crate) fn ended(&self) -> (i32, &str) {
        (self.code, &self.out)
    }

    /// Failed, and said this where people look for it.
    #[track_caller]
    pub(crate) fn refused(&self, words: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (1, ""), "{}", self.err);
        for word in words {
            assert!(self.err.contains(word), "{word} is not in: {}", self.err);
        }
    }
}

impl<'a> Desk<'a> {
    pub(crate) fn new(suite: &'a Suite) -> Self {
        Self { suite, folder: TempDir::new().unwrap() }
    }

    /// Somebody who signed in as the owner.
    pub(crate) fn signed_in(suite: &'a Suite) -> Self {
        let (desk, first) = (Self::new(suite), suite.first_run());
        let login = ["login", "--server", &first.base_url, "--email", &first.owner_email];
        desk.run(&login, &format!("{}\n", first.owner_password)).ok();
        desk
    }

    /// The file in which the login is kept.
    pub(crate) fn login(&self) -> PathBuf {
        self.folder.path().join("login")
    }

    /// Runs a command with this standard input.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = Command::new(binary::path());
        command.args(arguments).arg("--login-file").arg(self.login());
        command.env_clear().current_dir(self.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that wants no input may have ended.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let done = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: done.status.code().unwrap(), out: text(done.stdout), err: text(done.stderr) }
    }

    /// Runs a command given as words.
    pub(crate) fn say(&self, words: &str) -> Said {
        self.run(&words.split(' ').collect::<Vec<_>>(), "")
    }

    /// What a command prints for people.
    #[track_caller]
    pub(crate) fn table(&self, words: &str) -> String {
        self.say(words).ok()
    }

    /// What it prints for programs.
    #[track_caller]
    pub(crate) fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.say(&format!("{words} -o json")).ok()).unwrap()
    }

    /// A member with a key, as arguments of their commands.
    async fn member(&self, email: &str) -> (String, String) {
        let new = json!({"email": email, "display_name": "Ana", "role": "ROLE_MEMBER"});
        let user = self.suite.owner().post("/api/v1/users", &new).await.data()["user"].take();
        let id = user["user_id"].as_str().unwrap().to_owned();
        let secret = self.json(&format!("keys create laptop --user {id}"))["secret"].take();
        let file = self.folder.path().join("key");
        fs::write(&file, secret.as_str().unwrap()).unwrap();
        (id, format!("--server {} --key-file {}", self.suite.first_run().base_url, file.display()))
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

#[tokio::test]
async fn a_login_lasts_until_the_logout() {
    let suite = Suite::start(&[]).await;
    let (desk, first) = (Desk::new(&suite), suite.first_run());
    let server = ["--server", &first.base_url];
    desk.run(&["me", server[0], server[1]], "").refused(&["not signed in", "tollgate login"]);
    let login = ["login", server[0], server[1], "--email", &first.owner_email];
    desk.run(&login, "wrong\n").refused(&["SIGN_IN_REFUSED"]);
    assert!(!desk.login().exists());

    let said = desk.run(&login, &format!("{}\n", first.owner_password));
    assert!(said.err.contains(&format!("signed in at {}", first.base_url)), "{}", said.err);
    assert_eq!(said.ok(), "");
    assert_eq!(fs::metadata(desk.login()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(desk.login()).unwrap().contains(&first.owner_password));
    // The server is that of the login.
    assert_eq!(desk.json("me")["user"]["user_id"], json!(first.owner_id));
    let me = desk.table("me");
    assert!(me.contains("ROLE_OWNER") && me.contains(&first.model), "{me}");

    let kept = fs::read(desk.login()).unwrap();
    desk.say("logout").ok();
    assert!(!desk.login().exists());
    desk.run(&["me", server[0], server[1]], "").refused(&["not signed in"]);
    fs::write(desk.login(), kept).unwrap();
    desk.say("me").refused(&["SESSION_ENDED"]);
}

#[tokio::test]
async fn operators_see_and_change_who_may_use_what() {
    let suite = Suite::start(&[]).await;
    let desk = Desk::signed_in(&suite);
    let (ana, _) = desk.member("ana@example.org").await;
    let model = desk.json("models register coder --description for-code")["model"].take();
    let shown = desk.table("models show coder");
    assert!(shown.contains(text(&model["model_id"])) && shown.contains("for-code"), "{shown}");
    let models = desk.json("models list");
    assert!(models.as_array().unwrap().iter().any(|row| row["name"] == "coder"), "{models}");
    let models = desk.table("models list --search cod");
    assert_eq!(models.lines().count(), 2, "{models}");
    assert!(models.starts_with("NAME ") && models.contains("\ncoder "), "{models}");

    desk.table("groups create coders --reason a-new-team");
    desk.table(&format!("groups add coders --user {ana} --expires 12h"));
    assert_eq!(desk.json("groups members coders")[0]["user_id"], json!(ana));
    let grant = desk.json("grants create --model coder --group coders --expires 30d")["grant"].take();
    let id = text(&grant["grant_id"]);
    assert_eq!(grant["action"], "ACTION_USE");
    let grants = desk.table("grants list --group coders");
    assert!(grants.starts_with("MODEL") && grants.contains(id), "{grants}");
    let why = desk.table(&format!("explain coder --user {ana}"));
    assert!(why.contains("allowed") && why.contains("GRANTED"), "{why}");
    assert_eq!(desk.table(&format!("grants revoke {id} --reason over")), "revoked\n");
    assert_eq!(desk.json("grants list --group coders"), json!([]));
    assert_eq!(desk.table(&format!("groups remove coders --user {ana}")), "removed\n");
    assert_eq!(desk.table("groups members coders").lines().count(), 1);

    let events = desk.json("audit list --kind grant");
    assert_eq!((&events[0]["id"], &events[0]["reason"]), (&json!(id), &json!("over")));
    let revision = &events[0]["revision"];
    let event = desk.table(&format!("audit show {revision}"));
    assert!(event.contains("over"), "{event}");
    let chain = desk.table("audit verify");
    assert!(chain.starts_with("CHECKED\t") && chain.contains("true"), "{chain}");
    let lines = desk.say("audit export -o json").ok();
    assert!(lines.lines().count() > 3 && lines.lines().all(|line| line.starts_with('{')), "{lines}");
}

#[tokio::test]
async fn a_request_is_made_by_one_and_decided_by_another() {
    let suite = Suite::start(&[]).await;
    let desk = Desk::signed_in(&suite);
    let (ana, as_ana) = desk.member("ana@example.org").await;
    let model = desk.json("models register coder")["model"]["model_id"].take();
    let asked = desk.json(&format!("requests create {} --why work --duration 12h {as_ana}", text(&model)));
    let id = text(&asked["access_request"]["access_request_id"]);
    let open = desk.table("requests list --view to-decide");
    assert!(open.starts_with("STATE") && open.contains(id) && open.contains("work"), "{open}");
    let approved = desk.json(&format!("requests approve {id} --comment fine"));
    assert_eq!(approved["access_request"]["state"], "ACCESS_REQUEST_STATE_APPROVED");
    let mine = desk.table(&format!("requests list {as_ana}"));
    assert!(mine.contains("ACCESS_REQUEST_STATE_APPROVED"), "{mine}");
    assert_eq!(desk.json(&format!("grants list --user {ana}"))[0]["model_id"], model);
}

#[tokio::test]
async fn keys_are_made_rotated_and_revoked() {
    let suite = Suite::start(&[]).await;
    let desk = Desk::signed_in(&suite);
    let made = desk.table("keys create ci --scope read --expires 30d");
    assert!(made.contains("The secret, shown this once:\ntgk_"), "{made}");
    let keys = desk.json("keys list");
    let key = keys.as_array().unwrap().iter().find(|key| key["name"] == "ci").unwrap();
    let id = text(&key["key_id"]);
    let rotated = desk.json(&format!("keys rotate {id} --grace 0s"));
    let secret = text(&rotated["secret"]);
    assert!(!made.contains(secret));
    let file = desk.folder.path().join("key");
    fs::write(&file, secret).unwrap();
    let narrowed = format!("--server {} --key-file {}", suite.first_run().base_url, file.display());
    assert_eq!(desk.json(&format!("me {narrowed}"))["credential"]["key_id"], json!(id));
    desk.say(&format!("groups create x {narrowed}")).refused(&["SCOPE_MISSING"]);
    assert_eq!(desk.table(&format!("keys revoke {id}")), "revoked\n");
    desk.say(&format!("me {narrowed}")).refused(&["KEY_REVOKED"]);
}

#[tokio::test]
async fn a_refused_command_fails_and_says_why() {
    let suite = Suite::start(&[]).await;
    let desk = Desk::signed_in(&suite);
    let (_, as_ana) = desk.member("ana@example.org").await;
    desk.say(&format!("groups create x {as_ana}")).refused(&["ROLE_NOT_ALLOWED"]);
    desk.say("models show nothing").refused(&["there is no model named nothing"]);
    desk.say("groups members nobody").refused(&["there is no group named nobody"]);
    desk.say("grants list --user nobody@example.org").refused(&["there is no user nobody@example.org"]);
    desk.run(&["models", "register", " "], "").refused(&["name"]);
    desk.say("grants create --model tollgate-sim --everyone --expires soon")
        .refused(&["soon is no duration"]);
    assert_eq!(desk.say("grants create --everyone").code, 2, "a model is needed");
}

#[tokio::test]
async fn people_are_named_by_their_address() {
    let suite = Suite::start(&[]).await;
    let desk = Desk::signed_in(&suite);
    let (ana, _) = desk.member("ana@example.org").await;
    let grant = desk.json("grants create --model tollgate-sim --user Ana@Example.org");
    assert_eq!(grant["grant"]["user_id"], json!(ana));
    desk.say("explain tollgate-sim --user ana@example").refused(&["there is no user ana@example"]);
    let events = desk.json("audit list --actor ana@example.org");
    assert_eq!(events, json!([]));
}
