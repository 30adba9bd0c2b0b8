# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_memtrace_global_optspecs
    string join \n p/pid= d/duration= o/json= html= svg= events= events-min-bytes= events-calls= q/quiet plain web= color= i/interval= mode= no-smaps smaps-limit= no-syscalls no-faults no-runtime fail-on= self-stats bpf-log h/help V/version
end

function __fish_memtrace_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_memtrace_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_memtrace_using_subcommand
    set -l cmd (__fish_memtrace_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c memtrace -n "__fish_memtrace_needs_command" -s p -l pid -d 'Trace this running process' -r
complete -c memtrace -n "__fish_memtrace_needs_command" -s d -l duration -d 'End after this time, such as 30s, 5m, 1h [default: until Ctrl-C]' -r
complete -c memtrace -n "__fish_memtrace_needs_command" -s o -l json -d 'Write the capture as JSON to FILE, or to standard output with -' -r -F
complete -c memtrace -n "__fish_memtrace_needs_command" -l html -d 'Write the page to FILE at the end: chart, answer and tables in one file that loads nothing' -r -F
complete -c memtrace -n "__fish_memtrace_needs_command" -l svg -d 'Write a chart to FILE at the end, as SVG, for a README or a ticket; it leaves the arguments of the command line out' -r -F
complete -c memtrace -n "__fish_memtrace_needs_command" -l events -d 'Write each mmap, munmap, mremap, brk and madvise to FILE as a line of JSON, or to standard output with -' -r -F
complete -c memtrace -n "__fish_memtrace_needs_command" -l events-min-bytes -d 'Only calls that ask for so many bytes or more, such as 64K' -r
complete -c memtrace -n "__fish_memtrace_needs_command" -l events-calls -d 'Only these calls, such as munmap,madvise:FREE' -r
complete -c memtrace -n "__fish_memtrace_needs_command" -l web -d 'Show the capture in a browser while it goes on, at ADDR:PORT' -r
complete -c memtrace -n "__fish_memtrace_needs_command" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, and not where NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c memtrace -n "__fish_memtrace_needs_command" -s i -l interval -d 'Time between lines, from 10ms to 1h' -r
complete -c memtrace -n "__fish_memtrace_needs_command" -l mode -d 'How exact: the best that this kernel allows, or only exact, or approximate (RSS is sampled)' -r -f -a "best\t'Exact where this kernel allows it, else approximate'
exact\t'Exact, or an error'
approximate\t'RSS is sampled, and there is no ledger'"
complete -c memtrace -n "__fish_memtrace_needs_command" -l smaps-limit -d 'Read smaps_rollup only where that is expected to take less than this; it holds locks of the target' -r
complete -c memtrace -n "__fish_memtrace_needs_command" -l fail-on -d 'End with exit code 4 where the answer is one of these, or where one of these is said beside it, such as growing,cgroup-limit' -r -f -a "lazy-free\t''
thp-inflation\t''
swapped\t''
reclaimed-under-pressure\t''
file-mapped\t''
shmem\t''
growing\t''
churn\t''
allocator-holds\t''
released\t''
startup\t''
idle\t''
inconclusive\t''
cgroup-limit\t''
cgroup-scaling\t''"
complete -c memtrace -n "__fish_memtrace_needs_command" -s q -l quiet -d 'Print no line per interval, only the table at the end'
complete -c memtrace -n "__fish_memtrace_needs_command" -l plain -d 'Print lines, also on a terminal: no screen with a chart and keys'
complete -c memtrace -n "__fish_memtrace_needs_command" -l no-smaps -d 'Do not read smaps_rollup: LazyFree is then not known'
complete -c memtrace -n "__fish_memtrace_needs_command" -l no-syscalls -d 'Do not hook system calls: no calls and requested bytes'
complete -c memtrace -n "__fish_memtrace_needs_command" -l no-faults -d 'Do not count page faults'
complete -c memtrace -n "__fish_memtrace_needs_command" -l no-runtime -d 'Do not look at what runs in the process: no runtime, no figures of Go\'s heap, less of an answer'
complete -c memtrace -n "__fish_memtrace_needs_command" -l self-stats -d 'Report what memtrace itself takes: runs and ns of its programs, CPU time, RSS'
complete -c memtrace -n "__fish_memtrace_needs_command" -l bpf-log -d 'Let the kernel side log to standard error, to find faults in memtrace itself'
complete -c memtrace -n "__fish_memtrace_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c memtrace -n "__fish_memtrace_needs_command" -s V -l version -d 'Print version'
complete -c memtrace -n "__fish_memtrace_needs_command" -a "demo" -d 'Trace a built-in workload: the first thing to try'
complete -c memtrace -n "__fish_memtrace_needs_command" -a "doctor" -d 'Show what this kernel and these privileges allow, what that costs, and what to type'
complete -c memtrace -n "__fish_memtrace_needs_command" -a "report" -d 'Print the table of a capture file again; needs no root'
complete -c memtrace -n "__fish_memtrace_needs_command" -a "export" -d 'Write a capture file in the format of another tool; needs no root'
complete -c memtrace -n "__fish_memtrace_needs_command" -a "diff" -d 'Compare two captures, such as before and after an upgrade or a setting; needs no root'
complete -c memtrace -n "__fish_memtrace_needs_command" -a "explain" -d 'Say what an answer means, how it is told, and what to do about it'
complete -c memtrace -n "__fish_memtrace_needs_command" -a "completions" -d 'Print a completion script for a shell'
complete -c memtrace -n "__fish_memtrace_needs_command" -a "__workload" -d 'The workload of a demo'
complete -c memtrace -n "__fish_memtrace_needs_command" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c memtrace -n "__fish_memtrace_using_subcommand demo" -s i -l interval -d 'Time between lines, from 10ms to 1h' -r
complete -c memtrace -n "__fish_memtrace_using_subcommand demo" -s o -l json -d 'Write the capture as JSON to FILE, or to standard output with -' -r -F
complete -c memtrace -n "__fish_memtrace_using_subcommand demo" -l html -d 'Write the page to FILE at the end: chart, answer and tables in one file that loads nothing' -r -F
complete -c memtrace -n "__fish_memtrace_using_subcommand demo" -l svg -d 'Write a chart to FILE at the end, as SVG, for a README or a ticket' -r -F
complete -c memtrace -n "__fish_memtrace_using_subcommand demo" -l web -d 'Show the capture in a browser while it goes on, at ADDR:PORT' -r
complete -c memtrace -n "__fish_memtrace_using_subcommand demo" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, and not where NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c memtrace -n "__fish_memtrace_using_subcommand demo" -l plain -d 'Print lines, also on a terminal: no screen with a chart and keys'
complete -c memtrace -n "__fish_memtrace_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c memtrace -n "__fish_memtrace_using_subcommand doctor" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, and not where NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c memtrace -n "__fish_memtrace_using_subcommand doctor" -l json -d 'Print JSON, as a bug report wants it'
complete -c memtrace -n "__fish_memtrace_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c memtrace -n "__fish_memtrace_using_subcommand report" -l html -d 'Write the page to OUT in place of the table: chart, answer and tables in one file that loads nothing; - is standard output' -r -F
complete -c memtrace -n "__fish_memtrace_using_subcommand report" -l svg -d 'Write a chart to OUT as SVG, in place of the table; it leaves the arguments of the command line out; - is standard output' -r -F
complete -c memtrace -n "__fish_memtrace_using_subcommand report" -l fail-on -d 'End with exit code 4 where the answer is one of these, or where one of these is said beside it, such as growing,cgroup-limit' -r -f -a "lazy-free\t''
thp-inflation\t''
swapped\t''
reclaimed-under-pressure\t''
file-mapped\t''
shmem\t''
growing\t''
churn\t''
allocator-holds\t''
released\t''
startup\t''
idle\t''
inconclusive\t''
cgroup-limit\t''
cgroup-scaling\t''"
complete -c memtrace -n "__fish_memtrace_using_subcommand report" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, and not where NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c memtrace -n "__fish_memtrace_using_subcommand report" -l answer -d 'Print the answer alone, without the table'
complete -c memtrace -n "__fish_memtrace_using_subcommand report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c memtrace -n "__fish_memtrace_using_subcommand export" -s t -l to -d 'The format [default: by the name of OUT]' -r -f -a "csv\t'A table: a row per tick, a column per figure and cause (.csv)'
svg\t'A chart, as SVG (.svg)'
jsonl\t'JSON Lines: an object per tick, then the summary and the answer (.jsonl)'
openmetrics\t'Metrics for Prometheus: the state at the end, or with --timeline every tick (.om, .prom)'
perfetto\t'A trace for ui.perfetto.dev: a track per figure and cause (.pftrace, .perfetto-trace)'"
complete -c memtrace -n "__fish_memtrace_using_subcommand export" -s o -l output -d 'Write to OUT instead of standard output' -r -F
complete -c memtrace -n "__fish_memtrace_using_subcommand export" -l timeline -d 'Of openmetrics: every tick with its timestamp, for a backfill, instead of the state at the end'
complete -c memtrace -n "__fish_memtrace_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c memtrace -n "__fish_memtrace_using_subcommand diff" -l html -d 'Also write a page to FILE, to be sent: one file, without script; to standard output with -, in place of the text' -r -F
complete -c memtrace -n "__fish_memtrace_using_subcommand diff" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, and not where NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c memtrace -n "__fish_memtrace_using_subcommand diff" -l json -d 'Print JSON, as docs/schema.md documents it'
complete -c memtrace -n "__fish_memtrace_using_subcommand diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c memtrace -n "__fish_memtrace_using_subcommand explain" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, and not where NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c memtrace -n "__fish_memtrace_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c memtrace -n "__fish_memtrace_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c memtrace -n "__fish_memtrace_using_subcommand __workload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c memtrace -n "__fish_memtrace_using_subcommand help; and not __fish_seen_subcommand_from demo doctor report export diff explain completions __workload help" -f -a "demo" -d 'Trace a built-in workload: the first thing to try'
complete -c memtrace -n "__fish_memtrace_using_subcommand help; and not __fish_seen_subcommand_from demo doctor report export diff explain completions __workload help" -f -a "doctor" -d 'Show what this kernel and these privileges allow, what that costs, and what to type'
complete -c memtrace -n "__fish_memtrace_using_subcommand help; and not __fish_seen_subcommand_from demo doctor report export diff explain completions __workload help" -f -a "report" -d 'Print the table of a capture file again; needs no root'
complete -c memtrace -n "__fish_memtrace_using_subcommand help; and not __fish_seen_subcommand_from demo doctor report export diff explain completions __workload help" -f -a "export" -d 'Write a capture file in the format of another tool; needs no root'
complete -c memtrace -n "__fish_memtrace_using_subcommand help; and not __fish_seen_subcommand_from demo doctor report export diff explain completions __workload help" -f -a "diff" -d 'Compare two captures, such as before and after an upgrade or a setting; needs no root'
complete -c memtrace -n "__fish_memtrace_using_subcommand help; and not __fish_seen_subcommand_from demo doctor report export diff explain completions __workload help" -f -a "explain" -d 'Say what an answer means, how it is told, and what to do about it'
complete -c memtrace -n "__fish_memtrace_using_subcommand help; and not __fish_seen_subcommand_from demo doctor report export diff explain completions __workload help" -f -a "completions" -d 'Print a completion script for a shell'
complete -c memtrace -n "__fish_memtrace_using_subcommand help; and not __fish_seen_subcommand_from demo doctor report export diff explain completions __workload help" -f -a "__workload" -d 'The workload of a demo'
complete -c memtrace -n "__fish_memtrace_using_subcommand help; and not __fish_seen_subcommand_from demo doctor report export diff explain completions __workload help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
