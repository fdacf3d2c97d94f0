//! What an option is: a row of a table, from which arguments are parsed, and help, man page and
//! completions are made.

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Its long name.
    pub long: &'static str,
    /// Its one-letter name.
    pub short: Option<char>,
    /// What its value is called, if it has one.
    pub value: Option<&'static str>,
    /// The values that it takes, if they are few.
    pub values: &'static [&'static str],
    /// One line.
    pub help: &'static str,
}

pub(crate) const fn flag(long: &'static str, short: Option<char>, help: &'static str) -> Opt {
    Opt {
        long,
        short,
        value: None,
        values: &[],
        help,
    }
}

pub(crate) const fn valued(long: &'static str, value: &'static str, help: &'static str) -> Opt {
    Opt {
        long,
        short: None,
        value: Some(value),
        values: &[],
        help,
    }
}
