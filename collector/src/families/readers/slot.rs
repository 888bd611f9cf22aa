//! One family of one cgroup.

use crate::{
    cgroup::{Hierarchies, ReadError},
    families::{
        readers::{CgroupReader, Place, ReadContext},
        walked::WalkLayout,
    },
};

/// The reader of one family, where the cgroup has files for it.
#[derive(Debug)]
pub(in crate::families) struct Slot<R> {
    /// Boxed, because a walk spares most of them.
    pub(in crate::families) reader: Option<Box<R>>,
    opened: Opened,
}

/// Which files of a family are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opened {
    /// All that the cgroup has.
    All,
    /// Those that a walk does not spare.
    BesideWalk,
}

impl<R: CgroupReader> Slot<R> {
    /// A family that is not read.
    pub(in crate::families) fn closed() -> Self {
        Self { reader: None, opened: Opened::All }
    }

    pub(in crate::families) fn open(
        hierarchies: &Hierarchies,
        path: &str,
    ) -> Result<Self, ReadError> {
        Ok(Self { reader: R::open(hierarchies, path)?.map(Box::new), opened: Opened::All })
    }

    pub(in crate::families) fn open_beside_walk(
        hierarchies: &Hierarchies,
        path: &str,
        layout: &WalkLayout,
    ) -> Result<Self, ReadError> {
        if !R::opens_on_demand(layout) {
            return Self::open(hierarchies, path);
        }
        let reader = R::open_beside_walk(hierarchies, path, layout)?.map(Box::new);
        Ok(Self { reader, opened: Opened::BesideWalk })
    }

    /// Whether some files are opened only when a record is missing.
    pub(in crate::families) fn opens_on_demand(&self) -> bool {
        self.opened == Opened::BesideWalk
    }

    /// Reads the family over its last reading, from records if there are any; whether it was due
    /// and there is anything to read.
    pub(in crate::families) fn refresh(
        &mut self,
        context: &mut ReadContext<'_>,
        latest: &mut R::Reading,
    ) -> Result<bool, ReadError> {
        if context.walked.is_some() && R::from_record(self.reader.as_deref_mut(), context, latest)?
        {
            self.close_rest(context)?;
            return Ok(true);
        }
        if !R::is_due(context) {
            if context.walked.is_some() {
                self.close_rest(context)?;
            }
            return Ok(false);
        }
        self.open_rest(context, latest)?;
        let Some(reader) = &mut self.reader else { return Ok(false) };
        context.is_partial = true;
        reader.read(context, latest).map(|()| true)
    }

    /// Opens the files that are not open, because there is no record.
    pub(in crate::families) fn open_rest(
        &mut self,
        context: &ReadContext<'_>,
        latest: &mut R::Reading,
    ) -> Result<(), ReadError> {
        match context.place {
            Some(place) if self.opened == Opened::BesideWalk => self.open_at(&place, latest),
            _ => Ok(()),
        }
    }

    #[cold]
    fn open_at(&mut self, place: &Place<'_>, latest: &mut R::Reading) -> Result<(), ReadError> {
        let reader = R::open(place.hierarchies, place.path)?;
        // Afterwards: if it is there now, it was there when its files were opened.
        if !place.ids.are_among(&place.layout.ids(place.path)?) {
            return Err(ReadError::Vanished);
        }
        if reader.is_none() {
            *latest = R::Reading::default();
        }
        (self.reader, self.opened) = (reader.map(Box::new), Opened::All);
        Ok(())
    }

    /// Closes the files that were opened because there was no record.
    fn close_rest(&mut self, context: &ReadContext<'_>) -> Result<(), ReadError> {
        match context.place {
            Some(Place { hierarchies, path, layout, is_young: false, .. })
                if self.opened == Opened::All && R::opens_on_demand(layout) =>
            {
                self.reader = R::open_beside_walk(hierarchies, path, layout)?.map(Box::new);
                self.opened = Opened::BesideWalk;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// How many files are opened anew for each read.
    pub(in crate::families) fn reopened(&self) -> usize {
        let files = self.reader.iter().flat_map(|reader| reader.files());
        files.filter(|file| !file.is_held()).count()
    }
}
