//! Documents that can be run are run.

use std::path::Path;

use crate::alone::alone;

#[test]
fn what_the_readme_shows_is_what_memtrace_prints() {
    // Where a reader of it would type what it shows.
    let clone = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if !alone(
        "documents::what_the_readme_shows_is_what_memtrace_prints",
        &clone,
    ) {
        return;
    }
    trycmd::TestCases::new()
        .env("COLUMNS", "100")
        .case("README.md");
}
