//! Writes the columns of a block that change into a directory, as 64-bit integers, to compare
//! compressors, and prints how many numbers and bytes each has, and what receipts take:
//! `columns BLOCK DIRECTORY`.

use std::{env, error::Error, fs, path::Path};

use tare_record::internals;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(block), Some(directory)) = (arguments.next(), arguments.next()) else {
        return Err("usage: columns BLOCK DIRECTORY".into());
    };
    fs::create_dir_all(&directory)?;
    let block = fs::read(block)?;
    let (mut numbers, mut packed) = (0, 0);
    for (name, values, bytes) in internals::columns(&block)? {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        println!("{:>9} numbers {bytes:>8} bytes  {name}", values.len());
        fs::write(Path::new(&directory).join(name), raw)?;
        (numbers, packed) = (numbers + values.len(), packed + bytes);
    }
    println!("{numbers} numbers that change take {packed} bytes");
    let without = internals::bytes_without(&block, "receipt")?;
    println!("of {} bytes, {} are for receipts", block.len(), block.len().saturating_sub(without));
    Ok(())
}
