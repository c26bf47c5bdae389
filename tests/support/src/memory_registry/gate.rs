//! Interferes with requests: with other answers, and with gates at which requests wait.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Response, StatusCode};
use tokio::sync::watch;

use super::{Asked, State};
use crate::http::Failure;

/// What happens to a request.
#[derive(Debug)]
pub enum Verdict {
    /// It is served.
    Serve,
    /// It is served after a wait.
    Delay(Duration),
    /// It is answered with this, and changes nothing.
    Answer(Response<Bytes>),
    /// It is served, and the connection is closed without an answer.
    LoseAnswer,
    /// The connection is closed, and the request changes nothing.
    Reset,
    /// There is never an answer, and the request changes nothing.
    Hang,
}

impl Verdict {
    /// An error in the form of registries: `429` and `TOOMANYREQUESTS`.
    pub fn refuse(status: u16, code: &str) -> Self {
        let body = serde_json::json!({ "errors": [{ "code": code, "message": "as the test wishes" }] }).to_string();
        let mut answer = Response::new(body.into());
        *answer.status_mut() = StatusCode::from_u16(status).expect("the test asks for a valid status");
        answer.headers_mut().insert("content-type", "application/json".parse().expect("it is a valid value"));
        Self::Answer(answer)
    }

    /// The answer to a `HEAD` of a manifest that has this digest.
    pub fn named(digest: &str) -> Self {
        let mut answer = Response::new(Bytes::new());
        answer.headers_mut().insert("docker-content-digest", digest.parse().expect("a digest is a valid value"));
        Self::Answer(answer)
    }
}

/// A test's function that decides about requests.
pub(super) type Hook = Box<dyn Fn(&Asked, &State) -> Verdict + Send + Sync>;
type Predicate = Box<dyn Fn(&Asked) -> bool + Send + Sync>;

/// Which requests wait at a [`Gate`]. They are counted from the time when the gate is put up.
pub struct Hold {
    number: usize,
    moment: Moment,
    alone: bool,
    predicates: Vec<Predicate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

impl Hold {
    /// The request with this number (counted from 1) waits before it is served, and so do all later ones: exactly the
    /// ones before it have been served.
    pub fn at(number: usize) -> Self {
        assert!(number > 0, "requests are counted from 1");
        Self { number, moment: Moment::Before, alone: false, predicates: Vec::new() }
    }

    /// The request with this number is served, and its answer waits; all later ones wait before they are served.
    pub fn after(number: usize) -> Self {
        Self { moment: Moment::After, ..Self::at(number) }
    }

    /// Counts and holds only requests of this client.
    #[must_use]
    pub fn of(self, client: &str) -> Self {
        let client = client.to_owned();
        self.when(move |asked| asked.client.as_ref() == Some(&client))
    }

    /// Counts and holds only requests for which `predicate` is true.
    #[must_use]
    pub fn when(mut self, predicate: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Self {
        self.predicates.push(Box::new(predicate));
        self
    }

    /// Holds only the request with that number; later ones pass.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, moment, alone, .. } = self;
        f.debug_struct("Hold")
            .field("number", number)
            .field("moment", moment)
            .field("alone", alone)
            .finish_non_exhaustive()
    }
}

/// A place where requests wait. Dropping it closes the connections of waiting requests, and holds no more requests:
/// this is the right end for requests of a killed client.
#[derive(Debug)]
#[must_use = "a gate that is dropped holds nothing"]
pub struct Gate(Arc<Control>);

impl Gate {
    /// Waits until the chosen request has arrived (with [`Hold::after`]: has been served), and returns it. If there may
    /// be no such request, also wait for the end of the run.
    pub async fn reached(&self) -> Asked {
        let mut reached = self.0.reached.subscribe();
        let asked = reached.wait_for(Option::is_some).await.expect("the gate has the sender");
        asked.clone().expect("that was waited for")
    }

    /// Whether the chosen request has arrived.
    pub fn is_reached(&self) -> bool {
        self.0.reached.borrow().is_some()
    }

    /// Lets waiting requests continue, and holds no more.
    pub fn open(self) {
        self.0.passage.send_replace(Passage::Open);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // Not if it has been opened.
        self.0.passage.send_if_modified(|passage| {
            let shut = *passage == Passage::Shut;
            if shut {
                *passage = Passage::Removed;
            }
            shut
        });
    }
}

#[derive(Debug)]
pub(super) struct Control {
    reached: watch::Sender<Option<Asked>>,
    passage: watch::Sender<Passage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    Shut,
    Open,
    Removed,
}

/// The registry's side of a gate.
#[derive(Debug)]
pub(super) struct Post {
    hold: Hold,
    seen: usize,
    control: Arc<Control>,
}

impl Post {
    pub(super) fn new(hold: Hold) -> (Self, Gate) {
        let control =
            Arc::new(Control { reached: watch::Sender::new(None), passage: watch::Sender::new(Passage::Shut) });
        (Self { hold, seen: 0, control: Arc::clone(&control) }, Gate(control))
    }

    /// Whether requests may still have to wait here.
    pub(super) fn stands(&self) -> bool {
        *self.control.passage.borrow() == Passage::Shut
    }

    /// Counts a request. Returns its wait, if it has to wait.
    pub(super) fn count(&mut self, asked: &Asked) -> Option<Wait> {
        if !self.hold.predicates.iter().all(|matches| matches(asked)) {
            return None;
        }
        self.seen += 1;
        let moment = match self.seen.cmp(&self.hold.number) {
            std::cmp::Ordering::Equal => self.hold.moment,
            std::cmp::Ordering::Greater if !self.hold.alone => Moment::Before,
            _ => return None,
        };
        let is_meant = self.seen == self.hold.number;
        let wait = Wait { moment, meant: is_meant.then(|| asked.clone()), control: Arc::clone(&self.control) };
        wait.tell(Moment::Before);
        Some(wait)
    }
}

/// A request's wait at a gate.
#[derive(Debug)]
pub(super) struct Wait {
    moment: Moment,
    /// The request, if it is the chosen one.
    meant: Option<Asked>,
    control: Arc<Control>,
}

impl Wait {
    /// Tells the test that the chosen request is at the gate, if `moment` is when it waits.
    pub(super) fn tell(&self, moment: Moment) {
        if self.moment == moment && self.meant.is_some() {
            self.control.reached.send_replace(self.meant.clone());
        }
    }

    /// Waits, if `moment` is when the request has to. Fails if the gate is removed instead of opened.
    pub(super) async fn pass(&self, moment: Moment) -> Result<(), Failure> {
        if self.moment != moment {
            return Ok(());
        }
        let mut passage = self.control.passage.subscribe();
        let passage = passage.wait_for(|passage| *passage != Passage::Shut).await;
        match *passage.expect("the wait has the sender") {
            Passage::Open => Ok(()),
            _ => Err("the gate was removed".into()),
        }
    }
}
