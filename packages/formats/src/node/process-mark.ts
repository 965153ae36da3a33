import { createHash } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/** What tells a process from every other one, also from a later one with its number. */
export interface ProcessMark {
  readonly pid: number
  /** When it started, in a form that only this system compares; `0` where the system does not tell. */
  readonly start: string
  /** Stands for the machine, or the container, in which process numbers mean something. */
  readonly host: string
}

let own: ProcessMark | undefined

/** The mark of this process. */
export function processMark(): ProcessMark {
  return (own ??= { pid: process.pid, start: startOf(process.pid) ?? '0', host: createHash('sha256').update(`${hostname()} ${processNumbers()}`).digest('hex').slice(0, 8) })
}

/** True if the process surely runs no more; undefined for one of another machine, which cannot be seen from here. */
export function isGone({ pid, start, host }: ProcessMark): boolean | undefined {
  const here = processMark()
  if (host !== here.host) return undefined
  if (pid === here.pid) return start !== here.start
  if (here.start !== '0') {
    const running = startOf(pid)
    return running === undefined || running !== start
  }
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH'
  }
}

/** Clock ticks from the start of the system to that of the process, where there is /proc; undefined if it runs no more. */
function startOf(pid: number): string | undefined {
  try {
    // The name of the program, in brackets, may hold anything.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\)/s, '').trim().split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : Number(fields[19]).toString(36)
  } catch {
    return undefined
  }
}

/** Containers have process numbers of their own, also where they share the machine's name. */
function processNumbers(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return ''
  }
}
