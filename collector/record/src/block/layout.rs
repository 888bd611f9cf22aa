//! Which column each number of a shape belongs to.

use crate::shape::{Columns, columns};

/// The columns of a block.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Their names, in order.
    pub(super) names: Vec<String>,
    /// Of each shape, the index of the column of each number.
    shapes: Vec<Vec<u32>>,
    /// Of each shape, how many texts it has; `None` if it is damaged.
    pub(super) texts: Vec<Option<usize>>,
}

impl Layout {
    pub(super) fn of(shapes: &[Box<[u8]>]) -> Self {
        let known: Vec<Option<Columns>> = shapes.iter().map(|shape| columns(shape)).collect();
        let all = known.iter().flatten().flat_map(|columns| &columns.names);
        let mut names: Vec<String> = all.cloned().collect();
        names.sort_unstable();
        names.dedup();
        let index = |name: &String| names.binary_search(name).unwrap_or_default() as u32;
        let mut layout = Self::default();
        for columns in known {
            let found = columns.as_ref().map_or(&[][..], |columns| &columns.names);
            layout.shapes.push(found.iter().map(index).collect());
            layout.texts.push(columns.map(|columns| columns.texts));
        }
        layout.names = names;
        layout
    }

    /// The index of the column of each number.
    pub(super) fn of_shape(&self, shape: u32) -> &[u32] {
        self.shapes.get(shape as usize).map_or(&[], |columns| columns)
    }
}
