//! `cargo xtask man`, `completions`, `pictures`: documents that a command makes, and that a test of memtrace holds against what it
//! would make now.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cargo::{artifacts, cargo, root, run as run_command, target_dir};

/// The capture that the pictures show.
const CAPTURE: &str = "docs/captures/go1.15-service.json";
/// Names of the browser.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
/// Of the page, px.
const WINDOW: (u32, u32) = (1200, 820);
/// Most bytes of a picture in the repository.
const MOST: u64 = 150_000;

/// Writes what one of the tests makes.
pub fn write(test: &str) -> Result<()> {
    let root = root()?;
    let test = [
        "test",
        "--locked",
        "--package",
        "memtrace",
        "--test",
        "it",
        "--",
        test,
    ];
    run_command(cargo(&root, test).env("MEMTRACE_WRITE", "1"))
}

/// Writes all pictures of the README.
pub fn pictures() -> Result<()> {
    write("pictures_are_current")?;
    let root = root()?;
    let browser = browser()?;
    let built = artifacts(&mut cargo(
        &root,
        ["build", "--locked", "--package", "memtrace"],
    ))?;
    let memtrace = built
        .iter()
        .find(|artifact| artifact.target == "memtrace" && artifact.kind == "bin")
        .context("cargo built no program `memtrace`")?;
    let folder = target_dir(&root).join("pictures");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let page = folder.join("page.html");
    let mut report = Command::new(&memtrace.executable);
    run_command(
        report
            .current_dir(&root)
            .args(["report", CAPTURE, "--html"])
            .arg(&page),
    )?;
    for (name, scheme) in [("dark", 0), ("light", 1)] {
        let picture = root.join(format!("docs/pictures/page-{name}.png"));
        photograph(&browser, &folder, &page, scheme, &picture)?;
    }
    Ok(())
}

fn browser() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = BROWSERS
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| program.is_file());
    found.context("no Chromium was found, which makes the pictures of the page; type: sudo apt-get install chromium")
}

fn photograph(
    browser: &Path,
    folder: &Path,
    page: &Path,
    scheme: u8,
    picture: &Path,
) -> Result<()> {
    let (width, height) = WINDOW;
    let mut command = Command::new(browser);
    command
        .args(["--headless", "--disable-gpu", "--hide-scrollbars"])
        // As root, and in most containers, its sandbox does not start. It is shown a page of our own.
        .arg("--no-sandbox")
        .arg("--virtual-time-budget=4000")
        .arg(format!(
            "--user-data-dir={}",
            folder.join("browser").display()
        ))
        .arg(format!("--window-size={width},{height}"))
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(format!("file://{}", page.display()));
    let _ = fs::remove_file(picture);
    let output = command.output().context("cannot start the browser")?;
    let size = match fs::metadata(picture) {
        Ok(found) => found.len(),
        Err(_) => bail!(
            "the browser made no picture: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        ),
    };
    println!("wrote {} ({size} bytes)", picture.display());
    ensure!(
        size <= MOST,
        "it is larger than {MOST} bytes, which is much for a repository: make the window smaller"
    );
    Ok(())
}
