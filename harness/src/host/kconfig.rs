//! The running kernel's build configuration, if the machine provides it.

use std::collections::BTreeMap;
use std::io::Read;

use super::Paths;

/// Options that are set, with their values (`y`, `m`, a number or a string).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct KernelConfig(BTreeMap<String, String>);

impl KernelConfig {
    /// Reads `/proc/config.gz` (`CONFIG_IKCONFIG_PROC`), or else `/boot/config-<release>`. `None`:
    /// neither can be read.
    pub(super) fn read(paths: &Paths, release: &str) -> Option<Self> {
        let mut text = String::new();
        let gz = std::fs::File::open(paths.file("/proc/config.gz")).ok();
        match gz.map(|file| flate2::read::GzDecoder::new(file).read_to_string(&mut text)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => text = paths.read(&format!("/boot/config-{release}"))?,
        }
        Some(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("CONFIG_")?.split_once('='));
        Self(
            lines
                .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
                .collect(),
        )
    }

    /// The value of an option, without `CONFIG_`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Timer interrupts a second.
    pub(super) fn hz(&self) -> Option<u32> {
        self.get("HZ")?.parse().ok()
    }

    /// The preemption model that was chosen at build time; with `PREEMPT_DYNAMIC` it is only the
    /// default.
    pub(super) fn preemption(&self) -> Option<&'static str> {
        let models = [
            ("PREEMPT_RT", "rt"),
            ("PREEMPT_NONE", "none"),
            ("PREEMPT_VOLUNTARY", "voluntary"),
            ("PREEMPT_LAZY", "lazy"),
            ("PREEMPT", "full"),
        ];
        models
            .into_iter()
            .find(|(name, _)| self.get(name) == Some("y"))
            .map(|(_, model)| model)
    }

    /// Whether the model can be chosen at boot and changed at run time.
    pub(super) fn preempt_dynamic(&self) -> bool {
        self.get("PREEMPT_DYNAMIC") == Some("y")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const TEXT: &str = "# CONFIG_HZ_100 is not set\n\
        CONFIG_HZ=250\n\
        CONFIG_PREEMPT_BUILD=y\n\
        CONFIG_PREEMPT_NONE=y\n\
        CONFIG_PREEMPT_DYNAMIC=y\n\
        # CONFIG_PREEMPT is not set\n\
        CONFIG_LOCALVERSION=\"-x\"\n";

    #[test]
    fn both_places_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        assert_eq!(KernelConfig::read(&paths, "6.1"), None);
        std::fs::create_dir(dir.path().join("boot")).unwrap();
        std::fs::write(dir.path().join("boot/config-6.1"), TEXT).unwrap();
        let config = KernelConfig::read(&paths, "6.1").unwrap();
        assert_eq!(
            (config.hz(), config.preemption(), config.preempt_dynamic()),
            (Some(250), Some("none"), true)
        );
        assert_eq!(config.get("LOCALVERSION"), Some("-x"));
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let gz = std::fs::File::create(dir.path().join("proc/config.gz")).unwrap();
        let mut gz = flate2::write::GzEncoder::new(gz, flate2::Compression::fast());
        gz.write_all(b"CONFIG_HZ=1000\nCONFIG_PREEMPT_RT=y\nCONFIG_PREEMPT_LAZY=y\n")
            .unwrap();
        gz.finish().unwrap();
        let config = KernelConfig::read(&paths, "6.1").unwrap();
        assert_eq!(
            (config.hz(), config.preemption(), config.preempt_dynamic()),
            (Some(1000), Some("rt"), false)
        );
    }

    #[test]
    fn a_damaged_file_is_unknown() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        std::fs::write(dir.path().join("proc/config.gz"), "not gzip").unwrap();
        assert_eq!(KernelConfig::read(&Paths::below(dir.path()), "6.1"), None);
    }
}
