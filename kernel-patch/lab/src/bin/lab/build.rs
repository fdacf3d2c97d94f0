//! `lab build`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use lab::build::{Build, Outcome};
use lab::cache::Cache;
use lab::image::workspace_root;
use lab::kernel::Origin;
use lab::source::Tree;

#[derive(Debug, Clone, clap::Args)]
// Commands that build have a group of this name, too.
#[group(skip)]
pub(crate) struct Args {
    /// The fetched source to build: `newest`, or the beginning of a version such as 6.12
    #[arg(long, default_value = "newest", value_name = "VERSION")]
    pub source: String,
    /// Build your own tree instead; nothing is written into it
    #[arg(long, value_name = "PATH", conflicts_with_all = ["source", "series"])]
    tree: Option<PathBuf>,
    /// A directory of *.patch files to apply first; may be given several times
    #[arg(long, value_name = "DIR")]
    series: Vec<PathBuf>,
    /// Apply only the first N patches of the series
    #[arg(long, value_name = "N", requires = "series")]
    patches: Option<usize>,
    /// Variants: names of fragments beside `small`, such as hz1000, preempt-rt, debug
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    config: Vec<String>,
    /// Further arguments for make, such as C=1
    #[arg(long, value_name = "WORD")]
    make: Vec<String>,
}

/// Options that only `lab build` takes; other commands build as well.
#[derive(Debug, clap::Args)]
pub(crate) struct CommandArgs {
    /// Compile only these targets of make, such as kernel/cgroup/, and no kernel
    #[arg(long, value_name = "TARGET", value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    args: Args,
}

impl Args {
    pub(crate) fn tree(&self, cache: &Cache) -> Result<Tree> {
        match &self.tree {
            Some(path) => Tree::own(path),
            None => Tree::find(cache, &self.source)?.with_series(cache, &self.series, self.patches),
        }
    }

    pub(crate) fn variants(&self) -> &[String] {
        &self.config
    }

    pub(crate) fn series(&self) -> &[PathBuf] {
        &self.series
    }

    /// How many patches to apply at most.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.patches
    }

    /// The same with the first `count` patches of the series; the base if that is none.
    pub(crate) fn with_patches(&self, count: usize) -> Self {
        Self {
            series: match count {
                0 => Vec::new(),
                _ => self.series.clone(),
            },
            patches: (count > 0).then_some(count),
            ..self.clone()
        }
    }

    pub(crate) fn outcome(&self, cache: &Cache) -> Result<(Tree, Outcome)> {
        let tree = self.tree(cache)?;
        let outcome = self.build(&tree, &fragments()?).run(cache)?;
        Ok((tree, outcome))
    }

    fn build<'a>(&'a self, tree: &'a Tree, fragments: &'a Path) -> Build<'a> {
        Build {
            tree,
            fragments,
            variants: &self.config,
            make_args: &self.make,
        }
    }
}

fn fragments() -> Result<PathBuf> {
    Ok(workspace_root()?.join("kernel-patch/config"))
}

pub(crate) fn build(cache: &Cache, CommandArgs { only, args }: &CommandArgs) -> Result<ExitCode> {
    if !only.is_empty() {
        let tree = args.tree(cache)?;
        let directory = args.build(&tree, &fragments()?).compile(cache, only)?;
        say!("{} compiled in {}", only.join(", "), directory.display());
        return Ok(ExitCode::SUCCESS);
    }
    let (tree, outcome) = args.outcome(cache)?;
    let took = match (&outcome.kernel.origin, outcome.cached) {
        (_, true) => "kept from an earlier build of the same content".to_owned(),
        (Origin::Built(built), false) => format!("built in {} s, {}", built.build_s, built.ticks),
        (_, false) => String::new(),
    };
    say!("{}  ({took})", outcome.kernel.name);
    say!("  image    {}", outcome.kernel.image.display());
    say!("  objects  {}", outcome.directory.display());
    say!("  tree     {}", tree.path.display());
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn no_patch_is_the_base_and_a_count_is_kept() {
        let args = Cli::parse_from(["x", "--series", "a", "--config", "um"]).args;
        let base = args.with_patches(0);
        assert!(base.series().is_empty() && base.limit().is_none());
        let third = args.with_patches(3);
        assert_eq!(third.series(), [PathBuf::from("a")]);
        assert_eq!(
            (third.limit(), third.variants()),
            (Some(3), args.variants())
        );
    }
}
