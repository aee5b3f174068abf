//! Files of an audit log, with form feeds between them: whatever is in them, what passes has a head that it passes with again, and no shorter one has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealslot::audit::Verifier;

fuzz_target!(|text: &[u8]| {
    let files: Vec<_> = text.split(|byte| *byte == b'\x0c').collect();
    let verify = |head, files: &[&[u8]]| {
        let mut verifier = Verifier::new(head);
        for file in files {
            verifier.read(&mut &**file).ok()?;
        }
        verifier.finish().ok()
    };
    let Some(verified) = verify(None, &files) else {
        return;
    };
    assert_eq!(verify(Some(verified.head), &files), Some(verified));
    let Some((last, earlier)) = files.split_last() else {
        return;
    };
    if !last.is_empty() {
        let cut = [earlier, &[&last[..last.len() - 1]]].concat();
        assert_eq!(verify(Some(verified.head), &cut), None);
    }
});
