//! Named axes with units: the parameters of a scenario, a detector or a strategy (`--set
//! axis=value`).

pub use allgone::param::{Axis, FOREVER, ParamPoint, Unit, ValueError};

use crate::expect::Plane;

/// Defaults that depend on the plane.
pub trait InPlane {
    /// The value in this plane when nothing is set.
    fn default_in(&self, plane: Plane) -> u64;
}

impl InPlane for Axis {
    fn default_in(&self, plane: Plane) -> u64 {
        match (plane, self.kill_default) {
            (Plane::Kill, Some(value)) => value,
            _ => self.default,
        }
    }
}

/// The defaults of `axes` in `plane`.
pub fn defaults<'a>(axes: impl IntoIterator<Item = &'a Axis>, plane: Plane) -> ParamPoint {
    let mut point = ParamPoint::default();
    for axis in axes {
        point.set(axis, axis.default_in(plane));
    }
    point
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_has_its_own_default() {
        const TIME: Axis = Axis {
            name: "lifetime",
            unit: Unit::Nanoseconds,
            default: 0,
            kill_default: Some(FOREVER),
            doc: "how long",
        };
        assert_eq!(defaults([&TIME], Plane::Kill).get(&TIME), FOREVER);
        assert_eq!(defaults([&TIME], Plane::Detect).get(&TIME), 0);
    }
}
