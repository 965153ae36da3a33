import { createHash } from 'node:crypto'
import { link, open, readFile, rename, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { LowbitError } from '@lowbit/core'
import { fileError, systemCode } from './file-error.js'
import { processMark, type ProcessMark } from './process-mark.js'
import { resolveTarget } from './targets.js'
import { holdTemporary, isStale, temporaryName } from './temporaries.js'

/** Says that one process is at work on an output. */
export interface OutputLock {
  /** The lock's own file. */
  readonly path: string
  release(): Promise<void>
}

/** Longest name that is put into a lock's name as it is. */
const LONGEST = 200
/** A stale lock may be broken by several at once; each loser looks again. */
const ATTEMPTS = 16

/**
 * Takes an output for this process until it is released: a hidden file beside it that names the process. Links to one file are one
 * output. A lock whose process is gone is broken.
 * @throws LOWBIT_BUSY if another process has it, LOWBIT_FILE
 */
export async function lockOutput(output: string): Promise<OutputLock> {
  const { path: target } = await resolveTarget(output)
  const name = basename(target)
  const short = Buffer.byteLength(name) <= LONGEST ? name : createHash('sha256').update(name).digest('hex').slice(0, 16)
  const path = join(dirname(target), `.${short}.lowbit-lock`)
  const content = JSON.stringify({ ...processMark(), since: new Date().toISOString() })
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (await take(path, content)) {
      const forget = holdTemporary(path)
      return {
        path,
        async release() {
          // Only one's own: a user may have removed it, and another run taken the output.
          if ((await readFile(path, 'utf8').catch(() => undefined)) === content) await unlink(path).catch(() => undefined)
          forget()
        },
      }
    }
    const held = await readFile(path, 'utf8').catch(() => undefined)
    if (held === undefined) continue
    const holder = parse(held)
    if (holder !== undefined && !(await isStale(holder, path))) throw busy(output, holder, path)
    await breakLock(path, held)
  }
  throw new LowbitError('LOWBIT_BUSY', { thing: output, found: 'a lock that others keep taking', fix: 'wait for the other runs' })
}

/** Puts the lock there with its content at once. @returns false if there is one */
async function take(path: string, content: string): Promise<boolean> {
  const draft = temporaryName(dirname(path))
  const forget = holdTemporary(draft)
  try {
    const handle = await open(draft, 'wx')
    await handle.writeFile(content).finally(() => handle.close())
    await link(draft, path)
    return true
  } catch (cause) {
    if (systemCode(cause) === 'EEXIST') return false
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(systemCode(cause) ?? '')) throw fileError(path, cause, 'could not be written')
    return takeWithoutLinks(path, content)
  } finally {
    await unlink(draft).catch(() => undefined)
    forget()
  }
}

async function takeWithoutLinks(path: string, content: string): Promise<boolean> {
  try {
    const handle = await open(path, 'wx')
    await handle.writeFile(content).finally(() => handle.close())
    return true
  } catch (cause) {
    if (systemCode(cause) === 'EEXIST') return false
    throw fileError(path, cause, 'could not be written')
  }
}

/** Only one of several gets a stale lock away; who finds that it took a fresh one puts that back. */
async function breakLock(path: string, stale: string): Promise<void> {
  const away = temporaryName(dirname(path))
  const forget = holdTemporary(away)
  try {
    await rename(path, away)
    if ((await readFile(away, 'utf8')) !== stale) await link(away, path).catch(() => undefined)
  } catch (cause) {
    if (systemCode(cause) !== 'ENOENT') throw fileError(path, cause, 'could not be replaced')
  } finally {
    await unlink(away).catch(() => undefined)
    forget()
  }
}

interface Holder extends ProcessMark {
  readonly since: string
}

function parse(text: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || !('pid' in value) || !('start' in value) || !('host' in value) || !('since' in value)) return undefined
    const { pid, start, host, since } = value
    return typeof pid === 'number' && typeof start === 'string' && typeof host === 'string' && typeof since === 'string' ? { pid, start, host, since } : undefined
  } catch {
    return undefined
  }
}

function busy(output: string, { pid, host, since }: Holder, lock: string): LowbitError {
  const who = host === processMark().host ? `process ${pid}` : `process ${pid} of another machine`
  return new LowbitError('LOWBIT_BUSY', { thing: output, found: `${who} has been at work on it since ${since.slice(0, 19)}`, expected: 'one run an output', fix: `wait for it, or name another output (the lock is ${lock})` })
}
