import { LowbitError } from '@lowbit/core'

/** The parts of a name with forward slashes. @throws LOWBIT_ARGUMENT for one that leads anywhere else than below a folder */
export function safeFolderPath(name: string): readonly string[] {
  const parts = name.split('/')
  if (parts.some((part) => part === '' || part === '.' || part === '..' || /[\\\0]/.test(part))) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'file name', found: JSON.stringify(name.slice(0, 100)), expected: 'a name below the folder' })
  return parts
}
