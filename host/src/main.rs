//! The binary `reprise`. See [`reprise::cli`].

fn main() -> std::process::ExitCode {
    reprise::cli::main()
}
