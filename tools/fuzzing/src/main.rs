//! Writes the first inputs of all targets: `fuzzing DIRECTORY`. What is in the directory stays.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("error: name the directory of the corpora, such as fuzz/corpus");
        return ExitCode::from(2);
    };
    match write(&directory) {
        Ok(count) => {
            println!("{count} inputs");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &std::path::Path) -> std::io::Result<usize> {
    let mut count = 0;
    for target in &fuzzing::TARGETS {
        let corpus = directory.join(target.name);
        std::fs::create_dir_all(&corpus)?;
        for (name, input) in fuzzing::seeds(target.name) {
            std::fs::write(corpus.join(format!("seed-{name}")), input)?;
            count += 1;
        }
    }
    Ok(count)
}
