/** A file with the path that it has in what was chosen or dropped. */
export interface FoundFile {
  readonly path: string
  readonly file: File
}

/** More files than this are no model and no sensible data. */
const MOST = 20_000

/** Everything in a drop, folders too. Call it in the event itself: what was dropped is gone afterwards. */
export async function droppedFiles(transfer: DataTransfer): Promise<readonly FoundFile[]> {
  const entries = [...transfer.items].flatMap((item) => item.webkitGetAsEntry() ?? [])
  if (entries.length === 0) return chosenFiles(transfer.files)
  const found: FoundFile[] = []
  for (const entry of entries) await collect(entry, '', found)
  return found
}

/** Files of an `<input>`; those of a folder have paths. */
export function chosenFiles(files: FileList | readonly File[]): readonly FoundFile[] {
  return [...files].map((file) => ({ path: file.webkitRelativePath === '' ? file.name : file.webkitRelativePath, file }))
}

async function collect(entry: FileSystemEntry, folder: string, found: FoundFile[]): Promise<void> {
  if (found.length >= MOST || entry.name.startsWith('.')) return
  if (entry instanceof FileSystemFileEntry) {
    const file = await new Promise<File>((resolve, reject) => entry.file(resolve, reject))
    found.push({ path: folder + entry.name, file })
  } else if (entry instanceof FileSystemDirectoryEntry) {
    const reader = entry.createReader()
    for (;;) {
      // A reader gives a hundred at a time.
      const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject))
      if (some.length === 0) return
      for (const inner of some) await collect(inner, `${folder}${entry.name}/`, found)
    }
  }
}
