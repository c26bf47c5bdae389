//! A history: a series of runs, and what people and other tools do in between.

use std::cell::RefCell;
use std::rc::Rc;

use publish_variants::image::{Digest, Repository, Tag};
use publish_variants::ownership::Standing;

use crate::run::{Ended, Habits, Run};
use crate::workflow::{IMAGE, Workflow};
use crate::world::{Base, Shared, World};

pub(crate) struct History {
    pub(crate) world: Shared,
}

impl History {
    /// Nothing has happened yet, and GitHub has no releases.
    pub(crate) fn new() -> Self {
        Self { world: Rc::new(RefCell::new(World::new())) }
    }

    /// Sets what GitHub says about a version from now on.
    pub(crate) fn github(&self, version: &str, standing: Standing) -> &Self {
        if let Some(github) = &mut self.world.borrow_mut().github {
            github.insert(version.to_owned(), standing);
        }
        self
    }

    /// Releases a version: the workflow runs from beginning to end.
    pub(crate) fn release(&self, workflow: &Workflow, version: &str) -> Ended {
        self.github(version, Standing::Final);
        self.run(workflow, version)
    }

    /// Runs the workflow for a version from beginning to end, undisturbed.
    pub(crate) fn run(&self, workflow: &Workflow, version: &str) -> Ended {
        crate::oracle::watch(&self.world, workflow, version, || {
            Run::start(&self.world, workflow, version, Habits::default()).ended()
        })
    }

    /// Starts a run that others may cross.
    pub(crate) fn start(&self, workflow: &Workflow, version: &str) -> Run {
        Run::start(&self.world, workflow, version, Habits::default())
    }

    /// A description of the image that a tag of the first repository names.
    pub(crate) fn shows(&self, tag: &str) -> String {
        self.shows_at(IMAGE, tag)
    }

    pub(crate) fn shows_at(&self, repository: &str, tag: &str) -> String {
        let world = self.world.borrow();
        world.named(&place(repository), &parsed(tag)).map_or_else(|| "nothing".to_owned(), |digest| world.tell(&digest))
    }

    pub(crate) fn digest(&self, tag: &str) -> Option<Digest> {
        self.world.borrow().named(&place(IMAGE), &parsed(tag))
    }

    /// Whether a run has written a tag that had changed after the run's last look at it.
    pub(crate) fn was_crossed(&self) -> bool {
        self.world.borrow().writes.iter().any(|write| write.looked != write.before)
    }

    /// Somebody else pushes an image.
    pub(crate) fn push_foreign(&self, tag: &str, label: &str) -> &Self {
        self.world.borrow_mut().put_foreign(&place(IMAGE), &parsed(tag), label);
        self
    }

    /// Another workflow publishes a version.
    pub(crate) fn push_old(&self, tag: &str, version: &str, label: &str) -> &Self {
        self.world.borrow_mut().put_old(&place(IMAGE), &parsed(tag), version, label);
        self
    }

    /// Somebody sets a tag by hand.
    pub(crate) fn set(&self, tag: &str, to: &str) -> &Self {
        let digest = self.digest(to).unwrap_or_else(|| panic!("there is no {to}"));
        self.world.borrow_mut().shelf(&place(IMAGE)).tags.insert(parsed(tag), digest);
        self
    }

    pub(crate) fn delete(&self, tag: &str) -> &Self {
        self.world
            .borrow_mut()
            .shelf(&place(IMAGE))
            .tags
            .remove(&parsed(tag))
            .unwrap_or_else(|| panic!("there is no {tag}"));
        self
    }

    /// A clean-up deletes the manifests that the index under a tag lists.
    pub(crate) fn delete_children(&self, tag: &str) -> &Self {
        let digest = self.digest(tag).unwrap();
        self.world.borrow_mut().shelf(&place(IMAGE)).broken.insert(digest);
        self
    }

    pub(crate) fn move_base(&self, name: &str, base: Base) -> &Self {
        self.world.borrow_mut().move_base(name, base);
        self
    }
}

pub(crate) fn place(repository: &str) -> Repository {
    repository.parse().unwrap()
}

pub(crate) fn parsed(tag: &str) -> Tag {
    tag.parse().unwrap()
}
