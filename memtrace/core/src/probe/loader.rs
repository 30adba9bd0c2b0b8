//! aya's loader, without what it does unasked.
//!
//! A new [`EbpfLoader`] reads all of the kernel's BTF, before it can be told that it need not. That takes 15 MiB and 20 ms, so it
//! is made by a thread for which no file can be opened: then it goes without, as on a kernel that shows no BTF.

use std::{io, thread};

use aya::EbpfLoader;

/// Offset of the system call's number in `struct seccomp_data`.
const NUMBER: u32 = 0;

/// Makes a loader. Where such a thread is not to be had, the loader reads what it likes: that costs more, and changes nothing.
pub(super) fn loader<'a>() -> EbpfLoader<'a> {
    let without = thread::Builder::new()
        .name("loader".to_owned())
        .spawn(|| open_nothing().is_ok().then(EbpfLoader::new));
    without
        .ok()
        .and_then(|thread| thread.join().ok().flatten())
        .unwrap_or_default()
}

/// From now on, this thread opens no file: the kernel says that there is none. For no other thread, and without a privilege.
fn open_nothing() -> io::Result<()> {
    let op = |code: u32| u16::try_from(code).unwrap_or_default();
    let statement = |code, k| libc::sock_filter {
        code: op(code),
        jt: 0,
        jf: 0,
        k,
    };
    // To the next but one statement where it is this call, else to the next one.
    let is_call = |number: libc::c_long| libc::sock_filter {
        code: op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K),
        jt: 0,
        jf: 1,
        k: u32::try_from(number).unwrap_or(u32::MAX),
    };
    let refuse = statement(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_ERRNO | libc::ENOENT.unsigned_abs(),
    );
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, NUMBER),
        is_call(libc::SYS_openat),
        refuse,
        // What musl calls.
        #[cfg(target_arch = "x86_64")]
        is_call(libc::SYS_open),
        #[cfg(target_arch = "x86_64")]
        refuse,
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap_or_default(),
        filter: filter.as_mut_ptr(),
    };
    // Who could gain privileges by an exec may not filter; this thread ends without one.
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: the program and its statements live until the kernel has copied them.
    let set = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_are_refused_to_one_thread_alone() {
        let own = "/proc/self/status";
        let refused = thread::spawn(move || {
            open_nothing().unwrap();
            fs::read(own).unwrap_err().kind()
        });
        assert_eq!(refused.join().unwrap(), io::ErrorKind::NotFound);
        assert!(fs::read(own).is_ok());
        assert!(!format!("{:?}", loader()).contains("Btf {"));
        assert!(fs::read(own).is_ok());
    }
}
