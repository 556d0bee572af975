//! Signing in and out. A password is asked for without showing it, or read from standard input.

use super::{
    Common,
    account::{Account, Session},
    call::Contract,
};
use clap::Args;
use serde_json::json;
use std::{
    fs,
    io::{self, BufRead, IsTerminal, Write},
};

/// Whom to sign in.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// E-mail address; asked for when left out.
    #[arg(long)]
    email: Option<String>,
}

impl Login {
    pub(crate) async fn run(self, common: &Common) -> anyhow::Result<()> {
        let account = Account::open(common)?;
        let email = match self.email {
            Some(email) => email,
            None => line("E-mail address: ")?,
        };
        let password =
            if io::stdin().is_terminal() { rpassword::prompt_password("Password: ")? } else { line("")? };
        let request = json!({ "email": email, "password": password });
        let answer = account.stranger(&Contract::open()?)?.unary("SessionService/SignIn", &request).await?;
        Session::read(&account, &answer["tokens"])?.keep(&account.file)?;
        writeln!(io::stderr(), "signed in at {} as {email}", account.server)?;
        Ok(())
    }
}

/// Ends the session of the last login and forgets it.
pub(crate) async fn sign_out(common: &Common) -> anyhow::Result<()> {
    let account = Account::open(common)?;
    if let Some(session) = account.session() {
        let request = json!({ "refresh_token": session.refresh_token });
        account.stranger(&Contract::open()?)?.unary("SessionService/SignOut", &request).await?;
        fs::remove_file(&account.file)?;
    }
    writeln!(io::stderr(), "signed out of {}", account.server)?;
    Ok(())
}

fn line(prompt: &str) -> anyhow::Result<String> {
    write!(io::stderr(), "{prompt}")?;
    let mut text = String::new();
    io::stdin().lock().read_line(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
