//! What is no token.
