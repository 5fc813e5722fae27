//! Hostile text as a statement, as a view and as a migration of a plugin.
//! What passes must print to text that prints the same again; what it may name is the tests' matter.
#![no_main]

use bulkhead_database::tenant::guard::{self, Kind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(checked) = guard::check(text, Kind::Execute) {
        assert_eq!(guard::check(&checked.text, Kind::Execute), Ok(checked.clone()));
        assert_eq!(guard::check(text, Kind::Query).is_ok(), checked.reads_only());
    }
    if let Ok(view) = guard::check_view(text) {
        assert!(view.reads_only() && view.parameters == 0);
        assert_eq!(guard::check_view(&view.text), Ok(view));
    }
    if let Ok(statements) = guard::check_script(text) {
        let texts: Vec<_> = statements.iter().map(|checked| checked.text.as_str()).collect();
        assert_eq!(guard::check_script(&texts.join(";")), Ok(statements));
        guard::portability(text).expect("what passes is warned of");
        guard::lint(text).expect("what passes is warned of");
    }
});
