//! Names of errors.

use std::io;

use rustix::io::Errno;

/// A function from numbers to names.
macro_rules! names {
    ($($name:ident)*) => {
        const fn name(errno: i32) -> Option<&'static str> {
            match errno {
                $(libc::$name => Some(stringify!($name)),)*
                _ => None,
            }
        }
    };
}

names! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT
    ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG
    ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP
    ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL
    ENOANO EBADRQC EBADSLT EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV
    ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG ELIBACC ELIBBAD
    ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE
    EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT
    EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN
    ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY
    EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE
    ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL
    EHWPOISON
}

/// Returns the name of an errno, such as `ENOMEM`, or its number if it has none.
#[must_use]
pub fn errno_name(errno: u32) -> String {
    let name = i32::try_from(errno).ok().and_then(name);
    name.map_or_else(|| errno.to_string(), str::to_owned)
}

/// Returns an error in words: `Permission denied`.
#[must_use]
pub fn errno_words(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    let words = text.split_once(" (os error").map(|(words, _)| words);
    words.map(str::to_owned).unwrap_or(text)
}

/// Returns an error with its name and in words: `EACCES: Permission denied`.
#[must_use]
pub fn errno_text(errno: Errno) -> String {
    let name = errno_name(errno.raw_os_error().unsigned_abs());
    format!("{name}: {}", errno_words(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_without_a_name_is_its_number() {
        assert_eq!(errno_name(12), "ENOMEM");
        assert_eq!(errno_name(4000), "4000");
    }

    #[test]
    fn an_error_has_its_name_and_its_words() {
        assert_eq!(errno_text(Errno::ACCESS), "EACCES: Permission denied");
        assert_eq!(errno_words(Errno::NOSPC), "No space left on device");
    }
}
