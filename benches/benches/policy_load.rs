//! What a million grants take: time to load them from facts that come one by one, and memory when they are there.
//!
//! Memory is what the kernel says of the process, before and after. The other lines are what comes on top for the
//! questions that are not asked on the hot path.

use anyhow::{Context, Result};
use benches::world::{REFUSED, Size, model, user};
use policy::{Action, Change, Effect, Grant, GrantId, Grantee, Loader, Policy, Target, Time};
use std::{
    fs,
    io::Write,
    time::{Duration, Instant},
};

const NOW: Time = Time(1_000_000);
const PAGE_BYTES: u64 = 4096;

fn resident_megabytes() -> Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split_whitespace().nth(1).context("statm has a second field")?.parse()?;
    Ok(pages * PAGE_BYTES / 1_000_000)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let made = work();
    (made, start.elapsed())
}

fn load(size: Size) -> Result<Policy> {
    let mut loader = Loader::new();
    size.facts().try_for_each(|fact| loader.take(&fact))?;
    Ok(loader.finish())
}

fn new_grant(grantee: Grantee) -> Change {
    Change::PutGrant(Grant {
        id: GrantId(uuid::Uuid::from_u128(1)),
        grantee,
        target: Target::Model(model(REFUSED)),
        action: Action::Use,
        effect: Effect::Allow,
        starts_at: None,
        expires_at: None,
    })
}

fn main() -> Result<()> {
    let mut out = std::io::stdout().lock();
    for grants in [100_000, 1_000_000] {
        let size = Size::of(grants);
        let before = resident_megabytes()?;
        let (policy, took) = timed(|| load(size));
        let policy = policy?;
        let taken = resident_megabytes()?.saturating_sub(before);
        writeln!(out, "{grants} grants, {} users, {} groups:", size.users, size.groups)?;
        writeln!(out, "  load            {took:>12.1?}   {taken} MB")?;
        let (copy, took) = timed(|| policy.clone());
        writeln!(out, "  copy            {took:>12.1?}")?;
        drop(copy);
        let (facts, took) = timed(|| policy.facts().count());
        writeln!(out, "  write out       {took:>12.1?}   {facts} facts")?;
        let (models, took) = timed(|| policy.accessible_models(user(7), Action::Use, NOW).len());
        writeln!(out, "  models of a user{took:>12.1?}   {models}")?;
        let (users, took) = timed(|| policy.subjects_of(model(7), Action::Use, NOW).len());
        writeln!(out, "  users of a model{took:>12.1?}   {users}")?;
        let (page, took) =
            timed(|| policy.subjects_of_page(model(7), Action::Use, NOW, None, 100).items.len());
        writeln!(out, "  a page of them  {took:>12.1?}   {page}")?;
        let (held, took) = timed(|| policy.effective(user(7), NOW, None, usize::MAX).items.len());
        writeln!(out, "  all a user has  {took:>12.1?}   {held}")?;
        let (told, took) = timed(|| policy.simulate(&[new_grant(Grantee::User(user(0)))], NOW, 1_000));
        writeln!(out, "  simulate one    {took:>12.1?}   {}", told?.differences.len())?;
        let (told, took) = timed(|| policy.simulate(&[new_grant(Grantee::Everyone)], NOW, usize::MAX));
        writeln!(out, "  simulate for all{took:>12.1?}   {}", told?.differences.len())?;
    }
    Ok(())
}
