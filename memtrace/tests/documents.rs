//! Documents that can be run are run.

#[test]
fn what_the_readme_shows_is_what_memtrace_prints() {
    // Where a reader of it would type what it shows.
    let clone = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    std::env::set_current_dir(clone).expect("the clone is there");
    trycmd::TestCases::new()
        .env("COLUMNS", "100")
        .case("README.md");
}
