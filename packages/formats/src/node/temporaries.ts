import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { mkdir, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isGone, processMark, type ProcessMark } from './process-mark.js'
import { settleSwitch, SWITCH } from './pair-switch.js'

/** A name says who made it, so that a later process can tell whether the maker still runs. */
const NAME = /^\.?lowbit-(\d{1,10})-([0-9a-z]{1,16})-([0-9a-f]{8})-[0-9a-f]{8}(\.switch)?\.tmp$/

/** What a process of another machine left is taken for stale when nobody has written to it for so long. */
const FOREIGN_AGE = 24 * 3600 * 1000

/** Temporaries of this process that exist now: to be removed if it has to leave at once. */
const alive = new Set<string>()
const swept = new Set<string>()

/** A fresh name for a temporary file of this process. It is hidden, and {@link sweepTemporaries} of any later process knows it. */
export function temporaryName(folder: string, kind = ''): string {
  const { pid, start, host } = processMark()
  return join(folder, `.lowbit-${pid}-${start}-${host}-${randomBytes(4).toString('hex')}${kind}.tmp`)
}

/** Remembers something that has to go with the process. @returns forgets it again */
export function holdTemporary(path: string): () => void {
  alive.add(path)
  return () => void alive.delete(path)
}

/** Removes the temporaries of this process at once, for a process that leaves in the middle of its work. */
export function abandonTemporaries(): void {
  for (const path of alive) {
    try {
      rmSync(path, { recursive: true, force: true })
    } catch {
      // The next run removes what cannot be removed now.
    }
  }
  alive.clear()
}

/**
 * Removes what dead processes left in a folder. One of this machine is dead if no process has its number and its start;
 * of another machine's, what was not touched for a day is removed.
 */
export async function sweepTemporaries(folder: string): Promise<void> {
  swept.add(folder)
  const names = await readdir(folder).catch(() => [])
  for (const name of names) {
    const match = NAME.exec(name)
    if (match === null) continue
    const [, pid, start, host, kind] = match
    const path = join(folder, name)
    if (!(await isStale({ pid: Number(pid), start, host }, path))) continue
    if (kind === SWITCH) await settleSwitch(folder, path)
    await rm(path, { recursive: true, force: true }).catch(() => undefined)
  }
}

/** {@link sweepTemporaries}, once a folder and process. */
export async function sweepOnce(folder: string): Promise<void> {
  if (!swept.has(folder)) await sweepTemporaries(folder)
}

/** True for what a dead process left behind. @param path - its time of change counts for processes of other machines */
export async function isStale(mark: ProcessMark, path: string): Promise<boolean> {
  const gone = isGone(mark)
  if (gone !== undefined) return gone
  const found = await stat(path).catch(() => undefined)
  return found !== undefined && Date.now() - found.mtimeMs > FOREIGN_AGE
}

/** Gives a folder for temporary files in the system's own place for them; it is gone afterwards, and after a kill with the next run. */
export async function withTemporaryFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const root = tmpdir()
  await sweepOnce(root)
  const path = temporaryName(root)
  const forget = holdTemporary(path)
  try {
    await mkdir(path, { mode: 0o700 })
    return await use(path)
  } finally {
    await rm(path, { recursive: true, force: true })
    forget()
  }
}
