// Assembles the files in its arguments, as a build script does.
fn main() {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    let mut build = nasm_rs::Build::new();
    build.target("x86_64-unknown-linux-gnu").out_dir(".").files(&files);
    let objects = build.compile_objects().unwrap();
    assert_eq!(objects.len(), files.len()); // what fails it leaves out
}
