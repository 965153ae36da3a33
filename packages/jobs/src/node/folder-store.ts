import { mkdir, readdir, readFile, rm, rmdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { isLowbitError, sha256, type JobResult, type JobStore, type WorkIdentity } from '@lowbit/core'
import { atomicWrite } from '@lowbit/formats/node'
import { identityDigest } from '../identity.js'
import { decodeJob, encodeJob } from '../job-codec.js'

export interface FolderStoreOptions {
  /** Stands for the data, where it is known by less than its bytes. */
  readonly data?: string
  /** Told in a sentence what was kept and cannot be used, or cannot be kept. The run goes on. */
  readonly onRefused?: (sentence: string) => void
}

/** A {@link JobStore} in a folder, and the way to take it away when the work is done. */
export interface FolderStore extends JobStore {
  /** Sites that an earlier run left behind and this one took over. */
  readonly resumed: number
  /** Removes what was kept for this run. What other runs keep in the same folder stays. */
  remove(): Promise<void>
}

const IDENTITY = 'identity.json'

/**
 * Keeps finished sites in files, a folder for each identity. Nothing there can harm a run: a file that is damaged, of another
 * version or of another run is said and computed again; one that cannot be written is said and not kept.
 */
export function folderStore(folder: string, { data, onRefused = () => {} }: FolderStoreOptions = {}): FolderStore {
  let digest = ''
  let path: string | undefined
  let resumed = 0
  let writable = true
  let identityText = ''
  let made = false
  /** The folder comes into being with the first site that is kept. */
  const make = async (own: string): Promise<void> => {
    if (made) return
    await mkdir(own, { recursive: true })
    await atomicWrite(join(own, IDENTITY), [new TextEncoder().encode(identityText)])
    made = true
  }
  const fileOf = (own: string, site: string): string => join(own, `${nameOf(site)}.safetensors`)
  return {
    ...(data === undefined ? {} : { data }),
    get resumed() {
      return resumed
    },
    async open(identity) {
      digest = identityDigest(identity)
      path = join(folder, digest.slice(0, 32))
      identityText = JSON.stringify(identity)
      made = (await entriesOf(path)).includes(IDENTITY)
      if (made) return
      const others = (await entriesOf(folder)).filter((name) => name !== basename(path ?? ''))
      const reasons = (await Promise.all(others.map((name) => differenceFrom(join(folder, name), identity)))).filter((r) => r !== undefined)
      if (reasons.length > 0) onRefused(`sites that another run left in ${folder} are not used: ${[...new Set(reasons)].join('; ')}`)
    },
    async load(site) {
      if (path === undefined) return undefined
      const file = fileOf(path, site)
      try {
        const kept = await decodeJob(await readFile(file), file)
        if (kept.site !== site || kept.identity !== digest) {
          onRefused(`${file} is not used: it belongs to ${kept.site === site ? 'another run' : `site ${kept.site}`}`)
          return undefined
        }
        resumed++
        return kept.result
      } catch (error) {
        if (!isMissing(error)) onRefused(`${file} is not used: ${reasonOf(error)}`)
        return undefined
      }
    },
    async save(site: string, result: JobResult) {
      if (path === undefined || !writable) return
      try {
        await make(path)
        await atomicWrite(fileOf(path, site), [await encodeJob({ identity: digest, site, result })])
      } catch (error) {
        writable = false
        onRefused(`finished sites cannot be kept in ${folder}: ${reasonOf(error)}`)
      }
    },
    async remove() {
      if (path !== undefined) await rm(path, { recursive: true, force: true })
      // Another run may keep its work beside ours.
      await rmdir(folder).catch(() => undefined)
    },
  }
}

function nameOf(site: string): string {
  const hash = sha256()
  hash.update(site)
  return hash.hex().slice(0, 32)
}

async function entriesOf(folder: string): Promise<readonly string[]> {
  return readdir(folder).catch(() => [])
}

/** In what the run whose work lies in a folder differs; undefined for a folder that is none of ours. */
async function differenceFrom(path: string, identity: WorkIdentity): Promise<string | undefined> {
  let kept: Partial<WorkIdentity> | null
  try {
    kept = JSON.parse(await readFile(join(path, IDENTITY), 'utf8')) as Partial<WorkIdentity> | null
  } catch {
    return undefined
  }
  if (typeof kept !== 'object' || kept === null) return undefined
  const differs = (['model', 'data', 'made', 'options'] as const).filter((part) => JSON.stringify(kept[part]) !== JSON.stringify(identity[part]))
  const words = { model: 'another model', data: 'other data', made: 'other versions', options: 'other options' }
  return differs.map((part) => words[part]).join(', ')
}

function reasonOf(error: unknown): string {
  if (isLowbitError(error)) return error.parts.found
  return error instanceof Error ? error.message : String(error)
}

function isMissing(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT'
}
