//! What a power cut leaves of photos: files without rows, and rows without files.

use std::path::Path;

use super::{Keeper, PAGE, Part, PhotoStoreError, Priority, files, rows};

impl Keeper {
    /// Removes files without rows, and rows without files, that a power cut left. Runs after a
    /// start.
    pub(super) async fn sweep(&mut self) -> Result<(), PhotoStoreError> {
        self.remove_all(rows::ERASED, "", rows::Why::Erased).await?;
        for folder in self.photo_store.on_files(files::folders).await? {
            let name = folder.clone();
            let found = self.photo_store.on_files(move |dir| files::list(&dir.join(name))).await?;
            for page in found.chunks(PAGE) {
                let (page, folder) = (page.to_vec(), folder.clone());
                let strays = self.photo_store.store.read(move |tx| rows::strays(tx, page)).await?;
                let unlink = move |dir: &Path| {
                    let mut strays = strays.iter().map(|name| dir.join(&folder).join(name));
                    strays.try_for_each(|stray| files::unlink(&stray))
                };
                self.photo_store.on_files(unlink).await?;
            }
            self.photo_store.on_files(move |dir| files::drop_empty(dir, &folder)).await?;
        }
        let mut after = 0;
        loop {
            let page = self.photo_store.store.read(move |tx| rows::after(tx, after)).await?;
            let Some(last) = page.last() else { break };
            after = last.n;
            let lost = self.photo_store.on_files(move |dir| {
                let gone = |row: &rows::Row| {
                    !files::path(dir, &row.folder, &row.passage, Part::Face).exists()
                };
                Ok(page.into_iter().filter(gone).collect::<Vec<_>>())
            });
            let lost = lost.await?;
            if !lost.is_empty() {
                tracing::warn!(photos = lost.len(), "a power cut lost photos of passages");
                self.photo_store
                    .store
                    .write(Priority::Upkeep, move |tx| rows::delete(tx, &lost))
                    .await?;
            }
        }
        let (kept, bytes) = self.photo_store.store.read(rows::count).await?;
        self.photo_store.update(|s| (s.kept, s.bytes) = (kept, bytes));
        Ok(())
    }
}
