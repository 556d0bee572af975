//! The claim table of `shared::claims` in the schema of inference, on both engines: who may have a row, and what whoever
//! lost it can still do, which is nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

/// Runs the same functions on each engine; they take the database to test.
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let world = crate::world::World::sqlite().await;
                super::$name(&world).await;
                world.end().await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let world = crate::world::World::postgres().await;
                super::$name(&world).await;
                world.end().await;
            })+
        }
    };
}

mod claims;
mod workers;
mod world;
