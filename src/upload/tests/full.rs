//! A store into which nothing more fits.

use super::shared_folder::SharedFolder;
use super::*;
use crate::store::StoreLimits;

#[test]
fn what_is_full_is_read_all_the_same() {
    let data = TempDir::new().unwrap();
    let limits = StoreLimits {
        min_free: 1 << 60,
        ..StoreLimits::default()
    };
    let uploads = |store: Arc<dyn Store>| {
        let recipient = NamedRecipient::new(lawyer().to_recipient().unwrap(), "");
        Uploads::new(store, vec![recipient], Vec::new(), SessionLimits::default())
    };
    let open = || LocalStore::open_within(data.path(), limits.clone()).unwrap();
    for is_shared in [false, true] {
        let uploads = if is_shared {
            uploads(Arc::new(SharedFolder::new(open())))
        } else {
            uploads(Arc::new(open()))
        };
        assert!(matches!(uploads.check(), Err(StoreError::Full { .. })));
        uploads.check_reach().unwrap();
    }
}
