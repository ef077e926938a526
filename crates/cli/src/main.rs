//! The program. All of it is in the library of this package, where tests and the fuzzer reach it too.

fn main() -> std::process::ExitCode {
    offshoot_cli::main()
}
