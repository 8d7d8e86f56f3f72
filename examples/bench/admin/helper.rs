//! A process that answers each line with a line, and ends when its input does, also if we are killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub struct Helper {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Helper {
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the process can be started");
        let output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let input = child.stdin.take();
        Self { child, input, output }
    }

    /// Its number.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    pub fn ask(&mut self, question: &str) -> String {
        let input = self.input.as_mut().expect("its input is open");
        writeln!(input, "{question}").expect("the process listens");
        self.hear()
    }

    /// The next line that it says.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the process answers");
        assert!(line.ends_with('\n'), "the process ended; its log may say why");
        line.trim_end().to_owned()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.input.take();
        self.child.wait().expect("the process can be waited for");
    }
}
