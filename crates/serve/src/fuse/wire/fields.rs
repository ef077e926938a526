//! [`Fields`]: bytes from the kernel, taken apart from the front.

/// Why a request cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::fuse) enum Malformed {
    /// It ends too early.
    #[error("it ends before a field of {wanted} bytes, with {left} left")]
    Short {
        /// Bytes that should follow.
        wanted: usize,
        /// Bytes that do.
        left: usize,
    },
    /// A name goes on to the end.
    #[error("a name does not end")]
    EndlessName,
    /// There is no name where there must be one.
    #[error("a name is empty")]
    EmptyName,
    /// The length in the header is not the length that was read.
    #[error("its header gives it {said} bytes, but it has {read}")]
    Length {
        /// In the header.
        said: u32,
        /// What was read.
        read: usize,
    },
    /// A count is larger than what follows.
    #[error("it counts {0} records and holds fewer")]
    Count(u32),
    /// A time has a second or more of nanoseconds.
    #[error("a time has {0} nanoseconds")]
    Nanoseconds(u32),
    /// An extension overlaps what is before it, or does not add up.
    #[error("its extensions do not add up")]
    Extension,
}

/// What is left to take apart.
#[derive(Clone, Copy, Debug)]
pub(in crate::fuse) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(in crate::fuse) fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields(bytes)
    }

    /// The next `length` bytes.
    pub(in crate::fuse) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or(Malformed::Short { wanted: length, left: self.0.len() })?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) =
            self.0.split_first_chunk::<N>().ok_or(Malformed::Short { wanted: N, left: self.0.len() })?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(in crate::fuse) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_ne_bytes(self.array()?))
    }

    pub(in crate::fuse) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_ne_bytes(self.array()?))
    }

    pub(in crate::fuse) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_ne_bytes(self.array()?))
    }

    pub(in crate::fuse) fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_ne_bytes(self.array()?))
    }

    /// Passes over `length` bytes.
    pub(in crate::fuse) fn skip(&mut self, length: usize) -> Result<(), Malformed> {
        self.bytes(length).map(|_| ())
    }

    /// Everything up to the next NUL, which is taken too.
    pub(in crate::fuse) fn text(&mut self) -> Result<&'a [u8], Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed::EndlessName)?;
        let text = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Ok(text)
    }

    /// As [`Fields::text`], and not empty.
    pub(in crate::fuse) fn name(&mut self) -> Result<&'a [u8], Malformed> {
        match self.text()? {
            b"" => Err(Malformed::EmptyName),
            name => Ok(name),
        }
    }

    /// Everything that is left.
    pub(in crate::fuse) fn rest(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_in_order_and_no_further() {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&7_u32.to_ne_bytes());
        bytes.extend_from_slice(&(-2_i64).to_ne_bytes());
        bytes.extend_from_slice(b"name\0rest");
        let mut fields = Fields::new(&bytes);
        assert_eq!(fields.u32().unwrap(), 7);
        assert_eq!(fields.i64().unwrap(), -2);
        assert_eq!(fields.name().unwrap(), b"name");
        assert_eq!(fields.u64(), Err(Malformed::Short { wanted: 8, left: 4 }));
        assert_eq!(fields.rest(), b"rest");
    }

    #[test]
    fn a_name_ends_and_is_not_empty() {
        assert_eq!(Fields::new(b"endless").name(), Err(Malformed::EndlessName));
        assert_eq!(Fields::new(b"\0x").name(), Err(Malformed::EmptyName));
        assert_eq!(Fields::new(b"\0x").text(), Ok(&b""[..]));
        assert_eq!(Fields::new(b"").text(), Err(Malformed::EndlessName));
    }

    #[test]
    fn a_length_that_cannot_be_is_refused() {
        assert_eq!(
            Fields::new(b"abc").bytes(usize::MAX),
            Err(Malformed::Short { wanted: usize::MAX, left: 3 })
        );
    }
}
