//! Jobs in a tokio runtime, one of them with a deadline: `cargo run --example tokio --features
//! tokio`.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::time::Duration;

use allgone::job::{AsyncJob, JobError};
use allgone::{Base, Command, Completion};

async fn within(limit: Duration, mut job: AsyncJob) -> Result<Completion, JobError> {
    match tokio::time::timeout(limit, job.wait()).await {
        Ok(done) => done,
        Err(_) => job.kill().await,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let base = Base::find()?;
    let job = |script| -> Result<_, Box<dyn std::error::Error>> {
        let job = Command::new("sh").args(["-c", script]).spawn(&base)?;
        Ok(AsyncJob::new(job)?)
    };
    let second = Duration::from_secs(1);
    let (short, long, daemon) = tokio::join!(
        within(second, job("exit 3")?),
        within(second, job("trap '' TERM; sleep 1000 & sleep 1000")?),
        within(second, job("setsid sleep 0.2 & exit 0")?),
    );
    for done in [short?, long?, daemon?] {
        println!("{:?}, {:?}", done.status, done.proof);
        if !done.proof.is_removed() {
            return Err("something is left".into());
        }
    }
    Ok(())
}
