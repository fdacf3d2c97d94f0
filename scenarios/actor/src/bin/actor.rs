//! The program `actor`: a tree of processes that does what a script says, and no more.

fn main() -> ! {
    actor::main()
}
