//! Who may call.

use candid::Principal;

type Check = Box<dyn Fn(&Principal) -> bool>;

/// Controllers, and principals that the app names; the anonymous one never.
#[derive(Default)]
pub(crate) struct Guard {
    principals: Vec<Principal>,
    checks: Vec<Check>,
}

impl Guard {
    pub fn allow(&mut self, principals: impl IntoIterator<Item = Principal>) {
        self.principals.extend(principals);
    }

    pub fn allow_if(&mut self, check: impl Fn(&Principal) -> bool + 'static) {
        self.checks.push(Box::new(check));
    }

    pub fn allows(&self, caller: &Principal) -> bool {
        *caller != Principal::anonymous()
            && (ic_cdk::api::is_controller(caller)
                || self.principals.contains(caller)
                || self.checks.iter().any(|check| check(caller)))
    }
}
