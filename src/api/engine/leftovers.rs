//! Removal of what a run made: asked for when its value is dropped, done by a task of its own.

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{RemoveContainerOptions, RemoveImageOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// A run that was interrupted must end within five seconds.
const LIMIT: Duration = Duration::from_secs(4);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Thing {
    Container(String),
    Image(String),
}

/// Something on the engine; dropping this asks for its removal.
#[derive(Debug)]
pub(super) struct Leftover {
    thing: Thing,
    remover: UnboundedSender<Thing>,
}

impl Drop for Leftover {
    fn drop(&mut self) {
        // The task ends after the last value is gone, so this can't fail while there is something to remove.
        let _ = self.remover.send(self.thing.clone());
    }
}

/// The task that removes.
#[derive(Debug)]
pub(super) struct Leftovers {
    remover: UnboundedSender<Thing>,
    task: JoinHandle<Vec<String>>,
}

impl Leftovers {
    pub(super) fn collect(docker: Docker) -> Self {
        let (remover, dropped) = unbounded_channel();
        Self { remover, task: tokio::spawn(remove_all(docker, dropped)) }
    }

    pub(super) fn container(&self, id: &str) -> Leftover {
        Leftover { thing: Thing::Container(id.to_owned()), remover: self.remover.clone() }
    }

    pub(super) fn image(&self, name: &str) -> Leftover {
        Leftover { thing: Thing::Image(name.to_owned()), remover: self.remover.clone() }
    }

    /// Waits for the removals; gives the names of what is still there.
    pub(super) async fn finish(self) -> Vec<String> {
        drop(self.remover);
        match tokio::time::timeout(LIMIT, self.task).await {
            Ok(Ok(left)) => left,
            _ => vec!["containers and images of this run".to_owned()],
        }
    }
}

async fn remove_all(docker: Docker, mut dropped: UnboundedReceiver<Thing>) -> Vec<String> {
    let mut left = Vec::new();
    while let Some(thing) = dropped.recv().await {
        if remove(&docker, &thing).await.is_err() {
            // An image may still be held by a container whose removal is on its way, or a build that ends this moment.
            tokio::time::sleep(Duration::from_millis(200)).await;
            if let Err(error) = remove(&docker, &thing).await {
                let (Thing::Container(name) | Thing::Image(name)) = &thing;
                left.push(format!("{name} ({error})"));
            }
        }
    }
    left
}

async fn remove(docker: &Docker, thing: &Thing) -> Result<(), Error> {
    let removed = match thing {
        Thing::Container(id) => {
            let options = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
            docker.remove_container(id, Some(options)).await
        }
        Thing::Image(name) => {
            let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
            docker.remove_image(name, Some(options), None).await.map(drop)
        }
    };
    match removed {
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        other => other,
    }
}
