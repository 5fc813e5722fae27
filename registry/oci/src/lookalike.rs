//! What a name looks like: one normal form for all names that a person could take for each other.
//! Names are ASCII before they come here, so that letters of other scripts are no question.

/// Groups of letters that look like one.
const LOOKALIKES: [(&str, &str); 6] = [("0", "o"), ("1", "l"), ("i", "l"), ("5", "s"), ("rn", "m"), ("vv", "w")];

/// The normal form of a name: without what joins its parts, each group of lookalikes as one of them.
pub(crate) fn normal_form(name: &str) -> String {
    let plain: String = name.chars().filter(|letter| !matches!(letter, '-' | '_' | '.')).collect();
    LOOKALIKES.iter().fold(plain, |text, (looks, like)| text.replace(looks, like))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_look_alike_have_one_normal_form() {
        let check = |left: &str, right: &str, alike: bool| {
            assert_eq!(normal_form(left) == normal_form(right), alike, "{left} {right}");
        };

        check("acme", "acrne", true);
        check("acme", "ac-me", true);
        check("google", "g00gle", true);
        check("paypal", "paypa1", true);
        check("paypal", "paypai", true);
        check("wallet", "vvallet", true);
        check("r-n", "m", true);
        check("acme", "acne", false);
        check("acme", "acme2", false);
    }

    proptest! {
        #[test]
        fn the_normal_form_of_a_normal_form_is_itself(name in "[a-z0-9-]{1,40}") {
            let normal = normal_form(&name);
            prop_assert_eq!(normal_form(&normal), normal);
        }
    }
}
