import { LowbitError } from '@lowbit/core'

const FIXES: Readonly<Record<string, string>> = {
  ENOENT: 'check the path: a folder or the file does not exist',
  ENOTDIR: 'check the path: a part of it is no folder',
  ELOOP: 'check the path: links in it lead to each other',
  ENAMETOOLONG: 'choose a shorter name',
  EACCES: 'check who may read and write there',
  EPERM: 'check who may read and write there',
  EROFS: 'choose a folder that can be written',
  ENOSPC: 'free some disk space',
  EDQUOT: 'free some of the disk space you may use',
  EFBIG: 'the file system or a limit of the process (ulimit -f) allows no file that large',
  EMFILE: 'allow the process more open files (ulimit -n)',
  ENFILE: 'close some programs: the system has no more open files to give',
  EISDIR: 'name a file, not a folder',
  EXDEV: 'name a file on one file system',
}

/** The system's own code of an error (`ENOENT`), if it has one. */
export function systemCode(cause: unknown): string | undefined {
  return cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : undefined
}

/** A LowbitError around what the operating system said; a LowbitError passes through. */
export function fileError(path: string, cause: unknown, found: string): LowbitError {
  if (cause instanceof LowbitError) return cause
  const code = systemCode(cause)
  const fix = code !== undefined && Object.hasOwn(FIXES, code) ? FIXES[code] : undefined
  return new LowbitError('LOWBIT_FILE', { thing: path, found: `${found}${code === undefined ? '' : ` (${code})`}`, ...(fix === undefined ? {} : { fix }), cause })
}

/** What stands where a regular file was expected. */
export function kindOf(found: { isDirectory(): boolean; isFIFO(): boolean; isSocket(): boolean }): string {
  return found.isDirectory() ? 'a folder' : found.isFIFO() ? 'a pipe' : found.isSocket() ? 'a socket' : 'a device'
}
