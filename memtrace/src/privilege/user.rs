//! The user on whose behalf memtrace runs: under sudo not root, but who typed it.

use std::{
    ffi::{CString, OsString},
    path::PathBuf,
};

use nix::unistd::{Gid, Uid, User, getgrouplist, getgroups};

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
    let number = |name: &str| -> Option<u32> { std::env::var(name).ok()?.parse().ok() };
    match behind(
        Uid::current(),
        Uid::effective(),
        number("SUDO_UID").map(Uid::from_raw),
    )? {
        Behind::Sudo(uid) => from_ids(uid.as_raw(), number("SUDO_GID")),
        Behind::RealUser(uid) => {
            let mut invoker = from_ids(uid.as_raw(), Some(Gid::current().as_raw()))?;
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
    let user = User::from_uid(uid).ok().flatten();
    let gid = gid
        .map(Gid::from_raw)
        .or_else(|| user.as_ref().map(|user| user.gid))?;
    let groups = user
        .as_ref()
        .and_then(|user| CString::new(user.name.as_bytes()).ok())
        .and_then(|name| getgrouplist(&name, gid).ok())
        .unwrap_or_else(|| vec![gid]);
    Some(Invoker {
        uid,
        gid,
        groups,
        account: user.map(|user| (user.name, user.dir, user.shell)),
    })
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
