//! The command `report`.
fn main() {}
