use super::*;

/// A connection that brings its bytes a few at a time, so that every place is once the end of a read.
struct Drip {
    bytes: Vec<u8>,
    at: usize,
    step: usize,
}

impl Read for Drip {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.step.min(into.len()).min(self.bytes.len() - self.at);
        into[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl Write for Drip {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn reader(bytes: &[u8], step: usize) -> Reader<Drip> {
    Reader::new(Drip { bytes: bytes.to_vec(), at: 0, step })
}

#[test]
fn messages_are_told_apart_wherever_the_reads_end() {
    let wire = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na;x=y\r\n0123456789\r\n0\r\n\r\n\
        HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    for step in 1..wire.len() {
        let mut reader = reader(wire, step);
        let first = reader.message().unwrap().unwrap();
        assert_eq!((first.status(), first.body), (Some(200), &b"hello"[..]));
        let second = reader.message().unwrap().unwrap();
        assert_eq!(second.body, b"3\r\nabc\r\na;x=y\r\n0123456789\r\n0\r\n\r\n");
        assert_eq!(reader.message().unwrap().unwrap().status(), Some(503));
        assert!(reader.message().unwrap().is_none());
    }
}

#[test]
fn a_trailer_belongs_to_its_message() {
    let wire = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-cost: 3\r\n\r\nHTTP/1.1 204 \r\ncontent-length: 0\r\n\r\n";
    let mut reader = reader(wire, 7);
    assert!(reader.message().unwrap().unwrap().body.ends_with(b"x-cost: 3\r\n\r\n"));
    assert_eq!(reader.message().unwrap().unwrap().status(), Some(204));
}

#[test]
fn a_request_without_a_length_has_no_body() {
    let mut reader = reader(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n", 100);
    let message = reader.message().unwrap().unwrap();
    assert!(message.body.is_empty());
    assert_eq!(header(message.head, b"host"), Some(&b"a"[..]));
}

#[test]
fn a_cut_message_is_an_error() {
    for wire in [
        &b"HTTP/1.1 200 OK\r\nconte"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        assert_eq!(reader(wire, 9).message().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn what_has_no_length_or_a_wrong_one_is_refused() {
    for wire in [
        &b"HTTP/1.1 200 OK\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        assert_eq!(reader(wire, 100).message().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn a_message_larger_than_the_buffer_is_read_whole() {
    let body = vec![b'x'; 5 * FIRST_BUFFER];
    let mut wire = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    wire.extend(&body);
    assert_eq!(reader(&wire, 10_000).message().unwrap().unwrap().body, body);
}
