//! What was looked up, by the place where it begins.

/// Stretches of a log or of a stream, found by the places that they hold without a look into the store.
#[derive(Debug)]
pub(in crate::store) struct Directory<V> {
    /// Where the stretches begin, in order, and the number of each.
    firsts: Vec<(u64, u32)>,
    /// The stretches, by their numbers.
    values: Vec<V>,
}

impl<V> Directory<V> {
    /// Nothing is looked up yet.
    pub(in crate::store) fn new() -> Self {
        Self { firsts: Vec::new(), values: Vec::new() }
    }

    /// How many stretches there are.
    pub(in crate::store) fn len(&self) -> usize {
        self.values.len()
    }

    /// The number of the last stretch that begins at or before `place`.
    #[inline]
    pub(in crate::store) fn at_or_before(&self, place: u64) -> Option<usize> {
        let after = self.firsts.partition_point(|&(first, _)| first <= place);
        let (_, number) = self.firsts.get(after.checked_sub(1)?)?;
        Some(*number as usize)
    }

    /// The stretch of a number that was told since the directory was last cleared.
    #[inline]
    pub(in crate::store) fn get_mut(&mut self, number: usize) -> Option<&mut V> {
        self.values.get_mut(number)
    }

    /// Adds the stretch that begins at `first`, and returns its number. One that began there is not found any more.
    pub(in crate::store) fn insert(&mut self, first: u64, value: V) -> usize {
        let number = self.values.len();
        match self.firsts.binary_search_by_key(&first, |&(first, _)| first) {
            Ok(place) => self.firsts[place].1 = number as u32,
            Err(place) => self.firsts.insert(place, (first, number as u32)),
        }
        self.values.push(value);
        number
    }

    /// Forgets all of them.
    pub(in crate::store) fn clear(&mut self) {
        self.firsts.clear();
        self.values.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_in_the_last_stretch_before_it() {
        let mut directory = Directory::new();
        assert_eq!((directory.at_or_before(u64::MAX), directory.get_mut(0)), (None, None));
        for first in [30, 10, 20] {
            directory.insert(first, first);
        }
        let mut found =
            |place| directory.at_or_before(place).and_then(|number| directory.get_mut(number).copied());
        assert_eq!(
            [0, 9, 10, 19, 20, 29, 30, u64::MAX].map(&mut found),
            [None, None, Some(10), Some(10), Some(20), Some(20), Some(30), Some(30)]
        );
    }

    #[test]
    fn the_latest_counts_of_those_that_begin_at_one_place() {
        let mut directory = Directory::new();
        directory.insert(7, 'a');
        let number = directory.insert(7, 'b');
        assert_eq!(
            (directory.at_or_before(8), directory.get_mut(number).copied()),
            (Some(number), Some('b'))
        );
        directory.clear();
        assert_eq!((directory.len(), directory.at_or_before(8)), (0, None));
    }
}
