//! A server with canned answers, for those that no real registry can be made to send.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// A server for one request per connection.
pub(crate) struct Canned {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    /// Answers a request for a path and query with the bytes from `answer`.
    pub(crate) fn start(answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        Self::by_method(move |_, target| answer(target))
    }

    /// The same, with the method as well.
    pub(crate) fn by_method(answer: impl Fn(&str, &str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let record = Arc::clone(&seen);
        // The thread ends with the process of the test.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
                let mut words = head.first().map(String::as_str).unwrap_or_default().split(' ');
                let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                record.lock().unwrap().push(head.join("\n"));
                // A client that has read enough closes the connection.
                let _ = stream.write_all(answer(method, target).as_bytes());
            }
        });
        Self { address, seen }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The heads of all requests so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// 200 with one more header and a body.
pub(crate) fn ok(header: &str, body: &str) -> String {
    status("200 OK", header, body)
}

/// Any status, with one more header and a body.
pub(crate) fn status(status: &str, header: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{header}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}
