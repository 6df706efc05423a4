//! What was looked up, by the place where it begins.

/// Stretches of a log or of a stream, found by the places that they hold without a look into the store.
#[derive(Debug)]
pub(in crate::store) struct Directory<V> {
    /// Where the stretches begin, in order, and the number of each.
    firsts: Vec<(u64, u32)>,
    /// The stretches, by their numbers.
    values: Vec<V>,
    /// How many stretches begin with a place, on average, in parts of 2^64.
    density: u64,
}

impl<V> Directory<V> {
    /// Nothing is looked up yet.
    pub(in crate::store) fn new() -> Self {
        Self { firsts: Vec::new(), values: Vec::new(), density: 0 }
    }

    /// How many stretches there are.
    pub(in crate::store) fn len(&self) -> usize {
        self.values.len()
    }

    /// The number of the last stretch that begins at or before `place`.
    #[inline]
    pub(in crate::store) fn at_or_before(&self, place: u64) -> Option<usize> {
        let (_, number) = self.firsts.get(self.begun(place).checked_sub(1)?)?;
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
        self.density = self.mean_density();
        number
    }

    /// Forgets all of them.
    pub(in crate::store) fn clear(&mut self) {
        *self = Self::new();
    }

    /// How many stretches begin at or before `place`. Where all have about the same length the guess is no more than one
    /// off, and none is searched for.
    #[inline]
    fn begun(&self, place: u64) -> usize {
        let begins = |at: usize| self.firsts.get(at).is_some_and(|&(first, _)| first <= place);
        let guess = self.guess(place);
        let guess = guess + usize::from(begins(guess)) + usize::from(begins(guess + 1));
        if !begins(guess) && begins(guess.wrapping_sub(1)) {
            return guess;
        }
        self.firsts.partition_point(|&(first, _)| first <= place)
    }

    /// About how many stretches begin before the one that holds `place`.
    #[inline]
    fn guess(&self, place: u64) -> usize {
        let first = self.firsts.first().map_or(0, |&(first, _)| first);
        let begun = u128::from(place.saturating_sub(first)) * u128::from(self.density);
        usize::try_from(begun >> u64::BITS).unwrap_or(usize::MAX).min(self.firsts.len())
    }

    fn mean_density(&self) -> u64 {
        let (Some((first, _)), Some((last, _))) = (self.firsts.first(), self.firsts.last()) else { return 0 };
        let begun = (self.firsts.len() as u128 - 1) << u64::BITS;
        let density = begun.checked_div(u128::from(last - first)).unwrap_or(0);
        u64::try_from(density).unwrap_or(u64::MAX)
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
    fn stretches_of_any_lengths_are_found() {
        let of_one_length = (0..300).map(|n| 1_000 + n * 3_262).collect();
        let of_nearly_one = (0..300).map(|n| n * 3_262 + n % 7).collect();
        let growing = (0..64).map(|n| (1 << n) - 1).collect();
        let ends = vec![0, 1, u64::MAX - 1, u64::MAX];
        let lone = vec![u64::MAX];
        for firsts in [of_one_length, of_nearly_one, growing, ends, lone] {
            let firsts: Vec<u64> = firsts;
            let mut directory = Directory::new();
            firsts.iter().for_each(|&first| _ = directory.insert(first, ()));
            let near =
                |&first: &u64| (0..3).flat_map(move |n| [first.saturating_sub(n), first.saturating_add(n)]);
            for place in firsts.iter().flat_map(near).chain([0, u64::MAX]) {
                let expected = firsts.iter().rposition(|&first| first <= place);
                assert_eq!(directory.at_or_before(place), expected, "{place} among {firsts:?}");
            }
        }
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
