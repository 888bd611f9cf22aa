//! Makes a recording of a week out of one of ten minutes, and measures how long any instant of it
//! takes to be found: `long_recording FILE DIRECTORY`, where FILE is of `tare record`.

use std::{env, error::Error, fs, path::Path, time::Instant};

use tare_record::{Recording, internals};

const WEEK_NANOSECONDS: i64 = 7 * 24 * 3600 * 1_000_000_000;

/// How many instants are looked up.
const LOOKS: i64 = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(file), Some(directory)) = (arguments.next(), arguments.next()) else {
        return Err("usage: long_recording FILE DIRECTORY".into());
    };
    let directory = Path::new(&directory);
    fs::create_dir_all(directory)?;
    let block = fs::read(file)?;
    let mut source = Recording::open(Path::new(&env::args().nth(1).unwrap_or_default()))?;
    let first = source.first().ok_or("it is empty")?.time();
    let span = source.last().ok_or("it is empty")?.time() - first + 1_000_000_000;
    let count = WEEK_NANOSECONDS / span;
    for number in 0..count {
        let bytes = internals::later(&block, number * span)?;
        fs::write(directory.join(internals::name(&bytes, number as u64)?), bytes)?;
    }
    let mut slowest = 0.0_f64;
    let mut all = 0.0;
    for look in 0..LOOKS {
        let begun = Instant::now();
        let time = first + WEEK_NANOSECONDS / LOOKS * look;
        let moment = Recording::open(directory)?.at(time).ok_or("nothing there")?;
        let things = moment.things("usage").count();
        assert!(things > 0 && moment.time() <= time);
        let seconds = begun.elapsed().as_secs_f64();
        (slowest, all) = (slowest.max(seconds), all + seconds);
    }
    let mean = all / LOOKS as f64 * 1e3;
    println!(
        "{count} blocks; open and find: {mean:.1} ms on average, {:.1} at most",
        slowest * 1e3
    );
    Ok(())
}
