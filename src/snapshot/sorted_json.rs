//! JSON with its keys sorted and no blanks, written in one pass.
//!
//! In: the text of one object. Out: the same object, with members put in that it lacks. The pass remembers where each
//! member of an object lies in the output; only members that were out of order are moved. That is several times faster
//! than a `Value`, and it is on the way of every byte of a capture.

/// Deeper than any real object: the API server refuses CRD schemas and objects long before this. It bounds recursion.
pub(crate) const MAX_DEPTH: usize = 512;

/// Text that is no such object.
pub(super) enum Fault {
    Malformed,
    TooDeep,
}

/// An object with its keys sorted.
pub(super) struct Sorted {
    /// The object.
    pub(super) text: Vec<u8>,
    /// The value of the member that was asked for; empty when there is none.
    pub(super) value: Vec<u8>,
}

/// Sorts the keys of an object, at every level, and puts in those of `defaults` that it lacks. The text must be valid
/// JSON, as a `RawValue` is. The value of the member `key` comes along.
pub(super) fn sorted(text: &[u8], defaults: &[(&str, &str)], key: &str) -> Result<Sorted, Fault> {
    let mut writer = Writer::new(text);
    writer.object(0, defaults, Some(key))?;
    Ok(Sorted { text: writer.out, value: writer.value })
}

/// Where a member of an object lies in the output: its key begins at `start` (with the quote), ends at `key_end`
/// (behind the quote), and its value ends at `end`.
#[derive(Clone, Copy)]
struct Member {
    start: usize,
    key_end: usize,
    end: usize,
}

struct Writer<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<u8>,
    /// Members of all objects that are open, the innermost one's last.
    members: Vec<Member>,
    /// Reused where members are moved.
    sorted: Vec<u8>,
    /// The value of the outermost member that was asked for.
    value: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(text: &'a [u8]) -> Self {
        let out = Vec::with_capacity(text.len() + 64);
        Self { text, at: 0, out, members: Vec::with_capacity(64), sorted: Vec::new(), value: Vec::new() }
    }

    /// The next byte that is not blank, without taking it.
    fn peek(&mut self) -> Result<u8, Fault> {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(Fault::Malformed),
            }
        }
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Fault> {
        if self.peek()? != wanted {
            return Err(Fault::Malformed);
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<(), Fault> {
        match self.peek()? {
            b'{' => self.object(depth, &[], None),
            b'[' => self.array(depth),
            b'"' => self.string(),
            _ => {
                let rest = self.text.get(self.at..).unwrap_or_default();
                let length = rest
                    .iter()
                    .position(|byte| matches!(byte, b',' | b']' | b'}' | b':' | b' ' | b'\n' | b'\r' | b'\t'))
                    .unwrap_or(rest.len());
                if length == 0 {
                    return Err(Fault::Malformed);
                }
                self.out.extend_from_slice(rest.get(..length).unwrap_or_default());
                self.at += length;
                Ok(())
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Fault> {
        if depth >= MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        self.expect(b'[')?;
        self.out.push(b'[');
        if self.peek()? == b']' {
            self.at += 1;
            self.out.push(b']');
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            let byte = self.peek()?;
            self.at += 1;
            self.out.push(byte);
            match byte {
                b',' => {}
                b']' => return Ok(()),
                _ => return Err(Fault::Malformed),
            }
        }
    }

    /// `defaults` are put in where the (outermost) object lacks them; the value of its member `wanted` is kept.
    fn object(&mut self, depth: usize, defaults: &[(&str, &str)], wanted: Option<&str>) -> Result<(), Fault> {
        if depth >= MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        self.expect(b'{')?;
        self.out.push(b'{');
        let base = self.members.len();
        if self.peek()? == b'}' {
            self.at += 1;
        } else {
            loop {
                self.peek()?;
                let start = self.out.len();
                self.string()?;
                let key_end = self.out.len();
                self.expect(b':')?;
                self.out.push(b':');
                self.value(depth + 1)?;
                self.members.push(Member { start, key_end, end: self.out.len() });
                let byte = self.peek()?;
                self.at += 1;
                match byte {
                    b',' => self.out.push(b','),
                    b'}' => break,
                    _ => return Err(Fault::Malformed),
                }
            }
        }
        for (key, value) in defaults {
            self.add_missing(base, key, value);
        }
        if let Some(wanted) = wanted {
            let mut members = self.members.get(base..).unwrap_or_default().iter();
            let found = members.find(|member| self.key(member) == wanted.as_bytes());
            let value = found.and_then(|member| self.out.get(member.key_end + 1..member.end));
            self.value = value.unwrap_or_default().to_vec();
        }
        self.sort_members(base);
        self.members.truncate(base);
        self.out.push(b'}');
        Ok(())
    }

    fn key(&self, member: &Member) -> &[u8] {
        self.out.get(member.start + 1..member.key_end - 1).unwrap_or_default()
    }

    fn add_missing(&mut self, base: usize, key: &str, value: &str) {
        let members = self.members.get(base..).unwrap_or_default();
        if members.iter().any(|member| self.key(member) == key.as_bytes()) {
            return;
        }
        if !members.is_empty() {
            self.out.push(b',');
        }
        let start = self.out.len();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b'"');
        let key_end = self.out.len();
        self.out.push(b':');
        // Writing a string to memory cannot fail.
        let _ = serde_json::to_writer(&mut self.out, value);
        self.members.push(Member { start, key_end, end: self.out.len() });
    }

    /// Puts the members written since `base` in the order of their keys.
    fn sort_members(&mut self, base: usize) {
        let members = self.members.get(base..).unwrap_or_default();
        let [first, .., last] = members else { return };
        let whole = first.start..last.end;
        if members.iter().any(|member| self.key(member).contains(&b'\\')) {
            // Escaped and plain text sort differently; such keys are rare.
            let decode = |member: &Member| {
                let key = self.out.get(member.start..member.key_end).unwrap_or_default();
                serde_json::from_slice::<String>(key).unwrap_or_else(|_| String::from_utf8_lossy(key).into_owned())
            };
            let mut order: Vec<_> = members.iter().map(|member| (decode(member), *member)).collect();
            order.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            let order: Vec<_> = order.into_iter().map(|(_, member)| member).collect();
            return self.rewrite(whole, &order);
        }
        if members.is_sorted_by(|a, b| self.key(a) <= self.key(b)) {
            return;
        }
        let mut order = members.to_vec();
        order.sort_by(|a, b| self.key(a).cmp(self.key(b)));
        self.rewrite(whole, &order);
    }

    fn rewrite(&mut self, whole: std::ops::Range<usize>, order: &[Member]) {
        self.sorted.clear();
        for (index, member) in order.iter().enumerate() {
            if index > 0 {
                self.sorted.push(b',');
            }
            self.sorted.extend_from_slice(self.out.get(member.start..member.end).unwrap_or_default());
        }
        // Members and commas are the same bytes in another order, so the length is the same.
        self.out.truncate(whole.start);
        self.out.extend_from_slice(&self.sorted);
    }

    /// Copies a string. Only `\u` and `\/` have more than one way to be written: such a string is decoded and written
    /// anew. (Half a surrogate pair cannot be decoded; it stays as it is.)
    fn string(&mut self) -> Result<(), Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut length = 1;
        let mut ambiguous = false;
        loop {
            let tail = rest.get(length..).unwrap_or_default();
            length += memchr::memchr2(b'"', b'\\', tail).ok_or(Fault::Malformed)? + 1;
            if rest.get(length - 1) == Some(&b'"') {
                break;
            }
            ambiguous |= matches!(rest.get(length), Some(b'u' | b'/'));
            length += 1;
        }
        let raw = rest.get(..length).filter(|raw| raw.first() == Some(&b'"')).ok_or(Fault::Malformed)?;
        self.at += length;
        match ambiguous.then(|| serde_json::from_slice::<String>(raw)) {
            // Writing a string to memory cannot fail.
            Some(Ok(decoded)) => drop(serde_json::to_writer(&mut self.out, &decoded)),
            _ => self.out.extend_from_slice(raw),
        }
        Ok(())
    }
}
