//! Files of profiles: whatever they say, one is found or told to be unreadable; comments and other profiles change nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealslot::store::{AwsProfile, ProfileFile};

fuzz_target!(|text: &str| {
    for file in [ProfileFile::Credentials, ProfileFile::Config] {
        let Ok(read) = AwsProfile::parse(text, "default", file) else {
            continue;
        };
        let more =
            format!("# of somebody\n{text}\n; the end\n[profile other]\nregion = elsewhere\n");
        let again = AwsProfile::parse(&more, "default", file).expect("what was added is fine");
        assert!(read == again, "what was added is no concern of it");
    }
});
