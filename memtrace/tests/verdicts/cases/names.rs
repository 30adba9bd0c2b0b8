//! The same programs under names that mislead: what they are, and what they do, is told by something else.

use super::{Case, allocators, go, runtimes};
use crate::program::{go_service, named, native, node_service};

pub const CASES: &[Case] = &[
    ("go1.15-free-as-java", |stage| {
        let command = go_service(Some("1.15"))?;
        go::lazily(stage, named(&command, "java", "/usr/bin/java -jar app.jar"))
    }),
    ("glibc-arenas-as-node", |stage| {
        allocators::hold_arenas(stage, named(&native(), "node", "node server.js"))
    }),
    ("jemalloc-muzzy-as-python3", |stage| {
        let command = allocators::jemalloc(allocators::MUZZY)?;
        allocators::lazily(stage, named(&command, "python3", "python3"))
    }),
    ("node-growing-as-redis-server", |stage| {
        let command = node_service()?;
        let server = named(&command, "redis-server", "redis-server *:6379");
        runtimes::grow(stage, server)
    }),
];
