use super::*;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    listen: String,
    queue: Queue,
    token: Secret,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Queue {
    length: u32,
    patience: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self { length: 7, patience: 9 }
    }
}

impl Validate for Config {
    fn validate(&self, faults: &mut Vec<String>) {
        if self.queue.length == 0 {
            faults.push("queue.length: must be at least 1".into());
        }
    }
}

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn load_from(pairs: &[(&str, &str)]) -> Result<Loaded<Config>, Faults> {
    load(None, &environment(pairs), Dict::new())
}

#[test]
fn the_environment_wins_over_the_file_and_overrides_win_over_both() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tollgate.toml");
    std::fs::write(&file, "listen = \"a\"\n[queue]\nlength = 1\npatience = 2\n").unwrap();
    let environment = environment(&[("TOLLGATE_QUEUE__PATIENCE", "3"), ("TOLLGATE_LISTEN", "b")]);
    let overrides = nest(&["listen".into()], Value::from("c"));
    let config: Config = load(Some(&file), &environment, overrides).unwrap().config;
    assert_eq!((config.listen.as_str(), config.queue.length, config.queue.patience), ("c", 1, 3));
}

#[test]
fn names_that_kubernetes_injects_are_warned_of_and_not_read() {
    let loaded = load_from(&[("TOLLGATE_PERMISSIONS_PORT", "tcp://10.0.0.1:7001")]).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].contains("TOLLGATE_PERMISSIONS_PORT"));
}

#[test]
fn all_faults_are_named_at_once() {
    let Faults(faults) = load_from(&[
        ("TOLLGATE_QUEUE__LENGTH", "0"),
        ("TOLLGATE_QUEUE__PATIENCE", "long"),
        ("TOLLGATE_QUEUE__LENGHT", "3"),
        ("TOLLGATE_NOTHING__HERE", "1"),
    ])
    .unwrap_err();
    for key in ["queue.length:", "queue.patience:", "queue.lenght:", "nothing:"] {
        assert_eq!(faults.iter().filter(|fault| fault.starts_with(key)).count(), 1, "{key} in {faults:?}");
    }
    assert_eq!(faults.len(), 4, "{faults:?}");
}

#[test]
fn a_missing_file_is_a_fault() {
    let fault = load::<Config>(Some(Path::new("/does/not/exist.toml")), &[], Dict::new()).unwrap_err();
    assert!(fault.to_string().contains("/does/not/exist.toml: there is no such file"));
}

#[test]
fn a_secret_of_digits_is_a_secret_and_is_not_shown() {
    let config = load_from(&[("TOLLGATE_TOKEN__VALUE", "123456")]).unwrap().config;
    assert_eq!(config.token.read().unwrap().unwrap().expose_secret(), "123456");
    assert!(!format!("{config:?}").contains("123456"));
}
