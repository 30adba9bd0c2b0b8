//! Documents that can be run are run.

#[test]
fn the_readme_shows_the_help_as_it_is() {
    trycmd::TestCases::new()
        .env("COLUMNS", "100")
        .case("../README.md");
}
