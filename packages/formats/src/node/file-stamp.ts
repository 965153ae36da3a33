import { LowbitError } from '@lowbit/core'

/** What tells a file from one that took its place or was written to. */
export function stampOf(found: { readonly dev: bigint; readonly ino: bigint; readonly size: bigint; readonly mtimeNs: bigint }): string {
  return [found.dev, found.ino, found.size, found.mtimeNs].join(' ')
}

export function changed(path: string): LowbitError {
  return new LowbitError('LOWBIT_FILE', { thing: path, found: 'it was changed, replaced or removed while it was in use', expected: 'a file that stays as it is during a run', fix: 'run again when nothing writes to it' })
}
