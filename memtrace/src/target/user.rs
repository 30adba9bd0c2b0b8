//! The user on whose behalf memtrace runs: under sudo not root, but who typed it.

use std::{
    ffi::{CString, OsString},
    path::PathBuf,
};

use nix::unistd::{Gid, Uid, User, getgrouplist};

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
#[must_use]
pub fn invoker() -> Option<Invoker> {
    if !Uid::effective().is_root() {
        return None;
    }
    let number = |name: &str| -> Option<u32> { std::env::var(name).ok()?.parse().ok() };
    from_ids(number("SUDO_UID")?, number("SUDO_GID"))
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
