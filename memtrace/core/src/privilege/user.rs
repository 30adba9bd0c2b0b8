//! The user on whose behalf memtrace runs: under sudo not root, but who typed it.

use std::{
    ffi::{CStr, CString, OsStr, OsString},
    mem::MaybeUninit,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    ptr,
};

use rustix::process::{Gid, Uid, geteuid, getgid, getgroups, getuid};

/// Most bytes of a user's entry.
const MOST_BYTES: usize = 1 << 20;
/// `NGROUPS_MAX`.
const MOST_GROUPS: usize = 1 << 16;

/// A user to run a program as, and to give files to.
#[derive(Clone, Debug)]
pub struct Invoker {
    /// User id.
    pub uid: Uid,
    /// Group id.
    pub gid: Gid,
    /// All groups.
    pub groups: Vec<Gid>,
    /// Name, home directory and shell, for the program's environment; `None` where the system does not know the user.
    pub account: Option<(String, PathBuf, PathBuf)>,
}

/// The invoking user, where it is another one than the process's own: root, through sudo (`SUDO_UID`) or doas (`DOAS_USER`
/// is not followed: it carries no id).
///
/// `SUDO_UID` is believed where root started this process. Whoever starts a set-user-ID file writes its environment too, and
/// could name anybody: there it is the real user.
#[must_use]
pub fn invoker() -> Option<Invoker> {
    let number = |name: &str| -> Option<u32> {
        let number = std::env::var(name).ok()?.parse().ok()?;
        // -1 is nobody.
        (number != u32::MAX).then_some(number)
    };
    match behind(getuid(), geteuid(), number("SUDO_UID").map(Uid::from_raw))? {
        Behind::Sudo(uid) => from_ids(uid.as_raw(), number("SUDO_GID")),
        Behind::RealUser(uid) => {
            let mut invoker = from_ids(uid.as_raw(), Some(getgid().as_raw()))?;
            if let Ok(groups) = getgroups() {
                invoker.groups = groups;
            }
            Some(invoker)
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Behind {
    Sudo(Uid),
    RealUser(Uid),
}

fn behind(real: Uid, effective: Uid, sudo: Option<Uid>) -> Option<Behind> {
    match (real.is_root(), effective.is_root()) {
        (true, true) => sudo.map(Behind::Sudo),
        (false, true) => Some(Behind::RealUser(real)),
        (_, false) => None,
    }
}

fn from_ids(uid: u32, gid: Option<u32>) -> Option<Invoker> {
    let uid = Uid::from_raw(uid);
    if uid.is_root() {
        return None;
    }
    let user = User::of(uid);
    let gid = gid
        .map(Gid::from_raw)
        .or_else(|| user.as_ref().map(|user| user.gid))?;
    let groups = user
        .as_ref()
        .and_then(|user| groups_of(&user.name, gid))
        .unwrap_or_else(|| vec![gid]);
    Some(Invoker {
        uid,
        gid,
        groups,
        account: user.map(|user| {
            let name = user.name.to_string_lossy().into_owned();
            (name, user.home, user.shell)
        }),
    })
}

/// A user as the system knows them.
struct User {
    name: CString,
    gid: Gid,
    home: PathBuf,
    shell: PathBuf,
}

impl User {
    /// Looks a user up; `None` if the system does not know them.
    fn of(uid: Uid) -> Option<Self> {
        let mut entry = MaybeUninit::uninit();
        let mut found = ptr::null_mut();
        let mut buffer = vec![0; 1024];
        loop {
            // SAFETY: all pointers are to what lives here; the buffer is as long as is said.
            let error = unsafe {
                libc::getpwuid_r(
                    uid.as_raw(),
                    entry.as_mut_ptr(),
                    buffer.as_mut_ptr(),
                    buffer.len(),
                    &raw mut found,
                )
            };
            match error {
                0 if !found.is_null() => break,
                libc::ERANGE if buffer.len() < MOST_BYTES => buffer.resize(buffer.len() * 2, 0),
                libc::EINTR => {}
                _ => return None,
            }
        }
        // SAFETY: an entry was found, which is then written there.
        let entry: libc::passwd = unsafe { entry.assume_init() };
        // SAFETY: an entry's texts lie in `buffer`, which is not touched any more, and end with a zero byte.
        let [name, home, shell] = [entry.pw_name, entry.pw_dir, entry.pw_shell]
            .map(|text| unsafe { CStr::from_ptr(text) });
        let path = |text: &CStr| PathBuf::from(OsStr::from_bytes(text.to_bytes()));
        Some(Self {
            name: name.to_owned(),
            gid: Gid::from_raw(entry.pw_gid),
            home: path(home),
            shell: path(shell),
        })
    }
}

/// Returns all groups of a user, `gid` among them.
fn groups_of(name: &CStr, gid: Gid) -> Option<Vec<Gid>> {
    let mut ids = vec![0; 64];
    loop {
        let mut count = libc::c_int::try_from(ids.len()).ok()?;
        // SAFETY: the name ends with a zero byte; `count` says how many fit.
        let result = unsafe {
            libc::getgrouplist(
                name.as_ptr(),
                gid.as_raw(),
                ids.as_mut_ptr(),
                &raw mut count,
            )
        };
        if result >= 0 {
            ids.truncate(usize::try_from(count).ok()?);
            return Some(ids.into_iter().map(Gid::from_raw).collect());
        }
        if ids.len() >= MOST_GROUPS {
            return None;
        }
        ids.resize(ids.len() * 2, 0);
    }
}

impl Invoker {
    /// What a program run as this user finds in its environment.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let Some((name, home, shell)) = &self.account else {
            return Vec::new();
        };
        vec![
            ("HOME", home.clone().into_os_string()),
            ("USER", name.into()),
            ("LOGNAME", name.into()),
            ("SHELL", shell.clone().into_os_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudos_word_counts_only_where_root_started_memtrace() {
        let [root, alice, bob] = [0, 1000, 1001].map(Uid::from_raw);
        assert_eq!(behind(root, root, Some(alice)), Some(Behind::Sudo(alice)));
        assert_eq!(behind(root, root, None), None);
        // A set-user-ID file, started by alice, who would like to be bob.
        assert_eq!(
            behind(alice, root, Some(bob)),
            Some(Behind::RealUser(alice))
        );
        // A file with capabilities: nobody but alice.
        assert_eq!(behind(alice, alice, Some(bob)), None);
    }

    #[test]
    fn the_system_knows_root() {
        let root = User::of(Uid::ROOT).unwrap();
        assert_eq!(root.name.as_c_str(), c"root");
        assert_eq!(root.gid, Gid::ROOT);
        assert_eq!(root.home, PathBuf::from("/root"));
        let groups = groups_of(&root.name, Gid::from_raw(4_000_456)).unwrap();
        assert!(groups.contains(&Gid::from_raw(4_000_456)));
    }

    #[test]
    fn root_is_nobody_elses_invoker() {
        assert!(from_ids(0, Some(0)).is_none());
    }

    #[test]
    fn an_unknown_user_keeps_the_given_group() {
        let invoker = from_ids(4_000_123, Some(4_000_456)).unwrap();
        assert_eq!(invoker.groups, [Gid::from_raw(4_000_456)]);
        assert!(invoker.environment().is_empty());
    }

    #[test]
    fn an_unknown_user_without_a_group_is_not_guessed() {
        assert!(from_ids(4_000_123, None).is_none());
    }
}
