//! Where an expression reads from while it runs.

use std::borrow::Cow;

use crate::{Root, Value};

/// Where an expression reads from while it runs. `'v` is the life of the event (and of what else is read by
/// reference), which results borrow from.
pub trait Activation<'v> {
    /// The field `name` of `root` (`event.x`, `consent.x`, `request.x`), if it is there. Never asked for
    /// [`Root::Vars`] and [`Root::This`].
    fn field(&self, root: Root, name: &str) -> Option<&'v Value<'v>>;

    /// All of `root` at once, for expressions that use `event` itself; [`Value::reborrow`] copies no text.
    fn root(&self, root: Root) -> Option<Cow<'v, Value<'v>>>;

    /// The value of the variable `name`, if it is there. Give `Value::Null` for one whose expression failed.
    fn variable(&self, name: &str) -> Option<&Value<'v>>;

    /// The row of the lookup table `table` for `key`, a map from column to text, if there is one.
    fn row(&self, table: &str, key: &str) -> Option<&'v Value<'v>>;
}

/// What a validation rule of a Kubernetes schema reads: `self`.
#[derive(Clone, Copy, Debug)]
pub struct SchemaActivation<'v>(pub &'v Value<'v>);

impl<'v> Activation<'v> for SchemaActivation<'v> {
    fn field(&self, _root: Root, _name: &str) -> Option<&'v Value<'v>> {
        None
    }

    fn root(&self, root: Root) -> Option<Cow<'v, Value<'v>>> {
        (root == Root::This).then_some(Cow::Borrowed(self.0))
    }

    fn variable(&self, _name: &str) -> Option<&Value<'v>> {
        None
    }

    fn row(&self, _table: &str, _key: &str) -> Option<&'v Value<'v>> {
        None
    }
}
