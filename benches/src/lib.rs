//! Load for the gateway and something fast to put behind it.
//!
//! [`run`] drives a [`target`] over many [`connection`]s at a [`pace`] and keeps what each request took in a
//! [`tally`]; [`cpu`] reads what the process under test spent meanwhile. [`engine`] is the engine behind it, with
//! answers made in advance. Generator and engine block on plain sockets, one thread each, and share the little HTTP/1.1
//! of [`wire`]: they live on one core together, and what they spend there limits what can be shown of the gateway.
//!
//! [`probe`] asks an engine for chats of exact lengths, [`shape`] by shape, and [`fit`] makes a profile for a
//! simulated one of what was heard.
//!
//! [`world`] is for another question: facts by the million for the policy to decide by.

pub mod compare;
pub mod connection;
pub mod cpu;
pub mod engine;
pub mod fit;
pub mod pace;
pub mod probe;
pub mod run;
pub mod shape;
pub mod tally;
pub mod target;
pub mod wire;
pub mod world;
