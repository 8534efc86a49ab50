//! A plan that was built on a lost plan never applies: each element follows the one that its plan saw.

use super::List;

pub(super) fn check(list: &List, violations: &mut Vec<String>) {
    let mut before = 0;
    for (index, element) in list.elements.iter().enumerate() {
        if element.before != before {
            violations.push(format!(
                "no plan applies on another state: element {index} was planned after {}, and follows {before}",
                element.before
            ));
        }
        before = element.append;
    }
}
