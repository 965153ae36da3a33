import type { ProgramSupports } from '@lowbit/core'

/** What every tier runs. */
export const PROGRAMS: ProgramSupports = {
  ops: ['embed', 'norm', 'linear', 'rope', 'append', 'attention', 'gate', 'add', 'scale', 'softcap', 'copy', 'select'],
  caches: ['float32', 'float16', 'int8'],
}
