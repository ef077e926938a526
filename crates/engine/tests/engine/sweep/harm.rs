//! What is done to a pool.

use bytes::Bytes;

use super::sample::Sample;
use super::store::Image;
use crate::world::{Chance, Random};

/// Something that is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Object(String),
    Log(u64),
}

/// What is done to it.
#[derive(Clone, Debug)]
pub enum Harm {
    /// One bit of the byte at an offset.
    Flip(usize),
    /// Ends at an offset.
    Truncate(usize),
    /// So many bytes more.
    Extend(usize),
    /// 4 KiB, or less at the end, are zero from an offset on.
    Zero(usize),
    /// Has the content of another.
    Copy(Place),
    /// Has what this object had that is gone.
    Old(String),
    /// Two have each other's content.
    Swap(Place),
    /// Has what another pool has under this name.
    Foreign,
    Lose,
}

impl Place {
    /// How an error names it.
    pub fn words(&self) -> String {
        match self {
            // Who wrote a segment is not known where it is gone.
            Self::Object(name) => name.split('-').next().unwrap().to_owned(),
            Self::Log(number) => format!("{number:016x}"),
        }
    }

    /// The same kind of thing.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Object(a), Self::Object(b)) => a.split('/').next() == b.split('/').next(),
            (Self::Log(_), Self::Log(_)) => true,
            _ => false,
        }
    }

    pub fn all(image: &Image) -> Vec<Self> {
        let objects = image.objects.keys().cloned().map(Self::Object);
        objects.chain(image.log.keys().map(|number| Self::Log(*number))).collect()
    }

    pub fn bytes(&self, image: &Image) -> Bytes {
        match self {
            Self::Object(name) => image.objects[name].clone(),
            Self::Log(number) => image.log[number].clone(),
        }
    }

    fn set(&self, image: &mut Image, bytes: Option<Bytes>) {
        match (self, bytes) {
            (Self::Object(name), Some(bytes)) => drop(image.objects.insert(name.clone(), bytes)),
            (Self::Object(name), None) => drop(image.objects.remove(name)),
            (Self::Log(number), Some(bytes)) => drop(image.log.insert(*number, bytes)),
            (Self::Log(number), None) => drop(image.log.remove(number)),
        }
    }
}

/// Does it. Nothing, if that changes no byte; else the damaged image and, for each place, which bytes are others.
pub fn apply(
    sample: &Sample,
    place: &Place,
    harm: &Harm,
) -> Option<(Image, Vec<(Place, std::ops::Range<u64>)>)> {
    let mut image = sample.image.clone();
    let before = place.bytes(&image);
    let mut others: Vec<Place> = Vec::new();
    let after = match harm {
        Harm::Flip(at) => {
            let mut bytes = before.to_vec();
            bytes[*at] ^= 1 << (at % 8);
            Some(bytes.into())
        }
        Harm::Truncate(length) => Some(before.slice(..*length)),
        Harm::Extend(more) => Some([&before[..], &vec![0x5a; *more]].concat().into()),
        Harm::Zero(at) => {
            let mut bytes = before.to_vec();
            let end = (at + 4096).min(bytes.len());
            bytes[*at..end].fill(0);
            Some(bytes.into())
        }
        Harm::Copy(other) => Some(other.bytes(&image)),
        Harm::Old(name) => Some(sample.history[name].clone()),
        Harm::Swap(other) => {
            others.push(other.clone());
            let bytes = other.bytes(&image);
            other.set(&mut image, Some(before.clone()));
            Some(bytes)
        }
        Harm::Foreign => Some(place.bytes(&sample.other)),
        Harm::Lose => None,
    };
    place.set(&mut image, after);
    others.push(place.clone());
    let mut hits = Vec::new();
    for place in others {
        let (old, new) = (place.bytes(&sample.image), current(&image, &place));
        if new.as_ref() != Some(&old) {
            hits.push((place, changed(&old, new.as_deref())));
        }
    }
    (!hits.is_empty()).then_some((image, hits))
}

fn current(image: &Image, place: &Place) -> Option<Bytes> {
    match place {
        Place::Object(name) => image.objects.get(name).cloned(),
        Place::Log(number) => image.log.get(number).cloned(),
    }
}

/// From the first to the last byte that differs. Another length moves what is found from the end.
fn changed(old: &[u8], new: Option<&[u8]>) -> std::ops::Range<u64> {
    let Some(new) = new else { return 0..u64::MAX };
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    if old.len() != new.len() {
        // The footer is found from the end.
        let first = same.min(old.len().saturating_sub(60));
        return first as u64..u64::MAX;
    }
    let last = (0..old.len()).rev().find(|at| old[*at] != new[*at]).unwrap_or(same);
    same as u64..last as u64 + 1
}

/// All that is done to a place but flips, with `few` other places.
pub fn whole(sample: &Sample, place: &Place, few: usize, random: &mut Random) -> Vec<Harm> {
    let length = place.bytes(&sample.image).len();
    let mut harms = vec![Harm::Lose, Harm::Extend(1), Harm::Extend(4096)];
    harms.extend((0..length).step_by(4096).map(Harm::Zero));
    let mut like: Vec<Place> = Place::all(&sample.image)
        .into_iter()
        .filter(|other| other != place && other.is_like(place))
        .collect();
    for _ in 0..few.min(like.len()) {
        let other = like.swap_remove(random.below(like.len() as u64) as usize);
        harms.push(Harm::Copy(other.clone()));
        if &other > place {
            harms.push(Harm::Swap(other));
        }
    }
    if let Place::Object(name) = place {
        if sample.other.objects.contains_key(name) && !name.starts_with("manifests/") {
            harms.push(Harm::Foreign);
        }
        let folder = name.split('/').next().unwrap();
        let mut old: Vec<&String> = sample
            .history
            .keys()
            .filter(|old| old.starts_with(folder) && !sample.image.objects.contains_key(*old))
            .collect();
        for _ in 0..few.min(old.len()) {
            harms.push(Harm::Old(old.swap_remove(random.below(old.len() as u64) as usize).clone()));
        }
    }
    harms
}
