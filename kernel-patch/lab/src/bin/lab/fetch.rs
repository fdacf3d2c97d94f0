//! `lab fetch` and `lab kernels`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use lab::cache::Cache;
use lab::fetch::{Flavour, Market, ROW};
use lab::kernel::Kernel;
use lab::source::Tree;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Sources to get: `newest`, or a series such as 6.12; may be given several times [default:
    /// newest]
    #[arg(long, value_name = "SERIES")]
    source: Vec<String>,
    /// Stock images to get, by series or exact version (6.1, 6.1.176); `6.12-rt` is the PREEMPT_RT
    /// flavour [default: the whole series of kernels, and the newest RT]
    #[arg(long, value_name = "SERIES")]
    stock: Vec<String>,
    /// Only list what the mirror offers
    #[arg(long)]
    list: bool,
}

pub(crate) fn fetch(cache: &Cache, args: &Args) -> Result<ExitCode> {
    let _lock = cache.lock("fetch")?;
    let market = Market::open(cache)?;
    for (suite, why) in &market.missing {
        tell!("lab: the mirror's suite {suite} is left out: {why}");
    }
    if args.list {
        return list(&market);
    }
    let all = args.source.is_empty() && args.stock.is_empty();
    let sources = if all {
        vec!["newest".to_owned()]
    } else {
        args.source.clone()
    };
    for wanted in &sources {
        let (tree, notes) = market.fetch_source(cache, wanted)?;
        for note in notes {
            tell!("lab: passed over {note}");
        }
        say!("source  {:28} {}", tree.version(), tree.path.display());
    }
    for (series, flavour) in wanted_stock(&market, args, all) {
        let Some(offer) = market.stock(&series, flavour) else {
            // An error only if it was asked for by name; otherwise a fact about the mirror.
            if all {
                say!("stock   {series:28} not covered: no suite of the mirror has it");
                continue;
            }
            anyhow::bail!(
                "no suite of the mirror has a stock image of {series} ({flavour:?}); `lab fetch \
                    --list` says what it has"
            );
        };
        let (kernel, kept) = market
            .fetch_stock(cache, offer, &series, flavour)
            .with_context(|| format!("stock image of {series}"))?;
        say!(
            "stock   {:28} {}{}",
            kernel.name,
            kernel.origin,
            if kept { ", kept" } else { "" }
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn wanted_stock(market: &Market, args: &Args, all: bool) -> Vec<(String, Flavour)> {
    if !all {
        let flavour = |text: &String| match text.strip_suffix("-rt") {
            Some(series) => (series.to_owned(), Flavour::Rt),
            None => (text.clone(), Flavour::Cloud),
        };
        return args.stock.iter().map(flavour).collect();
    }
    let mut wanted: Vec<(String, Flavour)> = ROW
        .iter()
        .map(|series| ((*series).to_owned(), Flavour::Cloud))
        .collect();
    if let Some(newest) = market
        .sources()
        .last()
        .and_then(|offer| offer.package.series())
    {
        if !ROW.contains(&newest) {
            wanted.push((newest.to_owned(), Flavour::Cloud));
        }
        wanted.push((newest.to_owned(), Flavour::Rt));
    }
    wanted
}

fn list(market: &Market) -> Result<ExitCode> {
    for offer in market.sources() {
        say!(
            "source  {:44} {:24} {}",
            offer.package.name,
            offer.package.version,
            offer.suite.name()
        );
    }
    for series in ROW {
        for flavour in [Flavour::Cloud, Flavour::Rt] {
            if let Some(offer) = market.stock(series, flavour) {
                say!(
                    "stock   {:44} {:24} {}",
                    offer.package.name,
                    offer.package.version,
                    offer.suite.name()
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn kernels(cache: &Cache) -> Result<ExitCode> {
    for kernel in Kernel::all(cache)? {
        say!("{:32} {}", kernel.name, kernel.origin);
    }
    for tree in Tree::fetched(cache)? {
        say!("source {:25} {}", tree.version(), tree.path.display());
    }
    Ok(ExitCode::SUCCESS)
}
