//! What a test does to requests on their way: answering something else, and letting them wait.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Response, StatusCode};
use tokio::sync::watch;

use super::{Asked, State};
use crate::http::Failure;

/// What becomes of a request.
#[derive(Debug)]
pub enum Verdict {
    /// It is served.
    Serve,
    /// It is served after a wait.
    Delay(Duration),
    /// This is answered, and nothing changes.
    Answer(Response<Bytes>),
    /// It is served, and the connection is closed without an answer.
    LoseAnswer,
    /// The connection is closed, and nothing changes.
    Reset,
    /// There is never an answer, and nothing changes.
    Hang,
}

impl Verdict {
    /// An error as registries write it, such as `429` and `TOOMANYREQUESTS`.
    pub fn refuse(status: u16, code: &str) -> Self {
        let body = serde_json::json!({ "errors": [{ "code": code, "message": "as the test wishes" }] }).to_string();
        let mut answer = Response::new(body.into());
        *answer.status_mut() = StatusCode::from_u16(status).expect("the test asks for a valid status");
        answer.headers_mut().insert("content-type", "application/json".parse().expect("it is a valid value"));
        Self::Answer(answer)
    }
}

/// A test's function that decides on requests.
pub(super) type Hook = Box<dyn Fn(&Asked, &State) -> Verdict + Send + Sync>;
type Predicate = Box<dyn Fn(&Asked) -> bool + Send + Sync>;

/// Which requests wait at a [`Gate`]. They are counted from the moment when the gate is put up.
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
    /// The request of this number (from 1) waits before anything is done for it, and so do all that follow: exactly the
    /// ones before it have been served.
    pub fn at(number: usize) -> Self {
        assert!(number > 0, "requests are counted from 1");
        Self { number, moment: Moment::Before, alone: false, predicates: Vec::new() }
    }

    /// The request of this number is served and its answer waits; all that follow wait before anything is done for them.
    pub fn after(number: usize) -> Self {
        Self { moment: Moment::After, ..Self::at(number) }
    }

    /// Only the requests of this client are counted and held.
    #[must_use]
    pub fn of(self, client: &str) -> Self {
        let client = client.to_owned();
        self.when(move |asked| asked.client.as_ref() == Some(&client))
    }

    /// Only requests for which this is true are counted and held.
    #[must_use]
    pub fn when(mut self, predicate: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Self {
        self.predicates.push(Box::new(predicate));
        self
    }

    /// Only the request of that number waits; those that follow pass.
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

/// Where requests wait. Dropping it closes the connections of those that do, and holds no others: the right end for requests
/// of a client that has been killed.
#[derive(Debug)]
#[must_use = "a gate that is dropped holds nothing"]
pub struct Gate(Arc<Control>);

impl Gate {
    /// Waits until the request that was meant has arrived (with [`Hold::after`]: has been served), and gives it.
    /// Who isn't sure that there will be one waits for the end of the run at the same time.
    pub async fn reached(&self) -> Asked {
        let mut reached = self.0.reached.subscribe();
        let asked = reached.wait_for(Option::is_some).await.expect("the gate has the sender");
        asked.clone().expect("that was waited for")
    }

    /// Whether that has happened.
    pub fn is_reached(&self) -> bool {
        self.0.reached.borrow().is_some()
    }

    /// Lets those that wait go on, and holds no others.
    pub fn open(self) {
        self.0.passage.send_replace(Passage::Open);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // Not where it has been opened.
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

/// A gate as the registry sees it.
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

    /// Counts a request, and tells when it has to wait, if it has to.
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
    /// The request, if it is the one that the gate was put up for.
    meant: Option<Asked>,
    control: Arc<Control>,
}

impl Wait {
    /// Tells the test that the request is at the gate, if that is so at this moment.
    pub(super) fn tell(&self, moment: Moment) {
        if self.moment == moment && self.meant.is_some() {
            self.control.reached.send_replace(self.meant.clone());
        }
    }

    /// Waits, if that is to be at this moment. Fails when the gate is removed instead of opened.
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
