//! How a gateway comes to its end: those that carry sessions hear of it, and are waited for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::watch;

/// How far a gateway is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Course {
    /// Clients are welcome.
    Serving,
    /// No more sessions, and no more transfers; what runs is finished.
    Draining,
    /// Everything ends now.
    Ending,
}

/// The end of the gateway: says how far it is, and waits for the others.
#[derive(Debug)]
pub struct CourseSender {
    course: watch::Sender<Course>,
    sessions: watch::Sender<()>,
}

/// The end of everything that has to hear of it.
#[derive(Debug, Clone)]
pub struct CourseReceiver {
    course: watch::Receiver<Course>,
    /// Only held: while a clone of it is left, something is still to be carried.
    sessions: watch::Receiver<()>,
}

impl CourseSender {
    /// Of a gateway that serves.
    pub fn new() -> Self {
        Self { course: watch::Sender::new(Course::Serving), sessions: watch::Sender::new(()) }
    }

    /// Says how far it is now.
    pub fn set(&self, course: Course) {
        self.course.send_replace(course);
    }

    /// Completes when everything is to end, for those that serve until then.
    pub fn ending(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut course = self.course.subscribe();
        async move {
            // An error means that the gateway is gone, which is an end too.
            let _ = course.wait_for(|course| *course == Course::Ending).await;
        }
    }

    /// The end of one listener and its sessions.
    pub fn subscribe(&self) -> CourseReceiver {
        CourseReceiver { course: self.course.subscribe(), sessions: self.sessions.subscribe() }
    }

    /// Waits until every session is over, with all its data connections.
    pub async fn all_over(&self) {
        self.sessions.closed().await;
    }

    /// Waits until every session has hung up; data connections may run on.
    pub async fn all_hung_up(&self) {
        self.course.closed().await;
    }
}

impl Default for CourseSender {
    fn default() -> Self {
        Self::new()
    }
}

impl CourseReceiver {
    /// Completes when no more clients are taken.
    pub(super) async fn no_more(&mut self) {
        // An error means that the gateway is gone, which is an end too.
        let _ = self.course.wait_for(|course| *course >= Course::Draining).await;
    }

    /// The parts for one session.
    pub(super) fn for_session(self) -> (Notice, Present) {
        let CourseReceiver { course, sessions } = self;
        let present = Present { course: Some(course.clone()), _sessions: sessions };
        (Notice::new(course), present)
    }
}

/// Held by a session, so that it is waited for.
pub(super) struct Present {
    course: Option<watch::Receiver<Course>>,
    _sessions: watch::Receiver<()>,
}

impl Present {
    /// The control connections are hung up: a gateway that ends waits no longer.
    pub(super) fn hang_up(&mut self) {
        self.course = None;
    }
}

type Coming = Pin<Box<dyn Future<Output = (Course, watch::Receiver<Course>)> + Send>>;

/// Tells one session of each step once.
pub(super) struct Notice {
    coming: Option<Coming>,
}

impl Notice {
    fn new(receiver: watch::Receiver<Course>) -> Self {
        Self { coming: Some(next(receiver, Course::Serving)) }
    }

    /// The next step.
    pub(super) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Course> {
        let Some(coming) = &mut self.coming else { return Poll::Pending };
        let Poll::Ready((course, receiver)) = coming.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        self.coming = (course < Course::Ending).then(|| next(receiver, course));
        Poll::Ready(course)
    }
}

fn next(mut receiver: watch::Receiver<Course>, known: Course) -> Coming {
    Box::pin(async move {
        // An error means that the gateway is gone, which is an end too.
        let course = receiver.wait_for(|course| *course > known).await;
        let course = course.map_or(Course::Ending, |course| *course);
        (course, receiver)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Waker;

    #[tokio::test]
    async fn a_session_hears_of_each_step_once_and_is_waited_for() {
        let sender = CourseSender::new();
        let (mut notice, mut present) = sender.subscribe().for_session();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(notice.poll_step(&mut cx).is_pending());
        sender.set(Course::Draining);
        assert_eq!(poll_fn(|cx| notice.poll_step(cx)).await, Course::Draining);
        assert!(notice.poll_step(&mut cx).is_pending());
        sender.set(Course::Ending);
        assert_eq!(poll_fn(|cx| notice.poll_step(cx)).await, Course::Ending);
        assert!(notice.poll_step(&mut cx).is_pending());
        present.hang_up();
        sender.all_hung_up().await;
        drop(present);
        sender.all_over().await;
    }

    #[tokio::test]
    async fn a_gateway_that_is_gone_is_an_end() {
        let sender = CourseSender::new();
        let (mut notice, _present) = sender.subscribe().for_session();
        drop(sender);
        assert_eq!(poll_fn(|cx| notice.poll_step(cx)).await, Course::Ending);
    }
}
