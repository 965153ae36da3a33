import { lstat, open, readlink, realpath, stat, statfs, unlink } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { LowbitError } from '@lowbit/core'
import { fileError, kindOf, systemCode } from './file-error.js'
import { sweepTemporaries, temporaryName } from './temporaries.js'

/** More links than this in a row lead nowhere. */
const MAX_LINKS = 40

/** Where a file will stand: links are followed, also one whose target does not exist yet. */
export interface Target {
  readonly path: string
  /** The regular file that stands there now. */
  readonly existing?: { readonly id: string; readonly mode: number; readonly uid: number; readonly gid: number; readonly size: number }
}

/** @throws LOWBIT_FILE for a folder, device or pipe, and where the folder does not exist */
export async function resolveTarget(path: string): Promise<Target> {
  try {
    let at = path
    for (let links = 0; links < MAX_LINKS; links++) {
      const real = join(await realpath(dirname(resolve(at))), basename(resolve(at)))
      const found = await lstat(real, { bigint: true }).catch((error: unknown) => {
        if (systemCode(error) === 'ENOENT') return undefined
        throw error
      })
      if (found === undefined) return { path: real }
      if (found.isSymbolicLink()) {
        at = resolve(dirname(real), await readlink(real))
        continue
      }
      if (!found.isFile()) throw new LowbitError('LOWBIT_FILE', { thing: path, found: kindOf(found), expected: 'a file name' })
      return { path: real, existing: { id: `${found.dev}:${found.ino}`, mode: Number(found.mode) & 0o7777, uid: Number(found.uid), gid: Number(found.gid), size: Number(found.size) } }
    }
    throw new LowbitError('LOWBIT_FILE', { thing: path, found: `more than ${MAX_LINKS} links in a row`, expected: 'a file name' })
  } catch (cause) {
    throw fileError(path, cause, 'could not be written')
  }
}

/** A file by the word that a message uses for it. */
export interface NamedFile {
  /** Such as `--output` or `the model`. */
  readonly what: string
  readonly path: string
}

export interface TargetChecks {
  /** Refuse files that exist. Default: they are replaced. */
  readonly noClobber?: boolean
  /** Bytes that will be needed, by path as given. */
  readonly room?: ReadonlyMap<string, number>
}

/**
 * Looks at everything a run will write before it begins: no target is one of its inputs (by device and inode, so also through
 * links) or another target, folders can be written, and there is room. What dead runs left in these folders is removed.
 * @throws LOWBIT_ARGUMENT for a target that is an input, LOWBIT_FILE for one that cannot be written
 */
export async function checkTargets(targets: readonly NamedFile[], sources: readonly NamedFile[], { noClobber = false, room }: TargetChecks = {}): Promise<void> {
  const taken = new Map<string, string>()
  for (const source of sources) {
    const id = await identify(source.path)
    if (id !== undefined) taken.set(id, source.what)
  }
  const folders = new Map<string, number>()
  for (const { what, path } of targets) {
    const target = await resolveTarget(path)
    const ids = [target.path, ...(target.existing === undefined ? [] : [target.existing.id])]
    const other = ids.map((id) => taken.get(id)).find((name) => name !== undefined)
    if (other !== undefined) {
      throw new LowbitError('LOWBIT_ARGUMENT', { thing: `${what} ${path}`, found: `${other} itself`, expected: 'a file of its own', fix: 'name another file: nothing that is read is overwritten' })
    }
    if (noClobber && target.existing !== undefined) throw clobbers(path)
    for (const id of ids) taken.set(id, what)
    const folder = dirname(target.path)
    folders.set(folder, (folders.get(folder) ?? 0) + (room?.get(path) ?? 0))
  }
  for (const [folder, bytes] of folders) {
    await sweepTemporaries(folder)
    await checkWritable(folder)
    await checkRoom(folder, bytes)
  }
}

export function clobbers(path: string): LowbitError {
  return new LowbitError('LOWBIT_FILE', { thing: path, found: 'a file that is already there', expected: 'a new name, as asked', fix: 'name another file, or allow replacing it' })
}

/** A file's identity, through links; undefined if there is none. */
async function identify(path: string): Promise<string | undefined> {
  const found = await stat(path, { bigint: true }).catch(() => undefined)
  return found === undefined ? undefined : `${found.dev}:${found.ino}`
}

/** Permission bits do not tell all (read-only systems, quotas): a file is made and taken away. */
async function checkWritable(folder: string): Promise<void> {
  const probe = temporaryName(folder)
  try {
    await (await open(probe, 'wx')).close()
    await unlink(probe)
  } catch (cause) {
    throw fileError(`folder ${folder}`, cause, 'could not be written')
  }
}

/** @throws LOWBIT_FILE if a folder's file system has fewer free bytes than will be written */
export async function checkRoom(folder: string, bytes: number): Promise<void> {
  if (bytes <= 0) return
  const found = await statfs(folder).catch(() => undefined)
  // Some file systems (networks, FUSE) say nothing.
  if (found === undefined || found.blocks === 0) return
  const free = found.bavail * found.bsize
  if (free < bytes) throw new LowbitError('LOWBIT_FILE', { thing: `folder ${folder}`, found: `room for ${free} bytes`, expected: `at least ${bytes} bytes for what will be written`, fix: 'free some disk space, or write elsewhere' })
}
