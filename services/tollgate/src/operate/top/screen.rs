//! The terminal: taken over as a whole, and given back however this ends.

use super::frame::Line;
use crossterm::{
    cursor::{Hide, MoveTo, Show},
    event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    queue,
    style::{Attribute, Print, SetAttribute},
    terminal::{
        self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
    },
};
use std::{
    io::{self, Stdout, Write},
    time::Duration,
};
use tokio::sync::mpsc;

/// Between two looks whether anybody still wants keys.
const LOOK: Duration = Duration::from_millis(100);

/// What somebody does at the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Resized,
}

/// The terminal while it is ours.
pub(super) struct Screen {
    out: Stdout,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        enable_raw_mode()?;
        // From here on whatever happens gives it back.
        let mut screen = Self { out: io::stdout() };
        queue!(screen.out, EnterAlternateScreen, Hide)?;
        screen.out.flush()?;
        Ok(screen)
    }

    /// As much of the lines as there is room for.
    pub(super) fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        let (width, height) = terminal::size()?;
        queue!(self.out, MoveTo(0, 0))?;
        for (at, line) in (0..height).zip(lines) {
            let text: String = line.text.chars().take(width.into()).collect();
            let weight = if line.head { Attribute::Bold } else { Attribute::NormalIntensity };
            queue!(
                self.out,
                MoveTo(0, at),
                SetAttribute(weight),
                Print(text),
                Clear(ClearType::UntilNewLine)
            )?;
        }
        queue!(self.out, SetAttribute(Attribute::Reset))?;
        if let Some(below) = u16::try_from(lines.len()).ok().filter(|below| *below < height) {
            queue!(self.out, MoveTo(0, below), Clear(ClearType::FromCursorDown))?;
        }
        self.out.flush()
    }

    /// What is done at the terminal from now on, until nobody wants to know. In raw mode Ctrl-C is a key.
    pub(super) fn keys() -> mpsc::Receiver<Key> {
        let (told, keys) = mpsc::channel(16);
        // The terminal can only be read by waiting. The thread ends when nobody listens.
        tokio::task::spawn_blocking(move || {
            while !told.is_closed() {
                let key = match event::poll(LOOK) {
                    Ok(false) => continue,
                    Ok(true) => event::read().ok().as_ref().map(key),
                    Err(_) => None,
                };
                match key {
                    Some(None) => {}
                    Some(Some(key)) => drop(told.blocking_send(key)),
                    // There is no terminal any more.
                    None => return,
                }
            }
        });
        keys
    }
}

fn key(event: &Event) -> Option<Key> {
    match event {
        Event::Resize(..) => Some(Key::Resized),
        Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => Some(Key::Quit),
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
            _ => None,
        },
        _ => None,
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody is left to hear of a terminal that is gone.
        let _ = queue!(self.out, SetAttribute(Attribute::Reset), Show, LeaveAlternateScreen);
        let _ = self.out.flush();
        let _ = disable_raw_mode();
    }
}
