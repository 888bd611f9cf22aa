//! `/api/v1/live`: a websocket that sends a whole picture, and then what changes in it.
//!
//! `docs/live.md` describes the messages. Clients with the same subscription share their messages:
//! each is written once, whatever the number of clients. A client that does not take its messages
//! in time misses some and gets a whole picture again; one that takes none is disconnected by the
//! server's limits.

mod client;
mod group;
mod gui;
mod handshake;
mod merge;
mod picture;
mod row;
mod subscription;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use hyper::StatusCode;
use tokio::task;

use self::{
    group::{Feed, Group},
    gui::GuiGroup,
    handshake::Protocol,
    picture::advance,
    subscription::Subscription,
};
use crate::{
    config::AcadockApi,
    published::Published,
    server::{
        Context, Face, Request, Route,
        answer::{Answer, failure},
    },
};

/// Different subscriptions at a time; each costs a comparison of all its rows at each tick.
const SUBSCRIPTIONS_MAX: usize = 64;

/// Of the connections that the server allows, websockets may take one in so many, so that others
/// find one.
const CONNECTIONS_SHARE: u64 = 2;

/// `/api/v1/live`.
pub(super) struct Live {
    context: Rc<Context>,
    groups: RefCell<Vec<Rc<Group>>>,
    guis: RefCell<Vec<Rc<GuiGroup>>>,
    /// Samples so far.
    samples: Cell<u64>,
    /// Each client holds a copy.
    places: Rc<()>,
}

impl Face for Live {
    const ROUTES: &'static [Route<Self>] = &[Route {
        methods: &["GET"],
        ..Route::get(
            "/api/v1/live",
            Self::live,
            "websocket: everything, then what changes; container=NAME-OR-ID or filter=KEY=VALUE, every=TICKS",
        )
    }];

    fn sampled(&self, latest: &Arc<Published>) -> bool {
        self.samples.set(self.samples.get() + 1);
        let mut groups = self.groups.borrow_mut();
        let before = groups.len();
        // A client holds its group.
        groups.retain(|group| Rc::strong_count(group) > 1);
        let is_due =
            |group: &&Rc<Group>| self.samples.get().is_multiple_of(group.subscription.every.into());
        let due: Vec<_> = groups.iter().filter(is_due).collect();
        self.advance(&due, latest);
        let mut guis = self.guis.borrow_mut();
        guis.retain(|gui| Rc::strong_count(gui) > 1);
        for gui in guis.iter().filter(|gui| gui.is_due(self.samples.get())) {
            gui.advance(latest, self.context.config().run.scope);
        }
        before != groups.len()
    }
}

impl Live {
    pub(super) fn new(context: &Rc<Context>) -> Self {
        Self {
            context: Rc::clone(context),
            groups: RefCell::default(),
            guis: RefCell::default(),
            samples: Cell::new(0),
            places: Rc::new(()),
        }
    }

    fn live(&self, request: Request) -> Answer {
        self.accepted(request).unwrap_or_else(|refused| refused)
    }

    #[expect(clippy::result_large_err, reason = "it is made once for each websocket")]
    fn accepted(&self, mut request: Request) -> Result<Answer, Answer> {
        let subscription = Subscription::parse(
            request.query("container"),
            &request.query_all("filter"),
            request.query("every").as_deref(),
        )
        .map_err(|message| failure(StatusCode::BAD_REQUEST, &message))?;
        let headers = &request.parts.headers;
        if !self.context.config().hosts.allow_origin(headers) {
            let message = "a page of another site may not read this; see --allow-host";
            return Err(failure(StatusCode::FORBIDDEN, message));
        }
        let answer = handshake::accept(headers)?;
        let is_gui = Protocol::offered(headers) == Protocol::Gui;
        if is_gui && self.context.config().run.acadock_api == AcadockApi::Off {
            let message = "the events of acadock are off; see --acadock-api";
            return Err(failure(StatusCode::BAD_REQUEST, message));
        }
        let unavailable = |message| failure(StatusCode::SERVICE_UNAVAILABLE, message);
        let clients = Rc::strong_count(&self.places) as u64 - 1;
        if clients >= self.context.connections_max() / CONNECTIONS_SHARE {
            return Err(unavailable("too many websockets; see --max-connections"));
        }
        let takeover = request.take_over();
        let takeover =
            takeover.ok_or_else(|| unavailable("this connection cannot be taken over"))?;
        let feed = match Protocol::offered(&request.parts.headers) {
            Protocol::Live => self.join(subscription).map(|group| group as Rc<dyn Feed>),
            Protocol::Gui => self.join_gui(subscription).map(|gui| gui as Rc<dyn Feed>),
        };
        let feed = feed.ok_or_else(|| unavailable("too many different subscriptions"))?;
        let context = Rc::clone(&self.context);
        task::spawn_local(client::serve(takeover, feed, context, Rc::clone(&self.places)));
        Ok(answer)
    }

    /// The group of a subscription; `None` if there are too many.
    fn join(&self, subscription: Subscription) -> Option<Rc<Group>> {
        let mut groups = self.groups.borrow_mut();
        if let Some(group) = groups.iter().find(|group| group.subscription == subscription) {
            return Some(Rc::clone(group));
        }
        groups.retain(|group| Rc::strong_count(group) > 1);
        if groups.len() + self.guis.borrow().len() >= SUBSCRIPTIONS_MAX {
            return None;
        }
        let group = Rc::new(Group::new(subscription));
        if let Some(published) = self.context.shared.published() {
            self.advance(&[&group], &published);
        }
        groups.push(Rc::clone(&group));
        Some(group)
    }

    /// The same for the events of acadock.
    fn join_gui(&self, subscription: Subscription) -> Option<Rc<GuiGroup>> {
        let mut guis = self.guis.borrow_mut();
        if let Some(gui) = guis.iter().find(|gui| gui.subscription == subscription) {
            return Some(Rc::clone(gui));
        }
        guis.retain(|gui| Rc::strong_count(gui) > 1);
        if guis.len() + self.groups.borrow().len() >= SUBSCRIPTIONS_MAX {
            return None;
        }
        let config = self.context.config();
        let gui = Rc::new(GuiGroup::new(subscription, config.run.acadock_api));
        if let Some(published) = self.context.shared.published() {
            gui.advance(&published, config.run.scope);
        }
        guis.push(Rc::clone(&gui));
        Some(gui)
    }

    fn advance(&self, due: &[&Rc<Group>], published: &Published) {
        let mut pictures: Vec<_> = due.iter().map(|group| group.picture()).collect();
        advance(&mut pictures, &self.context, published);
        drop(pictures);
        due.iter().for_each(|group| group.wake());
    }
}
