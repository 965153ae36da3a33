import type { KernelActivations, ProgramSupports } from '@lowbit/core'

/** What every tier runs. */
export const PROGRAMS: ProgramSupports = {
  ops: ['embed', 'norm', 'linear', 'rope', 'append', 'attention', 'gate', 'add', 'scale', 'softcap', 'copy', 'select'],
  caches: ['float32', 'float16', 'int8'],
}

/** What inputs of products may become. */
export const ACTIVATIONS: readonly KernelActivations[] = ['int8', 'int8-group', 'float32']
