//! Examples by task, as `--help` shows them, and the manual pages.

/// Of memtrace itself.
pub const TRACE: &str = "\
Examples, by task:
  Watch a running process until Ctrl-C:
      sudo memtrace --pid $(pgrep -o redis-server)
  Find out whether it is a leak: long enough to see it work, and the answer at the end:
      sudo memtrace --pid 4242 --duration 30m --quiet
  Start a program and trace it from its first instruction:
      sudo memtrace -- python3 script.py
  Fail a test in CI where memory grows, or a limit comes near:
      sudo memtrace --fail-on growing,cgroup-limit -- ./soak-test
  Look into a container, from its host (for Kubernetes: from the node), by the process id there:
      sudo memtrace --pid $(docker inspect --format '{{.State.Pid}}' web)
      sudo memtrace --pid $(crictl inspect --output go-template --template '{{.info.pid}}' web)
  Send what was seen to a colleague, as a file for memtrace, which then needs no root, or as a page for a browser:
      sudo memtrace --pid 4242 --duration 5m --json capture.json --html capture.html
      memtrace report capture.json
  Compare before and after a change:
      sudo memtrace --duration 5m --json before.json --pid 4242
      sudo memtrace --duration 5m --json after.json --pid 5151
      memtrace diff before.json after.json
  Put a picture into a ticket:
      sudo memtrace --pid 4242 --duration 5m --svg chart.svg
  Work without root from now on, by capabilities that root gives the file once:
      sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace=p \"$(command -v memtrace)\"
      memtrace --pid 4242
  See what this host allows, and what memtrace does, on a workload of its own:
      memtrace doctor
      sudo memtrace demo lazy-free
  What does the answer mean?
      memtrace explain lazy-free

Sizes are in bytes; K, M and G are powers of 1024.

Exit codes: 0; 1 an error; 2 wrong usage; 3 the capture is incomplete; 4 found by --fail-on; after --, the command's own, where that is not 0.";

/// Of `demo`.
pub const DEMO: &str = "\
Examples, by task:
  See memory that was given back, and stays in RSS:
      sudo memtrace demo
  See how a leak looks:
      sudo memtrace demo leak
  See what each kind of advice does, one after the other:
      sudo memtrace demo all
  Get a capture file to try things with:
      sudo memtrace demo lazy-free --json capture.json
  See it as a page for a browser, and as a picture:
      sudo memtrace demo lazy-free --html demo.html --svg demo.svg

Exit codes: 0; 1 an error; 2 wrong usage; 3 the capture is incomplete.";

/// Of `doctor`.
pub const DOCTOR: &str = "\
Examples, by task:
  See what this host allows, as you are:
      memtrace doctor
  With everything that root may try:
      sudo memtrace doctor
  In a container, to see what it must be started with:
      docker run --rm --pid host --cap-add BPF --cap-add PERFMON --cap-add SYS_PTRACE IMAGE memtrace doctor
  For a bug report:
      sudo memtrace doctor --json > doctor.json

Each hook is attached for real, to memtrace itself, and detached at once; nothing stays behind.
Without privileges it says what it could not try.

Exit codes: 0 where a trace works; 1 where it does not; 2 wrong usage.";

/// Of `report`.
pub const REPORT: &str = "\
Examples, by task:
  Read what a colleague has sent:
      memtrace report capture.json
  Only the answer: is it a leak?
      memtrace report --answer capture.json
  The answers of several, one after the other:
      memtrace report --answer before.json after.json
  See how far a memtrace came that was killed:
      memtrace report capture.json.partial
  Fail a job in CI on what was captured elsewhere:
      memtrace report --fail-on growing,cgroup-limit capture.json
  Read it where it is, without a file here:
      ssh node cat capture.json | memtrace report -
  Put a picture into a ticket:
      memtrace report capture.json --svg chart.svg

Exit codes: 0; 1 a file could not be read; 2 wrong usage; 3 a capture is incomplete; 4 found by --fail-on.";

/// Of `explain`.
pub const EXPLAIN: &str = "\
Examples, by task:
  Which answers are there?
      memtrace explain
  What does one mean, how is it told, what is to be done?
      memtrace explain lazy-free

Exit codes: 0; 1 an error; 2 wrong usage.";

/// Of `completions`.
pub const COMPLETIONS: &str = "\
Examples, by task:
  For bash, for you alone:
      memtrace completions bash > ~/.local/share/bash-completion/completions/memtrace
  For zsh, for everybody:
      memtrace completions zsh | sudo tee /usr/local/share/zsh/site-functions/_memtrace > /dev/null
  For fish:
      memtrace completions fish > ~/.config/fish/completions/memtrace.fish

Exit codes: 0; 1 an error; 2 wrong usage.";
