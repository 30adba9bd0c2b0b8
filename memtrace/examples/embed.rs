//! A tracer of one's own: `sudo cargo run --example embed PID` prints RSS at each tick, and the verdict on Ctrl-C or when the process ends.

use anyhow::Context as _;
use memtrace::{
    capture::{At, Capturing, Ended, Observer, Opening, Order, Plan, Subject},
    model::End,
    observe::{Gauges, Sampler},
    probe::{Options, Session},
    process::Target,
};

struct Printer;

impl Observer for Printer {
    fn tick(&mut self, at: &At<'_>) {
        let (rss, causes) = (at.tick.rss_bytes, at.tick.causes.len());
        println!("RSS {rss} bytes, {causes} causes moved it");
    }

    fn end(&mut self, ended: &Ended<'_>, _: Option<&Opening<'_>>) {
        if let Some(verdict) = &ended.epoch.verdict {
            println!("{}\n{}", verdict.title, verdict.text);
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let pid: u32 = std::env::args().nth(1).context("give a PID")?.parse()?;
    let target = Target::find(pid)?;
    let mut session = Session::attach(&Options::new(pid))?;
    let sampler = Sampler::open(pid).context("the process has ended")?;
    let mut gauges = Gauges::open(&target, false);
    // Forks the process that looks into the target: here with all of this one's privileges, which a real tool drops first.
    gauges.start();
    let subject = Subject {
        target,
        sampler,
        gauges,
    };
    let mut capturing = Capturing::begin(&mut session, subject, Plan::default(), Printer)?;
    let interrupted = async || {
        let _ = tokio::signal::ctrl_c().await;
        Order::End(End::Signal)
    };
    let end = capturing.run(interrupted).await?;
    capturing.finish(end)?;
    Ok(())
}
